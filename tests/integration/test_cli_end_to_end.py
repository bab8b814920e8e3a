"""The whole story on a real token and a real TPM, by the real commands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.person import Person
from tests.daemon import Daemon
from tests.devices import REAL, make_device


@pytest.fixture(params=REAL)
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    with ExitStack() as stack:
        device = make_device(request.param, tmp_path, stack)
        running = stack.enter_context(Daemon(device, delays=["0s"]))
        running.wait_until_ready()
        yield running


def test_a_lost_phone(daemon: Daemon, tmp_path: Path) -> None:
    phone = Person(tmp_path / "phone", daemon.socket_path)
    key = phone.create("phone", "--show-recovery-key")["recovery_key"]
    (phone.home / "photo").write_bytes(os.urandom(100_000))
    phone.run("backup", "encrypt", "photo", "--vault", "phone", "-o", "b", pin="0417")

    other = Person(tmp_path / "other", daemon.socket_path)
    wrong = other.json("vault", "open", "phone", pin="0418", status=10)
    assert wrong["error"]["attempts_remaining"] == 9
    opened = other.json("vault", "open", "phone", "--show-recovery-key", pin="0417")
    assert (opened["recovery_key"], opened["attempts_remaining"]) == (key, 10)
    other.run("backup", "restore", phone.home / "b", "-o", "out", pin="0417")
    assert (other.home / "out" / "photo").read_bytes() == (phone.home / "photo").read_bytes()

    status = other.json("status")
    assert status["state"] == "ready"
    other.run("doctor")


def test_attempts_outlive_everything_but_the_key(daemon: Daemon, tmp_path: Path) -> None:
    person = Person(tmp_path / "home", daemon.socket_path)
    person.create("wallet", "--max-attempts", "3")
    person.run("vault", "open", "wallet", pin="1", status=10)
    daemon.kill()
    daemon.start()
    daemon.wait_until_ready()
    person.run("vault", "open", "wallet", pin="2", status=10)
    daemon.restart()
    daemon.wait_until_ready()
    assert person.json("vault", "show", "wallet")["attempts_remaining"] == 1
    person.run("vault", "open", "wallet", pin="3", status=10)
    daemon.kill()
    daemon.start()
    daemon.wait_until_ready()
    person.run("vault", "open", "wallet", pin="0417", status=11)
    person.run("audit", "verify", daemon.state_directory / "audit", "--live")
