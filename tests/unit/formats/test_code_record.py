"""The record of a code-bound key is refused unless it is exactly in its form; differences are told by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hwkm.errors import FormatError
from hwkm.formats.code_record import (
    RECORD_BYTES_MAX,
    BootPcr,
    CodeRecord,
    differences,
    manifest_digest,
    pcr_selection,
)

MANIFEST = {"hwkm/a.py": "00" * 32, "hwkm/b.py": "11" * 32}
RECORD = CodeRecord(
    boot_pcrs=(BootPcr(number=0, value="22" * 32), BootPcr(number=14, value="33" * 32)),
    code_pcr=13,
    manifest=MANIFEST,
)


def document(**changes: Any) -> bytes:
    contents = msgspec.json.decode(RECORD.encode())
    return msgspec.json.encode(contents | changes, order="sorted") + b"\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"code_pcr": 7},
        {"code_pcr": 16},
        {"format": 2},
        {"manifest": {}},
        {"manifest": {"hwkm/a.py": "00" * 31}},
        {"manifest": {"hwkm/a.py": "0A" * 32}},
        {"manifest": {"": "00" * 32}},
        {"manifest": {"x" * 513: "00" * 32}},
        {"manifest": {str(n): "00" * 32 for n in range(4097)}},
        {"boot_pcrs": [{"number": 16, "value": "22" * 32}]},
        {"boot_pcrs": [{"number": -1, "value": "22" * 32}]},
        {"boot_pcrs": [{"number": 13, "value": "22" * 32}]},
        {"boot_pcrs": [{"number": 1, "value": "22" * 32}, {"number": 0, "value": "22" * 32}]},
        {"boot_pcrs": [{"number": 0, "value": "22" * 32}] * 2},
        {"boot_pcrs": [{"number": 0, "value": "22" * 32, "more": 1}]},
        {"more": 1},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_what_is_not_in_its_form_is_refused(changes: dict[str, Any]) -> None:
    assert CodeRecord.parse(document()) == RECORD
    with pytest.raises(FormatError):
        CodeRecord.parse(document(**changes))


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b" " + data, lambda data: data + b"\n"]
)
def test_it_has_one_spelling(damage: Any) -> None:
    with pytest.raises(FormatError):
        CodeRecord.parse(damage(RECORD.encode()))


def test_one_that_is_too_large_is_not_read() -> None:
    with pytest.raises(FormatError, match="at most"):
        CodeRecord.parse(b" " * (RECORD_BYTES_MAX + 1))


def test_every_entry_and_every_pcr_counts_for_the_policy() -> None:
    policies = {RECORD.policy_digest()}
    policies.add(
        msgspec.structs.replace(RECORD, manifest=MANIFEST | {"hwkm/a.py": "01" * 32}).policy_digest()
    )
    policies.add(msgspec.structs.replace(RECORD, manifest={"hwkm/a.py": "00" * 32}).policy_digest())
    policies.add(msgspec.structs.replace(RECORD, code_pcr=12).policy_digest())
    policies.add(msgspec.structs.replace(RECORD, boot_pcrs=RECORD.boot_pcrs[:1]).policy_digest())
    policies.add(msgspec.structs.replace(RECORD, boot_pcrs=()).policy_digest())
    assert len(policies) == 6


def test_a_name_cannot_run_into_what_follows_it() -> None:
    assert manifest_digest({"a": "62" * 32}) != manifest_digest({"ab": "62" * 32})
    assert manifest_digest(MANIFEST) != manifest_digest(
        dict(zip(MANIFEST, reversed(MANIFEST.values()), strict=True))
    )


def test_a_selection_has_a_bit_for_each_pcr() -> None:
    assert pcr_selection([0, 7, 13]).hex() == "00000001000b03" + "812000"


def test_differences_are_told_by_name() -> None:
    found = {"hwkm/a.py": "44" * 32, "hwkm/c.py": "11" * 32}
    assert differences(MANIFEST, MANIFEST) == []
    assert differences(MANIFEST, found) == [
        "hwkm/a.py was changed",
        "hwkm/c.py was added",
        "hwkm/b.py was removed",
    ]
