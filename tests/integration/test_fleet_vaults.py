"""Vaults of several daemons: cohorts drawn from the list, members told by handles, newer lists."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwkm.cli.exits import ExitCode
from hwkm.client import (
    ApplicationKey,
    FixedCohort,
    FleetVaultClient,
    SecretBytes,
    VaultClient,
    encode_credential,
    renewal,
)
from hwkm.client.daemons import CohortDaemons, read_daemons
from hwkm.client.fleet import PinnedFleet
from hwkm.client.fleet_vaults import Standing
from hwkm.client.made_for import VaultRecord
from hwkm.crypto.knowledge_factor import sha256_params
from hwkm.errors import (
    CohortMismatch,
    DecryptionError,
    SnapshotConflict,
    Unavailable,
    VaultElsewhere,
    VaultExists,
    VaultNotFound,
    WrongKnowledgeFactor,
)
from hwkm.fleet.cohort_list import Cohort
from hwkm.formats.vault_params import VaultParams
from tests.cli.person import Person
from tests.cohort_of_daemons import running_cohorts
from tests.daemon import Daemon
from tests.fleet_world import World
from tests.vault_clients import seal
from tests.vault_http import VaultHttp

PIN = encode_credential("0417")
QUICK = sha256_params(bytes(16))


class Site:
    """Three cohorts: alpha and beta of one module, gamma of two members."""

    def __init__(self, daemons: list[Daemon]) -> None:
        self.daemons = daemons
        self.sockets = [daemon.socket_path for daemon in daemons]
        self.cohorts = {
            name: Cohort("00" * 32, name, VaultClient(socket).agent.cohort().public_key.hex())
            for name, socket in zip(("alpha", "beta", "gamma"), self.sockets, strict=False)
        }

    @property
    def configuration(self) -> str:
        """A ``daemons.toml``."""
        tables = [("alpha", self.sockets[:1]), ("beta", self.sockets[1:2]), ("gamma", self.sockets[2:])]
        return "".join(
            f'[[cohort]]\nname = "{name}"\nsockets = {json.dumps([str(socket) for socket in sockets])}\n'
            for name, sockets in tables
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_cohorts(tmp_path_factory.mktemp("tokens"), [1, 1, 2]) as cohorts:
        yield Site([daemon for members in cohorts for daemon in members])


class Home:
    """A person who trusts a fleet and has daemons of three cohorts."""

    def __init__(self, directory: Path, site: Site) -> None:
        self.site = site
        self.person = Person(directory / "home", Path("/nowhere"))
        del self.person.environment["HWKM_SOCKET"]
        self.configuration = self.person.home / ".config" / "hwkm"
        self.configuration.mkdir(parents=True)
        self.daemons = self.configuration / "daemons.toml"
        self.daemons.write_text(site.configuration)
        self.world = World(directory / "public")
        self.epoch = 0

    def publish(self, *names: str, trust: bool = True) -> None:
        """Publish the next list; trust it if that was not done yet."""
        self.epoch += 1
        self.world.publish_list(self.epoch, [self.site.cohorts[name] for name in names])
        if trust and self.epoch == 1:
            self.pinned.pin(self.world.pinned, str(self.world.directory))

    @property
    def pinned(self) -> PinnedFleet:
        return PinnedFleet(self.configuration / "fleet")

    def client(self) -> FleetVaultClient:
        record = VaultRecord(self.configuration / "vaults.json")
        return FleetVaultClient(read_daemons(self.daemons), self.pinned.source(), record)


@pytest.fixture
def home(tmp_path: Path, site: Site) -> Iterator[Home]:
    made = Home(tmp_path, site)
    yield made
    for socket in site.sockets:
        with VaultClient(socket) as client:
            for info in client.list():
                client.delete(info.handle)


def create(home: Home, name: str = "phone") -> str:
    with home.client() as client:
        info, key = client.create(name, PIN, kf_params=QUICK)
    key.wipe()
    return info.handle


def cohort_of(home: Home, handle: str) -> str:
    with home.client() as client:
        return client.place_of(handle).daemons.label


def counter_id(home: Home, handle: str) -> int:
    with home.client() as client, VaultClient(client.place_of(handle).socket) as daemon:
        return VaultParams.parse(daemon.agent.challenge(handle).params).counter_id


def standing(home: Home, handle: str) -> Standing:
    with home.client() as client:
        return client.standings([handle])[handle]


# --- drawing and finding ---------------------------------------------------------------------


@pytest.mark.parametrize("by_variable", [False, True], ids=["option", "variable"])
def test_a_socket_that_is_chosen_is_the_only_daemon_that_is_asked(home: Home, *, by_variable: bool) -> None:
    home.publish("alpha", "gamma")

    def create_at(number: int, name: str, status: ExitCode = ExitCode.OK) -> None:
        socket = str(home.site.sockets[number])
        if by_variable:
            home.person.environment["HWKM_SOCKET"] = socket
        chosen = () if by_variable else ("--socket", socket)
        home.person.run("vault", "create", name, *chosen, pin="0417", status=status)

    for number in (0, 2, 3):
        create_at(number, f"at {number}")
        with VaultClient(home.site.sockets[number]) as daemon:
            assert [info.name for info in daemon.list()] == [f"at {number}"]
    create_at(1, "at an unlisted one", ExitCode.COHORT_MISMATCH)


def test_new_vaults_are_spread_over_all_listed_cohorts_and_members(home: Home) -> None:
    home.publish("alpha", "beta", "gamma")
    with home.client() as client:
        handles = [client.create(f"vault {n}", PIN, kf_params=QUICK)[0].handle for n in range(80)]
        assert {info.handle for info in client.list()} == set(handles)
        cohorts = Counter(client.place_of(handle).daemons.label for handle in handles)
        sockets = Counter(client.place_of(handle).socket for handle in handles)
    assert set(cohorts) == {"alpha", "beta", "gamma"}
    assert set(sockets) == set(home.site.sockets)


def test_only_listed_cohorts_are_drawn(home: Home) -> None:
    home.publish("beta")
    assert {cohort_of(home, create(home, f"vault {n}")) for n in range(12)} == {"beta"}


def test_where_no_cohort_is_listed_no_vault_is_made(home: Home, site: Site) -> None:
    home.epoch = 1
    home.world.publish_list(1, ["stranger"])
    home.pinned.pin(home.world.pinned, str(home.world.directory))
    with (
        home.client() as client,
        pytest.raises(CohortMismatch, match="alpha, beta, gamma are not in the fleet"),
    ):
        client.create("phone", PIN, kf_params=QUICK)
    assert all(VaultClient(socket).list() == () for socket in site.sockets)


def test_a_client_without_any_memory_finds_a_vault_by_name_and_by_handle(home: Home) -> None:
    home.publish("alpha", "beta", "gamma")
    handle = create(home)
    (home.configuration / "vaults.json").unlink()
    with home.client() as client:
        assert client.find("phone").handle == handle
    with home.client() as client, client.open(handle, PIN) as recovered:
        assert recovered.handle == handle


def test_a_name_is_taken_wherever_it_is(home: Home) -> None:
    home.publish("alpha")
    create(home)
    home.publish("beta")
    with home.client() as client, pytest.raises(VaultExists, match="alpha"):
        client.create("phone", PIN, kf_params=QUICK)


def test_a_vault_that_is_nowhere_is_told_from_a_daemon_that_is_silent(home: Home) -> None:
    home.publish("alpha")
    with home.client() as client, pytest.raises(VaultNotFound):
        client.find("phone")
    absent = CohortDaemons((home.configuration / "absent.sock",), "delta")
    everywhere = (*read_daemons(home.daemons), absent)
    record = VaultRecord(home.configuration / "vaults.json")
    with FleetVaultClient(everywhere, home.pinned.source(), record) as client:
        with pytest.raises(Unavailable, match=r"absent\.sock"):
            client.find("phone")
        handle = create(home)
        assert client.find("phone").handle == handle


# --- members ---------------------------------------------------------------------------------


def test_a_member_takes_and_opens_its_own_vaults_only(site: Site) -> None:
    gamma = site.daemons[2:]
    for number, daemon in enumerate(gamma):
        with daemon.http() as http, gamma[1 - number].http() as elsewhere:
            ours, other = VaultHttp(http), VaultHttp(elsewhere)
            handle = b"\x48" + (2 * 12345 + number).to_bytes(16, "big")
            vault = seal(ours.cohort(), handle=handle)
            with pytest.raises(VaultElsewhere) as refusal:
                other.create(vault)
            assert (refusal.value.member, refusal.value.members) == (number, 2)
            assert elsewhere.post("/v1/vaults", content=b"{}").status_code == 400
            ours.create(vault)
            assert ours.guess(vault, vault.kf_hash) == vault.recovery_key
            ours.delete(vault)


def test_status_says_which_member_it_is(home: Home, site: Site) -> None:
    shown = home.person.run("status", "--socket", site.sockets[3]).stdout
    assert "1 (counted from 0) of 2" in " ".join(shown.split())
    cohort = home.person.json("status", "--socket", site.sockets[2])["cohort"]
    assert (cohort["member"], cohort["members"]) == (0, 2)


# --- newer lists -----------------------------------------------------------------------------


def test_after_a_newer_list_a_vault_is_made_anew_under_another_counter(home: Home) -> None:
    home.publish("alpha")
    handle = create(home)
    assert standing(home, handle) is Standing.CURRENT
    before = counter_id(home, handle)
    home.publish("alpha")
    assert standing(home, handle) is Standing.OLDER_LIST
    with home.client() as client:
        info, key = client.rotate(handle, PIN)
        with client.open(handle, PIN) as recovered:
            assert recovered.recovery_key == key
    assert info.handle == handle
    assert standing(home, handle) is Standing.CURRENT
    assert counter_id(home, handle) != before


def test_under_the_same_list_a_rotation_keeps_the_counter(home: Home) -> None:
    home.publish("alpha", "beta")
    handle = create(home)
    before, cohort = counter_id(home, handle), cohort_of(home, handle)
    with home.client() as client:
        client.rotate(handle, PIN)
    assert (counter_id(home, handle), cohort_of(home, handle)) == (before, cohort)


@pytest.mark.parametrize("to", ["beta", "gamma"])
def test_a_vault_moves_with_its_keys_and_is_deleted_where_it_was(home: Home, site: Site, to: str) -> None:
    home.publish("alpha", to)
    with home.client() as client:
        while True:
            info, _ = client.create("phone", PIN, kf_params=QUICK)
            if client.place_of(info.handle).daemons.label == "alpha":
                break
            client.delete(info.handle)
        with client.open(info.handle, PIN) as recovered:
            key = ApplicationKey.generate("photos", b"v1")
            client.put_application_key(recovered, key)
    home.publish(to)
    with home.client() as client:
        client.rotate(info.handle, PIN, last_claim=True)
    assert cohort_of(home, info.handle) == to
    assert VaultClient(site.sockets[0]).list() == ()
    with home.client() as client, client.open(info.handle, PIN) as recovered:
        assert recovered.key_ring.keys["photos"].key == key.key
        assert recovered.key_ring.keys["photos"].metadata == b"v1"


# --- cohorts taken off the list --------------------------------------------------------------


@pytest.fixture
def delisted(home: Home) -> str:
    """A vault at alpha, which the newest list does not name."""
    home.publish("alpha")
    handle = create(home)
    home.publish("beta")
    return handle


def test_of_a_delisted_cohort_nothing_is_claimed_unless_told(home: Home, site: Site, delisted: str) -> None:
    assert standing(home, delisted) is Standing.DELISTED
    for wrong in (PIN, encode_credential("9999")):
        with home.client() as client:
            with pytest.raises(CohortMismatch, match="epoch 2"):
                client.open(delisted, wrong)
            with pytest.raises(CohortMismatch, match="recovery key, or by one last claim"):
                client.rotate(delisted, wrong)
            with pytest.raises(CohortMismatch):
                client.change_pin(delisted, wrong, PIN)
    assert VaultClient(site.sockets[0]).show(delisted).attempts_remaining == 10
    assert VaultClient(site.sockets[1]).list() == ()


def test_by_its_recovery_key_a_vault_leaves_without_a_claim(home: Home, site: Site) -> None:
    home.publish("alpha")
    with home.client() as client:
        info, key = client.create("phone", PIN, kf_params=QUICK)
        with client.open(info.handle, PIN) as recovered:
            client.put_application_key(recovered, ApplicationKey.generate("photos"))
    home.publish("beta")
    claims = 'hwkm_claims_total{outcome="opened"}'
    before = site.daemons[0].metrics()
    with home.client() as client:
        client.rotate(info.handle, PIN, recovery_key=key)
    assert site.daemons[0].metrics().get(claims) == before.get(claims)
    assert cohort_of(home, info.handle) == "beta"
    with home.client() as client, client.open(info.handle, PIN) as recovered:
        assert set(recovered.key_ring.keys) == {"photos"}


def test_a_client_that_did_not_make_the_vault_makes_no_last_claim(home: Home, delisted: str) -> None:
    (home.configuration / "vaults.json").unlink()
    with home.client() as client, pytest.raises(CohortMismatch, match=r"away by its recovery key$"):
        client.rotate(delisted, PIN, last_claim=True)


# --- interrupted -----------------------------------------------------------------------------


class Interrupted(Exception):
    """Stands for a crash: whatever runs is not finished."""


@pytest.fixture
def interrupted(home: Home, delisted: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A move that ended between the new vault and the deletion of the old one."""
    with monkeypatch.context() as patched, home.client() as client:

        def crash(*_: object) -> None:
            raise Interrupted

        patched.setattr(renewal, "_confirm", crash)
        with pytest.raises(Interrupted):
            client.rotate(delisted, PIN, last_claim=True)
    return delisted


