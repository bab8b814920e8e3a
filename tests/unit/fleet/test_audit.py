"""The audit of a fleet from its public files: what it says when all is well, and that every damage fails it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hwkm.client.fleet.audit import Basis, FleetAudit, Report, Result
from hwkm.fleet.cohort_list import Cohort
from hwkm.fleet.evidence.cohort import combine, sign_presence
from hwkm.fleet.evidence.findings import Trust
from hwkm.fleet.list_log import EntryKind, LogPolicy
from hwkm.formats.evidence import CohortEvidence, MemberEvidence
from hwkm.secret import SecretBytes
from hwkm.tlog.note_keys import KeyType, PrivateNoteKey
from tests import evidence_world
from tests.evidence_world import NOW_S, Forged
from tests.fleet_world import World, note_key

AUDITOR = PrivateNoteKey("auditor.example", SecretBytes(b"a" * 32))
TRUST = Trust(NOW_S, (evidence_world.maker(),), (AUDITOR.public(KeyType.ED25519),))
PUBLIC_KEY = evidence_world.point(evidence_world.ec_key("cohort"))


def evidence_of_three() -> CohortEvidence:
    members = [Forged(label=f"m{number}", member=number, members=3) for number in range(3)]
    for member in members:
        member.answers(member.challenged(AUDITOR))
    return sign_presence(combine([member.evidence() for member in members], NOW_S), AUDITOR)


def publish(world: World, evidence: bytes, key: bytes = PUBLIC_KEY, epoch: int = 1, **how: object) -> None:
    digest = hashlib.sha256(evidence).hexdigest()
    world.write(f"evidence/{digest}.json", evidence)
    world.publish_list(epoch, [Cohort(digest, "alpha", key.hex())], **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def evidence() -> CohortEvidence:
    return evidence_of_three()


@pytest.fixture
def world(tmp_path: Path, evidence: CohortEvidence) -> World:
    """Two roots, two lists, a witness that cosigned, and a cohort of three TPMs."""
    made = World(tmp_path / "public")
    witness = note_key("witness.example")
    policy = LogPolicy(made.log_policy.log_key, (witness.public(KeyType.COSIGNATURE),), 1)
    made.publish_root(made.stage_root(log=policy), ["operator-root", "auditor-root"])
    publish(made, evidence.encode())
    publish(made, evidence.encode(), epoch=2)
    made.write_log(made.entries, [witness])
    return made


def audit(world: World, root: bytes | None = None, trust: Trust = TRUST) -> Report:
    return FleetAudit(str(world.directory), trust, root).run()


def failures(report: Report) -> list[str]:
    return [f"{line.about}: {line.what}" for line in report.lines if line.result is Result.FAILED]


def test_a_fleet_without_fault(world: World) -> None:
    report = audit(world, world.pinned)
    assert failures(report) == []
    assert report.passed
    assert report.in_hardware == {"alpha": True}
    about = [line.about for line in report.lines]
    assert about[:4] == ["root 1", "root 1", "root 2", "the log"]
    assert [one for one in about if one.startswith("entry")] == [f"entry {n} of the log" for n in range(4)]
    text = {f"{line.about}: {line.what} by {line.by}" for line in report.lines}
    for part in (
        "the root that you gave", "of the keys of root 1: auditor", "witnesses: witness.example at",
        "list 1 (alpha) is what is published", "epoch 2", "of all 3 members", "auditor.example signs for",
    ):  # fmt: skip
        assert any(part in line for line in text), part
    keys = [line for line in report.lines if line.what.startswith("its cohort key")]
    assert [line.basis for line in keys] == [Basis.HARDWARE] * 3


def test_a_root_that_was_not_given_is_the_servers_word(world: World) -> None:
    first = audit(world).lines[0]
    assert (first.basis, "compare it" in first.what) == (Basis.OPERATOR, True)


def test_without_trusted_makers_the_key_is_the_operators_word(world: World) -> None:
    report = audit(world, trust=Trust(NOW_S))
    assert report.passed
    assert report.in_hardware == {"alpha": False}


def republish(evidence: bytes, key: bytes = PUBLIC_KEY) -> Callable[[World], None]:
    def damage(world: World) -> None:
        publish(world, evidence, key, epoch=3)
        world.write_log(world.entries, [note_key("witness.example")])

    return damage


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[World], None]:
    def damage(world: World) -> None:
        (path,) = world.directory.glob(name)
        path.write_bytes(change(path.read_bytes()))

    return damage


def without(name: str) -> Callable[[World], None]:
    def damage(world: World) -> None:
        for path in world.directory.glob(name):
            path.unlink()

    return damage


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def unsealed(world: World) -> None:
    members = [
        Forged(label=f"m{number}", member=number, members=3, counter_value=4).evidence()
        for number in range(3)
    ]
    republish(CohortEvidence(members=tuple(members)).encode())(world)


def member_missing(world: World) -> None:
    members = evidence_of_three().members[:2]
    republish(CohortEvidence(members=members).encode())(world)


def other_maker(world: World) -> None:
    member = Forged()
    member.overridden["endorsement"] = member.endorsement(by="impostor")
    republish(combine_unchecked(member.evidence()))(world)


def combine_unchecked(*members: MemberEvidence) -> bytes:
    return CohortEvidence(members=members).encode()


def signed_by_one(world: World) -> None:
    publish(world, evidence_of_three().encode(), epoch=3, signed_by=["operator-list"])
    world.write_log(world.entries, [note_key("witness.example")])


def third_root_by_one(world: World) -> None:
    world.publish_root(world.stage_root(), ["operator-root"])


def forked(world: World) -> None:
    world.write_log([*world.entries[:-1], world.entries[0]], [note_key("witness.example")])


def list_exchanged(world: World) -> None:
    """A list that the log announced is replaced on the server."""
    first, second = (path.read_bytes() for path in sorted(world.directory.glob("targets/*.cohorts.json")))
    for path in world.directory.glob("targets/*.cohorts.json"):
        path.write_bytes(second if path.read_bytes() == first else first)


def unlogged(world: World) -> None:
    publish(world, evidence_of_three().encode(), epoch=3, logged=False)


def two_lists_of_one_epoch(world: World) -> None:
    world.log(EntryKind.LIST, 2, b"another list")
    world.write_log(world.entries, [note_key("witness.example")])


def another_root_logged(world: World) -> None:
    world.log(EntryKind.ROOT, 3, b"a root that nobody sees")
    world.write_log(world.entries, [note_key("witness.example")])


DAMAGES: dict[str, tuple[Callable[[World], None], str]] = {
    "no root": (without("metadata/1.root.json"), "root 1: the fleet's files cannot be fetched"),
    "root changed": (edit("metadata/1.root.json", lambda data: data.replace(b'"version": 1', b'"version": 3')),
                     "root 1: the next root has version 1, not 3"),
    "third root signed by one party": (third_root_by_one, "root 3: the root has 1 right signatures of 2"),
    "list signed by one party": (signed_by_one, "the list has 1 right signatures of 2"),
    "newest list not in the log": (unlogged, "the newest list: list 3 is not in the fleet's log"),
    "no witness": (lambda world: world.write_log(world.entries), "the log: 0 witnesses have cosigned, 1 are"),
    "forked log": (forked, "the log: the log has root 1 after root 2"),
    "log changed": (edit("log/tile/entries/*/*", lambda data: data.replace(b'"number":1', b'"number":7', 1)),
                    "the log: the log has root 2 after root 7"),
    "no log": (without("log/checkpoint"), "the log: the fleet's files cannot be fetched"),
    "a list exchanged": (list_exchanged, "is not what the log announced"),
    "an old list withheld": (without("metadata/1.targets.json"), "entry 2 of the log: the fleet's files cannot"),
    "two lists of one epoch": (two_lists_of_one_epoch, "the log: the log has list 2 after list 2"),
    "a root only in the log": (another_root_logged, "entry 4 of the log: the log announces another root 3"),
    "evidence withheld": (without("evidence/*"), "cohort alpha: the fleet's files cannot be fetched"),
    "evidence changed": (edit("evidence/*", flip(2000)), "cohort alpha: its evidence is not the one that the list"),
    "another key in the list": (
        republish(evidence_of_three().encode(), evidence_world.point(evidence_world.ec_key("x"))),
        "cohort alpha: the evidence is about another key than the cohort's"),
    "unsealed cohort": (unsealed, "cohort alpha: member 0: the cohort is not sealed"),
    "member missing": (member_missing, "cohort alpha: member 2 of 3 is missing"),
    "TPM of another maker": (other_maker, "member 0: the endorsement key's certificate: no valid path"),
    "evidence that is none": (republish(b"{}\n"), "cohort alpha: not the evidence of a cohort"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGES)
def test_every_damage_fails_the_audit_with_its_own_text(world: World, what: str) -> None:
    damage, text = DAMAGES[what]
    damage(world)
    report = audit(world)
    assert not report.passed
    assert any(text in line for line in failures(report)), failures(report)


def test_another_first_root_than_the_readers_is_refused_at_once(world: World) -> None:
    report = audit(world, world.roots[1])
    assert failures(report) == [f"root 1: {report.lines[0].what}"]
    assert "is not the one that you gave" in report.lines[0].what


def test_an_expired_list_fails(tmp_path: Path, evidence: CohortEvidence) -> None:
    world = World(tmp_path / "public")
    publish(world, evidence.encode(), days=-1)
    assert [line.split(":")[0] for line in failures(audit(world))] == ["the newest list"]


def test_findings_of_an_audit_name_the_member(world: World, evidence: CohortEvidence) -> None:
    changed = msgspec.structs.replace(evidence.members[1], signature="00" * 64)
    damaged = CohortEvidence(members=(evidence.members[0], changed, evidence.members[2]))
    republish(damaged.encode())(world)
    assert failures(audit(world)) == ["cohort alpha: member 1: the statement is not signed by its audit key"]
