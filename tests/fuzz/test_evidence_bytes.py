"""Whatever stands in evidence, even signed by its audit key, is checked or refused; nothing else happens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hwkm.errors import EvidenceRefused, FormatError
from hwkm.fleet.evidence.challenge import Drawn, make_challenge
from hwkm.fleet.evidence.cohort import verify_member
from hwkm.fleet.evidence.findings import Trust
from hwkm.formats import tpm_structures
from hwkm.formats.evidence import Challenge, CohortEvidence, MemberEvidence, TpmModule
from hwkm.secret import SecretBytes
from hwkm.tlog.note_keys import KeyType, PrivateNoteKey
from tests import evidence_world as world
from tests.evidence_world import NOW_S, Forged
from tests.fuzz.byte_strings import edited, near
from tests.vectors.files import load

VECTORS = load("hwkm_evidence.json")
AUDITOR = PrivateNoteKey("auditor.example", SecretBytes(b"a" * 32))
TRUST = Trust(NOW_S, (world.maker(),), (AUDITOR.public(KeyType.ED25519),))
MEMBER = Forged(label="m0", members=3)
MEMBER.answers(MEMBER.challenged(AUDITOR))
GOOD = MEMBER.evidence().statement
assert isinstance(GOOD.module, TpmModule)

FIELDS: dict[str, Callable[[Any, str], Any]] = {
    "attestation_public": lambda module, value: replaced(module, attestation_public=value),
    "audit_public": lambda module, value: replaced(module, audit_public=value),
    "cohort_public": lambda module, value: replaced(module, cohort_public=value),
    "cohort_certified.attest": lambda m, v: replaced(
        m, cohort_certified=replaced(m.cohort_certified, attest=v)
    ),
    "cohort_certified.signature": lambda m, v: replaced(
        m, cohort_certified=replaced(m.cohort_certified, signature=v)
    ),
    "quote.attest": lambda m, v: replaced(m, quote=replaced(m.quote, attest=v)),
    "shared.record": lambda m, v: replaced(m, shared=replaced(m.shared, record=v)),
    "endorsement.public": lambda m, v: replaced(m, endorsement=replaced(m.endorsement, public=v)),
    "endorsement.certificate": lambda m, v: replaced(m, endorsement=replaced(m.endorsement, certificate=v)),
}


def replaced(value: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(value, **changes)


def good_value(field: str) -> bytes:
    value: Any = GOOD.module
    for name in field.split("."):
        value = getattr(value, name)
    return bytes.fromhex(value)


damaged_fields = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda field: st.tuples(st.just(field), edited(st.just(good_value(field))).filter(bool))
)


@given(damaged_fields)
def test_a_field_that_was_changed_and_signed_for_is_checked_or_refused(damaged: tuple[str, bytes]) -> None:
    field, value = damaged
    module = FIELDS[field](GOOD.module, value.hex())
    evidence = world.signed_by(MEMBER.audit_key, replaced(GOOD, module=module))
    if value == good_value(field):
        verify_member(evidence, TRUST)
        return
    with suppress(EvidenceRefused):
        verify_member(evidence, TRUST)
        assert field in ("endorsement.certificate", "shared.record"), "what is not checked may be changed"
    with suppress(EvidenceRefused):
        make_challenge(evidence, AUDITOR, Drawn(SecretBytes(b"s" * 32), SecretBytes(b"t" * 32)))


@given(near(st.sampled_from([VECTORS[kind]["member"].encode() for kind in ("tpm", "pkcs11")]), 2000))
def test_files_of_members(data: bytes) -> None:
    with suppress(FormatError):
        assert MemberEvidence.parse(data).encode() == data


@given(near(st.sampled_from([VECTORS[kind]["cohort"].encode() for kind in ("tpm", "pkcs11")]), 2000))
def test_files_of_cohorts(data: bytes) -> None:
    with suppress(FormatError):
        assert CohortEvidence.parse(data).encode() == data


@given(near(st.just(MEMBER.challenged(AUDITOR).encode()), 2000))
def test_challenges(data: bytes) -> None:
    with suppress(FormatError):
        assert Challenge.parse(data).encode() == data


ATTESTS = [bytes.fromhex(one.attest) for one in (GOOD.module.quote, GOOD.module.cohort_certified)]


@given(near(st.sampled_from([*ATTESTS, MEMBER.public("cohort"), MEMBER.endorsement_public()])))
def test_structures_of_a_tpm(data: bytes) -> None:
    for parse in (
        tpm_structures.parse_attest,
        tpm_structures.parse_ecc_public,
        tpm_structures.parse_rsa_public,
    ):
        with suppress(FormatError):
            parse(data)


@given(near(st.just(bytes.fromhex(GOOD.module.quote.signature))))
def test_signatures_of_a_tpm(data: bytes) -> None:
    with suppress(FormatError):
        raw = tpm_structures.parse_signature(data)
        assert tpm_structures.parse_signature(tpm_structures.encode_signature(raw)) == raw
