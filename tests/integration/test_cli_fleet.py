"""A client that trusts a fleet: vaults only for cohorts that both parties listed, in a log for all to see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hwkm.cli.exits import ExitCode
from hwkm.fleet.cohort_list import Cohort
from tests.cli.person import Person
from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.fleet_world import World


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token")), delays=["0s"]) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def person(daemon: Daemon, tmp_path: Path) -> Person:
    return Person(tmp_path / "home", daemon.socket_path)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "public")


@pytest.fixture
def ours(person: Person) -> Cohort:
    """The daemon's cohort as it stands in a list."""
    return Cohort("00" * 32, "ours", person.json("cohort", "show")["offered"])


def trust(person: Person, world: World, status: int = ExitCode.OK) -> str:
    root = person.home / "1.root.json"
    root.write_bytes(world.pinned)
    done = person.run("fleet", "trust", world.directory, "--root", root, status=status)
    return done.stdout + done.stderr


def vaults(person: Person) -> set[str]:
    return {vault["name"] for vault in person.json("vault", "list")}


def test_vaults_are_made_and_opened_for_a_listed_cohort(person: Person, world: World, ours: Cohort) -> None:
    world.publish_list(1, ["alpha", ours])
    assert "2 cohorts of epoch 1" in trust(person, world)
    person.run("vault", "create", "listed", pin="0417")
    world.publish_list(2, [ours])
    person.run("vault", "open", "listed", pin="0417")


def test_a_daemon_whose_key_is_in_no_list_gets_no_vault(person: Person, world: World) -> None:
    world.publish_list(1, ["alpha"])
    trust(person, world)
    before = vaults(person)
    refused = person.run("vault", "create", "unlisted", pin="0417", status=ExitCode.COHORT_MISMATCH)
    assert "not in the fleet's list of epoch 1" in refused.stderr
    assert vaults(person) == before


def test_a_key_slipped_in_by_the_operator_alone_gets_no_vault(
    person: Person, world: World, ours: Cohort
) -> None:
    world.publish_list(1, ["alpha"])
    trust(person, world)
    world.publish_list(2, ["alpha", ours], signed_by=["operator-list"])
    refused = person.run("vault", "create", "slipped-in", pin="0417", status=ExitCode.NOT_TRUSTED)
    assert "signed" in refused.stderr
    assert "slipped-in" not in vaults(person)


def test_a_cohort_taken_off_the_list_sees_no_claim_and_charges_nothing(
    person: Person, world: World, ours: Cohort
) -> None:
    world.publish_list(1, [ours])
    trust(person, world)
    person.run("vault", "create", "taken-off", pin="0417")
    world.publish_list(2, ["alpha"])
    for pin in ("0417", "9999"):
        person.run("vault", "open", "taken-off", pin=pin, status=ExitCode.COHORT_MISMATCH)
    assert person.json("vault", "show", "taken-off")["attempts_remaining"] == 10


def test_a_list_held_back_from_the_log_gets_no_vault(person: Person, world: World, ours: Cohort) -> None:
    world.publish_list(1, [ours])
    trust(person, world)
    world.publish_list(2, [ours], logged=False)
    person.run("vault", "create", "unlogged", pin="0417", status=ExitCode.NOT_TRUSTED)


def test_a_fleet_that_does_not_verify_is_not_trusted_and_replaces_nothing(
    person: Person, world: World, ours: Cohort
) -> None:
    world.publish_list(1, [ours], signed_by=["auditor-list"])
    trust(person, world, status=ExitCode.NOT_TRUSTED)
    assert not (person.home / ".config" / "hwkm" / "fleet").exists()
    person.run("vault", "create", "first-offered", pin="0417")
