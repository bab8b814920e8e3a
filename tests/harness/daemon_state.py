"""What a daemon keeps, as parts that can be taken back, and one whose core commits only when it is told."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from tests.daemon import Daemon, Settings
from tests.devices import make_device
from tests.hardware import short_directory
from tests.harness.snapshot import DirectoryPart, FilePart, Files, Machine, device_part
from tests.vault_http import VaultHttp

T = TypeVar("T")

_BASE: Final[tuple[Settings, ...]] = (
    {"attempts": {"delays": ["0s"]}},
    {"core": {"settle_delay": "1m"}},
)
"""No delays; the core settles when it is stopped."""


def machine_of(daemon: Daemon) -> Machine:
    """Its parts: ``device``, ``nodes``, ``records``, ``audit``."""
    state = daemon.state_directory
    return Machine(
        {
            "device": device_part(daemon.device),
            "nodes": FilePart(state / "nodes.db"),
            "records": FilePart(state / "records.db"),
            "audit": DirectoryPart(state / "audit"),
        }
    )


def asking(daemon: Daemon, ask: Callable[[VaultHttp], T]) -> T:
    """Ask a running daemon, on a connection of its own."""
    with daemon.http() as http:
        return ask(VaultHttp(http))


def one_life(daemon: Daemon, ask: Callable[[VaultHttp], T]) -> T:
    """Start it, ask, and stop it cleanly."""
    daemon.start()
    try:
        return asking(daemon, ask)
    finally:
        daemon.terminate()


@dataclass
class Installed:
    """A daemon that was set up once and can be had as new again and again."""

    daemon: Daemon
    taken: dict[str, Files]

    @contextmanager
    def anew(self, *changes: Settings) -> Iterator[Daemon]:
        """As new and not running; ``changes`` of its settings. It does not run afterwards."""
        machine_of(self.daemon).restore(self.taken)
        self.daemon.configure(*_BASE, *changes)
        yield self.daemon
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.daemon.terminate()


@contextmanager
def make_installed(kind: str) -> Iterator[Installed]:
    """Make a device and set up a daemon on it."""
    with ExitStack() as stack:
        directory = short_directory()
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        daemon = Daemon(make_device(kind, directory, stack))
        stack.callback(daemon.stop)
        daemon.configure(*_BASE)
        daemon.init()
        yield Installed(daemon, machine_of(daemon).take())


def edit_records(daemon: Daemon, statement: str, *values: Any) -> None:
    """Change the record database of a stopped daemon behind its back."""
    with closing(sqlite3.connect(daemon.state_directory / "records.db")) as database, database:
        assert database.execute(statement, values).rowcount == 1
