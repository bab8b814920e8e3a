"""What TUF's root metadata must say for its lists to be those of two parties.

TUF counts signatures by key; that two *parties* signed follows from the root alone: in each of the
roles ``root`` and ``targets`` the threshold is higher than the number of keys that either party
holds, so no party reaches it without the other (``docs/spec/fleet.md``).
"""

from __future__ import annotations

from typing import Final

from securesystemslib.signer import Key
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from hwkm.errors import FleetRulesBroken, FormatError
from hwkm.fleet.list_log import LogPolicy
from hwkm.fleet.signing_keys import Party, keys_of, material, verify_strength

TWO_PARTY_ROLES: Final = (Root.type, Targets.type)
ONLINE_ROLES: Final = (Snapshot.type, Timestamp.type)
KEYS_MAX: Final = 64


def verify_root_rules(root: Root) -> None:
    """Check root metadata, new or received, whoever signed it.

    Raises:
        FleetRulesBroken: one party could act alone, or a key stands in two places.
        FormatError: it names no public log.
        WeakKey: a key is weak.
    """
    if root.consistent_snapshot is not True:
        raise FleetRulesBroken("the root does not demand consistent snapshots")
    if len(root.keys) > KEYS_MAX:
        raise FleetRulesBroken(f"the root has more than {KEYS_MAX} keys")
    for key in root.keys.values():
        verify_strength(key)
    if len({material(key) for key in root.keys.values()}) != len(root.keys):
        raise FleetRulesBroken("the same key stands in the root under two names")
    for role in TWO_PARTY_ROLES:
        _verify_two_parties(role, role_keys(root, role), root.roles[role].threshold)
    _verify_apart(root)
    LogPolicy.of(root)


def role_keys(root: Root, role: str) -> list[Key]:
    """The keys of a role.

    Raises:
        FleetRulesBroken: the role names a key that is not there.
    """
    try:
        return [root.keys[keyid] for keyid in root.roles[role].keyids]
    except KeyError:
        raise FleetRulesBroken(f"role {role} names a key that the root does not have") from None


def _verify_two_parties(role: str, keys: list[Key], threshold: int) -> None:
    try:
        held = {party: len(keys_of(party, keys)) for party in Party}
    except FormatError as exc:
        raise FleetRulesBroken(f"role {role}: {exc}") from None
    for party, count in held.items():
        if not count:
            raise FleetRulesBroken(f"role {role} has no key of the {party}")
        if threshold <= count:
            raise FleetRulesBroken(
                f"role {role}: the {party} holds {count} keys and needs {threshold}: he could sign alone"
            )
    if threshold > len(keys):
        raise FleetRulesBroken(f"role {role} needs {threshold} signatures and has {len(keys)} keys")


def _verify_apart(root: Root) -> None:
    """Keys that lie on a server must not be those that answer for a list."""
    offline = {keyid for role in TWO_PARTY_ROLES for keyid in root.roles[role].keyids}
    for role in ONLINE_ROLES:
        if not offline.isdisjoint(root.roles[role].keyids):
            raise FleetRulesBroken(f"role {role} uses a key of an offline role")
