"""Who may do which operation, on whose vaults. Grants only: what no rule grants is denied."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Final

from hwkm.server.peer import Peer
from hwkm.wire.operations import OPERATIONS

OPERATION_NAMES: Final = tuple(operation.name for operation in OPERATIONS)


class Scope(IntEnum):
    """How far a grant reaches; the wider one wins."""

    OWN = 1
    ANY = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """One grant. ``anyone`` or one match among uids and gids makes it apply to a caller."""

    operations: frozenset[str]
    scope: Scope
    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()
    anyone: bool = False

    def applies_to(self, peer: Peer) -> bool:
        """Whether the rule is about this caller."""
        return self.anyone or peer.uid in self.uids or not self.gids.isdisjoint(peer.groups)


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules; their order does not matter."""

    rules: tuple[Rule, ...]

    def grants(self, peer: Peer) -> Mapping[str, Scope]:
        """What a caller may do: operation name to the widest scope granted."""
        granted: dict[str, Scope] = {}
        for rule in self.rules:
            if rule.applies_to(peer):
                for name in rule.operations:
                    granted[name] = max(rule.scope, granted.get(name, rule.scope))
        return granted


@dataclass(frozen=True, slots=True)
class Granted:
    """What one policy grants one caller."""

    policy: Policy
    scopes: Mapping[str, Scope]


def matching_operations(pattern: str) -> frozenset[str]:
    """The operations that a name or a pattern such as ``vault.*`` stands for; maybe none."""
    return frozenset(name for name in OPERATION_NAMES if fnmatchcase(name, pattern))


def operations_of(patterns: Iterable[str]) -> frozenset[str]:
    """The operations that any of the patterns stands for."""
    return frozenset().union(*map(matching_operations, patterns))


def default_policy() -> Policy:
    """What holds without a policy file.

    Root and the daemon's own user may do everything, everybody else what an owner does with his
    own vaults. Who can connect at all is up to the socket's mode and group.
    """
    return Policy(
        (
            Rule(operations_of("*"), Scope.ANY, uids=frozenset({0, os.geteuid()})),
            Rule(operations_of(_OWNERS_OPERATIONS), Scope.OWN, anyone=True),
        )
    )


_OWNERS_OPERATIONS: Final = ("vault.*", "application_key.*", "status", "cohort")
