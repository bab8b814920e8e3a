"""How commands end that did the same to many things."""

from __future__ import annotations

import pytest

from hwkm.cli.batch_report import resumable


def test_an_interruption_is_said_and_goes_on_to_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), resumable():
        raise KeyboardInterrupt
    assert "run it again" in capsys.readouterr().err


def test_an_end_without_interruption_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with resumable():
        pass
    assert not capsys.readouterr().err
