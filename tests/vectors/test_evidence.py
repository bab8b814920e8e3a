"""Evidence that real hardware made: it verifies as it stands, and not with any byte changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509

from hwkm.errors import EvidenceRefused, FormatError
from hwkm.fleet.evidence.cohort import verify_cohort, verify_member
from hwkm.fleet.evidence.findings import Proof, Trust
from hwkm.formats.evidence import CohortEvidence, MemberEvidence
from hwkm.tlog.note_keys import NoteKey
from tests.vectors.files import load

DOCUMENT = load("hwkm_evidence.json")
AUDITOR = NoteKey.parse(DOCUMENT["auditor"])
ROOT = x509.load_pem_x509_certificate(DOCUMENT["root"].encode())
TRUST = Trust(DOCUMENT["at"], (ROOT,), (AUDITOR,))


def test_a_tpm_that_was_challenged_is_proved_by_hardware() -> None:
    found = verify_cohort(CohortEvidence.parse(DOCUMENT["tpm"]["cohort"].encode()), TRUST)
    assert found.in_hardware
    assert [finding.proof for finding in found.members[0][:3]] == [Proof.HARDWARE] * 3
    assert found.present == (AUDITOR,)


def test_a_token_is_the_operators_word() -> None:
    found = verify_cohort(CohortEvidence.parse(DOCUMENT["pkcs11"]["cohort"].encode()), TRUST)
    assert not found.in_hardware
    assert {finding.proof for finding in found.members[0]} == {Proof.OPERATOR}


def _member(data: bytes) -> None:
    verify_member(MemberEvidence.parse(data), TRUST)


def _cohort(data: bytes) -> None:
    verify_cohort(CohortEvidence.parse(data), TRUST)


@pytest.mark.parametrize("kind", ["tpm", "pkcs11"])
@pytest.mark.parametrize(("part", "verify"), [("member", _member), ("cohort", _cohort)])
def test_no_byte_of_it_can_be_changed(
    kind: str,
    part: str,
    verify: Callable[[bytes], None],
    record_property: Callable[[str, object], None],
) -> None:
    data = DOCUMENT[kind][part].encode()
    verify(data)
    accepted = []
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            verify(bytes(changed))
        except (EvidenceRefused, FormatError):
            continue
        accepted.append(at)
    assert accepted == []
    record_property("changed_bytes_of_evidence_refused", len(data))
