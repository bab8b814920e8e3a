"""System calls of the audit log that fail: nothing is acknowledged, and the log stays whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hwkm.audit.reader import read
from hwkm.errors import StorageUnavailable
from tests.unit.audit.examples import entry, make_log, opened, segments, verified


def failing(*_arguments: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def half_written(descriptor: int, data: memoryview, offset: int) -> int:
    """Write half, then fail at the next call, as a disk that runs full."""
    if len(data) < 100:
        raise OSError(errno.ENOSPC, "No space left on device")
    return os_pwrite(descriptor, data[: len(data) // 2], offset)


os_pwrite = os.pwrite


@pytest.mark.parametrize(
    ("call", "fault"), [("fdatasync", failing), ("pwrite", failing), ("pwrite", half_written)]
)
def test_a_failed_write_is_rolled_back_and_the_log_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, fault: Callable[..., object]
) -> None:
    log = make_log(tmp_path / "audit", 2)
    before = segments(log)[0].read_bytes()
    with opened(log) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fault)
            with pytest.raises(StorageUnavailable):
                writer.append_many([entry(7), entry(8)])
            assert writer.size == 2
        assert segments(log)[0].read_bytes() == before
        writer.append_many([entry(9)])
    assert [record.request for record in read(log)] == ["request-0", "request-1", "request-9"]
    assert verified(log).records == 3


def test_a_log_that_cannot_be_rolled_back_takes_nothing_more_until_it_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make_log(tmp_path / "audit", 2)
    with opened(log) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", half_written)
            patch.setattr(os, "ftruncate", failing)
            with pytest.raises(StorageUnavailable, match="opened again"):
                writer.append_many([entry(7)])
        with pytest.raises(StorageUnavailable, match="opened again"):
            writer.append_many([entry(8)])
    with opened(log) as writer:
        assert writer.size == 3
    assert [record.operation for record in read(log)] == ["vault.open", "vault.open", "audit.repair"]
    assert verified(log).records == 3


def test_a_segment_that_cannot_be_made_is_made_at_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make_log(tmp_path / "audit", 3)
    with opened(log, segment_bytes_max=500) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            with pytest.raises(StorageUnavailable):
                writer.append_many([entry(7)])
        writer.append_many([entry(8)])
    assert [path.name for path in segments(log)] == ["0000000000000000.jsonl", "0000000000000003.jsonl"]
    assert verified(log).records == 4
