"""How a vault looks to people and to programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from hwkm.cli.printing import duration, print_facts, print_json, print_line, print_table
from hwkm.cli.vault_place import VaultPlace
from hwkm.client import KfType
from hwkm.client.fleet_vaults import Standing
from hwkm.wire.api import KnowledgeFactor, VaultInfo

_WORDS: Final = {KfType.PIN: "PIN", KfType.PASSWORD: "password", KfType.PATTERN: "pattern"}


def pin_word(what: KfType | VaultInfo) -> str:
    """What to ask for: PIN, password or pattern."""
    if isinstance(what, VaultInfo):
        what = what.knowledge_factor.type if what.knowledge_factor else KfType.PIN
    return _WORDS[what]


def standing(info: VaultInfo) -> str:
    """One word or two on whether it can be opened now."""
    if info.state == "locked":
        return "locked"
    if info.suspended:
        return "suspended"
    return f"wait {duration(info.retry_after_ms)}" if info.retry_after_ms else "active"


def summary_of(info: VaultInfo, place: VaultPlace | None = None) -> dict[str, Any]:
    """For JSON, as the daemon says it; and where it is, if a list of cohorts is trusted."""
    summary: dict[str, Any] = msgspec.to_builtins(info)
    return summary if place is None else summary | place.facts()


def print_vaults(vaults: Sequence[VaultInfo], places: Mapping[str, VaultPlace]) -> None:
    """Print a table of vaults."""
    columns = ("name", "handle", "state", "attempts", "keys")
    rows: list[tuple[object, ...]] = [
        (
            info.name,
            info.handle,
            standing(info),
            f"{info.attempts_remaining} of {info.max_attempts}",
            len(info.application_keys),
        )
        for info in vaults
    ]
    if not places:
        print_table(columns, rows)
        return
    at = [places[info.handle] for info in vaults]
    print_table((*columns, "cohort"), [(*row, one.cohort) for row, one in zip(rows, at, strict=True)])
    for info, one in zip(vaults, at, strict=True):
        if one.standing != Standing.CURRENT:
            print_line(f"{info.name}: {one.words}", style="yellow")


def print_vault(info: VaultInfo, place: VaultPlace | None = None, *, as_json: bool) -> None:
    """Print everything about a vault."""
    if as_json:
        print_json(summary_of(info, place))
        return
    print_facts(
        {
            "name": info.name,
            "handle": info.handle,
            "state": standing(info),
            "attempts": f"{info.attempts_remaining} of {info.max_attempts} remaining",
            "opened by": _stretching(info.knowledge_factor),
            "application keys": ", ".join(info.application_keys) or "none",
            "snapshot": info.snapshot_version,
            "owner": f"uid {info.owner_uid}",
            "created": _time(info.created_at_ms),
            "changed": _time(info.updated_at_ms),
        }
        | ({} if place is None else place.rows())
    )


def _stretching(factor: KnowledgeFactor | None) -> str:
    if factor is None:
        return "nothing, ever again"
    return f"{pin_word(factor.type)}, stretched by {factor.algorithm.value}"


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
