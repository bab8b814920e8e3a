"""Lists that Google published: a production list, and AOSP's pre-release list. Sources are in the files."""

from __future__ import annotations

import base64
import re

import pytest
from cryptography import x509

from hwkm.errors import CertificateInvalid, FleetError, FormatError, ListSignatureInvalid
from hwkm.fleet.android import VerifiedList, verify_list
from hwkm.fleet.android.lists import CertList
from tests.vectors.files import Vector, load

PRODUCTION = load("production_cert_list.json")
PRERELEASE = load("aosp_prerelease_cert_list.json")


def root_of(vector: Vector) -> x509.Certificate:
    return x509.load_der_x509_certificate(base64.b64decode(vector["root"]["der_base64"]))


def production_files() -> tuple[bytes, bytes]:
    return PRODUCTION["cert_xml_utf8"].encode(), PRODUCTION["sig_xml_utf8"].encode()


def prerelease_files(serial: int) -> tuple[bytes, bytes]:
    text = f"{PRERELEASE['cert_xml_before_serial']}{serial}{PRERELEASE['cert_xml_after_serial']}"
    return text.encode(), PRERELEASE["sig_xml_utf8"].encode()


def verify_production(cert_xml: bytes, sig_xml: bytes, at_s: int | None = None) -> VerifiedList:
    at_s = PRODUCTION["validation_time_unix"] if at_s is None else at_s
    return verify_list(cert_xml, sig_xml, root_of(PRODUCTION), at_s)


def test_the_production_list_verifies() -> None:
    cert_xml, sig_xml = production_files()
    assert (len(cert_xml), len(sig_xml)) == (PRODUCTION["cert_xml_len"], PRODUCTION["sig_xml_len"])
    verified, expected = verify_production(cert_xml, sig_xml), PRODUCTION["expected"]
    assert verified.serial == expected["serial"]
    assert verified.creation_time_s == expected["creation_time"]
    assert verified.refresh_interval_s == expected["refresh_interval_s"]
    assert verified.previous_serial == expected["previous_serial"]
    assert [key.hex() for key in verified.endpoint_keys] == expected["endpoint_public_keys_hex"]


def test_the_prerelease_list_verifies_with_its_own_serial_only() -> None:
    expected = PRERELEASE["expected"]
    at_s = PRERELEASE["validation_time_unix"]
    verified = verify_list(*prerelease_files(expected["serial"]), root_of(PRERELEASE), at_s)
    assert verified.serial == expected["signature_valid_only_for_serial"]
    assert [key.hex() for key in verified.endpoint_keys] == [PRERELEASE["endpoint_public_key_hex"]]
    with pytest.raises(ListSignatureInvalid):
        verify_list(*prerelease_files(1001), root_of(PRERELEASE), at_s)


def test_previous_of_both_lists() -> None:
    for vector, data in ((PRODUCTION, production_files()[0]), (PRERELEASE, prerelease_files(1000)[0])):
        previous = CertList.parse(data).previous
        assert previous is not None
        assert previous.serial == vector["expected"]["previous_serial"]
        assert base64.b64encode(previous.digest).decode() == vector["expected"]["previous_hash_base64"]


@pytest.mark.parametrize("vector", [PRODUCTION, PRERELEASE], ids=["production", "prerelease"])
def test_neither_list_verifies_under_another_root(vector: Vector) -> None:
    files = production_files() if vector is PRODUCTION else prerelease_files(1000)
    other = base64.b64decode(PRERELEASE["test_only_insecure_root"]["der_base64"])
    with pytest.raises(CertificateInvalid):
        verify_list(*files, x509.load_der_x509_certificate(other), vector["validation_time_unix"])


NEGATIVE = {case["name"]: case for case in PRODUCTION["negative_cases"]}


@pytest.mark.parametrize("name", ["signing_chain_expired", "signing_chain_not_yet_valid"])
def test_outside_of_its_time_the_list_is_refused(name: str) -> None:
    with pytest.raises(CertificateInvalid, match="the signer"):
        verify_production(*production_files(), at_s=NEGATIVE[name]["validation_time_unix"])


def test_a_changed_first_character_of_the_signature_is_refused() -> None:
    cert_xml, sig_xml = production_files()
    changed = re.sub(rb"(<value>\s*)[^X]", rb"\1X", sig_xml)
    assert changed != sig_xml
    with pytest.raises(ListSignatureInvalid):
        verify_production(cert_xml, changed)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_every_single_byte_damage_of_the_list_is_refused(part: int) -> None:
    cert_xml, sig_xml = production_files()
    for place in range(part, len(cert_xml), 4):
        damaged = bytearray(cert_xml)
        damaged[place] ^= 1 << (place % 8)
        with pytest.raises((FleetError, FormatError)):
            verify_production(bytes(damaged), sig_xml)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_damage_of_the_signature_file_is_refused_wherever_it_is_relied_on(part: int) -> None:
    """Nobody signs the signature file itself. A change that is passed over must be white space, part of
    the XML declaration, or inside the intermediate that lies on no path; and the verdict stays the same."""
    cert_xml, sig_xml = production_files()
    right = verify_production(cert_xml, sig_xml)
    unused = unused_places(sig_xml)
    for place in range(part, len(sig_xml), 4):
        damaged = bytearray(sig_xml)
        damaged[place] ^= 1 << (place % 8)
        try:
            verified = verify_production(cert_xml, bytes(damaged))
        except (FleetError, FormatError):
            continue
        assert verified == right
        assert place in unused, f"byte {place} of the signature file was relied on and may be changed"


def unused_places(sig_xml: bytes) -> set[int]:
    places = set(range(sig_xml.index(b"?>") + 2))
    places |= {place for place, byte in enumerate(sig_xml) if byte in b" \t\r\n"}
    lost = list(re.finditer(rb"<cert>\s*(.*?)\s*</cert>", sig_xml, re.DOTALL))[1]
    return places | set(range(lost.start(1), lost.end(1)))
