"""The client library against a real daemon."""

from __future__ import annotations

import asyncio
import doctest
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import hwkm.client
from hwkm.client import (
    ApplicationKey,
    AsyncVaultClient,
    CohortMismatch,
    FixedCohort,
    KfType,
    KnownCohort,
    VaultClient,
    VaultLocked,
    WrongKnowledgeFactor,
    encode_credential,
)
from hwkm.client.cohort import by_hand
from hwkm.client.framework import claim, fresh_params, new_vault
from hwkm.crypto.knowledge_factor import sha256_params
from hwkm.crypto.p256 import encode_point
from hwkm.errors import (
    ChallengeRefused,
    DecryptionError,
    SnapshotConflict,
    VaultExists,
    VaultNotFound,
)
from hwkm.wire import api
from tests.core_process import MemoryToken
from tests.daemon import Daemon

QUICK = sha256_params(bytes(16))
PIN = encode_credential("0417")
WRONG = encode_credential("417")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token")), delays=["0s"]) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def trust(daemon: Daemon, tmp_path: Path) -> KnownCohort:
    return KnownCohort(daemon.socket_path, tmp_path / "known_cohorts")


@pytest.fixture
def client(daemon: Daemon, trust: KnownCohort) -> Iterator[VaultClient]:
    with VaultClient(daemon.socket_path, trust=trust) as made:
        yield made


@pytest.fixture
def vault(client: VaultClient, request: pytest.FixtureRequest) -> api.VaultInfo:
    info, recovery_key = client.create(request.node.name[:128], PIN, kf_params=QUICK, max_attempts=4)
    recovery_key.wipe()
    return info


