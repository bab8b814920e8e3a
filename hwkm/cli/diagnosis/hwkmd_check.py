"""``hwkmd check``: the daemon's own look at configuration, PIN file, stores and token.

It runs as a process of its own, as the user whom the state directory belongs to.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from hwkm.cli.diagnosis.finding import Finding, Level, ok, problem, skipped

CHECK: Final = "hwkmd check"
_DEADLINE_S: Final = 120
_LEVELS: Final = {"ok": Level.OK, "warning": Level.WARNING, "failed": Level.PROBLEM}
_SEEN_FROM_HERE: Final = {"configuration", "socket"}
_DAEMON_SAID: Final = {"daemon", "hardening", "NV memory"}

_WHY: Final = {
    "PIN file": "the trusted core reads the token's PIN from it, and refuses one that others can read",
    "state directory": "attempt state, vaults and audit log are in it, and hwkmd refuses one open to others",
    "policy": "it says who may do what; without it nobody could be told apart",
    "records": "the sealed vaults are in it",
    "audit log": "nothing is answered that was not recorded first",
    "token": "the cohort key and the anchor of the attempt state are in it",
    "hardening": "other processes could look into the trusted core",
    "NV memory": "hwkm needs no more than it has, but another init would fail",
}


class _Found(msgspec.Struct):
    check: str
    state: str
    detail: str
    advice: str = ""


class _Report(msgspec.Struct):
    findings: list[_Found]


def check_by_hwkmd(config: Path, state_directory: Path, *, daemon_listens: bool) -> list[Finding]:
    """Run ``hwkmd check`` and return what it found that is not known yet."""
    owner = _owner_of(state_directory)
    if owner not in {None, os.geteuid()} and os.geteuid() != 0:
        return [
            skipped(
                CHECK, f"the state is user {_name_of(owner)}'s; run as that user: hwkmd check -c {config}"
            )
        ]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hwkm.server", "check", "--json", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_DEADLINE_S,
            check=False,
            **_as_user(owner),
        )
        report = msgspec.json.decode(done.stdout, type=_Report)
    except subprocess.TimeoutExpired:
        return [_silent(f"it did not end within {_DEADLINE_S} s", config)]
    except (OSError, msgspec.DecodeError) as exc:
        return [_silent(str(exc), config)]
    known = _SEEN_FROM_HERE | (_DAEMON_SAID if daemon_listens else set())
    return [_finding(found) for found in report.findings if found.check not in known]


def _owner_of(state_directory: Path) -> int | None:
    try:
        return state_directory.stat().st_uid
    except OSError:
        return None


def _name_of(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid or 0).pw_name
    except KeyError:
        return str(uid)


def _as_user(owner: int | None) -> dict[str, Any]:
    """Become the daemon's user: as root, hwkmd would rightly refuse another user's state."""
    if owner is None or owner == os.geteuid():
        return {}
    entry = pwd.getpwuid(owner)
    return {
        "user": owner,
        "group": entry.pw_gid,
        "extra_groups": os.getgrouplist(entry.pw_name, entry.pw_gid),
    }


def _finding(found: _Found) -> Finding:
    level = _LEVELS.get(found.state, Level.PROBLEM)
    if level is Level.OK:
        return ok(found.check, found.detail)
    return Finding(found.check, level, found.detail, _WHY.get(found.check, ""), found.advice)


def _silent(reason: str, config: Path) -> Finding:
    return problem(
        CHECK,
        f"`hwkmd check` said nothing of use: {reason}",
        "state and token were not looked at",
        f"run it by hand: hwkmd check --config {config}",
    )
