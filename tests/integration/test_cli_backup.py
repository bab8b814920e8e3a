"""``hwkm backup`` against a real daemon."""

from __future__ import annotations

import filecmp
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.person import HEEDS_SIGNALS, HWKM, Person
from tests.core_process import MemoryToken
from tests.daemon import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token")), delays=["0s"]) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def person(daemon: Daemon, tmp_path: Path) -> Person:
    made = Person(tmp_path / "home", daemon.socket_path)
    tree = made.home / "photos"
    (tree / "2026").mkdir(parents=True)
    (tree / "2026" / "beach").write_bytes(os.urandom(200_000))
    (tree / "note").write_text("warm")
    return made


@pytest.fixture
def vault(person: Person, request: pytest.FixtureRequest) -> str:
    name = f"vault of {request.node.name}"[:128]
    person.create(name)
    return name


def same(left: Path, right: Path) -> bool:
    compared = filecmp.dircmp(left, right)
    return not (compared.left_only or compared.right_only or compared.diff_files) and all(
        same(left / name, right / name) for name in compared.common_dirs
    )


def wait_until_open(process: subprocess.Popen[bytes], path: Path) -> None:
    """Wait until a process has a file open."""
    deadline = time.monotonic() + 60
    while not any(
        link.exists() and link.samefile(path) for link in Path(f"/proc/{process.pid}/fd").iterdir()
    ):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_directory_comes_back_on_another_device_after_rotation_and_a_new_pin(
    daemon: Daemon, person: Person, vault: str, tmp_path: Path
) -> None:
    made = person.json("backup", "encrypt", "photos", "--vault", vault, "-o", "b", pin="0417")
    assert (made["files"], made["content_bytes"], made["left_out"]) == (2, 200_004, [])
    person.run("vault", "rotate", vault, pin="0417")
    person.run("vault", "change-pin", vault, "--new-pin-file", person.pin_file("9"), pin="0417")
    other = Person(tmp_path / "other", daemon.socket_path)
    other.run("backup", "restore", person.home / "b", "-o", "restored", pin="0417", status=10)
    assert not (other.home / "restored").exists()
    other.run("backup", "restore", person.home / "b", "-o", "restored", pin="9")
    assert same(person.home / "photos", other.home / "restored" / "photos")


def test_backups_of_one_vault_share_one_key(person: Person, vault: str) -> None:
    keys = {
        person.json("backup", "encrypt", "photos/note", "--vault", vault, "-o", name, pin="0417")[
            "application_key"
        ]
        for name in ("1", "2")
    }
    assert len(keys) == 1
    assert person.json("vault", "show", vault)["application_keys"] == sorted(keys)


def test_two_first_backups_at_once_can_both_be_restored(person: Person, vault: str) -> None:
    def back_up(name: str) -> None:
        person.run("backup", "encrypt", "photos", "--vault", vault, "-o", name, pin="0417")

    person.pin_file("0417")
    with ThreadPoolExecutor() as pool:
        list(pool.map(back_up, ("1", "2")))
    for name in ("1", "2"):
        person.run("backup", "restore", name, "-o", f"restored-{name}", pin="0417")
        assert same(person.home / "photos", person.home / f"restored-{name}" / "photos")


def test_damage_is_found_and_nothing_is_left(person: Person, vault: str) -> None:
    person.run("backup", "encrypt", "photos", "--vault", vault, "-o", "b", pin="0417")
    whole = (person.home / "b").read_bytes()
    for name, data in {
        "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
        "cut": whole[:100_000],
        "head": whole[:70] + b"x" + whole[71:],
    }.items():
        (person.home / name).write_bytes(data)
        before = set(person.home.iterdir())
        status = 14 if name == "head" else 23
        person.run("backup", "restore", name, "-o", "out", pin="0417", status=status)
        assert set(person.home.iterdir()) == before
    (person.home / "text").write_text("no backup at all")
    person.run("backup", "restore", "text", "-o", "out", pin="0417", status=23)
    person.run("backup", "restore", "none", "-o", "out", pin="0417", status=4)


def test_what_cannot_work_costs_no_attempt(person: Person, vault: str) -> None:
    (person.home / "taken").write_text("mine")
    person.run("backup", "encrypt", "photos", "--vault", vault, "-o", "taken", pin="wrong", status=4)
    person.run("backup", "encrypt", "none", "--vault", vault, "-o", "b", pin="wrong", status=4)
    person.run("backup", "encrypt", "photos", "--vault", "none", "-o", "b", pin="wrong", status=14)
    assert person.json("vault", "show", vault)["attempts_remaining"] == 10
    assert (person.home / "taken").read_text() == "mine"


def test_without_its_vault_a_backup_is_lost(person: Person, vault: str) -> None:
    person.run("backup", "encrypt", "photos", "--vault", vault, "-o", "b", pin="0417")
    person.run("vault", "delete", vault, "--yes")
    person.run("backup", "restore", "b", "-o", "out", pin="0417", status=14)


def test_a_bar_is_drawn_on_a_terminal_only(person: Person, vault: str) -> None:
    shown = person.type_at("backup", "encrypt", "photos", "--vault", vault, "-o", "b", entries=["0417"])
    assert "encrypting" in shown
    assert "Encrypted 2 files" in shown
    done = person.run("backup", "restore", "b", "-o", "out", pin="0417")
    assert done.stderr == ""


def test_an_interruption_leaves_nothing(person: Person, vault: str) -> None:
    """A pipe that nobody writes to, read as the PIN, holds the command up where it is interrupted."""
    pipe = person.home / "pipe"
    os.mkfifo(pipe, 0o600)
    command = [*HEEDS_SIGNALS, *HWKM, "backup", "encrypt", "photos", "--vault", vault]
    before = set(person.home.iterdir())
    keeper = os.open(pipe, os.O_RDWR)
    process = subprocess.Popen(
        [*command, "-o", "b", "--pin-file", str(pipe)],
        env=person.environment,
        cwd=person.home,
        stderr=subprocess.PIPE,
    )
    wait_until_open(process, pipe)
    process.send_signal(2)
    _, errors = process.communicate(timeout=60)
    os.close(keeper)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert set(person.home.iterdir()) == before
