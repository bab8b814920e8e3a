"""What a code-bound key is bound to, against vectors of an independent computation."""

from __future__ import annotations

from hwkm.formats.code_record import BootPcr, CodeRecord, manifest_digest
from tests.vectors.files import load, unhex

VECTOR = load("hwkm_code_bound.json")
RECORD = CodeRecord(
    boot_pcrs=tuple(BootPcr(number=pcr["number"], value=pcr["value"]) for pcr in VECTOR["boot_pcrs"]),
    code_pcr=VECTOR["code_pcr"],
    manifest=VECTOR["manifest"],
)


def test_the_manifest_and_what_it_leaves_in_the_pcr() -> None:
    assert manifest_digest(RECORD.manifest) == unhex(VECTOR, "manifest_digest")
    assert RECORD.measured_value() == unhex(VECTOR, "code_pcr_value")


def test_the_order_of_entries_does_not_count() -> None:
    backwards = dict(reversed(RECORD.manifest.items()))
    assert list(backwards) != list(RECORD.manifest)
    assert manifest_digest(backwards) == unhex(VECTOR, "manifest_digest")


def test_the_policy_of_the_key() -> None:
    assert list(RECORD.expected()) == [0, 7, 13]
    assert RECORD.selection() == unhex(VECTOR, "selection")
    assert RECORD.pcr_digest() == unhex(VECTOR, "pcr_digest")
    assert RECORD.policy_digest() == unhex(VECTOR, "policy_digest")


def test_the_record_is_read_as_it_was_written() -> None:
    assert CodeRecord.parse(RECORD.encode()) == RECORD
