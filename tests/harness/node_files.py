"""The node store as an attacker sees it: read, changed and written without hwkm's own code for it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from hwkm.formats.anchor import EMPTY_ROOT
from hwkm.formats.tree_node import Branch, parse_node
from tests.harness.snapshot import Files, written

Nodes = dict[bytes, bytes]
"""Bytes by the digest they are stored under."""


def read_nodes(path: Path) -> Nodes:
    """Everything in a store that no core holds."""
    with _opened(path) as database:
        stored = dict(database.execute("SELECT digest, bytes FROM node").fetchall())
        (generation,) = database.execute("SELECT log_generation FROM tally").fetchone()
    stored |= dict(_logged(_log_of(path).read_bytes(), generation))
    return {digest: node for digest, node in stored.items() if node is not None}


def write_nodes(path: Path, nodes: Mapping[bytes, bytes]) -> None:
    """Put these nodes in place of all, under whatever digests."""
    with _opened(path) as database, database:
        database.execute("DELETE FROM node")
        database.executemany("INSERT INTO node VALUES (?, ?)", nodes.items())
        database.execute("UPDATE tally SET nodes = ?", (len(nodes),))
    _log_of(path).write_bytes(b"")


def nodes_of(files: Files, name: str = "nodes.db") -> Nodes:
    """Everything in a snapshot of a store."""
    with written(files) as directory:
        return read_nodes(directory / name)


def reachable(nodes: Nodes, root: bytes) -> Nodes:
    """The nodes of the tree of ``root``, the root first."""
    found: Nodes = {}
    pending = [root] if root != EMPTY_ROOT else []
    while pending:
        digest = pending.pop()
        found[digest] = nodes[digest]
        node = parse_node(found[digest])
        if isinstance(node, Branch):
            pending.extend(node.children.values())
    return found


def root_of(nodes: Nodes) -> bytes:
    """The one node that no other names; for a store without left-overs."""
    children = {
        child
        for node in map(parse_node, nodes.values())
        if isinstance(node, Branch)
        for child in node.children.values()
    }
    (root,) = nodes.keys() - children
    return root


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-log")


def _logged(log: bytes, generation: int) -> Iterator[tuple[bytes, bytes | None]]:
    """What the whole records of a generation changed (``docs/spec/node-log.md``)."""
    at = 0
    while log[at + 32 : at + 40] == generation.to_bytes(8, "big"):
        end = at + 44 + int.from_bytes(log[at + 40 : at + 44], "big")
        if hashlib.sha256(log[at + 32 : end]).digest() != log[at : at + 32]:
            return
        at += 44
        while at < end:
            digest, size = log[at : at + 32], int.from_bytes(log[at + 32 : at + 34], "big")
            yield digest, log[at + 34 : at + 33 + size] if size else None
            at += 34 + max(0, size - 1)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as database:
        yield database
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
