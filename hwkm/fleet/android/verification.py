"""Whether a list of cohort keys is to be trusted: the rules of AOSP's RecoverableKeyStoreManager.

In this order: the signature file's form, the signer's path, the signature over every byte of
``cert.xml``; the list's form; its serial against the highest one seen; the endpoints. Two rules are
stricter than Android's: every endpoint's path is checked, not only that of the one drawn, and a list of the
same serial with other content is refused, not passed over.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from hwkm.crypto.p256 import encode_point
from hwkm.errors import CertificateInvalid, ListConflict, ListDowngrade, ListSignatureInvalid
from hwkm.fleet.android.lists import CertList, SignatureFile
from hwkm.fleet.certificate_path import public_key_of, verify_path

RSA_BITS_MIN: Final = 2048


@dataclass(frozen=True, slots=True)
class SeenList:
    """The highest list accepted before: its serial, and the SHA-256 of ``cert.xml`` (32 bytes)."""

    serial: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class VerifiedList:
    """A list that passed every check. Made by :func:`verify_list` only.

    ``endpoint_keys`` are the cohort public keys, 65 bytes each, in the order of the list.
    """

    serial: int
    digest: bytes
    creation_time_s: int | None
    refresh_interval_s: int | None
    previous_serial: int | None
    endpoint_keys: tuple[bytes, ...]

    @property
    def seen(self) -> SeenList:
        """What has to be remembered of it, against older lists."""
        return SeenList(self.serial, self.digest)


def verify_list(
    cert_xml: bytes, sig_xml: bytes, root: x509.Certificate, at_s: int, seen: SeenList | None = None
) -> VerifiedList:
    """Check a list against the trusted root at ``at_s`` (seconds since 1970).

    Raises:
        FormatError: one of the files is malformed.
        CertificateInvalid: signer or an endpoint has no valid path, or an unsuitable key.
        ListSignatureInvalid: the signature is not the signer's over these bytes.
        ListDowngrade: a list with a higher serial was seen before.
        ListConflict: a list with this serial and other content was seen before.
    """
    signature_file = SignatureFile.parse(sig_xml)
    verify_path(signature_file.signer, signature_file.intermediates, [root], at_s, "the signer")
    _verify_signature(signature_file, cert_xml)
    cert_list = CertList.parse(cert_xml)
    digest = hashlib.sha256(cert_xml).digest()
    _check_seen(cert_list.serial, digest, seen)
    return VerifiedList(
        serial=cert_list.serial,
        digest=digest,
        creation_time_s=cert_list.creation_time_s,
        refresh_interval_s=cert_list.refresh_interval_s,
        previous_serial=cert_list.previous.serial if cert_list.previous else None,
        endpoint_keys=_verified_endpoints(cert_list, root, at_s),
    )


def _verify_signature(signature_file: SignatureFile, cert_xml: bytes) -> None:
    key = public_key_of(signature_file.signer, "the signer")
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < RSA_BITS_MIN:
        raise CertificateInvalid(f"the signer has no RSA key of at least {RSA_BITS_MIN} bits")
    if not _may_sign(signature_file.signer):
        raise CertificateInvalid("the signer's certificate does not allow digital signatures")
    try:
        key.verify(signature_file.signature, cert_xml, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        raise ListSignatureInvalid("the signature is not the signer's over this cert.xml") from None


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def _check_seen(serial: int, digest: bytes, seen: SeenList | None) -> None:
    if seen is None:
        return
    if serial < seen.serial:
        raise ListDowngrade(f"the list has serial {serial}; {seen.serial} was seen before")
    if serial == seen.serial and digest != seen.digest:
        raise ListConflict(f"a list with serial {serial} and other content was seen before")


def _verified_endpoints(cert_list: CertList, root: x509.Certificate, at_s: int) -> tuple[bytes, ...]:
    keys = []
    for number, endpoint in enumerate(cert_list.endpoints, start=1):
        what = f"endpoint {number}"
        verify_path(endpoint, cert_list.intermediates, [root], at_s, what)
        key = public_key_of(endpoint, what)
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise CertificateInvalid(f"{what}: its key is not on P-256")
        keys.append(encode_point(key))
    return tuple(keys)
