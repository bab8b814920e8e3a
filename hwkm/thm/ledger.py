"""The commit protocol of the attempt state: nodes first, then the anchor, then replies.

A commit (1) prepares the new tree, (2) stores its nodes durably, (3) advances the anchor in the
hardware. The anchor write is the commit point: before it the old state is true, after it the new
one, whatever crashes. Nothing may leave the trusted core on the strength of a commit before
:meth:`Ledger.commit` has returned.

Changes that nobody waits for (a verdict, a cleared attempt) are *deferred*: they count at once in
memory and ride along with the next commit. Losing them in a crash costs an attempt, never gives one.
"""

from __future__ import annotations

from collections.abc import Mapping

from hwkm.errors import AnchorTampered, FormatError, StorageMismatch, TokenBusy, TokenFull
from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
from hwkm.formats.counter import Counter
from hwkm.formats.membership import ALONE, Membership
from hwkm.thm.ports import Anchor, NodeStore
from hwkm.thm.tree import Tree, TreeChange


class Ledger:
    """The attempt counters of one module, true as of the anchor. One thread, one writer."""

    def __init__(
        self, anchor: Anchor, nodes: NodeStore, cohort: bytes, membership: Membership = ALONE
    ) -> None:
        """Take up the anchored state. ``cohort`` is the SHA-256 of the cohort public key (32).

        ``membership`` is what the module takes itself for; every commit keeps it.

        Raises:
            AnchorTampered: the anchor belongs to another cohort key, or to another member.
            StorageMismatch: storage does not have the anchored root.
        """
        self._anchor = anchor
        self._nodes = nodes
        self._tree = Tree(nodes)
        self._deferred: dict[bytes, Counter] = {}
        self._obsolete: set[bytes] = set()
        self._state = anchor.read()
        if self._state.cohort != cohort:
            raise AnchorTampered("the anchor belongs to another cohort key")
        if self._state.membership != membership:
            raise AnchorTampered("the anchor belongs to another member of the cohort")
        if self._state.root != EMPTY_ROOT:
            self._tree.load(self._state.root)

    @property
    def state(self) -> AnchorState:
        """The state made durable last."""
        return self._state

    @property
    def has_deferred(self) -> bool:
        """Whether there are changes that a crash would lose."""
        return bool(self._deferred)

    def counter(self, key: bytes) -> Counter | None:
        """Return the counter named ``key`` (32 bytes), or None if it was never charged.

        Raises:
            StorageMismatch: storage does not match the anchor.
        """
        if key in self._deferred:
            return self._deferred[key]
        value = self._tree.get(self._state.root, key)
        try:
            return None if value is None else Counter.parse(value)
        except FormatError as exc:
            raise StorageMismatch(f"attempt state is malformed: {exc}") from None

    def defer(self, key: bytes, counter: Counter) -> None:
        """Let a change ride along with the next commit. Not durable when this returns."""
        self._deferred[key] = counter

    def commit(self, counters: Mapping[bytes, Counter]) -> None:
        """Make ``counters`` and all deferred changes true. Durable when this returns.

        Raises:
            StorageUnavailable, TokenBusy, TokenFull: definitely not applied; the state is as
                before, and deferred changes are kept.
            StorageMismatch: storage does not match the anchor; not applied.
            TokenError: any other: outcome unknown, this object must not be used again.
        """
        changes = {**self._deferred, **counters}
        if not changes:
            return
        change = self._tree.updated(
            self._state.root, {key: counter.encode() for key, counter in changes.items()}
        )
        self._nodes.put(change.nodes, self._obsolete)
        self._advance(change)
        self._tree.remember(change)
        self._obsolete = change.obsolete
        self._deferred.clear()

    def _advance(self, change: TreeChange) -> None:
        state = self._state.next(change.root)
        try:
            self._anchor.advance(state)
        except (TokenBusy, TokenFull):
            # The new nodes were stored for nothing; the next commit removes them.
            self._obsolete = set(change.nodes)
            raise
        self._state = state