def at(site: Site, number: int, handle: str) -> bool:
    return any(info.handle == handle for info in VaultClient(site.sockets[number]).list())


def test_after_a_crash_the_vault_opens_and_the_next_rotation_finishes(
    home: Home, site: Site, interrupted: str
) -> None:
    assert at(site, 0, interrupted)
    assert at(site, 1, interrupted)
    assert standing(home, interrupted) is Standing.TWO_PLACES
    with home.client() as client, client.open(interrupted, PIN):
        assert client.find("phone").handle == interrupted
    with home.client() as client:
        _, key = client.rotate(interrupted, PIN, last_claim=True)
    assert not at(site, 0, interrupted)
    assert standing(home, interrupted) is Standing.CURRENT
    with home.client() as client, client.open(interrupted, PIN) as recovered:
        assert recovered.recovery_key == key


def test_keys_stored_in_either_vault_meanwhile_are_kept(home: Home, interrupted: str) -> None:
    home.publish("alpha", "beta")
    alpha, beta = home.site.sockets[:2]
    keys = {}
    for socket, alias in ((alpha, "in-the-old"), (beta, "in-the-new")):
        record = VaultRecord(home.daemons.with_name("other.json"))
        only = FleetVaultClient([CohortDaemons((socket,))], home.pinned.source(), record)
        with only, only.open(interrupted, PIN) as recovered:
            keys[alias] = ApplicationKey.generate(alias)
            only.put_application_key(recovered, keys[alias])
    with home.client() as client:
        client.rotate(interrupted, PIN)
    with home.client() as client, client.open(interrupted, PIN) as recovered:
        assert {alias: key.key for alias, key in recovered.key_ring.keys.items()} == {
            key.alias: key.key for key in keys.values()
        }


