"""Who may do which operation, on whose vaults, on which keys. Grants only: what no rule grants is denied."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Final

from hwkm.audit.record import Caller
from hwkm.errors import AccessDenied
from hwkm.server.keys.principal import EVERY_ACCOUNT, KeyGrant, Principal
from hwkm.server.peer import Peer
from hwkm.wire.operations import OPERATIONS

EVERY_CREDENTIAL: Final = "*"
OPERATION_NAMES: Final = tuple(operation.name for operation in OPERATIONS)
KEY_OPERATIONS: Final = frozenset(name for name in OPERATION_NAMES if name.startswith("key."))
"""What a rule grants only together with the keys it grants it on."""


class Scope(IntEnum):
    """How far a grant reaches; the wider one wins."""

    OWN = 1
    ANY = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """One grant. ``anyone`` or one match among uids, gids and credentials makes it apply to a caller.

    ``keys``: see :class:`KeyGrant`; without it no operation on keys is granted.
    """

    operations: frozenset[str]
    scope: Scope
    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()
    credentials: frozenset[str] = frozenset()
    anyone: bool = False
    keys: KeyGrant | None = None

    def applies_to(self, peer: Peer) -> bool:
        """Whether the rule is about this caller on the Unix socket."""
        return self.anyone or peer.uid in self.uids or not self.gids.isdisjoint(peer.groups)

    def applies_to_credential(self, name: str) -> bool:
        """Whether the rule is about this credential."""
        return self.anyone or not self.credentials.isdisjoint((name, EVERY_CREDENTIAL))

    @property
    def granted(self) -> frozenset[str]:
        """The operations that it really grants."""
        return self.operations if self.keys else self.operations - KEY_OPERATIONS


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules; their order does not matter."""

    rules: tuple[Rule, ...]

    def grants(self, peer: Peer) -> Mapping[str, Scope]:
        """What a caller may do: operation name to the widest scope granted."""
        granted: dict[str, Scope] = {}
        for rule in self.rules:
            if rule.applies_to(peer):
                for name in rule.granted:
                    granted[name] = max(rule.scope, granted.get(name, rule.scope))
        return granted

    def principal_of_peer(self, peer: Peer, default_account: str) -> Principal:
        """A caller on the Unix socket as the key service sees him.

        He is at home in the account that the rules about him name, else in the default one.

        Raises:
            AccessDenied: rules about him name several accounts, so it is not known which is his.
        """
        rules = [rule for rule in self.rules if rule.applies_to(peer)]
        accounts = {rule.keys.account for rule in rules if rule.keys} - {"", EVERY_ACCOUNT}
        name = f"uid {peer.uid}"
        if len(accounts) > 1:
            raise AccessDenied(f"the policy names {len(accounts)} accounts for {name}; it takes one")
        account = accounts.pop() if accounts else default_account
        return Principal(account, name, peer.caller, _key_grants(rules))

    def principal_of_credential(self, name: str, account: str, caller: Caller) -> Principal:
        """The holder of a credential as the key service sees him: at home in the credential's account."""
        rules = [rule for rule in self.rules if rule.applies_to_credential(name)]
        return Principal(account, f"credential {name}", caller, _key_grants(rules))


def _key_grants(rules: Iterable[Rule]) -> Mapping[str, tuple[KeyGrant, ...]]:
    grants: dict[str, tuple[KeyGrant, ...]] = {}
    for rule in rules:
        if rule.keys:
            for name in rule.operations & KEY_OPERATIONS:
                grants[name] = (*grants.get(name, ()), rule.keys)
    return grants


@dataclass(slots=True)
class Granted:
    """What one policy grants one caller."""

    policy: Policy
    scopes: Mapping[str, Scope]
    _principal: Principal | None = None

    def principal(self, peer: Peer, default_account: str) -> Principal:
        """The caller as the key service sees him; found out when it is first asked for.

        Raises:
            AccessDenied: as :meth:`Policy.principal_of_peer`.
        """
        if self._principal is None:
            self._principal = self.policy.principal_of_peer(peer, default_account)
        return self._principal


def matching_operations(pattern: str) -> frozenset[str]:
    """The operations that a name or a pattern such as ``vault.*`` stands for; maybe none."""
    return frozenset(name for name in OPERATION_NAMES if fnmatchcase(name, pattern))


def operations_of(patterns: Iterable[str]) -> frozenset[str]:
    """The operations that any of the patterns stands for."""
    return frozenset().union(*map(matching_operations, patterns))


def default_policy() -> Policy:
    """What holds without a policy file.

    Root and the daemon's own user may do everything, everybody else what an owner does with his
    own vaults, and nothing with keys: a key serves whom somebody has chosen, and belongs to nobody.
    A credential was made for an account by whoever runs the daemon: it may do everything with its keys.
    Who can connect at all is up to the socket's mode and group.
    """
    every_key = KeyGrant(keys=("*",), account=EVERY_ACCOUNT)
    return Policy(
        (
            Rule(operations_of("*"), Scope.ANY, uids=frozenset({0, os.geteuid()}), keys=every_key),
            Rule(operations_of(_OWNERS_OPERATIONS), Scope.OWN, anyone=True),
            Rule(KEY_OPERATIONS, Scope.OWN, credentials=frozenset({EVERY_CREDENTIAL}), keys=KeyGrant(("*",))),
        )
    )


_OWNERS_OPERATIONS: Final = ("vault.*", "application_key.*", "status", "cohort")
