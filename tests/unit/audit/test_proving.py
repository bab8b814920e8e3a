"""Proofs from a log's files, and what a witness adds to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwkm.audit.proving import accept_cosigned, prove_growth, prove_record
from hwkm.audit.published import Published
from hwkm.audit.reader import read
from hwkm.audit.verify import verify
from hwkm.errors import AuditError, FormatError, NotConsistent, NoteUnverified, NotIncluded, RolledBack
from hwkm.tlog.checkpoint import Checkpoint, verify_checkpoint
from hwkm.tlog.merkle import EMPTY_ROOT
from hwkm.tlog.note import SignedNote
from hwkm.tlog.witness import WitnessRequest, check_request, cosign
from tests.unit.audit.examples import (
    LOG_KEY,
    WITNESS,
    WITNESS_KEY,
    append,
    make_log,
    segments,
    sign,
    signed,
    verified,
)

NOW = 1_767_225_599


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """600 records, signed for at 300 and 590."""
    directory = make_log(tmp_path / "audit", 0)
    append(directory, *range(600))
    sign(directory, 300)
    sign(directory, 590)
    return directory


def cosigned(note: SignedNote) -> SignedNote:
    return note.with_signatures([cosign(verify_checkpoint(note.encode(), LOG_KEY), WITNESS, NOW)])


@pytest.mark.parametrize("index", [0, 255, 256, 589])
def test_a_proof_needs_nothing_but_the_key(log: Path, index: int) -> None:
    proof = prove_record(log, index, LOG_KEY)
    record = list(read(log))[index]
    assert proof.verify(proof.extra, LOG_KEY).checkpoint.size == 590
    assert proof.extra == record.encode()


def test_a_record_behind_the_checkpoint_has_no_proof_yet(log: Path) -> None:
    for index in (590, 599, 600, -1):
        with pytest.raises(NotIncluded):
            prove_record(log, index, LOG_KEY)


def test_there_is_no_proof_of_a_damaged_record_or_from_damaged_tiles(log: Path) -> None:
    path = segments(log)[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"request-7"', b'"request-8"'))
    with pytest.raises(NotIncluded):
        prove_record(log, 7, LOG_KEY)
    path.write_bytes(content)
    tile = log / "tile/0/000"
    tile.write_bytes(tile.read_bytes()[:-1])
    with pytest.raises(AuditError, match="tiles are damaged"):
        prove_record(log, 7, LOG_KEY)
    tile.unlink()
    with pytest.raises(AuditError, match="tile/0/000 is missing"):
        prove_record(log, 7, LOG_KEY)


def test_an_older_checkpoint_can_be_proved_for_though_its_tiles_were_replaced(log: Path) -> None:
    kept = cosigned(signed(Checkpoint(LOG_KEY.name, 257, Published(log).hashes(257).frontier().root())))
    proof = prove_record(log, 256, LOG_KEY, kept)
    verified_proof = proof.verify(proof.extra, LOG_KEY, [WITNESS_KEY], quorum=1)
    assert verified_proof.witnesses == ((WITNESS_KEY, NOW),)


def test_growth_is_proved_from_any_kept_state(log: Path) -> None:
    note = Published(log).checkpoint()
    assert note is not None
    for size in (1, 256, 300, 590):
        old = Checkpoint(LOG_KEY.name, size, Published(log).hashes(size).frontier().root())
        request = WitnessRequest.parse(prove_growth(log, old, note, LOG_KEY).encode())
        assert check_request(request, LOG_KEY, old).checkpoint.size == 590
    empty = Checkpoint(LOG_KEY.name, 0, EMPTY_ROOT)
    assert prove_growth(log, empty, note, LOG_KEY).proof == ()


def test_what_the_log_does_not_contain_is_refused(log: Path) -> None:
    note = Published(log).checkpoint()
    assert note is not None
    with pytest.raises(NotConsistent):
        prove_growth(log, Checkpoint(LOG_KEY.name, 300, bytes(32)), note, LOG_KEY)
    with pytest.raises(RolledBack):
        prove_growth(log, Checkpoint(LOG_KEY.name, 600, bytes(32)), note, LOG_KEY)


def test_a_cosigned_checkpoint_is_kept_and_the_log_must_contain_it_for_ever(log: Path) -> None:
    note = Published(log).checkpoint()
    assert note is not None
    assert accept_cosigned(log, cosigned(note).encode(), LOG_KEY, WITNESS_KEY) == 590
    append(log, *range(600, 700))
    sign(log, 650)
    report = verify(log, LOG_KEY, witnesses=[WITNESS_KEY])
    assert (report.signed, report.witnesses) == (650, ((WITNESS_KEY, NOW),))
    witnessed = log / "witnessed/590"
    witnessed.write_bytes(signed(Checkpoint(LOG_KEY.name, 590, bytes(32))).encode())
    with pytest.raises(NotConsistent, match=r"witnessed/590, of 590 records, has another root"):
        verified(log)


def test_a_second_cosignature_is_put_beside_the_first(log: Path) -> None:
    note = Published(log).checkpoint()
    assert note is not None
    for _ in range(2):
        accept_cosigned(log, cosigned(note).encode(), LOG_KEY, WITNESS_KEY)
    ((_, kept),) = Published(log).witnessed()
    assert kept == cosigned(note)


def test_only_a_known_witness_of_this_very_log_is_accepted(log: Path) -> None:
    note = Published(log).checkpoint()
    assert note is not None
    with pytest.raises(NoteUnverified):
        accept_cosigned(log, note.encode(), LOG_KEY, WITNESS_KEY)
    with pytest.raises(FormatError):
        accept_cosigned(log, cosigned(note).encode(), LOG_KEY, LOG_KEY)
    forked = cosigned(signed(Checkpoint(LOG_KEY.name, 300, bytes(32))))
    with pytest.raises(NotConsistent):
        accept_cosigned(log, forked.encode(), LOG_KEY, WITNESS_KEY)
    assert list(Published(log).witnessed()) == []


def test_without_a_checkpoint_there_is_nothing_to_prove(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 3)
    with pytest.raises(AuditError, match="no checkpoint yet"):
        prove_record(log, 0, LOG_KEY)
