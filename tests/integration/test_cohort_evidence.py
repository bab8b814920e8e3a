"""Evidence of a cohort of three real members, from their daemons to a fleet's audit."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from hwkm.cli.exits import ExitCode
from hwkm.client.fleet.audit import FleetAudit
from hwkm.fleet.cohort_list import Cohort
from hwkm.fleet.evidence.findings import Trust
from hwkm.server.exit_codes import EXIT_CONFIG, EXIT_OK, EXIT_TRY_AGAIN
from tests.cli.person import Person
from tests.contract import cohorts
from tests.contract.devices import SoftHsmDevice
from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.fleet_world import World

pytestmark = [pytest.mark.needs("softhsm2-util"), pytest.mark.slow]

MEMBERS = 3


@dataclass
class Made:
    """A sealed cohort: its daemons, the evidence of each member, and what was said before it was sealed."""

    daemons: list[Daemon]
    evidence: list[Path]
    before_sealing: tuple[int, str]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    directory = tmp_path_factory.mktemp("evidence")
    with ExitStack() as stack:
        devices = [stack.enter_context(SoftHsmDevice()) for _ in range(MEMBERS)]
        daemons = [Daemon(device) for device in devices]
        for daemon in daemons:
            stack.callback(daemon.stop)
            daemon.state_directory.mkdir(mode=0o700)
            assert daemon.command("init", "--audit-log").returncode == EXIT_OK
        first, *others = devices
        cohorts.create(first, MEMBERS)
        for number, device in enumerate(others, start=1):
            invitation = cohorts.invite(first, cohorts.request(device), number)
            cohorts.join(device, invitation, cohorts.sender_of(first))
        early = daemons[0].command("evidence", str(directory / "early.json"))
        cohorts.seal(first)
        paths = [directory / f"member-{number}.json" for number in range(MEMBERS)]
        for daemon, path in zip(daemons, paths, strict=True):
            made = daemon.command("evidence", str(path))
            assert made.returncode == EXIT_OK, made.stderr
            assert made.stdout == f"evidence {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        yield Made(daemons, paths, (early.returncode, early.stderr))


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path / "home", tmp_path / "no-daemon.sock")


def test_an_unsealed_first_member_gives_no_evidence(cohort: Made) -> None:
    code, text = cohort.before_sealing
    assert code == EXIT_CONFIG
    assert "hwkmd cohort seal" in text


def test_members_together_are_evidence_of_their_cohort_and_pass_an_audit(
    cohort: Made, person: Person, tmp_path: Path
) -> None:
    person.run("fleet", "evidence", "combine", tmp_path / "cohort.json", *cohort.evidence)
    shown = person.json("fleet", "evidence", "show", tmp_path / "cohort.json")
    told = [findings[0]["what"] for findings in shown["members"]]
    assert "was wrapped to the others, and cannot leave any more" in told[0]
    assert all("came wrapped into this token" in text for text in told[1:])
    assert shown["in_hardware"] is False
    data = (tmp_path / "cohort.json").read_bytes()
    assert shown["sha256"] == hashlib.sha256(data).hexdigest()

    world = World(tmp_path / "public")
    world.write(f"evidence/{shown['sha256']}.json", data)
    world.publish_list(1, [Cohort(shown["sha256"], "alpha", shown["public_key"])])
    report = FleetAudit(str(world.directory), Trust(int(time.time()))).run()
    assert report.passed
    assert sum("of all 3 members" in line.what for line in report.lines) == 1


def test_with_a_member_missing_there_is_no_evidence_of_the_cohort(
    cohort: Made, person: Person, tmp_path: Path
) -> None:
    done = person.run(
        "fleet", "evidence", "combine", tmp_path / "two.json", *cohort.evidence[:2],
        status=ExitCode.NOT_TRUSTED,
    )  # fmt: skip
    assert "member 2 of 3 is missing" in done.stderr
    assert not (tmp_path / "two.json").exists()


def test_members_of_two_cohorts_do_not_belong_together(cohort: Made, person: Person, tmp_path: Path) -> None:
    changed = tmp_path / "other.json"
    other = json.loads(cohort.evidence[2].read_text())
    other["statement"]["cohort_key"] = other["statement"]["audit_key"]
    changed.write_text(json.dumps(other, sort_keys=True, separators=(",", ":")) + "\n")
    done = person.run(
        "fleet", "evidence", "combine", tmp_path / "x.json", *cohort.evidence[:2], changed,
        status=ExitCode.NOT_TRUSTED,
    )  # fmt: skip
    assert "different cohort keys" in done.stderr


def test_evidence_is_made_while_nothing_serves_into_a_new_file(cohort: Made, tmp_path: Path) -> None:
    daemon = cohort.daemons[1]
    again = daemon.command("evidence", str(cohort.evidence[1]))
    assert (again.returncode, "File exists" in again.stderr) == (EXIT_TRY_AGAIN, True)
    challenge = tmp_path / "challenge.json"
    challenge.write_text("{}\n")
    refused = daemon.command("evidence", str(tmp_path / "x.json"), "--challenge", str(challenge))
    assert (refused.returncode, "not a challenge" in refused.stderr) == (EXIT_CONFIG, True)
    missing = daemon.command("evidence", str(tmp_path / "x.json"), "--ek-intermediates", str(challenge))
    assert (missing.returncode, "not certificates in PEM" in missing.stderr) == (EXIT_CONFIG, True)
    daemon.start()
    try:
        serving = daemon.command("evidence", str(tmp_path / "x.json"))
    finally:
        daemon.terminate()
    assert (serving.returncode, "another hwkmd is running" in serving.stderr) == (EXIT_TRY_AGAIN, True)
    assert not (tmp_path / "x.json").exists()


def test_evidence_of_a_memory_token_does_not_exist(tmp_path: Path) -> None:
    daemon = Daemon(MemoryToken(tmp_path))
    try:
        daemon.init()
        done = daemon.command("evidence", str(tmp_path / "x.json"))
    finally:
        daemon.stop()
    assert (done.returncode, "in no hardware" in done.stderr) == (EXIT_TRY_AGAIN, True)
