"""``hwkm vault`` and its relatives against a real daemon."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.person import HWKM, Person
from tests.core_process import MemoryToken
from tests.daemon import Daemon

HANDLE = re.compile(r"[0-9a-f]{34}")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token")), delays=["0s"]) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture(scope="module")
def strict_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """An hour's pause after the second wrong PIN."""
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token")), delays=["0s", "0s", "1h"]) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def person(daemon: Daemon, tmp_path: Path) -> Person:
    return Person(tmp_path / "home", daemon.socket_path)


@pytest.fixture
def vault(request: pytest.FixtureRequest) -> str:
    """A name of its own for every test."""
    return f"vault of {request.node.name}"[:128]


class TestLife:
    def test_create_open_rotate_change_pin_delete(self, person: Person, vault: str) -> None:
        made = person.create(vault, "--show-recovery-key")
        assert HANDLE.fullmatch(made["handle"])
        opened = person.json("vault", "open", vault, "--show-recovery-key", pin="0417")
        assert opened["recovery_key"] == made["recovery_key"]
        assert opened["attempts_remaining"] == 10

        rotated = person.json("vault", "rotate", vault, "--show-recovery-key", pin="0417")
        assert rotated["recovery_key"] != made["recovery_key"]
        assert rotated["snapshot_version"] == 2

        new_pin = person.pin_file("2718")
        changed = person.json("vault", "change-pin", vault, "--new-pin-file", new_pin, pin="0417")
        assert changed["snapshot_version"] == 3
        assert "recovery_key" not in changed
        person.run("vault", "open", vault, pin="0417", status=10)
        person.run("vault", "open", made["handle"], pin="2718")

        person.run("vault", "delete", vault, "--yes")
        person.run("vault", "open", vault, pin="2718", status=14)
        person.run("vault", "show", made["handle"], status=14)

    def test_what_people_read(self, person: Person, vault: str) -> None:
        assert "Created vault" in person.run("vault", "create", vault, pin="0417").stdout
        assert "the recovery key came back" in person.run("vault", "open", vault, pin="0417").stdout
        assert vault in person.run("vault", "list").stdout
        shown = person.run("vault", "show", vault).stdout
        assert "10 of 10 remaining" in shown
        assert "PIN, stretched by argon2id" in shown
        assert "ready" in person.run("status").stdout

    @pytest.mark.parametrize(("kind", "secret"), [("password", "correct horse"), ("pattern", "14789")])
    def test_passwords_and_patterns(self, person: Person, vault: str, kind: str, secret: str) -> None:
        made = person.json("vault", "create", vault, "--type", kind, "--algorithm", "scrypt", pin=secret)
        assert made["knowledge_factor"]["type"] == kind
        assert made["knowledge_factor"]["algorithm"] == "scrypt"
        person.run("vault", "open", vault, pin=secret)

    def test_another_device_needs_nothing_but_the_pin(
        self, daemon: Daemon, person: Person, vault: str, tmp_path: Path
    ) -> None:
        key = person.create(vault, "--show-recovery-key")["recovery_key"]
        other = Person(tmp_path / "other", daemon.socket_path)
        assert other.json("vault", "open", vault, "--show-recovery-key", pin="0417")["recovery_key"] == key

    def test_names_are_unique_and_may_be_strange(self, person: Person, vault: str) -> None:
        strange = f"{vault} \N{SNOWMAN} 'quoted' --json"[:128]
        person.run("vault", "create", pin="0417", status=2)
        person.create(strange)
        person.create(strange, status=15)
        assert person.json("vault", "show", strange)["name"] == strange
        person.run("vault", "create", "a/b", pin="0417", status=3)

    def test_max_attempts_are_within_the_limit(self, person: Person, vault: str) -> None:
        for wrong in ("0", "11"):
            person.run("vault", "create", vault, "--max-attempts", wrong, pin="0417", status=3)
        assert person.create(vault, "--max-attempts", "3")["max_attempts"] == 3


