"""The two NV indices of a cohort of several: the first member's counter, and the record.

Both are used by their own authorisation values in an HMAC session, as the anchor. The counter is part of
the cohort key's duplication policy: undefined and defined again it starts above every value that a
counter of this TPM ever had (TPM 2.0, part 1, clause on NV counters), so it never comes below the limit again.
"""

from __future__ import annotations

from typing import Any, Final

from hwkm.errors import AnchorTampered, FormatError
from hwkm.formats.cohort_record import HEAD_BYTES, RECORD_BYTES_MAX, CohortRecord
from hwkm.formats.cohort_terms import COUNTER_BYTES
from hwkm.secret import SecretBytes
from hwkm.tokens.tpm.commands import nv_increment, nv_read, nv_write
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import translated
from hwkm.tokens.tpm.hmac_session import Entity, HmacSession
from hwkm.tokens.tpm.templates import anchor_template, counter_template

_CHUNK_BYTES: Final = 512  # as much as every TPM reads or writes at a time (PC client profile)


def define_counter(connection: Connection, session: Any, value: SecretBytes, index: int) -> int:
    """Define the counter and let it count once; return its value.

    Raises:
        TokenFull: no room for another counter.
        TokenError: the hardware failed.
    """
    esapi = connection.esapi
    with translated(f"defining the cohort counter at 0x{index:08x}"):
        item = esapi.nv_define_space(value.expose(), counter_template(index), session1=session)
        esapi.tr_set_auth(item, value.expose())
        esapi.nv_increment(item, session1=session)
        return int.from_bytes(bytes(esapi.nv_read(item, COUNTER_BYTES, session1=session)), "big")


def define_record(
    connection: Connection, session: Any, value: SecretBytes, index: int, record: CohortRecord
) -> None:
    """Define the record's index and write it.

    Raises:
        TokenFull: no room for another NV index.
        TokenError: the hardware failed.
    """
    esapi, data = connection.esapi, record.encode()
    with translated(f"defining the cohort record at 0x{index:08x}"):
        item = esapi.nv_define_space(value.expose(), anchor_template(index, len(data)), session1=session)
        esapi.tr_set_auth(item, value.expose())
        for at in range(0, len(data), _CHUNK_BYTES):
            esapi.nv_write(item, data[at : at + _CHUNK_BYTES], at, session1=session)


def read_counter(session: HmacSession, counter: Entity) -> int:
    """Return how far the counter is. Raises CommandRefused, TokenUnavailable."""
    return int.from_bytes(nv_read(session, counter, COUNTER_BYTES), "big")


def count_up_to(session: HmacSession, counter: Entity, limit: int) -> None:
    """Let the counter count until it has reached the limit. Raises CommandRefused, TokenUnavailable."""
    while read_counter(session, counter) < limit:
        nv_increment(session, counter)


def read_record(session: HmacSession, index: Entity, size: int) -> CohortRecord:
    """Return the record, from an index of ``size`` bytes.

    Raises:
        AnchorTampered: the index holds none.
        CommandRefused, TokenUnavailable: the TPM failed.
    """
    starts = range(0, min(size, RECORD_BYTES_MAX), _CHUNK_BYTES)
    data = b"".join(nv_read(session, index, min(_CHUNK_BYTES, size - at), at) for at in starts)
    try:
        return CohortRecord.parse(data)
    except FormatError as exc:
        raise AnchorTampered(f"the cohort record's NV index does not hold one of hwkm: {exc}") from exc


def mark_invited(session: HmacSession, index: Entity, record: CohortRecord, number: int) -> None:
    """Note in the record that a member was invited. Raises CommandRefused, TokenUnavailable."""
    nv_write(session, index, record.with_invited(number).encode()[:HEAD_BYTES])
