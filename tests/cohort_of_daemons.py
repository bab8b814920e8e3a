"""Daemons on insecure-memory tokens: each alone in its cohort, or members of one, by the real commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.core_process import MemoryToken
from tests.daemon import Daemon


@contextmanager
def running_cohorts(directory: Path, sizes: Sequence[int]) -> Iterator[list[list[Daemon]]]:
    """Cohorts of so many members each, with a running daemon for every member."""
    with ExitStack() as stack:
        cohorts = [
            [_daemon(directory / f"{n}-{k}", stack) for k in range(size)] for n, size in enumerate(sizes)
        ]
        for members in cohorts:
            if len(members) == 1:
                members[0].init()
            else:
                whole_cohort(members)
        daemons = [daemon for members in cohorts for daemon in members]
        for daemon in daemons:
            daemon.start(wait=False)
        for daemon in daemons:
            daemon.wait_until_listening()
            daemon.wait_until_ready()
        yield cohorts


def whole_cohort(members: Sequence[Daemon]) -> None:
    """Make one sealed cohort of stopped daemons on blank tokens."""
    first, *others = members
    _cohort(first, "create", "--members", str(len(members)))
    for number, other in enumerate(others, start=1):
        asked, invitation = other.directory / "request", other.directory / "invitation"
        fingerprint = _word("fingerprint", _cohort(other, "request", "--out", str(asked)))
        invited = _cohort(
            first,
            "invite",
            str(asked),
            "--expect",
            fingerprint,
            "--member",
            str(number),
            "--out",
            str(invitation),
        )
        _cohort(other, "join", str(invitation), "--expect", _word("sender", invited))
    _cohort(first, "seal")


def _daemon(directory: Path, stack: ExitStack) -> Daemon:
    directory.mkdir(parents=True)
    daemon = Daemon(MemoryToken(directory))
    stack.callback(daemon.stop)
    return daemon


def _cohort(daemon: Daemon, *arguments: str) -> str:
    done = daemon.command("cohort", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _word(name: str, text: str) -> str:
    """The digest after a word at the beginning of a line."""
    found = re.search(rf"^{name} ([0-9a-f]{{64}})$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]
