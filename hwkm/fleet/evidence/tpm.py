"""Evidence of a member whose keys are in a TPM."""

from __future__ import annotations

import hashlib
from typing import Final

from hwkm.crypto.labels import COHORT_ORIGIN
from hwkm.crypto.p256 import load_point
from hwkm.crypto.signatures import ecdsa_der, ecdsa_verifies
from hwkm.errors import EvidenceRefused, FormatError, InvalidKeyError
from hwkm.fleet.evidence.endorsement import AttestationTrust, trust_in_attestation_key
from hwkm.fleet.evidence.findings import OPERATORS_WORD, Finding, Proof, Trust
from hwkm.formats.code_record import CodeRecord, differences, files_of, manifest_digest
from hwkm.formats.cohort_record import CohortRecord
from hwkm.formats.evidence import PCRS, Attestation, SharedKey, Statement, TpmModule, extra_data
from hwkm.formats.tpm_structures import (
    ALG_AES,
    ALG_CFB,
    ALG_ECDH,
    ALG_ECDSA,
    ALG_SHA256,
    Attest,
    Certified,
    Created,
    EccPublic,
    NvCertified,
    ObjectAttributes,
    Quoted,
    encode_signature,
    name_of,
    parse_attest,
    parse_ecc_public,
    parse_signature,
)

_MADE_HERE: Final = (
    ObjectAttributes.SENSITIVE_DATA_ORIGIN | ObjectAttributes.USER_WITH_AUTH | ObjectAttributes.NO_DA
)
_STAYS: Final = _MADE_HERE | ObjectAttributes.FIXED_TPM | ObjectAttributes.FIXED_PARENT
ATTESTATION: Final = _STAYS | ObjectAttributes.RESTRICTED | ObjectAttributes.SIGN
AUDIT: Final = _STAYS | ObjectAttributes.SIGN
COHORT: Final = _STAYS | ObjectAttributes.DECRYPT
CODE_BOUND_COHORT: Final = COHORT & ~ObjectAttributes.USER_WITH_AUTH
SHARED_COHORT: Final = _MADE_HERE | ObjectAttributes.ENCRYPTED_DUPLICATION | ObjectAttributes.DECRYPT
"""A cohort key of several members: it could be duplicated, until the counter in its policy said no."""
STORAGE: Final = _STAYS | ObjectAttributes.RESTRICTED | ObjectAttributes.DECRYPT

_ORIGIN: Final = hashlib.sha256(COHORT_ORIGIN).digest()
_AES_128_CFB: Final = (ALG_AES, 128, ALG_CFB)
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

    def counter_value(self, attestation: Attestation, counter: bytes) -> int:
        """Return the value of the NV counter with this Name, as the TPM certifies it."""
        said = self._verified(attestation, "certificate of the counter").attested
        if not isinstance(said, NvCertified):
            raise EvidenceRefused("the certificate of the counter is another kind of statement")
        if said.name != counter or said.offset or len(said.contents) != _COUNTER_BYTES:
            raise EvidenceRefused("the TPM certified another NV index than the counter of the cohort")
        return int.from_bytes(said.contents, "big")

    def verify_one_boot(self) -> None:
        if len(self._boots) != 1:
            raise EvidenceRefused("the TPM's statements are from before and after a restart")

    def _verified(self, attestation: Attestation, what: str) -> Attest:
        said = _signed(attestation, self._key, what)
        if said.extra_data != self._extra:
            raise EvidenceRefused(f"the {what} was made for another statement")
        self._boots.add(said.boot)
        return said


def _cohort_key(statement: Statement, module: TpmModule, said: _Said, by: AttestationTrust) -> list[Finding]:
    if isinstance(module.code, CodeRecord):
        key, text = _code_bound_key(statement, module, module.code)
    elif statement.members == 1:
        key = _key(module.cohort_public, "cohort key", COHORT, _ECDH)
        text = "its cohort key was made in one TPM and is fixed there for ever"
    else:
        key, text = _shared_key(statement, module, said)
    _verify_point(key, statement.cohort_key, "cohort key")
    said.verify_certified(module.cohort_certified, key, "cohort key")
    return [by.finding(text)]


def _code_bound_key(statement: Statement, module: TpmModule, code: CodeRecord) -> tuple[EccPublic, str]:
    """A key that the TPM lets be used only after the recorded code was measured: that this is the code that ran."""
    if statement.members != 1:
        raise EvidenceRefused("a cohort key of several members cannot be bound to code")
    key = _key(module.cohort_public, "cohort key", CODE_BOUND_COHORT, _ECDH, policy=code.policy_digest())
    differ = [number for number, value in code.expected().items() if module.pcrs[number] != value.hex()]
    if differ:
        raise EvidenceRefused(f"PCR {differ[0]} has another value than the cohort key is bound to")
    changed = differences(files_of(code.manifest), statement.software.files)
    if changed:
        raise EvidenceRefused(f"other code ran than the cohort key is bound to: {changed[0]}")
    boot = ", ".join(str(pcr.number) for pcr in code.boot_pcrs) or "none"
    return key, (
        "its cohort key was made in one TPM and is fixed there for ever; the TPM uses it only while PCR"
        f" {code.code_pcr} holds the measurement {manifest_digest(code.manifest).hex()} of these files and settings,"
        f" by whomever it was measured, and the PCRs of the boot ({boot}) are as they were"
    )


