"""Parsers of Android's lists return or raise FormatError, whatever the bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.errors import FleetError, FormatError
from hwkm.fleet.android import verify_list
from hwkm.fleet.android.lists import CertList, SignatureFile
from tests.fuzz.byte_strings import near
from tests.vectors.test_android_lists import PRERELEASE, prerelease_files, root_of

CERT_XML, SIG_XML = prerelease_files(1000)
ROOT = root_of(PRERELEASE)


@pytest.mark.parametrize(
    ("parse", "good"), [(CertList.parse, CERT_XML), (SignatureFile.parse, SIG_XML)], ids=["list", "signature"]
)
@given(data=st.data())
def test_parsers_take_it_or_refuse_it(
    parse: Callable[[bytes], object], good: bytes, data: st.DataObject
) -> None:
    document = data.draw(near(st.just(good)))
    try:
        parsed = parse(document)
    except FormatError:
        return
    match parsed:
        case CertList():
            assert parsed.endpoints
            assert 0 <= parsed.serial < 1 << 63
        case SignatureFile():
            assert parsed.signature
        case _:
            pytest.fail("neither a list nor a signature file")


@given(cert_xml=near(st.just(CERT_XML)), sig_xml=near(st.just(SIG_XML)))
def test_verification_accepts_nothing_but_the_signed_bytes(cert_xml: bytes, sig_xml: bytes) -> None:
    try:
        verify_list(cert_xml, sig_xml, ROOT, PRERELEASE["validation_time_unix"])
    except (FormatError, FleetError):
        return
    assert cert_xml == CERT_XML
