"""Node store of the attempt tree: SHA-256 digest to node bytes.

Not trusted for anything but availability: the tree checks every node it reads against the
digest it asked for. What a ``put`` made durable is there after a crash of the process or of
the machine.

A put is one record in the :class:`~hwkm.store.node_log.NodeLog` and stays in memory as well. When
the log is full, and at every start, all that is in it goes into the
:class:`~hwkm.store.node_database.NodeDatabase` in one transaction, which begins a new generation
of the log. So at any moment the content is that of the database with the records of its own
generation on top; a crash between the two steps leaves records of an older one, which nobody reads.

**Why deletion is late.** ``put`` runs *before* the anchor moves. If the machine stops between
the two, the anchor still names the old root, so a ``put`` must never delete what that root
needs. The caller therefore passes in ``obsolete`` only digests that no state *from the
anchored one on* refers to, which means: the nodes that commit N made superfluous are deleted
by the ``put`` of commit N + 1, when the anchor is known to stand at N. What a crash leaves
undeleted is removed by :meth:`SqliteNodeStore.sweep`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from hwkm.formats.node_log import Changes
from hwkm.store.faults import storage_fault
from hwkm.store.node_database import NodeCounters, NodeDatabase
from hwkm.store.node_log import LOG_BYTES, NodeLog

LOG_SUFFIX: Final = "-log"


class SqliteNodeStore:
    """A :class:`hwkm.thm.ports.NodeStore` in a SQLite file and its log, used by one thread."""

    def __init__(self, path: Path | str, *, log_bytes: int = LOG_BYTES) -> None:
        """Open the store at ``path``, with its log beside it; absent files are made, mode 0600.

        Raises:
            StorageMismatch: a file is damaged, or is not a node store of this version.
            StorageUnavailable: a file cannot be opened, or another process holds the store.
        """
        self._path = Path(path)
        self._log_path = self._path.with_name(self._path.name + LOG_SUFFIX)
        self._recent: dict[bytes, bytes | None] = {}
        self._log_usable = False
        self._database = NodeDatabase(self._path)
        try:
            with self._log_faults():
                self._log = NodeLog(self._log_path, log_bytes)
            try:
                self._replay()
            except BaseException:
                self._log.close()
                raise
        except BaseException:
            self._database.close()
            raise

    def get(self, digest: bytes) -> bytes | None:
        """Return what is stored under ``digest`` (32 bytes), unchecked, or None.

        Raises:
            StorageMismatch: the file is damaged.
            StorageUnavailable: storage failed.
        """
        if digest in self._recent:
            return self._recent[digest]
        return self._database.get(digest)

    def put(self, nodes: Mapping[bytes, bytes], obsolete: Iterable[bytes] = ()) -> None:
        """Store ``nodes`` and delete ``obsolete``, all or nothing, on the disk when this returns.

        ``obsolete`` holds digests that no state from the anchored one on refers to (see above);
        a digest in both is kept, one that is absent is passed over.

        Raises:
            FormatError: a digest is not 32 bytes, or a node is longer than 8,192.
            StorageMismatch: the file is damaged.
            StorageUnavailable: storage failed (disk full); nothing was applied or all of it
                was, and the store can be used again.
        """
        changes: dict[bytes, bytes | None] = {**dict.fromkeys(obsolete), **nodes}
        if self._log_usable and self._append(changes):
            self._recent.update(changes)
        else:
            self._drain(changes)

    def sweep(self, reachable: Iterable[bytes]) -> int:
        """Delete every node whose digest is not in ``reachable``; return how many went.

        Call it only while the anchor stands at the root that ``reachable`` was walked from, with
        no ``put`` waiting for its anchor. Nothing is deleted unless ``reachable`` ends normally,
        so a walk that raises on a missing node costs nothing.

        Raises:
            StorageMismatch, StorageUnavailable: as :meth:`NodeDatabase.sweep`.
        """
        self._drain({})
        return self._database.sweep(reachable)

    def counters(self) -> NodeCounters:
        """Return the counters, without a scan; the log is emptied for it.

        Raises:
            StorageMismatch: the file is damaged.
            StorageUnavailable: storage failed.
        """
        self._drain({})
        return self._database.counters()

    def close(self) -> None:
        """Close the files and let go of the lock. May be called again."""
        self._log.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, changes: Changes) -> bool:
        """Put changes into the log, if there is room. After a failure it is not used again until it is empty."""
        self._log_usable = False
        with self._log_faults():
            appended = self._log.append(changes)
        self._log_usable = appended
        return appended

    def _drain(self, changes: Changes) -> None:
        """Bring what is in the log, and ``changes``, into the database; empty the log.

        If this fails, the transaction may still be found whole after a crash, and the log would
        then be of an older generation. So nothing is appended until another attempt succeeds.
        """
        together = {**self._recent, **changes}
        self._log_usable = False
        if together:
            self._database.take_over(together)
        self._log.begin(self._database.log_generation)
        self._recent = {}
        self._log_usable = True

    def _replay(self) -> None:
        for changes in self._log.take(self._database.log_generation):
            self._recent.update(changes)
        self._drain({})

    @contextmanager
    def _log_faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise storage_fault(exc, self._log_path) from exc