def test_the_example_in_the_documentation_works(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    result = doctest.testmod(hwkm.client, extraglobs={"socket_path": daemon.socket_path}, report=True)
    assert result.attempted > 0
    assert result.failed == 0


def test_a_life_without_await(client: VaultClient, vault: api.VaultInfo) -> None:
    photos = ApplicationKey.generate("photos", b"v1")
    with client.open(vault.handle, PIN) as recovered:
        client.put_application_key(recovered, photos)
    info, key = client.rotate(vault.handle, PIN)
    assert info.snapshot_version == 2
    with client.open(vault.handle, PIN) as recovered:
        assert recovered.recovery_key == key
        assert recovered.key_ring.keys["photos"].key == photos.key
        assert recovered.key_ring.keys["photos"].metadata == b"v1"
    with pytest.raises(WrongKnowledgeFactor) as wrong:
        client.open(vault.handle, WRONG)
    assert wrong.value.attempts_remaining == 3
    client.change_pin(vault.handle, PIN, WRONG, kf_type=KfType.PASSWORD, kf_params=QUICK)
    changed = client.show(vault.handle)
    assert changed.attempts_remaining == 4
    assert changed.knowledge_factor is not None
    assert changed.knowledge_factor.type is KfType.PASSWORD
    with client.open(vault.handle, WRONG) as recovered:
        assert recovered.key_ring.keys["photos"].key == photos.key
    client.delete_application_key(vault.handle, "photos")
    assert client.show(vault.handle).application_keys == ()
    client.delete(vault.handle)
    with pytest.raises(VaultNotFound):
        client.show(vault.handle)


async def test_a_life_with_await(daemon: Daemon, trust: KnownCohort) -> None:
    async with AsyncVaultClient(daemon.socket_path, trust=trust) as client:
        assert (await client.status()).state == "ready"
        info, key = await client.create("awaited", PIN, kf_params=QUICK)
        with pytest.raises(VaultExists):
            await client.create("awaited", PIN, kf_params=QUICK)
        assert (await client.find("awaited")).handle == info.handle
        with await client.open(info.handle, PIN) as recovered:
            assert recovered.recovery_key == key
            made = await client.ensure_application_key(recovered, "photos")
            assert made.alias.startswith("photos.")
        _, key = await client.rotate(info.handle, PIN)
        await client.change_pin(info.handle, PIN, WRONG, kf_params=QUICK)
        with await client.open(info.handle, WRONG) as recovered:
            assert (await client.ensure_application_key(recovered, "photos")).key == made.key
        with pytest.raises(WrongKnowledgeFactor):
            await client.open(info.handle, PIN)
        assert info.handle in {found.handle for found in await client.list()}
        await client.delete_application_key(info.handle, made.alias)
        await client.delete(info.handle)
        with pytest.raises(VaultNotFound):
            await client.show(info.handle)


async def test_many_at_once(daemon: Daemon, trust: KnownCohort) -> None:
    async with AsyncVaultClient(daemon.socket_path, trust=trust) as client:
        info, _ = await client.create("many", PIN, kf_params=QUICK)
        opened = await asyncio.gather(*(client.open(info.handle, PIN) for _ in range(20)))
        assert len({recovered.recovery_key.expose() for recovered in opened}) == 1
        wrong = await asyncio.gather(
            *(client.open(info.handle, WRONG) for _ in range(20)), return_exceptions=True
        )
        assert sum(isinstance(error, WrongKnowledgeFactor) for error in wrong) == 10
        assert sum(isinstance(error, VaultLocked) for error in wrong) == 10


def test_the_two_halves_apart(client: VaultClient) -> None:
    """The framework makes and opens, the agent carries; neither does the other's work."""
    agent = client.agent
    cohort = by_hand(agent.cohort().public_key)
    params = fresh_params(cohort, agent.cohort())
    made = new_vault(cohort, params, PIN, KfType.PIN, name="apart", kf_params=QUICK)
    stored = agent.create_vault(made.request)
    challenge = agent.challenge(stored.handle)
    with claim(challenge, PIN, cohort) as pending:
        answer = agent.open_vault(stored.handle, pending.request)
        again = agent.open_vault(stored.handle, pending.request)
        assert (again.attempts_remaining, len(again.response)) == (answer.attempts_remaining, 92)
        with pending.finish(again) as recovered:
            assert recovered.recovery_key == made.recovery_key
    agent.delete_vault(stored.handle)


def test_the_same_wrong_claim_again_costs_nothing_more(client: VaultClient, vault: api.VaultInfo) -> None:
    agent = client.agent
    pending = claim(agent.challenge(vault.handle), WRONG, by_hand(agent.cohort().public_key))
    for _ in range(3):
        with pytest.raises(WrongKnowledgeFactor) as wrong:
            agent.open_vault(vault.handle, pending.request)
        assert wrong.value.attempts_remaining == 3


def test_a_challenge_is_for_one_vault(client: VaultClient, vault: api.VaultInfo) -> None:
    other, _ = client.create("other of one vault", PIN, kf_params=QUICK)
    agent = client.agent
    pending = claim(agent.challenge(vault.handle), PIN, by_hand(agent.cohort().public_key))
    with pytest.raises(ChallengeRefused):
        agent.open_vault(other.handle, pending.request)
    assert client.show(other.handle).attempts_remaining == other.max_attempts


def test_a_vault_is_not_replaced_behind_somebodys_back(client: VaultClient, vault: api.VaultInfo) -> None:
    with client.open(vault.handle, PIN) as recovered:
        client.rotate(vault.handle, PIN)
        with pytest.raises(SnapshotConflict):
            client.put_application_key(recovered, ApplicationKey.generate("late"))
    assert client.show(vault.handle).application_keys == ()


def test_a_damaged_application_key_is_not_dropped_in_silence(
    client: VaultClient, vault: api.VaultInfo
) -> None:
    with client.open(vault.handle, PIN) as recovered:
        client.put_application_key(recovered, ApplicationKey.generate("good"))
    garbage = api.PutApplicationKey(wrapped=b"\x02\x00" + bytes(60), expected_snapshot_version=1)
    client.agent.put_application_key(vault.handle, "bad", garbage)
    with client.open(vault.handle, PIN) as recovered:
        assert recovered.key_ring.damaged == ("bad",)
    with pytest.raises(DecryptionError, match="bad"):
        client.rotate(vault.handle, PIN)
    client.rotate(vault.handle, PIN, drop_damaged=True)
    assert client.show(vault.handle).application_keys == ("good",)


def test_another_cohort_is_refused_before_the_pin_is_used(
    daemon: Daemon, client: VaultClient, vault: api.VaultInfo
) -> None:
    other = encode_point(ec.generate_private_key(ec.SECP256R1()).public_key())
    with VaultClient(daemon.socket_path, trust=FixedCohort(other)) as careful:
        with pytest.raises(CohortMismatch):
            careful.open(vault.handle, PIN)
        with pytest.raises(CohortMismatch):
            careful.create("never", PIN, kf_params=QUICK)
    assert client.show(vault.handle).attempts_remaining == 4


def test_a_core_killed_in_the_middle_costs_at_most_one_attempt_each_time(
    daemon: Daemon, client: VaultClient, vault: api.VaultInfo
) -> None:
    for killed in (1, 2):  # a third time in a row, without a verdict on record, suspends the vault
        with killing(daemon):
            try:
                with client.open(vault.handle, PIN) as recovered:
                    assert len(recovered.recovery_key) == 32
            except ChallengeRefused:
                pass  # the core died between challenge and claim: nothing was charged
        daemon.wait_until_ready()
        assert client.show(vault.handle).attempts_remaining >= 4 - killed
    with client.open(vault.handle, PIN) as recovered:
        assert recovered.attempts_remaining == 4


@contextmanager
def killing(daemon: Daemon) -> Iterator[None]:
    """Kill the trusted core at some moment of what happens in the block."""
    thread = threading.Thread(target=daemon.kill_core)
    thread.start()
    yield
    thread.join()
