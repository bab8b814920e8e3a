"""Evidence of a member whose keys are in a TPM."""

from __future__ import annotations

import hashlib
from typing import Final

from hwkm.crypto.p256 import load_point
from hwkm.crypto.signatures import ecdsa_der, ecdsa_verifies
from hwkm.errors import EvidenceRefused, FormatError, InvalidKeyError
from hwkm.fleet.evidence.endorsement import AttestationTrust, trust_in_attestation_key
from hwkm.fleet.evidence.findings import OPERATORS_WORD, Finding, Proof, Trust
from hwkm.formats.evidence import PCRS, Attestation, Counter, Statement, TpmModule, extra_data
from hwkm.formats.tpm_structures import (
    ALG_ECDH,
    ALG_ECDSA,
    ALG_SHA256,
    Attest,
    Certified,
    EccPublic,
    NvCertified,
    ObjectAttributes,
    Quoted,
    parse_attest,
    parse_ecc_public,
    parse_nv_public,
    parse_signature,
    policy_of_duplication,
)

_MADE_HERE: Final = (
    ObjectAttributes.SENSITIVE_DATA_ORIGIN | ObjectAttributes.USER_WITH_AUTH | ObjectAttributes.NO_DA
)
_STAYS: Final = _MADE_HERE | ObjectAttributes.FIXED_TPM | ObjectAttributes.FIXED_PARENT
ATTESTATION: Final = _STAYS | ObjectAttributes.RESTRICTED | ObjectAttributes.SIGN
AUDIT: Final = _STAYS | ObjectAttributes.SIGN
COHORT: Final = _STAYS | ObjectAttributes.DECRYPT
SHARED_COHORT: Final = _MADE_HERE | ObjectAttributes.DECRYPT
"""A cohort key of several members: it could be duplicated, until the counter in its policy said no."""

_ECDSA: Final = (ALG_ECDSA, ALG_SHA256)
_ECDH: Final = (ALG_ECDH, ALG_SHA256)
_COUNTER_BYTES: Final = 8


def verify_tpm(statement: Statement, module: TpmModule, trust: Trust) -> list[Finding]:
    """Check everything that the TPM says, and that it says it of these keys.

    Raises:
        EvidenceRefused: something is wrong; the message says what.
    """
    said = _Said(module, extra_data(bytes.fromhex(statement.nonce)))
    by = trust_in_attestation_key(module, statement.answer, statement.nonce, trust)
    audit = _key(module.audit_public, "audit key", AUDIT, _ECDSA)
    _verify_point(audit, statement.audit_key, "audit key")
    said.verify_certified(module.audit_certified, audit, "audit key")
    findings = _cohort_key(statement, module, said, by)
    said.verify_quote(module.quote)
    said.verify_one_boot()
    return [
        *findings,
        by.finding("its audit key, which signed all of this, is fixed in the same TPM"),
        by.finding(f"PCRs 0 to {PCRS - 1} had the values with the digest {said.pcr_digest.hex()}"),
        Finding(f"the TPM is {_described(module)}", Proof.OPERATOR, OPERATORS_WORD),
    ]


