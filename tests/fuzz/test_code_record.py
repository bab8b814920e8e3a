"""Whatever lies where the record of a code-bound key should be, it is read or refused; nothing else happens."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from hwkm.errors import FormatError
from hwkm.formats.code_record import BootPcr, CodeRecord
from tests.fuzz.byte_strings import near

GOOD = CodeRecord(
    boot_pcrs=(BootPcr(number=7, value="22" * 32),), code_pcr=13, manifest={"hwkm/a.py": "00" * 32}
)


@given(near(st.just(GOOD.encode())))
def test_a_record(data: bytes) -> None:
    with suppress(FormatError):
        record = CodeRecord.parse(data)
        assert record.encode() == data
        assert len(record.policy_digest()) == 32
