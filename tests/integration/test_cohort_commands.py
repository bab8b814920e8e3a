"""``hwkmd cohort``: three members, from blank tokens to vaults that open, by the real commands."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwkm.audit.reader import read
from hwkm.secret import Pin
from hwkm.server.exit_codes import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, EXIT_TRY_AGAIN
from hwkm.tokens import registry
from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.vault_http import VaultHttp


class Member:
    """A daemon that is to become a member, and the files that people carry."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.daemon = Daemon(MemoryToken(directory))

    def run(self, *arguments: str) -> str:
        done = self.daemon.command("cohort", *arguments)
        assert done.returncode == EXIT_OK, done.stderr
        return done.stdout

    def refused(self, exit_code: int, *arguments: str) -> str:
        done = self.daemon.command("cohort", *arguments)
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stderr

    def show(self) -> dict[str, object]:
        shown = json.loads(self.run("show", "--json"))
        assert isinstance(shown, dict)
        return shown

    def audited(self) -> list[tuple[str, dict[str, str]]]:
        records = read(self.daemon.state_directory / "audit")
        return [
            (record.operation, record.detail or {})
            for record in records
            if record.operation.startswith("cohort.")
        ]


@pytest.fixture
def cohort(tmp_path: Path) -> Iterator[list[Member]]:
    members = [Member(tmp_path / name) for name in ("a", "b", "c")]
    yield members
    for member in members:
        member.daemon.stop()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Member]]:
    """A whole cohort, which the tests of it only look at."""
    directory = tmp_path_factory.mktemp("cohort")
    members = [Member(directory / name) for name in ("a", "b", "c")]
    whole(members)
    yield members
    for member in members:
        member.daemon.stop()


