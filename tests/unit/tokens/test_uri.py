"""Token URIs: what is understood, what is refused, and that nothing else happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.errors import FormatError
from hwkm.tokens.uri import MemoryUri, Pkcs11Uri, TpmUri, parse_token_uri

_PIECES = [
    "pkcs11:", "tpm:", "insecure-memory:", "token=", "object=", "serial=", "module-path=", "pin-value=",
    "tcti=", "swtpm:path=", "device:", "keys=", "anchor=", "path=", "/dev/tpmrm0", "0x81006860", "0x01806860",
    "a", "%41", "%", "%zz", "%00", ";", "?", "&", "=", " ", "é", "\n",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("pkcs11:token=t?module-path=/l.so", Pkcs11Uri("/l.so", token="t")),
        (
            "pkcs11:token=My%20token;object=backup?module-path=/usr/lib/l%3b.so",
            Pkcs11Uri("/usr/lib/l;.so", token="My token", object="backup"),
        ),
        (
            "pkcs11:serial=0a;manufacturer=M;model=O?module-path=/l",
            Pkcs11Uri("/l", serial="0a", manufacturer="M", model="O"),
        ),
        ("pkcs11:token=caf%c3%a9?module-path=/l", Pkcs11Uri("/l", token="café")),
        ("tpm:tcti=device:/dev/tpmrm0", TpmUri("device:/dev/tpmrm0")),
        ("tpm:tcti=swtpm:path=/run/x.sock", TpmUri("swtpm:path=/run/x.sock")),
        (
            "tpm:tcti=device:/dev/tpm0;keys=0x81000010;anchor=0x01800001",
            TpmUri("device:/dev/tpm0", keys=0x81000010, anchor=0x01800001),
        ),
        (
            "tpm:tcti=device:/dev/tpm0;domain=0x81000013;keys=0x81000010",
            TpmUri("device:/dev/tpm0", keys=0x81000010, domain=0x81000013),
        ),
        ("insecure-memory:path=/tmp/x", MemoryUri("/tmp/x")),
    ],
)
def test_what_is_understood(text: str, parsed: object) -> None:
    assert parse_token_uri(text) == parsed


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "pkcs11:"),
        ("pkcs11", "pkcs11:"),
        ("PKCS11:token=a?module-path=/l", "pkcs11:"),
        ("yubihsm:serial=1", "pkcs11:"),
        ("pkcs11:token=a", "module-path"),
        ("pkcs11:?module-path=/l", "token="),
        ("pkcs11:object=a?module-path=/l", "serial="),
        ("pkcs11:token=a;token=b?module-path=/l", "'token'"),
        ("pkcs11:token=a?module-path=/l&module-path=/m", "'module-path'"),
        ("pkcs11:token=a;colour=red?module-path=/l", "'colour'"),
        ("pkcs11:token=a;slot-id=3?module-path=/l", "'slot-id'"),
        ("pkcs11:token=a?module-path=/l&pin-value=1234", "'pin-value'"),
        ("pkcs11:token=a?module-path=/l&pin-source=file:/pin", "'pin-source'"),
        ("pkcs11:token=?module-path=/l", "'token'"),
        ("pkcs11:token?module-path=/l", "'token'"),
        ("pkcs11:token=a%2?module-path=/l", "two hex digits"),
        ("pkcs11:token=%ff?module-path=/l", "UTF-8"),
        ("pkcs11:token=a%00?module-path=/l", "control character"),
        ("pkcs11:token=a b\n?module-path=/l", "percent-encoded"),
        ("tpm:", "tcti="),
        ("tpm:tcti=mssim:host=1", "tcti="),
        ("tpm:tcti=device:", "tcti="),
        ("tpm:tcti=cmd:rm -rf", "tcti="),
        ("tpm:tcti=device:/dev/tpm0;tcti=device:/dev/tpm1", "'tcti'"),
        ("tpm:tcti=device:/dev/tpm0;keys=0x80000000", "'keys'"),
        ("tpm:tcti=device:/dev/tpm0;keys=0x817fffff", "'keys'"),
        ("tpm:tcti=device:/dev/tpm0;domain=0x817ff001", "'domain'"),
        ("tpm:tcti=device:/dev/tpm0;domain=0x80ffffff", "'domain'"),
        ("tpm:tcti=device:/dev/tpm0;keys=0x81406860", "overlap"),
        ("tpm:tcti=device:/dev/tpm0;keys=0x8140785f", "overlap"),
        ("tpm:tcti=device:/dev/tpm0;keys=0x81000010;domain=0x81000012", "overlap"),
        ("tpm:tcti=device:/dev/tpm0;keys=81000000", "'keys'"),
        ("tpm:tcti=device:/dev/tpm0;anchor=0x01c00000", "'anchor'"),
        ("tpm:tcti=device:/dev/tpm0;nv=0x01800000", "'nv'"),
        ("insecure-memory:", "path="),
        ("insecure-memory:file=/x", "'file'"),
        ("pkcs11:token=" + "a" * 2000 + "?module-path=/l", "longer"),
    ],
)
def test_what_is_refused_with_the_name_of_the_culprit(text: str, named: str) -> None:
    with pytest.raises(FormatError, match=named):
        parse_token_uri(text)


def test_a_pin_in_a_uri_is_not_repeated_in_the_error() -> None:
    with pytest.raises(FormatError) as refusal:
        parse_token_uri("pkcs11:token=a?module-path=/l&pin-value=secret1234")
    assert "secret1234" not in str(refusal.value)


@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(_PIECES), max_size=12).map("".join)))
def test_any_text_is_parsed_or_refused_with_a_format_error(text: str) -> None:
    try:
        parsed = parse_token_uri(text)
    except FormatError:
        return
    assert isinstance(parsed, Pkcs11Uri | TpmUri | MemoryUri)


@given(label=st.text(min_size=1, max_size=30).filter(str.isprintable))
def test_any_printable_label_can_be_written_percent_encoded(label: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in label.encode("utf-8"))
    parsed = parse_token_uri(f"pkcs11:token={encoded}?module-path=/l")
    assert isinstance(parsed, Pkcs11Uri)
    assert parsed.token == label