class TestWrongPins:
    def test_each_costs_an_attempt_and_the_right_one_gives_them_back(
        self, person: Person, vault: str
    ) -> None:
        person.create(vault)
        for remaining in (9, 8):
            error = person.json("vault", "open", vault, pin="417", status=10)["error"]
            assert error["attempts_remaining"] == remaining
        assert person.json("vault", "open", vault, pin="0417")["attempts_remaining"] == 10

    def test_the_last_one_is_the_end(self, person: Person, vault: str) -> None:
        person.create(vault, "--max-attempts", "2")
        person.run("vault", "open", vault, pin="1", status=10)
        assert "gone for good" in person.run("vault", "open", vault, pin="2", status=10).stderr
        new_pin = str(person.pin_file("9"))
        for command, *options in (["open"], ["rotate"], ["change-pin", "--new-pin-file", new_pin]):
            person.run("vault", command, vault, *options, pin="0417", status=11)
        assert person.json("vault", "show", vault)["state"] == "locked"
        assert "locked" in person.run("vault", "list").stdout

    def test_rotating_does_not_give_attempts_back_to_a_guesser(self, person: Person, vault: str) -> None:
        person.create(vault, "--max-attempts", "3")
        person.run("vault", "open", vault, pin="1", status=10)
        person.run("vault", "rotate", vault, pin="2", status=10)
        person.run("vault", "change-pin", vault, "--new-pin-file", person.pin_file("9"), pin="3", status=10)
        person.run("vault", "open", vault, pin="0417", status=11)

    def test_too_soon_costs_nothing_and_says_how_long(
        self, strict_daemon: Daemon, tmp_path: Path, vault: str
    ) -> None:
        person = Person(tmp_path / "home", strict_daemon.socket_path)
        person.create(vault)
        person.run("vault", "open", vault, pin="1", status=10)
        second = person.run("vault", "open", vault, pin="2", status=10)
        assert "next attempt is possible in" in second.stderr
        too_soon = person.run("vault", "open", vault, pin="0417", status=12)
        assert re.search(r"Try again in (1 h|5\d min)", too_soon.stderr)
        error = person.json("vault", "open", vault, pin="0417", status=12)["error"]
        assert 3_000_000 < error["retry_after_ms"] <= 3_600_000
        shown = person.json("vault", "show", vault)
        assert shown["attempts_remaining"] == 8
        assert "wait" in person.run("vault", "list").stdout


class TestPrompts:
    def test_a_pin_is_asked_for_and_not_shown(self, person: Person, vault: str) -> None:
        shown = person.type_at("vault", "create", vault, entries=["0417", "0417"])
        assert "PIN: " in shown
        assert "PIN, again: " in shown
        assert "0417" not in shown
        assert "came back" in person.type_at("vault", "open", vault, entries=["0417"])

    def test_two_different_entries_make_no_vault(self, person: Person, vault: str) -> None:
        person.type_at("vault", "create", vault, entries=["0417", "0418"], status=2)
        person.run("vault", "show", vault, status=14)

    def test_the_prompt_names_what_is_asked_for(self, person: Person, vault: str) -> None:
        person.run("vault", "create", vault, "--type", "password", pin="secret")
        shown = person.type_at("vault", "change-pin", vault, entries=["secret", "newer", "newer"])
        assert "password: " in shown
        assert "new password, again: " in shown
        person.run("vault", "open", vault, pin="newer")

    def test_deleting_is_confirmed(self, person: Person, vault: str) -> None:
        person.create(vault)
        person.type_at("vault", "delete", vault, entries=["n"], status=1)
        person.run("vault", "show", vault)
        person.run("vault", "delete", vault, status=1)
        person.run("vault", "show", vault)

    def test_a_pin_file_that_others_can_read_is_refused_before_anything_is_sent(
        self, person: Person, vault: str
    ) -> None:
        person.create(vault)
        person.pin_file("0417").chmod(0o644)
        refused = person.run("vault", "open", vault, pin="0417", status=4)
        assert "chmod 600" in refused.stderr
        assert person.json("vault", "show", vault)["attempts_remaining"] == 10