def test_two_keys_of_one_alias_are_nobodys_to_choose(home: Home, site: Site, interrupted: str) -> None:
    home.publish("alpha", "beta")
    for socket in site.sockets[:2]:
        record = VaultRecord(home.daemons.with_name("other.json"))
        only = FleetVaultClient([CohortDaemons((socket,))], home.pinned.source(), record)
        with only, only.open(interrupted, PIN) as recovered:
            only.put_application_key(recovered, ApplicationKey.generate("photos"))
    with home.client() as client, pytest.raises(SnapshotConflict, match="photos"):
        client.rotate(interrupted, PIN)
    assert at(site, 0, interrupted)
    assert at(site, 1, interrupted)


def test_a_new_vault_that_another_pin_opens_does_not_cost_the_old_one(
    home: Home, site: Site, interrupted: str
) -> None:
    other = encode_credential("2718")
    with VaultClient(site.sockets[1]) as client:
        client.change_pin(interrupted, PIN, other, kf_params=QUICK)
    with home.client() as client, pytest.raises(WrongKnowledgeFactor):
        client.rotate(interrupted, PIN, last_claim=True)
    assert at(site, 0, interrupted)


def test_a_key_stored_in_the_last_moment_keeps_the_old_vault(
    home: Home, site: Site, delisted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = renewal._keep
    with home.client() as client, client_of_alpha(home) as late, late.open(delisted, PIN) as recovered:
        late.put_application_key(recovered, ApplicationKey.generate("first"))

        def stored_meanwhile(*arguments: object) -> None:
            keep(*arguments)  # type: ignore[arg-type]
            late.put_application_key(recovered, ApplicationKey.generate("late"))

        monkeypatch.setattr(renewal, "_keep", stored_meanwhile)
        with pytest.raises(SnapshotConflict, match="nothing was deleted"):
            client.rotate(delisted, PIN, last_claim=True)
    monkeypatch.undo()
    assert at(site, 0, delisted)
    with home.client() as client:
        client.rotate(delisted, PIN, last_claim=True)
        with client.open(delisted, PIN) as recovered:
            assert set(recovered.key_ring.keys) == {"first", "late"}


def client_of_alpha(home: Home) -> VaultClient:
    key = bytes.fromhex(home.site.cohorts["alpha"].public_key)
    return VaultClient(home.site.sockets[0], trust=FixedCohort(key))


# --- the command -----------------------------------------------------------------------------


def test_the_command_draws_finds_shows_and_moves(home: Home, site: Site) -> None:
    home.publish("alpha")
    person = home.person
    made = person.create("phone")
    assert person.json("vault", "show", "phone")["cohort"] == "alpha"
    assert person.json("vault", "show", "phone")["standing"] == "current"
    out = home.person.home / "recovery-key"
    person.run("vault", "open", "phone", "--out", out, pin="0417")
    home.publish("beta")
    (listed,) = person.json("vault", "list")
    assert (listed["handle"], listed["cohort"], listed["standing"]) == (made["handle"], "alpha", "delisted")
    assert "NOT in the newest list" in " ".join(person.run("vault", "list").stdout.split())
    person.run("vault", "open", "phone", pin="0417", status=ExitCode.COHORT_MISMATCH)
    person.run("vault", "rotate", "phone", pin="0417", status=ExitCode.COHORT_MISMATCH)
    person.run("vault", "rotate", "phone", "--recovery-key-file", out, pin="0417")
    shown = person.json("vault", "show", "phone")
    assert (shown["handle"], shown["cohort"], shown["standing"]) == (made["handle"], "beta", "current")
    person.run("vault", "open", "phone", pin="0417")
    person.run("vault", "delete", "phone", "--yes")
    assert person.json("vault", "list") == []


def test_the_doctor_looks_the_daemon_up_in_the_list(home: Home, site: Site) -> None:
    socket = ("--socket", site.sockets[0])
    home.publish("alpha")
    assert "alpha of the trusted list of epoch 1" in doctor(home, *socket)
    home.publish("beta")
    assert "is not in the trusted list of epoch 2" in doctor(home, *socket, status=ExitCode.PROBLEMS_FOUND)
    home.world.publish_list(3, ["alpha"], signed_by=["auditor-list"])
    assert "does not verify" in doctor(home, *socket, status=ExitCode.PROBLEMS_FOUND)


def doctor(home: Home, *arguments: str | Path, status: int = ExitCode.OK) -> str:
    return " ".join(home.person.run("doctor", *arguments, status=status).stdout.split())


def test_a_list_that_does_not_verify_is_said_and_nothing_is_opened(home: Home) -> None:
    home.publish("alpha")
    home.person.create("phone")
    home.world.publish_list(2, [home.site.cohorts["alpha"]], signed_by=["operator-list"])
    shown = home.person.json("vault", "show", "phone")
    assert (shown["standing"], shown["cohort"]) == ("unverified", "alpha")
    home.person.run("vault", "open", "phone", pin="0417", status=ExitCode.NOT_TRUSTED)
    home.person.create("second", status=ExitCode.NOT_TRUSTED)


def test_keys_by_hand_serve_where_no_list_is_trusted(home: Home, site: Site) -> None:
    tables = [
        f'[[cohort]]\nkey = "{site.cohorts[name].public_key}"\nsockets = ["{socket}"]\n'
        for name, socket in zip(("alpha", "beta"), site.sockets, strict=False)
    ]
    home.daemons.write_text("".join(tables))
    home.person.create("phone")
    home.person.run("vault", "open", "phone", pin="0417")
    home.daemons.write_text(site.configuration)
    refused = home.person.run("vault", "list", status=ExitCode.LOCAL_FILE)
    assert "by name" in refused.stderr


def test_only_a_trusted_list_moves_vaults(home: Home, site: Site) -> None:
    home.daemons.unlink()
    person = home.person
    socket = ("--socket", site.sockets[0])
    person.create("phone", *socket)
    person.run("vault", "rotate", "phone", *socket, "--leave-delisted", pin="0417", status=ExitCode.USAGE)
    key = person.home / "key"
    key.touch(mode=0o600)
    key.write_text("0" * 63)
    refused = person.run(
        "vault", "rotate", "phone", *socket, "--recovery-key-file", key, pin="0417", status=ExitCode.BAD_INPUT
    )
    assert "64 hex digits" in refused.stderr


def test_a_recovery_key_that_is_anothers_takes_nothing_away(home: Home, site: Site, delisted: str) -> None:
    with client_of_alpha(home) as client, client.open(delisted, PIN) as recovered:
        client.put_application_key(recovered, ApplicationKey.generate("photos"))
    with home.client() as fleet, pytest.raises(DecryptionError):
        fleet.rotate(delisted, PIN, recovery_key=SecretBytes(bytes(32)))
    assert at(site, 0, delisted)
    assert not at(site, 1, delisted)
