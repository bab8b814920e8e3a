"""A refused PIN is offered once: a service manager that restarts the daemon must not lock the token."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwkm.errors import TokenPinIncorrect
from hwkm.server.refused_pin import MARKER_NAME, pin_tried_once


class Token:
    """Notes how often a PIN was offered."""

    def __init__(self, right: bytes) -> None:
        self.right = right
        self.offers = 0

    def open(self, state: Path, pin_file: Path) -> None:
        with pin_tried_once(state, pin_file):
            self.offers += 1
            if pin_file.read_bytes() != self.right:
                raise TokenPinIncorrect("the token refused the PIN")


@pytest.fixture
def pin_file(tmp_path: Path) -> Path:
    path = tmp_path / "credentials" / "token-pin"
    path.parent.mkdir()
    path.write_bytes(b"wrong")
    return path


def hand_over_again(pin_file: Path, pin: bytes) -> None:
    """What systemd does at each start: another file, of the same name."""
    fresh = pin_file.with_name("fresh")
    fresh.write_bytes(pin)
    fresh.replace(pin_file)


def test_a_refused_pin_file_is_offered_once_until_it_changes(tmp_path: Path, pin_file: Path) -> None:
    token = Token(b"right")
    for _ in range(5):
        with pytest.raises(TokenPinIncorrect):
            token.open(tmp_path, pin_file)
    assert token.offers == 1
    pin_file.write_bytes(b"right")
    token.open(tmp_path, pin_file)
    assert token.offers == 2


def test_a_refused_credential_is_offered_once_though_each_start_gets_a_new_copy(
    tmp_path: Path, pin_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(pin_file.parent))
    token = Token(b"right")
    for _ in range(5):
        hand_over_again(pin_file, b"wrong")
        with pytest.raises(TokenPinIncorrect):
            token.open(tmp_path, pin_file)
    assert token.offers == 1


def test_a_person_lets_a_corrected_credential_be_tried(
    tmp_path: Path, pin_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(pin_file.parent))
    token = Token(b"right")
    with pytest.raises(TokenPinIncorrect):
        token.open(tmp_path, pin_file)
    hand_over_again(pin_file, b"right")
    with pytest.raises(TokenPinIncorrect, match=MARKER_NAME):
        token.open(tmp_path, pin_file)
    (tmp_path / MARKER_NAME).unlink()
    token.open(tmp_path, pin_file)
    assert not (tmp_path / MARKER_NAME).exists()
