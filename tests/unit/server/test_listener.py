"""The socket: nobody slips in before its mode is set, nobody else's file is removed."""

from __future__ import annotations

import grp
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwkm.errors import ConfigError, Unavailable
from hwkm.server.listener import Listener, is_listening
from tests.hardware import short_directory


@pytest.fixture
def path() -> Iterator[Path]:
    directory = short_directory()
    yield directory / "s.sock"
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()


def test_mode_and_group_are_set(path: Path) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    listener = Listener.make(path, mode=0o660, group=group)
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert status.st_gid == os.getegid()
    assert is_listening(path)
    listener.close()
    assert not path.exists()


def test_it_does_not_listen_before_its_mode_is_set(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, bool]] = []

    def chmod(self: Path, mode: int) -> None:
        seen.append((stat.S_IMODE(self.stat().st_mode), is_listening(self)))

    monkeypatch.setattr(type(path), "chmod", chmod)
    Listener.make(path, mode=0o660, group="").close()
    assert seen == [(0o600, False)]


def test_the_socket_of_a_daemon_that_is_gone_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
        gone.listen()
    assert path.exists()
    assert not is_listening(path)
    listener = Listener.make(path, mode=0o600, group="")
    assert is_listening(path)
    listener.close()


def test_the_socket_of_a_daemon_that_lives_is_not_touched(path: Path) -> None:
    first = Listener.make(path, mode=0o600, group="")
    with pytest.raises(Unavailable, match="another hwkmd is running"):
        Listener.make(path, mode=0o600, group="")
    assert is_listening(path)
    first.close()


def test_a_file_that_is_no_socket_is_not_touched(path: Path) -> None:
    path.write_text("somebody's work")
    with pytest.raises(ConfigError, match="not a socket"):
        Listener.make(path, mode=0o600, group="")
    assert path.read_text() == "somebody's work"


def test_an_unknown_group_is_refused_and_leaves_nothing_behind(path: Path) -> None:
    with pytest.raises(ConfigError, match="no group"):
        Listener.make(path, mode=0o600, group="no-group-of-this-name")
    assert not path.exists()


def test_a_directory_that_cannot_be_made(path: Path) -> None:
    path.write_text("")
    with pytest.raises(ConfigError):
        Listener.make(path / "below" / "s.sock", mode=0o600, group="")
