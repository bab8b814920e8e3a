"""A challenge to a TPM: a secret that it can read only if it has both the certified key and the attestation key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from hwkm.crypto.tpm_protection import IDENTITY, encrypt_seed, protect_credential, share_secret
from hwkm.errors import EvidenceRefused
from hwkm.fleet.evidence.endorsement import endorsement_key
from hwkm.formats.evidence import Challenge, MemberEvidence, TpmModule
from hwkm.formats.tpm_structures import RsaPublic, name_of
from hwkm.secret import SecretBytes
from hwkm.tlog.note_keys import KeyType, PrivateNoteKey


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the challenger draws at random: the secret and a seed, 32 bytes each. Both are forgotten afterwards."""

    secret: SecretBytes
    seed: SecretBytes


def make_challenge(evidence: MemberEvidence, challenger: PrivateNoteKey, drawn: Drawn) -> Challenge:
    """Challenge the member that a first evidence is of.

    Raises:
        EvidenceRefused: it has no endorsement key to be challenged.
    """
    module = evidence.statement.module
    if not isinstance(module, TpmModule) or module.endorsement is None:
        raise EvidenceRefused("this member has no endorsement key that its maker certified")
    name = name_of(bytes.fromhex(module.attestation_public))
    unsigned = Challenge(
        attestation=name.hex(),
        challenger=str(challenger.public(KeyType.ED25519)),
        commitment=hashlib.sha256(drawn.secret.expose()).hexdigest(),
        credential=_credential(module.endorsement.public, name, drawn).hex(),
        endorsement=hashlib.sha256(bytes.fromhex(module.endorsement.public)).hexdigest(),
        signature="00" * 64,
    )
    signature = challenger.sign(unsigned.signed_text()).hex()
    return msgspec.structs.replace(unsigned, signature=signature)


def _credential(public: str, name: bytes, drawn: Drawn) -> bytes:
    """Return TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET."""
    key = endorsement_key(public)
    if isinstance(key, RsaPublic):
        seed = drawn.seed
        told = encrypt_seed(int.from_bytes(key.modulus, "big"), seed.expose(), IDENTITY)
    else:
        seed, told = share_secret(key.point, IDENTITY)
    protected = protect_credential(seed.expose(), name, drawn.secret.expose())
    return _sized(protected) + _sized(told)


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data
