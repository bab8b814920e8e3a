"""Who asks the key service, what the policy grants him, and what is to be said about it in the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from hwkm.audit.record import Caller
from hwkm.errors import AccessDenied

EVERY_ACCOUNT: Final = "*"

Context = Mapping[str, str]
_Use = tuple[str, int, tuple[tuple[str, str], ...], str]


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What one rule of the policy grants: its operations on some keys of an account.

    ``keys`` are patterns of key ids and of aliases (``alias/...``). ``account`` is one, or ``*`` for
    every one, or empty for that of the caller. ``required`` are entries that a context must have, each
    with the values that are accepted.
    """

    keys: tuple[str, ...]
    account: str = ""
    required: tuple[tuple[str, frozenset[str]], ...] = ()

    def reaches(self, account: str, own_account: str) -> bool:
        """Whether it says anything about an account."""
        return self.account == EVERY_ACCOUNT or account == (self.account or own_account)

    def matches(self, names: Iterable[str]) -> bool:
        """Whether any of the names of a key (id, aliases) is among its keys."""
        return "*" in self.keys or any(fnmatchcase(name, pattern) for name in names for pattern in self.keys)


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller of the key service: where he is at home, and what he may do there and elsewhere."""

    account: str
    name: str
    """For messages: ``uid 1000`` or ``credential backup``."""
    caller: Caller
    grants: Mapping[str, tuple[KeyGrant, ...]]
    """By name of operation; what is not in it is denied."""

    def check(
        self, operation: str, account: str, names: Iterable[str] = (), contexts: Iterable[Context] = ()
    ) -> None:
        """Refuse what the policy does not grant, before anybody else is asked.

        ``names`` are all names of the key that it is about; none where it is about no key yet.
        ``contexts`` are the encryption contexts of the request, where it has any. Requirements of
        all rules that grant it add up: no other rule lifts one.

        Raises:
            AccessDenied: it is not granted; the message says what was missing.
        """
        granting = [
            grant
            for grant in self.grants.get(operation, ())
            if grant.reaches(account, self.account) and (not names or grant.matches(names))
        ]
        if not granting:
            raise AccessDenied(f"the policy does not allow {self.name} to do {operation} on this key")
        for grant in granting:
            for entry, values in grant.required:
                for context in contexts:
                    if context.get(entry) not in values:
                        raise AccessDenied(
                            f"the policy wants {entry} in the encryption context of {self.name}"
                        )

    def reaches(self, operation: str, account: str) -> bool:
        """Whether it may do ``operation`` on any key of an account."""
        return any(grant.reaches(account, self.account) for grant in self.grants.get(operation, ()))


class KeyUse(NamedTuple):
    """That a key was used, or was to be used: ``items`` times with one context and one outcome.

    ``outcome`` is ``ok`` or the code of an error. If the request failed as a whole, its own outcome
    counts for every use.
    """

    key: str
    """Key ARN; empty where what was asked names no key that is there."""
    version: int
    context: Context
    items: int
    outcome: str


@dataclass(slots=True)
class KeyCall:
    """One request to the key service. The service notes in it what has to be in the audit log.

    A dry run checks all that can be checked without the hardware, changes nothing, and ends in
    DryRunSucceeded or in the error that the request would have met.
    """

    principal: Principal
    dry_run: bool = False
    _counts: dict[_Use, int] = field(default_factory=dict)

    def note(self, key: str, version: int, context: Context | None = None, outcome: str = "ok") -> None:
        """Have the audit log say that a key (an ARN, or empty) was asked for; equal uses are counted together."""
        use = (key, version, tuple(sorted(context.items())) if context else (), outcome)
        self._counts[use] = self._counts.get(use, 0) + 1

    def adopt(self, other: KeyCall) -> None:
        """Note what was noted in another call."""
        self._counts |= other._counts

    @property
    def uses(self) -> list[KeyUse]:
        """What was noted; nothing if no key is known that the request was about."""
        return [
            KeyUse(key, version, dict(context), count, outcome)
            for (key, version, context, outcome), count in self._counts.items()
        ]
