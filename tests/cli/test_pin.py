"""PINs come from private files or a terminal, and from nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer

from hwkm.cli import pin as pins
from hwkm.cli.pin import PinFileRefused, obtain_new_pin, obtain_pin, read_pin_file
from hwkm.errors import FormatError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pin"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize(
    ("data", "pin"),
    [
        (b"0417", b"0417"),
        (b"0417\n", b"0417"),
        (b"0417\r\n", b"0417"),
        (b" 0417 \n\n", b" 0417 \n"),
        ("cafe\N{COMBINING ACUTE ACCENT}\n".encode(), "caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode()),
        (b"x" * 1024 + b"\n", b"x" * 1024),
    ],
)
def test_only_the_last_line_break_is_left_out(file: Path, data: bytes, pin: bytes) -> None:
    file.write_bytes(data)
    assert read_pin_file(file).expose() == pin


@pytest.mark.parametrize("data", [b"", b"\n", b"x" * 1025, b"x" * 100_000])
def test_empty_and_huge_files_are_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(FormatError):
        read_pin_file(file)


def test_bytes_that_are_no_text_are_refused_without_being_shown(file: Path) -> None:
    file.write_bytes(b"secret\xff")
    with pytest.raises(PinFileRefused) as caught:
        read_pin_file(file)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777, 0o610])
def test_a_file_that_others_can_use_is_refused_with_what_to_do(file: Path, mode: int) -> None:
    file.write_text("0417")
    file.chmod(mode)
    with pytest.raises(PinFileRefused, match=f"chmod 600 {file}"):
        read_pin_file(file)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read(file: Path, mode: int) -> None:
    file.write_text("0417")
    file.chmod(mode)
    assert read_pin_file(file).expose() == b"0417"


def test_another_users_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("0417")
    owner = os.geteuid()
    if owner == 0:  # root may give files away; others have to pretend to be somebody else
        os.chown(file, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(PinFileRefused, match="another user"):
        read_pin_file(file)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", Path("/dev/null")):
        with pytest.raises(PinFileRefused):
            read_pin_file(path)


def test_a_pipe_from_the_shell_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"0417\n")
    os.close(writing)
    assert read_pin_file(Path(f"/dev/fd/{reading}")).expose() == b"0417"
    os.close(reading)


def test_without_file_and_terminal_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "_has_terminal", lambda: False)
    with pytest.raises(typer.BadParameter, match="--new-pin-file"):
        obtain_pin("PIN", None, option="--new-pin-file")


def test_a_new_pin_has_to_be_entered_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = ["0417", "0418"]
    monkeypatch.setattr(pins, "_ask", lambda _prompt, _option: entries.pop(0))
    with pytest.raises(typer.BadParameter, match="differ"):
        obtain_new_pin("PIN", None)


def test_two_ways_to_type_the_same_pin_do_not_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = ["\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"]
    monkeypatch.setattr(pins, "_ask", lambda _prompt, _option: entries.pop(0))
    assert obtain_new_pin("PIN", None).expose() == "\N{LATIN SMALL LETTER E WITH ACUTE}".encode()
