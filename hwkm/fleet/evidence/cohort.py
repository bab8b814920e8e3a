"""Evidence of a whole cohort: put together, signed by those present, and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from hwkm.crypto.p256 import load_point
from hwkm.crypto.signatures import ecdsa_der, prehashed_ecdsa_verifies
from hwkm.errors import EvidenceRefused, FormatError, InvalidKeyError, NoteUnverified
from hwkm.fleet.evidence.findings import OPERATORS_WORD, Finding, Proof, Trust
from hwkm.fleet.evidence.pkcs11 import verify_pkcs11
from hwkm.fleet.evidence.tpm import verify_tpm
from hwkm.formats.evidence import CohortEvidence, MemberEvidence, Presence, Software, Statement, TpmModule
from hwkm.tlog.note_keys import KeyType, NoteKey, PrivateNoteKey


@dataclass(frozen=True, slots=True)
class CohortFindings:
    """What was found: of each member, in the order of their numbers, and who signed for having been present."""

    members: tuple[tuple[Finding, ...], ...]
    present: tuple[NoteKey, ...]

    @property
    def in_hardware(self) -> bool:
        """Whether hardware proves of every member where its cohort key is."""
        return all(member[0].proof is Proof.HARDWARE for member in self.members)


def combine(members: Sequence[MemberEvidence], at_s: int) -> CohortEvidence:
    """Put the evidence of all members together.

    Raises:
        EvidenceRefused: they do not belong together, one is missing, or one is wrong.
    """
    ordered = tuple(sorted(members, key=lambda one: one.statement.member))
    made = CohortEvidence(members=ordered)
    verify_cohort(made, Trust(at_s))
    return made


def sign_presence(evidence: CohortEvidence, key: PrivateNoteKey) -> CohortEvidence:
    """Add somebody's signature; a second one of the same key takes the place of the first."""
    public = str(key.public(KeyType.ED25519))
    signature = key.sign(evidence.signed_text()).hex()
    others = tuple(one for one in evidence.present if one.key != public)
    return msgspec.structs.replace(evidence, present=(*others, Presence(key=public, signature=signature)))


def verify_cohort(evidence: CohortEvidence, trust: Trust, cohort_key: bytes | None = None) -> CohortFindings:
    """Check all of it, and that it is about ``cohort_key`` (65 bytes) if that is given.

    Raises:
        EvidenceRefused: something is wrong; the message says with which member, and what.
    """
    if cohort_key is not None and cohort_key != key_of(evidence):
        raise EvidenceRefused("the evidence is about another key than the cohort's")
    _verify_together([member.statement for member in evidence.members])
    members = tuple(_verified(member, trust) for member in evidence.members)
    return CohortFindings(members, tuple(_present(evidence, one) for one in evidence.present))


def verify_member(evidence: MemberEvidence, trust: Trust) -> list[Finding]:
    """Check the evidence of one member.

    Raises:
        EvidenceRefused: something is wrong; the message says what.
    """
    statement = evidence.statement
    if statement.member >= statement.members:
        raise EvidenceRefused(f"its number is {statement.member}, and there are {statement.members} members")
    _verify_signature(evidence)
    if isinstance(statement.module, TpmModule):
        findings = verify_tpm(statement, statement.module, trust)
    else:
        if statement.answer is not None:
            raise EvidenceRefused("a PKCS#11 token cannot have answered a challenge")
        findings = verify_pkcs11(statement, statement.module)
    return [*findings, *_circumstances(statement)]


def key_of(evidence: CohortEvidence) -> bytes:
    """Return the cohort key that the evidence is about, 65 bytes."""
    return bytes.fromhex(evidence.members[0].statement.cohort_key)


def software_digest(software: Software) -> str:
    """Return the SHA-256 of the list of the package's files, in the form that sha256sum prints and checks."""
    lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(software.files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _verify_together(statements: Sequence[Statement]) -> None:
    total = statements[0].members
    if len({statement.cohort_key for statement in statements}) != 1:
        raise EvidenceRefused("the members have different cohort keys")
    if any(statement.members != total for statement in statements):
        raise EvidenceRefused("the members do not agree on how many they are")
    numbers = [statement.member for statement in statements]
    missing = sorted(set(range(total)) - set(numbers))
    if missing:
        raise EvidenceRefused(f"member {', '.join(map(str, missing))} of {total} is missing")
    if numbers != list(range(total)):
        raise EvidenceRefused("a member stands there twice, or the members are not in order")
    if len({statement.audit_key for statement in statements}) != total:
        raise EvidenceRefused("two members have one audit key: they are one and the same")
    if len({type(statement.module) for statement in statements}) != 1:
        raise EvidenceRefused("the members are of different kinds of hardware, between which no key can pass")
    _verify_one_object([one.module for one in statements if isinstance(one.module, TpmModule)])


def _verify_one_object(modules: Sequence[TpmModule]) -> None:
    """The first member's TPM says that it made the key with this public area, which rules where it can go."""
    if len({module.cohort_public for module in modules}) > 1:
        raise EvidenceRefused("the members' cohort keys are not one and the same object of a TPM")


def _verified(member: MemberEvidence, trust: Trust) -> tuple[Finding, ...]:
    try:
        return tuple(verify_member(member, trust))
    except EvidenceRefused as exc:
        raise EvidenceRefused(f"member {member.statement.member}: {exc}") from exc


def _verify_signature(evidence: MemberEvidence) -> None:
    statement = evidence.statement
    point = bytes.fromhex(statement.audit_key)
    try:
        for key in (statement.audit_key, statement.cohort_key):
            load_point(bytes.fromhex(key))
    except InvalidKeyError as exc:
        raise EvidenceRefused(str(exc)) from exc
    signature = ecdsa_der(bytes.fromhex(evidence.signature))
    if not prehashed_ecdsa_verifies(point, statement.signed_digest(), signature):
        raise EvidenceRefused("the statement is not signed by its audit key")


def _circumstances(statement: Statement) -> list[Finding]:
    software = statement.software
    made = datetime.fromtimestamp(min(statement.made_at, 253402300799), UTC)
    ran = f"hwkm {software.versions.get('hwkm', '?')}, {len(software.files)} files"
    return [
        Finding(f"it ran {ran} with the digest {software_digest(software)}", Proof.OPERATOR, OPERATORS_WORD),
        Finding(f"this was said at {made:%Y-%m-%d %H:%M:%S} UTC", Proof.OPERATOR, OPERATORS_WORD),
    ]


def _present(evidence: CohortEvidence, presence: Presence) -> NoteKey:
    try:
        key = NoteKey.parse(presence.key)
        if key.type is not KeyType.ED25519:
            raise FormatError("not a key that signs notes")
        key.verify(evidence.signed_text(), bytes.fromhex(presence.signature))
    except (FormatError, NoteUnverified) as exc:
        raise EvidenceRefused(f"a signature of somebody present: {exc}") from exc
    return key
