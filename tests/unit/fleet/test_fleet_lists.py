"""A client and what it is shown: what it accepts, and by which error it refuses the rest.

After every refusal the client remembers exactly what it remembered before.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Root, Targets

from hwkm.client.fleet import Fleet, VerifiedFleet
from hwkm.errors import (
    EpochReused,
    FleetRulesBroken,
    FormatError,
    HwkmError,
    ListConflict,
    ListDowngrade,
    ListExpired,
    ListNotLogged,
    ListSignatureInvalid,
    ListUnavailable,
    LogForked,
    LogRolledBack,
    NoteUnverified,
    SignatureMissing,
    WeakKey,
)
from hwkm.fleet.ceremony import encode_metadata
from hwkm.fleet.cohort_list import LIST_PATH
from hwkm.fleet.list_log import EntryKind, LogEntry, LogPolicy
from hwkm.tlog.note_keys import KeyType
from tests.fleet_world import LIST_KEYS, ROOT_KEYS, World, cohort, in_days, note_key, signer


class Client:
    """A client with a state of its own."""

    def __init__(self, world: World, state: Path) -> None:
        self.world, self.state = world, state

    def refresh(self) -> VerifiedFleet:
        return Fleet(self.world.pinned, str(self.world.directory), self.state).refresh()

    def remembered(self) -> dict[str, bytes]:
        current = self.state / "current"
        return {str(p.relative_to(current)): p.read_bytes() for p in current.rglob("*") if p.is_file()}

    @contextmanager
    def refuses(self, error: type[HwkmError], match: str | None = None) -> Iterator[None]:
        """What happens inside makes the client refuse, and forget nothing."""
        before = self.remembered() if (self.state / "current").exists() else None
        yield
        with pytest.raises(error, match=match):
            self.refresh()
        assert (self.remembered() if before is not None else None) == before
        assert [p.name for p in self.state.glob("state-*")] == (
            [] if before is None else [(self.state / "current").readlink().name]
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "public")


@pytest.fixture
def client(world: World, tmp_path: Path) -> Client:
    return Client(world, tmp_path / "state")


class TestAccepted:
    def test_a_list_that_both_parties_signed(self, world: World, client: Client) -> None:
        world.publish_list(1, ["alpha", "beta"])
        fleet = client.refresh()
        assert fleet.epoch == 1
        assert [(c.name, c.public_key, c.evidence.hex()) for c in fleet.cohorts] == [
            (c.name, c.key, c.evidence) for c in (cohort("alpha"), cohort("beta"))
        ]

    def test_the_same_again_and_a_newer_one(self, world: World, client: Client) -> None:
        world.publish_list(1)
        assert client.refresh() == client.refresh()
        world.publish_list(2, ["alpha", "beta", "gamma"])
        assert [c.name for c in client.refresh().cohorts] == ["alpha", "beta", "gamma"]

    def test_a_client_that_missed_lists_takes_the_newest(self, world: World, client: Client) -> None:
        for epoch in (1, 2, 3, 4):
            world.publish_list(epoch)
        assert client.refresh().epoch == 4

    def test_new_vaults_are_spread_over_all_cohorts(self, world: World, client: Client) -> None:
        world.publish_list(1, ["alpha", "beta", "gamma"])
        fleet = client.refresh()
        assert {fleet.draw().name for _ in range(200)} == {"alpha", "beta", "gamma"}

    def test_roots_are_rotated_over_the_air_with_all_keys_changed(self, world: World, client: Client) -> None:
        world.publish_list(1)
        client.refresh()
        new_root, new_list = ["operator-r2", "auditor-r2"], ["operator-l2", "auditor-l2"]
        world.publish_root(world.stage_root(new_root, new_list, "online2"), [*ROOT_KEYS, *new_root])
        world.publish_list(2, signed_by=new_list, online="online2")
        assert client.refresh().epoch == 2

    def test_parties_may_hold_several_keys(self, world: World, client: Client) -> None:
        keys = ["operator-a", "operator-b", "auditor-a", "auditor-b"]
        world.publish_root(world.stage_root(list_keys=keys, thresholds=(2, 3)), ROOT_KEYS)
        world.publish_list(1, signed_by=["operator-b", "auditor-a", "auditor-b"])
        assert client.refresh().epoch == 1


class TestSignatures:
    @pytest.mark.parametrize("signed_by", [[], ["operator-list"], ["auditor-list"]])
    def test_of_one_party_alone_are_not_enough(
        self, world: World, client: Client, signed_by: list[str]
    ) -> None:
        with client.refuses(SignatureMissing):
            world.publish_list(1, signed_by=signed_by)

    def test_of_one_party_twice_are_not_enough(self, world: World, client: Client) -> None:
        keys = ["operator-a", "operator-b", "auditor-a", "auditor-b"]
        world.publish_root(world.stage_root(list_keys=keys, thresholds=(2, 3)), ROOT_KEYS)
        with client.refuses(SignatureMissing):
            world.publish_list(1, signed_by=["operator-a", "operator-b"])

    def test_one_signature_under_both_names_is_not_enough(self, world: World, client: Client) -> None:
        targets, data = world.stage_list(1, ["alpha"])
        targets.sign(signer("operator-list"))
        (right,) = targets.signatures.values()
        auditor = signer("auditor-list").public_key.keyid
        targets.signatures[auditor] = type(right)(auditor, right.signature)
        with client.refuses(SignatureMissing):
            world.publish_signed(targets, data)

    def test_of_strangers_do_not_count(self, world: World, client: Client) -> None:
        with client.refuses(SignatureMissing):
            world.publish_list(1, signed_by=["operator-list", "auditor-stranger", "operator-stranger"])

    def test_a_key_slipped_in_by_the_operator_is_refused(self, world: World, client: Client) -> None:
        """He has his own keys and the server, and changes the list after the auditor has signed."""
        world.publish_list(1, ["alpha"])
        client.refresh()
        signed, data = world.stage_list(2, ["alpha"])
        for name in LIST_KEYS:
            signed.sign(signer(name), append=True)
        forged, forged_data = world.stage_list(2, ["alpha", "slipped-in"])
        forged.sign(signer("operator-list"))
        forged.signatures.update(
            {keyid: s for keyid, s in signed.signatures.items() if keyid not in forged.signatures}
        )
        assert data != forged_data
        with client.refuses(SignatureMissing):
            world.publish_signed(forged, forged_data)

    def test_the_lists_bytes_are_those_that_were_signed_for(self, world: World, client: Client) -> None:
        world.publish_list(1, ["alpha"])
        client.refresh()
        targets, data = world.stage_list(2, ["alpha"])
        for name in LIST_KEYS:
            targets.sign(signer(name), append=True)
        world.publish_signed(targets, data)
        (path,) = [p for p in (world.directory / "targets").iterdir() if p.read_bytes() == data]
        with client.refuses(ListSignatureInvalid):
            path.write_bytes(data.replace(b"alpha", b"alphb"))


class TestTime:
    def test_an_expired_list_is_refused(self, world: World, client: Client) -> None:
        with client.refuses(ListExpired):
            world.publish_list(1, days=-1)

    def test_a_frozen_server_is_noticed(self, world: World, client: Client) -> None:
        world.publish_list(1)
        client.refresh()
        with client.refuses(ListExpired, "held back"):
            world.publish_list(1, online_days=-1)

    def test_an_expired_root_is_refused(self, world: World, client: Client) -> None:
        world.publish_root(world.stage_root(days=-1), ROOT_KEYS)
        with client.refuses(ListExpired):
            world.publish_list(1)


class TestVersions:
    def test_an_older_list_is_refused(self, world: World, client: Client) -> None:
        world.publish_list(3)
        client.refresh()
        with client.refuses(ListDowngrade):
            world.publish_list(2)

    def test_a_whole_older_server_is_refused(self, world: World, client: Client, tmp_path: Path) -> None:
        world.publish_list(1)
        shutil.copytree(world.directory, tmp_path / "backup")
        world.publish_list(2)
        client.refresh()
        with client.refuses(ListDowngrade):
            shutil.rmtree(world.directory)
            shutil.copytree(tmp_path / "backup", world.directory)

    def test_another_list_of_the_same_epoch_is_refused_though_both_signed_it(
        self, world: World, client: Client
    ) -> None:
        world.publish_list(1, ["alpha"])
        client.refresh()
        with client.refuses(ListConflict, "epoch 1"):
            world.publish_list(1, ["beta"])

    def test_an_epoch_that_is_not_the_metadatas_version_is_refused(
        self, world: World, client: Client
    ) -> None:
        """Or the same list could be shown again under a higher version."""
        targets, data = world.stage_list(1, ["alpha"])
        targets.signed.version = 2
        for name in LIST_KEYS:
            targets.sign(signer(name), append=True)
        with client.refuses(FormatError, "epoch"):
            world.publish_signed(targets, data)


def one_party_only(root: Root) -> None:
    for keyid in root.roles[Targets.type].keyids:
        root.keys[keyid].unrecognized_fields["x-hwkm-party"] = "operator"


def same_key_twice(root: Root) -> None:
    key = signer("operator-list").public_key
    auditor = signer("auditor-list").public_key
    root.keys[auditor.keyid] = SSlibKey(
        auditor.keyid, key.keytype, key.scheme, dict(key.keyval), {"x-hwkm-party": "auditor"}
    )


def online_key_offline(root: Root) -> None:
    root.add_key(signer("operator-list").public_key, "timestamp")


def no_owner(root: Root) -> None:
    keyid = root.roles[Targets.type].keyids[0]
    old = root.keys[keyid]
    assert isinstance(old, SSlibKey)
    root.keys[keyid] = SSlibKey(keyid, old.keytype, old.scheme, dict(old.keyval))


def weak_rsa(root: Root) -> None:
    pem = rsa.generate_private_key(65537, 2048).public_key()
    weak = SSlibKey.from_crypto(pem)
    root.add_key(weak, "timestamp")


def unknown_scheme(root: Root) -> None:
    key = signer("online").public_key
    root.keys[key.keyid] = SSlibKey(key.keyid, "mldsa", "ml-dsa-65", dict(key.keyval))


class TestRoots:
    @pytest.mark.parametrize(
        "signed_by", [["operator-root"], ["auditor-root"], ["operator-r2", "auditor-r2"]]
    )
    def test_one_party_or_strangers_cannot_rotate_the_root(
        self, world: World, client: Client, signed_by: list[str]
    ) -> None:
        world.publish_list(1)
        client.refresh()
        with client.refuses(SignatureMissing):
            world.publish_root(world.stage_root(["operator-r2", "auditor-r2"]), signed_by)

    def test_a_version_cannot_be_left_out(self, world: World, client: Client) -> None:
        world.publish_list(1)
        client.refresh()
        staged = world.stage_root()
        staged.signed.version = 3
        for name in ROOT_KEYS:
            staged.sign(signer(name), append=True)
        with client.refuses(ListDowngrade, "2"):
            world.write("metadata/2.root.json", encode_metadata(staged))

    @pytest.mark.parametrize(
        ("break_it", "error"),
        [
            (lambda root: setattr(root.roles[Targets.type], "threshold", 1), FleetRulesBroken),
            (lambda root: setattr(root.roles[Root.type], "threshold", 1), FleetRulesBroken),
            (lambda root: setattr(root, "consistent_snapshot", False), FleetRulesBroken),
            (one_party_only, FleetRulesBroken),
            (same_key_twice, FleetRulesBroken),
            (online_key_offline, FleetRulesBroken),
            (no_owner, FleetRulesBroken),
            (weak_rsa, WeakKey),
            (unknown_scheme, FormatError),
        ],
        ids=["list threshold", "root threshold", "snapshots", "one party", "same key twice", "online key",
             "no owner", "weak RSA", "unknown scheme"],
    )  # fmt: skip
    def test_a_root_that_breaks_the_rules_is_refused_though_both_signed_it(
        self,
        world: World,
        client: Client,
        break_it: Callable[[Root], None],
        error: type[HwkmError],
    ) -> None:
        world.publish_list(1)
        client.refresh()
        staged = world.stage_root()
        break_it(staged.signed)
        with client.refuses(error):
            world.publish_root(staged, ROOT_KEYS)
            world.publish_list(2)

    def test_a_pinned_root_that_breaks_the_rules_is_not_taken(self, world: World, tmp_path: Path) -> None:
        staged = world.stage_root()
        staged.signed.roles[Targets.type].threshold = 1
        with pytest.raises(FleetRulesBroken):
            Fleet(encode_metadata(staged), str(world.directory), tmp_path / "s")


class TestLog:
    def test_a_list_that_both_signed_but_nobody_else_can_see_is_refused(
        self, world: World, client: Client
    ) -> None:
        world.publish_list(1)
        client.refresh()
        with client.refuses(ListNotLogged, "list 2"):
            world.publish_list(2, logged=False)

    def test_a_root_that_is_not_in_the_log_is_refused(self, world: World, client: Client) -> None:
        world.publish_list(1)
        with client.refuses(ListNotLogged, "root 1"):
            world.write_log(world.entries[1:])

    def test_a_newer_list_in_the_log_shows_that_it_is_held_back(self, world: World, client: Client) -> None:
        world.publish_list(1)
        client.refresh()
        with client.refuses(ListDowngrade, "held back"):
            world.log(EntryKind.LIST, 2, b"the list that others see")

    def test_a_log_shown_to_this_client_alone_is_a_fork(self, world: World, client: Client) -> None:
        world.publish_list(1)
        client.refresh()
        before = list(world.entries)
        with client.refuses(LogForked):
            world.publish_list(2)
            world.entries[1] = LogEntry("00" * 32, EntryKind.LIST, 1).encode()
            world.write_log(world.entries)
        world.entries = [*before, world.entries[-1]]
        world.write_log(world.entries)
        assert client.refresh().epoch == 2

    def test_a_shorter_log_is_refused(self, world: World, client: Client) -> None:
        world.publish_list(1)
        client.refresh()
        with client.refuses(LogRolledBack):
            world.write_log(world.entries[:1])

    @pytest.mark.parametrize("epoch", [1, 2])
    def test_an_epoch_that_is_used_again_is_refused(self, world: World, client: Client, epoch: int) -> None:
        world.publish_list(1)
        world.publish_list(2)
        with client.refuses(EpochReused, f"list {epoch} after list 2"):
            world.log(EntryKind.LIST, epoch, b"another list")

    def test_a_checkpoint_by_another_key_is_refused(self, world: World, client: Client) -> None:
        world.publish_list(1)
        client.refresh()
        with client.refuses(NoteUnverified):
            world.log_key = note_key("stranger.example/log")
            world.write_log(world.entries)

    def test_both_parties_can_move_the_fleet_to_another_log(self, world: World, client: Client) -> None:
        world.publish_list(1)
        client.refresh()
        moved = LogPolicy(note_key("new.example/log").public(KeyType.ED25519))
        staged = world.stage_root(log=moved)
        world.log_key, world.origin, world.entries = note_key("new.example/log"), "new.example/log", []
        world.publish_root(staged, ROOT_KEYS)
        world.publish_list(2)
        assert client.refresh().epoch == 2

    def test_a_log_of_many_bundles_is_followed(self, world: World, client: Client) -> None:
        world.publish_list(1)
        client.refresh()
        for number in range(2, 600):
            world.entries.append(LogEntry("11" * 32, EntryKind.LIST, number).encode())
        world.publish_list(600)
        assert client.refresh().epoch == 600
        world.publish_list(601)
        assert client.refresh().epoch == 601


class TestWitnesses:
    WITNESSES = ("w1.example", "w2.example", "w3.example")

    @pytest.fixture
    def watched(self, world: World) -> World:
        """A fleet whose checkpoints two of three witnesses must have cosigned."""
        keys = tuple(note_key(name).public(KeyType.COSIGNATURE) for name in self.WITNESSES)
        policy = LogPolicy(world.log_policy.log_key, keys, quorum=2)
        world.publish_root(world.stage_root(log=policy), ROOT_KEYS)
        world.publish_list(1)
        return world

    def test_enough_of_them_are_enough(self, watched: World, client: Client) -> None:
        watched.write_log(watched.entries, [note_key("w1.example"), note_key("w3.example")])
        assert client.refresh().epoch == 1

    @pytest.mark.parametrize(
        "names", [[], ["w2.example"], ["w2.example", "w2.example"], ["w2.example", "stranger.example"]]
    )
    def test_too_few_are_not(self, watched: World, client: Client, names: list[str]) -> None:
        with client.refuses(NoteUnverified, "asked for"):
            watched.write_log(watched.entries, [note_key(name) for name in names])

    def test_a_root_that_asks_for_more_witnesses_than_it_names_is_refused(
        self, world: World, client: Client
    ) -> None:
        keys = (note_key("w1.example").public(KeyType.COSIGNATURE),)
        with pytest.raises(FormatError, match="more witnesses"):
            world.stage_root(log=LogPolicy(world.log_policy.log_key, keys, quorum=2))


class TestDamage:
    @pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
    def test_truncated_metadata_is_refused(self, world: World, client: Client, name: str) -> None:
        world.publish_list(1)
        path = world.directory / "metadata" / name
        error = FormatError if name == "timestamp.json" else ListSignatureInvalid
        with client.refuses(error):
            path.write_bytes(path.read_bytes()[:-20])

    @pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
    def test_missing_metadata_is_unavailable(self, world: World, client: Client, name: str) -> None:
        world.publish_list(1)
        with client.refuses(ListUnavailable):
            (world.directory / "metadata" / name).unlink()

    def test_a_huge_file_is_refused(self, world: World, client: Client) -> None:
        world.publish_list(1)
        with client.refuses(FormatError, "larger"):
            world.write("metadata/timestamp.json", b" " * 1_000_000)

    def test_every_byte_of_every_file_matters(self, world: World, client: Client, tmp_path: Path) -> None:
        """A damaged mirror is refused, or its list is the very same."""
        right = world.publish_list(1)
        fleet = client.refresh()
        files = [p for p in world.directory.rglob("*") if p.is_file() and p.name != "1.root.json"]
        assert len(files) == 6
        for path in files:
            data = path.read_bytes()
            for place in range(0, len(data), 7):
                path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
                fresh = Client(world, tmp_path / f"{path.name}-{place}")
                try:
                    assert fresh.refresh() == fleet
                except HwkmError:
                    continue
            path.write_bytes(data)
        assert right == (world.directory / "targets" / f"{fleet.digest.hex()}.{LIST_PATH}").read_bytes()


def test_expiry_is_in_the_future_in_this_world() -> None:
    assert in_days(1) > in_days(0)
