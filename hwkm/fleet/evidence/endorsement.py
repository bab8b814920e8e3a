"""Whether an attestation key is inside a TPM: its maker's certificate, and a challenge that only that TPM can read.

A TPM does not prove to everybody which attestation keys it has: it proves it to who asks. So the proof is worth as
much as the challenger, who could have told the secret; whom to believe is for the reader to say (:class:`Trust`).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hwkm.crypto.p256 import encode_point
from hwkm.errors import CertificateInvalid, EvidenceRefused, FormatError, NoteUnverified
from hwkm.fleet.certificate_path import verify_path
from hwkm.fleet.evidence.findings import Finding, Proof, Trust
from hwkm.formats.evidence import Answer, Endorsement, TpmModule, nonce_of
from hwkm.formats.tpm_structures import (
    EccPublic,
    ObjectAttributes,
    RsaPublic,
    name_of,
    parse_ecc_public,
    parse_rsa_public,
)
from hwkm.tlog.note_keys import KeyType, NoteKey

_EK_CERTIFICATE: Final = x509.ObjectIdentifier("2.23.133.8.1")  # tcg-kp-EKCertificate
_DECRYPTS_FOR_THE_TPM: Final = (
    ObjectAttributes.FIXED_TPM | ObjectAttributes.RESTRICTED | ObjectAttributes.DECRYPT
)


@dataclass(frozen=True, slots=True)
class AttestationTrust:
    """Whether the attestation key is in a TPM, and by which keys that is known."""

    proof: Proof
    by: str

    def finding(self, what: str) -> Finding:
        """Return a finding that rests on this key."""
        return Finding(what, self.proof, self.by)


def trust_in_attestation_key(
    module: TpmModule, answer: Answer | None, nonce: str, trust: Trust
) -> AttestationTrust:
    """Follow the keys from the attestation key up, as far as they go.

    Raises:
        EvidenceRefused: a link is there and wrong.
    """
    maker = _certified_by(module.endorsement, trust) if module.endorsement else None
    challenger = _challenged_by(module, answer, nonce) if answer else None
    if module.endorsement is None:
        return _word("nobody certified this TPM's endorsement key")
    if challenger is None:
        return _word("no outsider challenged this TPM")
    if maker is None:
        return _word(f"challenged by {challenger.name}; whose TPM it is was not checked: no --ek-root")
    if challenger not in trust.challengers:
        return _word(f"{maker}; challenged by {challenger.name}, who is not among those you trust")
    return AttestationTrust(
        Proof.HARDWARE,
        f"attestation key, shown to {challenger.name} to be beside the endorsement key certified by {maker}",
    )


def endorsement_key(public: str) -> EccPublic | RsaPublic:
    """Read the public area of an endorsement key.

    Raises:
        EvidenceRefused: it is not one of P-256 or RSA.
    """
    data = bytes.fromhex(public)
    try:
        key = parse_rsa_public(data) if data[:2] == b"\0\1" else parse_ecc_public(data)
    except FormatError as exc:
        raise EvidenceRefused(f"the endorsement key: {exc}") from exc
    if key.attributes & _DECRYPTS_FOR_THE_TPM != _DECRYPTS_FOR_THE_TPM:
        raise EvidenceRefused("the endorsement key is none: it decrypts for others than its TPM")
    return key


def _word(reason: str) -> AttestationTrust:
    return AttestationTrust(Proof.OPERATOR, f"the operator's word ({reason})")


def _certified_by(endorsement: Endorsement, trust: Trust) -> str | None:
    """Check that certificate and key belong together, and return the root's name if roots are given."""
    leaf = _certificate(endorsement.certificate)
    if not _same_key(endorsement_key(endorsement.public), leaf):
        raise EvidenceRefused("the certificate is of another key than the endorsement key")
    _verify_purpose(leaf)
    if not trust.ek_roots:
        return None
    above = [_certificate(one) for one in endorsement.intermediates]
    try:
        root = verify_path(leaf, above, trust.ek_roots, trust.at_s, "the endorsement key's certificate")
    except CertificateInvalid as exc:
        raise EvidenceRefused(str(exc)) from exc
    return root.subject.rfc4514_string()


def _certificate(data: str) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(bytes.fromhex(data))
    except (ValueError, UnsupportedAlgorithm):
        raise EvidenceRefused("a certificate of the endorsement key is not an X.509 certificate") from None


def _same_key(key: EccPublic | RsaPublic, certificate: x509.Certificate) -> bool:
    try:
        certified = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
    match key, certified:
        case RsaPublic(modulus=modulus), rsa.RSAPublicKey():
            numbers = certified.public_numbers()
            return numbers.e == 65537 and numbers.n == int.from_bytes(modulus, "big")
        case EccPublic(point=point), ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return encode_point(certified) == point
        case _:
            return False


def _verify_purpose(certificate: x509.Certificate) -> None:
    """A certificate authority also certifies other keys than those in TPMs."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return  # the TCG EK Credential Profile recommends it, and old certificates have none
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise EvidenceRefused(
            "a certificate of the endorsement key has extensions that cannot be read"
        ) from None
    if _EK_CERTIFICATE not in usage:
        raise EvidenceRefused("the certificate is not that of an endorsement key")


def _challenged_by(module: TpmModule, answer: Answer, nonce: str) -> NoteKey:
    """Check a challenge and its answer; return whose it was."""
    challenge = answer.challenge
    if module.endorsement is None:
        raise EvidenceRefused("a challenge was answered without an endorsement key")
    if nonce_of(challenge).hex() != nonce:
        raise EvidenceRefused("the statement was made for another challenge")
    if challenge.attestation != name_of(bytes.fromhex(module.attestation_public)).hex():
        raise EvidenceRefused("the challenge was for another attestation key")
    if challenge.endorsement != hashlib.sha256(bytes.fromhex(module.endorsement.public)).hexdigest():
        raise EvidenceRefused("the challenge was for another TPM's endorsement key")
    if not hmac.compare_digest(
        challenge.commitment, hashlib.sha256(bytes.fromhex(answer.secret)).hexdigest()
    ):
        raise EvidenceRefused("the answer to the challenge is wrong")
    try:
        key = NoteKey.parse(challenge.challenger)
        if key.type is not KeyType.ED25519:
            raise FormatError("not a key that signs notes")
        key.verify(challenge.signed_text(), bytes.fromhex(challenge.signature))
    except (FormatError, NoteUnverified) as exc:
        raise EvidenceRefused(f"the challenge is not signed by its challenger: {exc}") from exc
    return key