class _Said:
    """What was signed by the attestation key of a member."""

    def __init__(self, module: TpmModule, extra: bytes) -> None:
        self._key = _key(module.attestation_public, "attestation key", ATTESTATION, _ECDSA)
        self._extra = extra
        self._boots: set[tuple[int, int, int]] = set()
        self.pcr_digest = hashlib.sha256(bytes.fromhex("".join(module.pcrs))).digest()

    def verify_certified(self, attestation: Attestation, key: EccPublic, what: str) -> None:
        said = self._verified(attestation, f"certificate of the {what}").attested
        if not isinstance(said, Certified):
            raise EvidenceRefused(f"the certificate of the {what} is another kind of statement")
        if said.name != key.name:
            raise EvidenceRefused(f"the TPM certified another object than the {what}")

    def verify_quote(self, attestation: Attestation) -> None:
        said = self._verified(attestation, "quote").attested
        if not isinstance(said, Quoted):
            raise EvidenceRefused("the quote is another kind of statement")
        if said.selection != ((ALG_SHA256, frozenset(range(PCRS))),):
            raise EvidenceRefused(f"the quote is over other PCRs than 0 to {PCRS - 1} of the SHA-256 bank")
        if said.digest != self.pcr_digest:
            raise EvidenceRefused("the quote is over other values of the PCRs than the evidence shows")

    def counter_value(self, counter: Counter) -> tuple[bytes, int]:
        """Return the Name of an NV counter and its value, as the TPM certifies them."""
        try:
            public = parse_nv_public(bytes.fromhex(counter.public))
        except FormatError as exc:
            raise EvidenceRefused(f"the counter of the cohort: {exc}") from exc
        said = self._verified(counter.certified, "certificate of the counter").attested
        if not isinstance(said, NvCertified):
            raise EvidenceRefused("the certificate of the counter is another kind of statement")
        if not public.is_counter or not public.is_written:
            raise EvidenceRefused("the counter of the cohort is an NV index that can go back")
        if said.name != public.name or said.offset or len(said.contents) != _COUNTER_BYTES:
            raise EvidenceRefused("the TPM certified another NV index than the counter of the cohort")
        return public.name, int.from_bytes(said.contents, "big")

    def verify_one_boot(self) -> None:
        if len(self._boots) != 1:
            raise EvidenceRefused("the TPM's statements are from before and after a restart")

    def _verified(self, attestation: Attestation, what: str) -> Attest:
        data = bytes.fromhex(attestation.attest)
        try:
            said = parse_attest(data)
            signature = ecdsa_der(parse_signature(bytes.fromhex(attestation.signature)))
        except FormatError as exc:
            raise EvidenceRefused(f"the {what}: {exc}") from exc
        if not ecdsa_verifies(self._key.point, data, signature):
            raise EvidenceRefused(f"the {what} is not signed by the attestation key")
        if said.extra_data != self._extra:
            raise EvidenceRefused(f"the {what} was made for another statement")
        self._boots.add(said.boot)
        return said


def _cohort_key(statement: Statement, module: TpmModule, said: _Said, by: AttestationTrust) -> list[Finding]:
    if statement.members == 1:
        key = _key(module.cohort_public, "cohort key", COHORT, _ECDH)
        text = "its cohort key was made in one TPM and is fixed there for ever"
    else:
        text = _verify_sealed(module, said)
        key = _key(module.cohort_public, "cohort key", SHARED_COHORT, _ECDH, shared=True)
    _verify_point(key, statement.cohort_key, "cohort key")
    said.verify_certified(module.cohort_certified, key, "cohort key")
    return [by.finding(text)]


def _verify_sealed(module: TpmModule, said: _Said) -> str:
    """A key that more than one member has: that nobody can duplicate it any more."""
    if module.counter is None:
        raise EvidenceRefused("the evidence has no counter that ends the duplication of the cohort key")
    name, value = said.counter_value(module.counter)
    limit = module.counter.limit
    policy = _parsed(module.cohort_public, "cohort key").auth_policy
    if policy != policy_of_duplication(name, limit):
        raise EvidenceRefused("the cohort key's policy is not that of a key whose duplication ends")
    if value < limit:
        raise EvidenceRefused(
            f"the cohort is not sealed: its counter is at {value}, and until {limit} the key can be duplicated"
        )
    return f"its cohort key can leave no TPM any more: its counter is at {value}, and the limit was {limit}"


def _key(
    data: str, what: str, attributes: ObjectAttributes, scheme: tuple[int, int], *, shared: bool = False
) -> EccPublic:
    """Read a public area that must be made by our template."""
    key = _parsed(data, what)
    difference = key.attributes ^ attributes
    if difference:
        raise EvidenceRefused(f"the {what} has other attributes than it must have: {difference!r}")
    if bool(key.auth_policy) != shared:
        raise EvidenceRefused(f"the {what} has another policy than it must have")
    if key.scheme != scheme or key.symmetric is not None:
        raise EvidenceRefused(f"the {what} is made for another use")
    return key


def _parsed(data: str, what: str) -> EccPublic:
    try:
        key = parse_ecc_public(bytes.fromhex(data))
        load_point(key.point)
    except (FormatError, InvalidKeyError) as exc:
        raise EvidenceRefused(f"the {what}: {exc}") from exc
    return key


def _verify_point(key: EccPublic, point: str, what: str) -> None:
    if key.point.hex() != point:
        raise EvidenceRefused(f"the {what} of the statement is not the one in the TPM")


def _described(module: TpmModule) -> str:
    facts = module.description
    return " ".join(facts.get(name, "") for name in ("manufacturer", "model", "firmware")).strip()