def word(name: str, text: str) -> str:
    """The digest after a word at the beginning of a line."""
    found = re.search(rf"^{name} ([0-9a-f]{{64}})$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


def invite(first: Member, other: Member, number: int) -> tuple[Path, str]:
    """Ask and invite; return the invitation's file and the sender's digest."""
    asked, invitation = other.directory / "request", other.directory / "invitation"
    fingerprint = word("fingerprint", other.run("request", "--out", str(asked)))
    printed = first.run(
        "invite", str(asked), "--expect", fingerprint, "--member", str(number), "--out", str(invitation)
    )
    return invitation, word("sender", printed)


def whole(cohort: list[Member]) -> None:
    first, *others = cohort
    first.run("create", "--members", "3")
    for number, other in enumerate(others, start=1):
        invitation, sender = invite(first, other, number)
        other.run("join", str(invitation), "--expect", sender)
    first.run("seal")


def test_every_member_shows_its_place_and_one_cohort(made: list[Member]) -> None:
    shown = [member.show() for member in made]
    assert [(item["state"], item["member"], item["members"]) for item in shown] == [
        ("sealed", 0, 3),
        ("joined", 1, 3),
        ("joined", 2, 3),
    ]
    assert len({item["cohort"] for item in shown}) == 1
    assert len({item["sender"] for item in shown}) == 3
    assert shown[0]["invited"] == {str(number): shown[number]["fingerprint"] for number in (1, 2)}


def test_every_member_serves_the_cohort_key(made: list[Member]) -> None:
    keys = set()
    for member in made:
        member.daemon.start()
        with member.daemon.http() as http:
            keys.add(hashlib.sha256(VaultHttp(http).cohort()).hexdigest())
        assert "another hwkmd is running" in member.refused(EXIT_TRY_AGAIN, "show")
        assert "another hwkmd is running" in member.refused(EXIT_TRY_AGAIN, "seal")
        member.daemon.terminate()
    assert keys == {made[0].show()["cohort"]}


def test_every_step_is_in_the_audit_log_of_the_member_that_did_it(made: list[Member]) -> None:
    first, second, _ = made
    digest = first.show()["cohort"]
    (created, of), *invitations, (sealed, at) = first.audited()
    assert (created, of) == ("cohort.create", {"cohort": digest, "members": "3"})
    assert [(name, detail["member"]) for name, detail in invitations] == [
        ("cohort.invite", "1"),
        ("cohort.invite", "2"),
    ]
    assert (sealed, at) == ("cohort.seal", {"cohort": digest, "member": "0", "members": "3"})
    (asked, with_), (joined, as_) = second.audited()
    assert (asked, with_) == ("cohort.request", {"fingerprint": invitations[0][1]["fingerprint"]})
    assert joined == "cohort.join"
    assert as_ == {"cohort": digest, "member": "1", "members": "3", "sender": first.show()["sender"]}


def test_nothing_of_a_member_is_destroyed_unasked(made: list[Member]) -> None:
    first, second, _ = made
    before = [member.show() for member in made]
    assert "--destroy-existing" in first.refused(EXIT_CONFIG, "create", "--members", "2")
    for member in (first, second):
        again = member.refused(EXIT_CONFIG, "request", "--out", str(member.directory / "again"))
        assert "--destroy-existing" in again
    assert "--destroy-existing" in second.daemon.command("init").stderr
    assert [member.show() for member in made] == before


def test_joining_and_sealing_again_changes_nothing(cohort: list[Member]) -> None:
    first, second, _ = cohort
    first.run("create", "--members", "2")
    invitation, sender = invite(first, second, 1)
    joined, again = (second.run("join", str(invitation), "--expect", sender) for _ in range(2))
    assert joined == again
    before = second.show()
    sealed, again = (first.run("seal") for _ in range(2))
    assert sealed == again
    assert second.show() == before


def test_a_step_that_the_token_did_and_nobody_recorded_is_recorded_when_run_again(
    cohort: list[Member],
) -> None:
    """As if hwkmd had been killed between the core's answer and the audit log."""
    first, second, _ = cohort
    first.run("create", "--members", "2")
    invitation, sender = invite(first, second, 1)
    registry.join(second.daemon.device.uri, pin_of(second), invitation.read_bytes(), bytes.fromhex(sender))
    registry.seal(first.daemon.device.uri, pin_of(first))
    assert [operation for operation, _ in second.audited()] == ["cohort.request"]
    second.run("join", str(invitation), "--expect", sender)
    first.run("seal")
    assert [operation for operation, _ in second.audited()] == ["cohort.request", "cohort.join"]
    assert [operation for operation, _ in first.audited()][-1] == "cohort.seal"


def pin_of(member: Member) -> Pin:
    return Pin(member.daemon.device.pin_file.read_bytes())


def test_an_unsealed_first_member_does_not_serve_and_says_what_to_do(cohort: list[Member]) -> None:
    first = cohort[0]
    first.run("create", "--members", "3")
    first.daemon.start(wait=False)
    assert first.daemon.wait_until_ended() == EXIT_CONFIG
    assert "hwkmd cohort seal" in first.daemon.log
    checked = first.daemon.command("check")
    assert checked.returncode != EXIT_OK
    assert "hwkmd cohort seal" in checked.stdout
    assert "not invited yet" in first.refused(EXIT_FAILED, "seal")


def test_a_member_that_waits_for_its_invitation_does_not_serve(cohort: list[Member]) -> None:
    first, second, _ = cohort
    first.run("create", "--members", "2")
    invite(first, second, 1)
    second.daemon.start(wait=False)
    assert second.daemon.wait_until_ended() == EXIT_CONFIG
    assert "hwkmd cohort join" in second.daemon.log


def test_a_member_is_destroyed_by_its_digest_and_asks_anew(cohort: list[Member]) -> None:
    first = cohort[0]
    first.run("create", "--members", "2")
    refused = first.refused(EXIT_CONFIG, "request", "--out", str(first.directory / "asked"))
    found = re.search(r"--destroy-existing ([0-9a-f]{64})", refused)
    assert found is not None, refused
    first.run("request", "--out", str(first.directory / "asked"), "--destroy-existing", found[1])
    assert first.show()["state"] == "requested"
    records = [record.operation for record in read(first.daemon.state_directory / "audit")]
    assert records == ["cohort.create", "token.destroy", "cohort.request"]


def test_a_file_is_never_written_over_and_nothing_happens_for_it(cohort: list[Member]) -> None:
    first, second, _ = cohort
    first.run("create", "--members", "2")
    taken = first.directory / "taken"
    taken.write_text("mine")
    assert "exists already" in second.refused(EXIT_CONFIG, "request", "--out", str(taken))
    assert not (second.daemon.state_directory / "audit").exists()
    asked = second.directory / "request"
    fingerprint = word("fingerprint", second.run("request", "--out", str(asked)))
    arguments = ("invite", str(asked), "--expect", fingerprint, "--member", "1", "--out", str(taken))
    assert "exists already" in first.refused(EXIT_CONFIG, *arguments)
    assert taken.read_text() == "mine"
    assert "invited" not in first.show()


def test_wrong_digests_and_swapped_files_are_refused_in_plain_words(cohort: list[Member]) -> None:
    first, second, third = cohort
    first.run("create", "--members", "3")
    invitation, sender = invite(first, second, 1)
    other, _ = invite(first, third, 2)
    assert "another module than" in second.refused(EXIT_FAILED, "join", str(invitation), "--expect", "0" * 64)
    assert "for another module" in second.refused(EXIT_FAILED, "join", str(other), "--expect", sender)
    asked = second.directory / "request"
    assert "not an invitation" in second.refused(EXIT_FAILED, "join", str(asked), "--expect", sender)
    arguments = ("invite", str(asked), "--expect", "0" * 64, "--member", "1", "--out", "unused")
    assert "fingerprint" in first.refused(EXIT_FAILED, *arguments)
    second.run("join", str(invitation), "--expect", sender)
