"""Bring the data keys of many files under another key, or the newest version of their own.

Only headers change (:mod:`hwkm.client.files.header_swap`). The data key of each file is decrypted, to
authenticate the old header and the new one; it stays what it was, so the body does. Before a header
is overwritten the new wrapped key is decrypted once and compared: the old one is gone after that.

Running it again goes on where it ended: what is under the right version already is passed over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hwkm.client.backup.errors import SourceUnreadable
from hwkm.client.files.header_swap import COPY_PREFIX, JOURNAL_PREFIX, recover
from hwkm.client.files.rewrap_batch import STOPS, Batch, BatchRewrapper, FileResult, Outcome
from hwkm.client.keys import KeyClient
from hwkm.errors import HwkmError

__all__ = ["FileResult", "Outcome", "Tally", "count_files", "rewrap_files"]

BATCH_FILES: Final = 64
"""Files of one directory that share a journal, and the calls to the daemon."""

WORKERS: Final = 4


@dataclass(slots=True)
class Tally:
    """How many files had which outcome. ``stopped`` says why not all of them were looked at."""

    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    stopped: HwkmError | None = None

    def add(self, result: FileResult) -> None:
        """Count a file."""
        self.counts[result.outcome] += 1


Watcher = Callable[[FileResult], None]

_OURS: Final = (JOURNAL_PREFIX, COPY_PREFIX)


def rewrap_files(
    client: KeyClient,
    root: Path,
    *,
    to: str | None = None,
    only_from: str | None = None,
    dry_run: bool = False,
    workers: int = WORKERS,
    watcher: Watcher = lambda _: None,
) -> Tally:
    """Rewrap a file, or every encrypted file at and below a directory; links are not followed.

    ``to``: the key to bring data keys under; without it, the newest version of the one they are
    under. ``only_from``: leave files under any other key alone. ``watcher`` hears of every file, in
    any order, from one thread. Nothing is raised for one file: it is in the results.

    Raises:
        HwkmError: ``to`` or ``only_from`` names no key.
        SourceUnreadable: ``root`` cannot be read.
    """
    work = BatchRewrapper(client, to=to, only_from=only_from, dry_run=dry_run)
    tally = Tally()
    with ThreadPoolExecutor(workers) as pool:
        waiting: set[Future[list[FileResult]]] = set()
        for batch in _batches(root.absolute(), dry_run=dry_run):
            if isinstance(batch, FileResult):
                _count([batch], tally, watcher)
                continue
            if len(waiting) >= 2 * workers:
                waiting = _collect(waiting, tally, watcher)
            if tally.stopped:
                break
            waiting.add(pool.submit(work.rewrap, batch))
        while waiting:
            waiting = _collect(waiting, tally, watcher)
    return tally


def _collect(
    waiting: set[Future[list[FileResult]]], tally: Tally, watcher: Watcher
) -> set[Future[list[FileResult]]]:
    done, rest = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        try:
            _count(future.result(), tally, watcher)
        except STOPS as exc:
            tally.stopped = tally.stopped or exc
    return rest


def _count(results: Sequence[FileResult], tally: Tally, watcher: Watcher) -> None:
    for result in results:
        tally.add(result)
        watcher(result)


# --- which files -----------------------------------------------------------------------------


def count_files(root: Path) -> int:
    """How many files there are to look at, for a progress bar."""
    return sum(
        len(batch.names) for batch in _batches(root.absolute(), dry_run=True) if isinstance(batch, Batch)
    )


def _batches(root: Path, *, dry_run: bool) -> Iterator[Batch | FileResult]:
    """Every file at and below ``root``; what a crash left in a directory is put right before."""
    try:
        facts = root.stat()
    except OSError as exc:
        raise SourceUnreadable(f"{root}: {exc.strerror}") from exc
    if not stat.S_ISDIR(facts.st_mode):
        if not dry_run:
            yield from _recovered(root.parent)
        yield Batch(root.parent, (root.name,))
        return
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as exc:
            yield FileResult(directory, Outcome.FAILED, SourceUnreadable(f"{directory}: {exc.strerror}"))
            continue
        if not dry_run and any(entry.name.startswith(_OURS) for entry in found):
            yield from _recovered(directory)
        waiting += [
            directory / entry.name for entry in reversed(found) if entry.is_dir(follow_symlinks=False)
        ]
        yield from _in_batches(directory, [entry.name for entry in found if _is_candidate(entry)])


def _recovered(directory: Path) -> Iterator[FileResult]:
    """Finish what a crash left in a directory; that this fails keeps nothing else from being done."""
    try:
        yield from (FileResult(path, Outcome.RECOVERED) for path in recover(directory))
    except HwkmError as exc:
        yield FileResult(directory, Outcome.FAILED, exc)
    except OSError as exc:
        yield FileResult(directory, Outcome.FAILED, SourceUnreadable(f"{directory}: {exc.strerror}"))


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False) and not entry.name.startswith(_OURS)


def _in_batches(directory: Path, names: Sequence[str]) -> Iterator[Batch]:
    for start in range(0, len(names), BATCH_FILES):
        yield Batch(directory, tuple(names[start : start + BATCH_FILES]))
