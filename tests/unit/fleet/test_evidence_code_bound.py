"""Evidence of a code-bound cohort key: the record must be the key's policy, the quoted PCRs, and the code that ran."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hwkm.errors import EvidenceRefused
from hwkm.fleet.evidence.cohort import verify_member
from hwkm.fleet.evidence.findings import Proof, Trust
from hwkm.formats.code_record import BootPcr, CodeRecord
from hwkm.formats.evidence import MemberEvidence
from hwkm.secret import SecretBytes
from hwkm.tlog.note_keys import KeyType, PrivateNoteKey
from tests import evidence_world as world
from tests.evidence_world import NOW_S, SOFTWARE, Forged

AUDITOR = PrivateNoteKey("auditor.example", SecretBytes(b"a" * 32))
TRUST = Trust(NOW_S, (world.maker(),), (AUDITOR.public(KeyType.ED25519),))

USER_WITH_AUTH = 0x40
PCRS = tuple(f"{number:02x}" * 32 for number in range(16))
RECORD = CodeRecord(
    boot_pcrs=(BootPcr(number=0, value=PCRS[0]), BootPcr(number=7, value=PCRS[7])),
    code_pcr=13,
    manifest={**SOFTWARE.files, "setting max_attempts_limit": "22" * 32},
)


def public(record: CodeRecord, attributes: int = world.STAYS | world.DECRYPT) -> bytes:
    key = world.ec_key("cohort")
    return world.ecc_public(key, attributes & ~USER_WITH_AUTH, world.ECDH, record.policy_digest())


def bound(record: CodeRecord = RECORD, area: bytes | None = None, **changes: Any) -> Forged:
    """A member with a code-bound key that an outsider has challenged."""
    area = area or public(record)
    pcrs = list(PCRS)
    pcrs[record.code_pcr] = record.measured_value().hex()
    member = Forged(**({"pcrs": tuple(pcrs)} | changes))
    member.answers(member.challenged(AUDITOR))
    certified = member.says(world.CERTIFY, world.certified(area))
    member.overridden |= {"code": record, "cohort_public": area.hex(), "cohort_certified": certified}
    return member


def refused(evidence: MemberEvidence, match: str) -> None:
    with pytest.raises(EvidenceRefused, match=match):
        verify_member(evidence, TRUST)


def test_it_is_accepted_and_says_what_it_is_worth() -> None:
    evidence = bound().evidence()
    first, *_ = verify_member(MemberEvidence.parse(evidence.encode()), TRUST)
    assert first.proof is Proof.HARDWARE
    assert "PCR 13 holds the measurement" in first.what
    assert "by whomever it was measured" in first.what
    assert "boot (0, 7)" in first.what


def test_evidence_of_other_keys_has_no_such_member() -> None:
    assert b'"code"' not in Forged().evidence().encode()
    assert b'"code"' in bound().evidence().encode()


def test_a_bound_key_without_its_record_is_refused() -> None:
    member = bound()
    member.overridden["code"] = msgspec.UNSET
    refused(member.evidence(), "cohort key has other attributes")


def test_a_record_that_is_not_the_keys_policy_is_refused() -> None:
    other = msgspec.structs.replace(
        RECORD, manifest={**RECORD.manifest, "setting max_attempts_limit": "33" * 32}
    )
    refused(bound(area=public(other)).evidence(), "cohort key has another policy")


def test_a_key_that_its_value_alone_lets_be_used_is_refused() -> None:
    key = world.ec_key("cohort")
    area = world.ecc_public(key, world.STAYS | world.DECRYPT, world.ECDH, RECORD.policy_digest())
    refused(bound(area=area).evidence(), "cohort key has other attributes")


@pytest.mark.parametrize("number", [7, 13])
def test_pcrs_that_are_not_the_records_are_refused(number: int) -> None:
    pcrs = list(PCRS)
    pcrs[13] = RECORD.measured_value().hex()
    pcrs[number] = "ff" * 32
    refused(bound(pcrs=tuple(pcrs)).evidence(), f"PCR {number} has another value")


def test_other_software_than_the_recorded_is_refused() -> None:
    software = msgspec.structs.replace(SOFTWARE, files={**SOFTWARE.files, "hwkm/evil.py": "44" * 32})
    refused(bound().evidence(software=software), r"other code ran .* hwkm/evil\.py was added")


def test_a_cohort_of_several_has_none() -> None:
    refused(bound(members=2).evidence(), "several members cannot be bound to code")
