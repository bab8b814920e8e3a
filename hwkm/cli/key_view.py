"""How a key looks to people and to programs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from hwkm.cli.printing import print_facts, print_json
from hwkm.wire.key_api import KeyInfo

_STATES: Final = {"pending_deletion": "pending deletion"}


def as_data(value: Any) -> Any:
    """For JSON, as the daemon says it."""
    return msgspec.to_builtins(value)


def when(milliseconds: int | None) -> str:
    """A time, to the minute, UTC; empty if there is none."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def state_of(state: str) -> str:
    """A state in words."""
    return _STATES.get(state, state)


def names_of(aliases: tuple[str, ...], key_id: str) -> str:
    """What to call a key in a sentence: its first alias, or its id."""
    return aliases[0] if aliases else key_id


def pairs_of(pairs: Mapping[str, str]) -> str:
    """A map on a line: ``a=1, b=2``."""
    return ", ".join(f"{name}={value}" for name, value in sorted(pairs.items()))


def print_key(info: KeyInfo, *, as_json: bool) -> None:
    """Print everything about a key."""
    if as_json:
        print_json(as_data(info))
        return
    facts = {
        "key id": info.key_id,
        "ARN": info.arn,
        "aliases": ", ".join(info.aliases),
        "description": info.description,
        "kind": info.kind.value,
        "state": _standing(info),
        "version": info.version,
        "created": when(info.created_at_ms),
        "rotation": _rotation(info),
        "last use": f"{info.last_use.operation}, {when(info.last_use.at_ms)}" if info.last_use else "none",
        "tags": pairs_of(info.tags),
    }
    print_facts({name: value for name, value in facts.items() if value != ""})


def _standing(info: KeyInfo) -> str:
    if info.deletion_at_ms is not None and info.state == "pending_deletion":
        return f"{state_of(info.state)} on {when(info.deletion_at_ms)}"
    return state_of(info.state)


def _rotation(info: KeyInfo) -> str:
    parts = []
    if info.rotation_period_days:
        parts.append(f"every {info.rotation_period_days} days, next {when(info.next_rotation_at_ms)}")
    if info.rotated_at_ms is not None:
        parts.append(f"last {when(info.rotated_at_ms)}")
    return "; ".join(parts) or "on demand only"
