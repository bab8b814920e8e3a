"""Ports that count what passes through them, for metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from hwkm.formats.anchor import AnchorState
from hwkm.thm.ports import Anchor, CohortKey, NodeStore


class CountedAnchor:
    """An anchor and the number of its writes."""

    def __init__(self, anchor: Anchor) -> None:
        self._anchor = anchor
        self.writes = 0

    def read(self) -> AnchorState:
        return self._anchor.read()

    def advance(self, state: AnchorState) -> None:
        self.writes += 1
        self._anchor.advance(state)


class CountedCohortKey:
    """A cohort key and the number of its key agreements."""

    def __init__(self, key: CohortKey) -> None:
        self._key = key
        self.agreements = 0

    def public_key(self) -> bytes:
        return self._key.public_key()

    def agree(self, points: Sequence[bytes]) -> Iterator[bytes]:
        self.agreements += len(points)
        return self._key.agree(points)


class CountedNodes:
    """A node store and the number of nodes put into it."""

    def __init__(self, nodes: NodeStore) -> None:
        self._nodes = nodes
        self.stored = 0

    def get(self, digest: bytes) -> bytes | None:
        return self._nodes.get(digest)

    def put(self, nodes: Mapping[bytes, bytes], obsolete: Iterable[bytes]) -> None:
        self._nodes.put(nodes, obsolete)
        self.stored += len(nodes)
