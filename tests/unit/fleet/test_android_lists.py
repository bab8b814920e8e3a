"""Lists in Android's form: every rule, and what is refused by which error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.crypto.p256 import encode_point
from hwkm.errors import (
    CertificateInvalid,
    FormatError,
    ListConflict,
    ListDowngrade,
    ListSignatureInvalid,
)
from hwkm.fleet.android import SeenList, VerifiedList, verify_list
from hwkm.fleet.android.lists import CertList, SignatureFile
from hwkm.fleet.android.xml import DOCUMENT_BYTES_MAX
from tests.android_world import NOW, AndroidList, Issued, cert, digest, endpoint_key, issue, rsa_key


@pytest.fixture(scope="module")
def world() -> AndroidList:
    return AndroidList()


def verify(world: AndroidList, seen: SeenList | None = None, at_s: int = NOW) -> VerifiedList:
    cert_xml, sig_xml = world.files()
    return verify_list(cert_xml, sig_xml, world.root.certificate, at_s, seen)


def test_a_right_list_gives_its_endpoint_keys_in_order(world: AndroidList) -> None:
    verified = verify(world)
    assert verified.serial == 7
    assert (verified.creation_time_s, verified.refresh_interval_s, verified.previous_serial) == (1, 2, None)
    expected = []
    for endpoint in world.endpoints:
        key = endpoint.certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        expected.append(encode_point(key))
    assert list(verified.endpoint_keys) == expected


class TestSerial:
    def test_the_same_list_again_is_accepted(self, world: AndroidList) -> None:
        assert verify(world, verify(world).seen).serial == 7

    def test_a_newer_list_is_accepted(self, world: AndroidList) -> None:
        assert verify(world, SeenList(6, bytes(32))).seen == SeenList(7, digest(world.cert_xml()))

    def test_an_older_list_is_a_downgrade(self, world: AndroidList) -> None:
        with pytest.raises(ListDowngrade, match="8 was seen"):
            verify(world, SeenList(8, bytes(32)))

    def test_the_same_serial_with_other_content_is_a_conflict(self, world: AndroidList) -> None:
        with pytest.raises(ListConflict):
            verify(world, SeenList(7, bytes(32)))


class TestSignature:
    def test_of_another_key_is_refused(self, world: AndroidList) -> None:
        cert_xml = world.cert_xml()
        sig_xml = world.sig_xml(cert_xml, key=rsa_key("stranger"))
        with pytest.raises(ListSignatureInvalid):
            verify_list(cert_xml, sig_xml, world.root.certificate, NOW)

    def test_covers_every_byte_and_not_one_more(self, world: AndroidList) -> None:
        cert_xml, sig_xml = world.files()
        for changed in (cert_xml[:-1], cert_xml + b"\n", b" " + cert_xml):
            with pytest.raises(ListSignatureInvalid):
                verify_list(changed, sig_xml, world.root.certificate, NOW)

    def test_is_checked_before_the_list_is_parsed(self, world: AndroidList) -> None:
        _, sig_xml = world.files()
        with pytest.raises(ListSignatureInvalid):
            verify_list(b"<not-a-list/>", sig_xml, world.root.certificate, NOW)

    def test_by_an_endpoint_of_the_list_is_refused(self, world: AndroidList) -> None:
        cert_xml = world.cert_xml()
        sig_xml = world.sig_xml(cert_xml).replace(
            cert(world.signer).encode(), cert(world.endpoints[0]).encode()
        )
        with pytest.raises(CertificateInvalid, match="no RSA key"):
            verify_list(cert_xml, sig_xml, world.root.certificate, NOW)


def with_signer(signer: Callable[[AndroidList], Issued]) -> AndroidList:
    changed = AndroidList()
    changed.signer = signer(changed)
    return changed


class TestSignersPath:
    @pytest.mark.parametrize(
        "signer",
        [
            pytest.param(lambda w: issue("signer", rsa_key("signer")), id="signed by itself"),
            pytest.param(
                lambda w: issue("signer", rsa_key("signer"), w.intermediate, days=(-100, -1)), id="expired"
            ),
            pytest.param(
                lambda w: issue("signer", rsa_key("signer"), w.intermediate, days=(1, 100)),
                id="not yet valid",
            ),
            pytest.param(
                lambda w: issue("signer", rsa_key("signer"), w.endpoints[0]), id="issued by no authority"
            ),
            pytest.param(lambda w: issue("signer", rsa_key("weak", 1024), w.intermediate), id="1024-bit RSA"),
            pytest.param(
                lambda w: issue("signer", rsa_key("signer"), w.intermediate, digital_signature=False),
                id="may not sign",
            ),
            pytest.param(
                lambda w: issue(
                    "signer", rsa_key("signer"), issue("intermediate", rsa_key("stranger"), ca=True), ca=False
                ),
                id="issuer of the right name with another key",
            ),
        ],
    )
    def test_a_wrong_signer_is_refused(self, signer: Callable[[AndroidList], Issued]) -> None:
        with pytest.raises(CertificateInvalid):
            verify(with_signer(signer))

    def test_another_root_of_the_same_name_is_refused(self, world: AndroidList) -> None:
        cert_xml, sig_xml = world.files()
        other = issue("root", rsa_key("stranger"), ca=True).certificate
        with pytest.raises(CertificateInvalid, match="the signer"):
            verify_list(cert_xml, sig_xml, other, NOW)

    def test_a_path_longer_than_an_authority_allows_is_refused(self) -> None:
        changed = AndroidList()
        one = issue("one", rsa_key("one"), changed.intermediate, ca=True)
        two = issue("two", rsa_key("two"), one, ca=True)
        changed.signer = issue("signer", rsa_key("signer"), two)
        changed.intermediates = [changed.intermediate, one, two]
        with pytest.raises(CertificateInvalid):
            verify(changed)

    @pytest.mark.parametrize("at_s", [-(2**62), 2**62])
    def test_a_time_out_of_range_is_refused(self, world: AndroidList, at_s: int) -> None:
        with pytest.raises(FormatError, match="time"):
            verify(world, at_s=at_s)


class TestEndpoints:
    def test_one_without_a_path_fails_the_whole_list(self) -> None:
        changed = AndroidList()
        changed.endpoints[1] = issue(
            "endpoint 1", endpoint_key(), issue("other", rsa_key("stranger"), ca=True)
        )
        with pytest.raises(CertificateInvalid, match="endpoint 2"):
            verify(changed)

    def test_one_on_another_curve_is_refused(self) -> None:
        changed = AndroidList()
        changed.endpoints[0] = issue(
            "endpoint 0", ec.generate_private_key(ec.SECP384R1()), changed.intermediate
        )
        with pytest.raises(CertificateInvalid, match=r"endpoint 1.*P-256"):
            verify(changed)

    def test_an_intermediate_on_no_path_is_passed_over(self) -> None:
        changed = AndroidList()
        changed.intermediates = [issue("lost", rsa_key("stranger"), ca=True), changed.intermediate]
        assert verify(changed).serial == 7


class TestForm:
    """Of cert.xml; the signature is right in all of these."""

    @pytest.mark.parametrize(
        "edit",
        [
            pytest.param((b"<serial>7</serial>", b""), id="no serial"),
            pytest.param((b"<serial>7</serial>", b"<serial>7</serial><serial>8</serial>"), id="two serials"),
            pytest.param((b"<serial>7<", b"<serial>-7<"), id="negative serial"),
            pytest.param((b"<serial>7<", "<serial>٧<".encode()), id="digits of another script"),
            pytest.param((b"<serial>7<", b"<serial>9223372036854775808<"), id="serial over 63 bits"),
            pytest.param((b"<serial>7<", b"<serial><x>7</x><"), id="element for text"),
            pytest.param((b"<serial>", b"<serial a='1'>"), id="attribute"),
            pytest.param((b"<metadata>", b"<metadata>text"), id="text between elements"),
            pytest.param((b"<certificate>", b"<!DOCTYPE c><certificate>"), id="document type"),
            pytest.param(
                (b"<certificate>", b"<!DOCTYPE c [<!ENTITY e '7'>]><certificate>"), id="entity declared"
            ),
            pytest.param((b"<certificate>", b"<cert><certificate>"), id="not well-formed"),
            pytest.param((b"<metadata>", b"<metadata><previous><serial>1</serial><hash>AA==</hash></previous>"),
                         id="hash of one byte"),
        ],
    )  # fmt: skip
    def test_malformed_is_refused(self, world: AndroidList, edit: tuple[bytes, bytes]) -> None:
        cert_xml = world.cert_xml()
        assert edit[0] in cert_xml
        changed = cert_xml.replace(*edit, 1)
        with pytest.raises(FormatError, match=r"cert\.xml"):
            verify_list(changed, world.sig_xml(changed), world.root.certificate, NOW)

    @pytest.mark.parametrize(
        "root", [b"<not-cert></not-cert>", b"<certificate></certificate>", b"", b"\0", b"<a"]
    )
    def test_what_is_no_list_is_refused(self, root: bytes) -> None:
        with pytest.raises(FormatError):
            CertList.parse(root)

    def test_no_endpoint_is_refused(self) -> None:
        changed = AndroidList()
        changed.endpoints = []
        with pytest.raises(FormatError, match="no endpoint"):
            verify(changed)

    def test_one_bad_certificate_fails_the_whole_list(self, world: AndroidList) -> None:
        good = cert(world.endpoints[0])
        for bad in (good[:-8], "MAA=", good[:-4] + "====", good[1:], "*" + good[1:]):
            changed = world.cert_xml().replace(good.encode(), bad.encode())
            with pytest.raises(FormatError):
                verify_list(changed, world.sig_xml(changed), world.root.certificate, NOW)

    def test_huge_files_are_refused_unread(self) -> None:
        huge = b"<certificate>" + b" " * DOCUMENT_BYTES_MAX + b"</certificate>"
        for parse in (CertList.parse, SignatureFile.parse):
            with pytest.raises(FormatError, match="longer than"):
                parse(huge)

    def test_many_small_elements_are_refused(self) -> None:
        with pytest.raises(FormatError, match="more than 2000 elements"):
            CertList.parse(b"<certificate>" + b"<a/>" * 2_001 + b"</certificate>")

    def test_deep_nesting_is_refused(self) -> None:
        with pytest.raises(FormatError):
            CertList.parse(b"<certificate>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</certificate>")

    def test_unknown_elements_of_the_signed_file_are_passed_over(self) -> None:
        changed = AndroidList(metadata="<news><x>1</x></news>")
        assert verify(changed).creation_time_s is None

    def test_the_root_of_test_data_is_accepted(self, world: AndroidList) -> None:
        changed = world.cert_xml().replace(b"certificate>", b"certificates>")
        assert verify_list(changed, world.sig_xml(changed), world.root.certificate, NOW).serial == 7


class TestSignatureFileForm:
    @pytest.mark.parametrize(
        "edit",
        [
            (b"<signature>", b"<signature><extra/>"),
            (b"<value>", b"<value>*"),
            (b"<value>", b"<value/><value>"),
            (b"<intermediates>", b"<intermediates><other/>"),
            (b"signature>", b"signatures>"),
            (b"certificate>", b"cert>"),
        ],
    )
    def test_malformed_is_refused(self, world: AndroidList, edit: tuple[bytes, bytes]) -> None:
        cert_xml, sig_xml = world.files()
        with pytest.raises(FormatError, match=r"cert\.sig\.xml"):
            verify_list(cert_xml, sig_xml.replace(*edit), world.root.certificate, NOW)

    def test_an_authority_may_sign_the_list_itself(self) -> None:
        changed = with_signer(lambda world: world.intermediate)
        changed.intermediates = []
        cert_xml = changed.cert_xml()
        changed.intermediates = [changed.intermediate]
        with pytest.raises(CertificateInvalid, match="endpoint 1"):
            verify_list(cert_xml, changed.sig_xml(cert_xml), changed.root.certificate, NOW)
        assert verify(changed).serial == 7


def test_the_root_alone_is_no_path_for_a_stranger(world: AndroidList) -> None:
    """The trust store holds exactly what was given."""
    stranger = issue("stranger", rsa_key("stranger"), ca=True)
    assert isinstance(stranger.certificate, x509.Certificate)
    cert_xml, sig_xml = world.files()
    with pytest.raises(CertificateInvalid):
        verify_list(cert_xml, sig_xml, stranger.certificate, NOW)