class TestRecoveryKey:
    def test_it_is_not_printed_unless_asked_for(self, person: Person, vault: str) -> None:
        outputs = [
            person.run("vault", "create", vault, pin="0417"),
            person.run("vault", "open", vault, "--out", "key", pin="0417"),
            person.run("vault", "open", vault, "--json", pin="0417"),
        ]
        key = (person.home / "key").read_text().strip()
        assert re.fullmatch(r"[0-9a-f]{64}", key)
        assert all(key not in done.stdout + done.stderr for done in outputs)
        shown = person.run("vault", "open", vault, "--show-recovery-key", pin="0417").stdout
        assert f"recovery key: {key}" in shown

    def test_its_file_is_new_and_private(self, person: Person, vault: str) -> None:
        person.create(vault, "--out", "key")
        path = person.home / "key"
        before = path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        person.run("vault", "open", vault, "--out", "key", pin="0418", status=4)
        person.run("vault", "rotate", vault, "--out", "key", pin="0417", status=4)
        assert path.read_text() == before
        shown = person.json("vault", "show", vault)
        assert (shown["attempts_remaining"], shown["snapshot_version"]) == (10, 1)

    def test_the_daemon_never_learns_it_nor_the_pin(self, daemon: Daemon, person: Person, vault: str) -> None:
        pin = "secret-pin-8861"
        made = person.create(vault, "--show-recovery-key", pin=pin)
        person.run("vault", "open", vault, pin=pin)
        person.run("vault", "open", vault, pin=f"{pin}-wrong", status=10)
        kept = [path for path in daemon.directory.rglob("*") if path.is_file()]
        assert any(path.name == "hwkmd.log" for path in kept)
        for path in kept:
            data = path.read_bytes()
            assert pin.encode() not in data, path
            assert bytes.fromhex(made["recovery_key"]) not in data, path
            assert made["recovery_key"].encode() not in data, path


class TestCohort:
    def test_the_first_key_is_remembered_and_another_refused(
        self, daemon: Daemon, strict_daemon: Daemon, person: Person, vault: str
    ) -> None:
        person.create(vault)
        known = person.home / ".config" / "hwkm" / "known_cohorts"
        other = strict_daemon.status().cohort
        assert other is not None
        known.write_text(f"{other.public_key.hex()}  {daemon.socket_path}\n")

        for command in (["open", vault], ["create", "another"]):
            refused = person.run("vault", *command, pin="0417", status=16)
            assert "hwkm cohort trust" in refused.stderr
        assert person.json("vault", "show", vault)["attempts_remaining"] == 10
        shown = person.json("cohort", "show")
        assert (shown["match"], shown["trusted"]) == (False, other.public_key.hex())

        person.run("cohort", "trust", "--fingerprint", "00" * 32, status=2)
        person.run("cohort", "trust", status=1)
        person.run("cohort", "trust", "--fingerprint", shown["fingerprint"])
        person.run("vault", "open", vault, pin="0417")

    def test_a_key_file_decides(self, strict_daemon: Daemon, person: Person, vault: str) -> None:
        offered = person.json("cohort", "show")["offered"]
        (person.home / "cohort").write_text(offered)
        person.create(vault, "--cohort-key-file", "cohort")
        assert not (person.home / ".config").exists()
        other = strict_daemon.status().cohort
        assert other is not None
        (person.home / "cohort").write_text(other.public_key.hex())
        person.run("vault", "open", vault, "--cohort-key-file", "cohort", pin="0417", status=16)
        (person.home / "cohort").write_text("nonsense")
        person.run("vault", "open", vault, "--cohort-key-file", "cohort", pin="0417", status=4)


class TestService:
    def test_without_a_daemon_it_is_unavailable(self, person: Person, tmp_path: Path) -> None:
        done = person.run("status", "-S", tmp_path / "none", status=20)
        assert "hwkm doctor" in done.stderr
        error = json.loads(person.run("status", "--json", "-S", tmp_path / "none", status=20).stdout)["error"]
        assert error["code"] == "unavailable"

    def test_what_the_policy_does_not_grant_is_denied(self, tmp_path: Path) -> None:
        directory = tmp_path / "token"
        directory.mkdir()
        policy = tmp_path / "policy.toml"
        policy.write_text('[[rule]]\noperations = ["status", "cohort"]\nanyone = true\n')
        settings = {"daemon": {"policy_file": str(policy)}}
        with Daemon(MemoryToken(directory), settings=settings) as daemon:
            daemon.wait_until_ready()
            person = Person(tmp_path / "home", daemon.socket_path)
            person.run("status")
            person.create("x", status=17)
            person.run("vault", "list", status=17)

    def test_status_as_json_is_that_of_the_wire(self, daemon: Daemon, person: Person) -> None:
        status = person.json("status")
        assert status["state"] == "ready"
        assert status["core_pid"] == daemon.status().core_pid

    def test_a_closed_pipe_is_no_traceback(self, person: Person) -> None:
        command = f"{' '.join(HWKM)} --help | true"
        done = subprocess.run(
            ["bash", "-c", command], env=person.environment, capture_output=True, text=True, timeout=60
        )
        assert "Traceback" not in done.stderr
