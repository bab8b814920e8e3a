"""Bugs to plant in a core, to prove that the attacks catch them. A nursery plants one before it forks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from hwkm.formats.counter import ClaimEntry, Counter, Instant
from hwkm.store import node_database
from hwkm.thm import opening
from hwkm.thm.ledger import Ledger
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.opened import TpmToken

VARIABLE: Final = "HWKM_INSECURE_SEEDED_BUG"


def _charge_later() -> None:
    """Answers leave before the charge is durable: it rides along with the next commit."""

    def charge(self: opening.VaultOpening, batch: opening._Batch) -> None:
        for claim in batch.admitted.values():
            if claim.is_new:
                self._ledger.defer(claim.key, claim.counter)
                self._challenges.use(claim.request.challenge)

    opening.VaultOpening._charge = charge  # type: ignore[method-assign]


def _anchor_first() -> None:
    """The anchor moves before the nodes it names are stored."""

    def commit(self: Ledger, counters: Mapping[bytes, Counter]) -> None:
        changes = {**self._deferred, **counters}
        if not changes:
            return
        encoded = {key: counter.encode() for key, counter in changes.items()}
        change = self._tree.updated(self._state.root, encoded)
        self._advance(change)
        self._nodes.put(change.nodes, self._obsolete)
        self._tree.remember(change)
        self._obsolete = change.obsolete
        self._deferred.clear()

    Ledger.commit = commit  # type: ignore[method-assign]


def _delete_early() -> None:
    """Nodes of the old state are deleted before the anchor has left it."""

    def commit(self: Ledger, counters: Mapping[bytes, Counter]) -> None:
        changes = {**self._deferred, **counters}
        if not changes:
            return
        encoded = {key: counter.encode() for key, counter in changes.items()}
        change = self._tree.updated(self._state.root, encoded)
        self._nodes.put(change.nodes, change.obsolete)
        self._advance(change)
        self._tree.remember(change)
        self._deferred.clear()

    Ledger.commit = commit  # type: ignore[method-assign]


def _unsynced_nodes() -> None:
    """The node store does not sync."""
    prepare = node_database._prepare

    def careless(database: object, path: object) -> None:
        prepare(database, path)  # type: ignore[arg-type]
        database.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]

    node_database._prepare = careless
    os.fdatasync = os.fsync = lambda _descriptor: None  # type: ignore[assignment]


def _charge_twice() -> None:
    """A claim that is presented again is not recognised."""

    def nothing(counter: Counter, digest: bytes, now: Instant) -> ClaimEntry | None:
        return None

    opening._paid_entry = nothing


def _no_fence() -> None:
    """A start leaves the sessions of earlier lives alive."""
    Connection._flush_leftovers = lambda self: None  # type: ignore[method-assign]
    TpmToken._verify_alone = lambda self, storage: None  # type: ignore[method-assign]


BUGS: Final[Mapping[str, Callable[[], None]]] = {
    "charge-later": _charge_later,
    "anchor-first": _anchor_first,
    "delete-early": _delete_early,
    "unsynced-nodes": _unsynced_nodes,
    "charge-twice": _charge_twice,
    "no-fence": _no_fence,
}