def _shared_key(statement: Statement, module: TpmModule, said: _Said) -> tuple[EccPublic, str]:
    """A key that more than one member has: that only they got it, and that nobody can duplicate it any more."""
    shared = module.shared
    if shared is None:
        raise EvidenceRefused("the evidence does not say how the cohort key came to this member")
    record = _record(shared)
    key = _key(module.cohort_public, "cohort key", SHARED_COHORT, _ECDH, policy=record.terms.policy_digest())
    if record.terms.members != statement.members:
        raise EvidenceRefused("the cohort key was made for another number of members")
    _verify_origin(record, key)
    if statement.member == 0:
        return key, _verify_first(module, shared, record, said)
    return key, _verify_joined(statement.member, shared, record, said)


def _verify_origin(record: CohortRecord, key: EccPublic) -> None:
    """The TPM of the first member has made the key, and nobody knew it before."""
    attestation = Attestation(attest=record.attest.hex(), signature=encode_signature(record.signature).hex())
    signer = _key(record.attestation_key.hex(), "first member's attestation key", ATTESTATION, _ECDSA)
    said = _signed(attestation, signer, "certificate of the cohort key's creation")
    if not isinstance(said.attested, Created) or said.extra_data != _ORIGIN:
        raise EvidenceRefused("the certificate of the cohort key's creation is another kind of statement")
    if said.attested.name != key.name:
        raise EvidenceRefused("the first member's TPM has made another object than the cohort key")
    if said.attested.creation_hash != hashlib.sha256(record.creation_data).digest():
        raise EvidenceRefused("the cohort key was created with other data than the evidence shows")


def _verify_first(module: TpmModule, shared: SharedKey, record: CohortRecord, said: _Said) -> str:
    terms = record.terms
    if record.attestation_key.hex() != module.attestation_public:
        raise EvidenceRefused("another TPM than the first member's has made the cohort key")
    if terms.sender != name_of(bytes.fromhex(module.audit_public)):
        raise EvidenceRefused("the cohort key can be duplicated by another module than the first member")
    if shared.counter_certified is None:
        raise EvidenceRefused("the evidence has no counter that ends the duplication of the cohort key")
    value = said.counter_value(shared.counter_certified, terms.counter_name())
    if value < terms.limit:
        raise EvidenceRefused(
            f"the cohort is not sealed: its counter is at {value}, and until {terms.limit} the key can be duplicated"
        )
    return f"its cohort key was made in this TPM and can leave none any more: counter {value}, limit {terms.limit}"


def _verify_joined(number: int, shared: SharedKey, record: CohortRecord, said: _Said) -> str:
    if shared.storage_public is None or shared.storage_certified is None:
        raise EvidenceRefused("the evidence has no storage key to which the cohort key came")
    storage = _key(shared.storage_public, "storage key", STORAGE, None, symmetric=_AES_128_CFB)
    said.verify_certified(shared.storage_certified, storage, "storage key")
    if record.terms.parents[number - 1] != storage.name:
        raise EvidenceRefused("the cohort key was to go to another TPM than this member's")
    return "its cohort key came from the first member's TPM into this one, and cannot leave it"


def _record(shared: SharedKey) -> CohortRecord:
    try:
        return CohortRecord.parse(bytes.fromhex(shared.record))
    except FormatError as exc:
        raise EvidenceRefused(str(exc)) from exc


def _signed(attestation: Attestation, signer: EccPublic, what: str) -> Attest:
    """Read what an attestation key has signed."""
    data = bytes.fromhex(attestation.attest)
    try:
        said = parse_attest(data)
        signature = ecdsa_der(parse_signature(bytes.fromhex(attestation.signature)))
    except FormatError as exc:
        raise EvidenceRefused(f"the {what}: {exc}") from exc
    if not ecdsa_verifies(signer.point, data, signature):
        raise EvidenceRefused(f"the {what} is not signed by the attestation key")
    return said


def _key(
    data: str,
    what: str,
    attributes: ObjectAttributes,
    scheme: tuple[int, int] | None,
    *,
    symmetric: tuple[int, int, int] | None = None,
    policy: bytes = b"",
) -> EccPublic:
    """Read a public area that must be made by our template."""
    key = _parsed(data, what)
    difference = key.attributes ^ attributes
    if difference:
        raise EvidenceRefused(f"the {what} has other attributes than it must have: {difference!r}")
    if key.auth_policy != policy:
        raise EvidenceRefused(f"the {what} has another policy than it must have")
    if key.scheme != scheme or key.symmetric != symmetric:
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
