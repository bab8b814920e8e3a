"""The policy file: TOML, an array of tables ``[[rule]]`` (``docs/operations/policy.md``)."""

from __future__ import annotations

import grp
import pwd
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from hwkm.server.keys.principal import EVERY_ACCOUNT, KeyGrant
from hwkm.server.policy import Policy, Rule, Scope, default_policy, matching_operations
from hwkm.server.toml_file import TomlFile
from hwkm.wire.key_api import ACCOUNT_PATTERN, CONTEXT_PAIRS_MAX

RULES_MAX: Final = 1000

_ACCOUNT: Final = re.compile(ACCOUNT_PATTERN)

_Id = Annotated[int, Meta(ge=0, le=2**32 - 2)]
_Names = Annotated[tuple[str, ...], Meta(max_length=1000)]
_Ids = Annotated[tuple[_Id, ...], Meta(max_length=1000)]
_Keys = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(max_length=1000)]
_Values = Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)]
_Required = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=8192)], str | _Values],
    Meta(max_length=CONTEXT_PAIRS_MAX),
]


class RuleTable(msgspec.Struct, frozen=True, kw_only=True):
    """One rule as it is written."""

    operations: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)]
    vaults: Literal["own", "any"] = "own"
    uids: _Ids = ()
    gids: _Ids = ()
    users: _Names = ()
    groups: _Names = ()
    credentials: _Names = ()
    keys: _Keys = ()
    account: str = ""
    require_context: _Required = {}
    anyone: bool = False


def load_policy(path: Path | None) -> Policy:
    """Read the policy file, or return the default policy if there is none.

    Raises:
        ConfigError: it cannot be read, or a rule, user, group or operation is unknown; the message
            names file and line.
    """
    if path is None:
        return default_policy()
    file = TomlFile(path)
    for key in file.tables:
        if key != "rule":
            file.refuse(f"unknown key {key!r}; a policy is a list of [[rule]] tables", key)
    tables = file.tables.get("rule", [])
    if not isinstance(tables, list):
        file.refuse("a rule is written [[rule]], with two brackets", "rule")
    if not 1 <= len(tables) <= RULES_MAX:
        file.refuse(f"a policy has 1 to {RULES_MAX} rules", "rule")
    return Policy(tuple(_rule(file, table, number) for number, table in enumerate(tables)))


def _rule(file: TomlFile, table: Any, number: int) -> Rule:
    place = ("rule", number)
    written = file.section(RuleTable, table, *place)
    if not (
        written.anyone
        or written.uids
        or written.gids
        or written.users
        or written.groups
        or written.credentials
    ):
        file.refuse(
            "the rule is about nobody: give uids, gids, users, groups, credentials or anyone = true", *place
        )
    users = [_uid(file, name, *place) for name in written.users]
    groups = [_gid(file, name, *place) for name in written.groups]
    return Rule(
        operations=frozenset().union(*(_operations(file, name, *place) for name in written.operations)),
        scope=Scope[written.vaults.upper()],
        uids=frozenset((*written.uids, *users)),
        gids=frozenset((*written.gids, *groups)),
        credentials=frozenset(written.credentials),
        anyone=written.anyone,
        keys=_keys(file, written, *place),
    )


def _keys(file: TomlFile, written: RuleTable, *place: str | int) -> KeyGrant | None:
    if written.account and written.account != EVERY_ACCOUNT and not _ACCOUNT.match(written.account):
        file.refuse('account: 12 digits, or "*" for every account', *place, "account")
    if written.keys:
        required = tuple(
            (name, frozenset({values} if isinstance(values, str) else values))
            for name, values in sorted(written.require_context.items())
        )
        return KeyGrant(written.keys, written.account, required)
    for key in ("account", "require_context"):
        if getattr(written, key):
            file.refuse(f"{key}: the rule is about no keys; give keys, such as ['*']", *place, key)
    for name in written.operations:
        if name.startswith("key."):
            file.refuse(f"operations: {name} is on no keys; give keys, such as ['*']", *place, "operations")
    return None


def _operations(file: TomlFile, pattern: str, *place: str | int) -> frozenset[str]:
    found = matching_operations(pattern)
    if not found:
        file.refuse(f"operations: no operation is called {pattern!r}", *place, "operations")
    return found


def _uid(file: TomlFile, name: str, *place: str | int) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        file.refuse(f"users: this system has no user {name!r}", *place, "users")


def _gid(file: TomlFile, name: str, *place: str | int) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        file.refuse(f"groups: this system has no group {name!r}", *place, "groups")
