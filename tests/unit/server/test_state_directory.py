"""The state directory: private, and of one daemon at a time."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hwkm.errors import ConfigError, TokenPinIncorrect, Unavailable
from hwkm.server.refused_pin import pin_tried_once
from hwkm.server.state_directory import StateDirectory


def test_it_is_made_private(tmp_path: Path) -> None:
    with StateDirectory.take(tmp_path / "a/state", create=True) as state:
        assert stat.S_IMODE(state.path.stat().st_mode) == 0o700


def test_two_daemons_cannot_share_it(tmp_path: Path) -> None:
    first = StateDirectory.take(tmp_path / "state", create=True)
    with pytest.raises(Unavailable, match="another hwkmd"):
        StateDirectory.take(tmp_path / "state")
    first.release()
    StateDirectory.take(tmp_path / "state").release()


def test_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    (tmp_path / "state").chmod(0o750)
    with pytest.raises(ConfigError, match="chmod 700"):
        StateDirectory.take(tmp_path / "state")


@pytest.mark.parametrize("kind", ["absent", "file"])
def test_one_that_is_no_directory_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError):
        StateDirectory.take(tmp_path / "state")


# --- a PIN that was refused ------------------------------------------------------------------


def test_a_refused_pin_is_not_tried_again_until_its_file_changes(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("1234")
    tried = 0

    def attempt(right: bool) -> None:
        nonlocal tried
        with pin_tried_once(tmp_path, pin):
            tried += 1
            if not right:
                raise TokenPinIncorrect("refused")

    for _ in range(3):
        with pytest.raises(TokenPinIncorrect):
            attempt(right=False)
    assert tried == 1
    pin.write_text("123456")
    attempt(right=True)
    attempt(right=True)
    assert tried == 3


def test_the_marker_holds_nothing_of_the_pin(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("secret-pin")
    with pytest.raises(TokenPinIncorrect), pin_tried_once(tmp_path, pin):
        raise TokenPinIncorrect("refused")
    (marker,) = [path for path in tmp_path.iterdir() if path != pin]
    assert "secret-pin" not in marker.read_text()
    assert stat.S_IMODE(marker.stat().st_mode) == 0o600
