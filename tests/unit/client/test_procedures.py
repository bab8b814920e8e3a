"""Answers that get lost in the middle of a procedure, and lists that do not end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hwkm.client import procedures
from hwkm.client.application_key import ApplicationKey
from hwkm.client.calls import Call
from hwkm.client.flow import Flow, pause, run
from hwkm.client.trust import FixedCohort
from hwkm.crypto.knowledge_factor import KfType, encode_credential, sha256_params
from hwkm.errors import FormatError, SnapshotConflict, Unavailable, VaultExists, VaultNotFound
from hwkm.wire import api, operations
from tests.unit.client.thm_half import ThmHalf

PIN = encode_credential("0417")
NEW_PIN = encode_credential("2718")
Handler = Callable[[Any], object]


class OneVault:
    """Plays a daemon that keeps one vault, as far as the flows of a client can tell."""

    def __init__(self) -> None:
        self.thm = ThmHalf()
        self.stored: Any = None
        self.version = 1
        self.keys: dict[str, api.WrappedApplicationKey] = {}
        self.lost: set[str] = set()
        self.done: list[str] = []
        self.instead: dict[str, Handler] = {}

    def __call__(self, call: Call[Any]) -> object:
        name = call.operation.name
        body = msgspec.json.decode(call.body or b"{}", type=call.operation.request)
        handler = self.instead.get(name) or getattr(self, name.replace(".", "_"))
        answer = handler(body)
        self.done.append(name)
        if name in self.lost:
            self.lost.discard(name)
            raise Unavailable("the answer was lost")
        return answer

    def info(self) -> api.VaultInfo:
        if self.stored is None:
            raise VaultNotFound("none")
        return api.VaultInfo(
            handle=self.stored.params[77:].hex(),
            name="phone",
            state="active",
            owner_uid=0,
            snapshot_version=self.version,
            max_attempts=10,
            attempts_remaining=10,
            retry_after_ms=0,
            suspended=False,
            knowledge_factor=self.stored.knowledge_factor,
            application_keys=tuple(self.keys),
            created_at_ms=0,
            updated_at_ms=0,
        )

    def cohort(self, _: object) -> api.CohortInfo:
        return self.thm.cohort

    def vault_create(self, body: api.CreateVault) -> api.VaultInfo:
        self.stored = body
        return self.info()

    def vault_show(self, _: object) -> api.VaultInfo:
        return self.info()

    def vault_challenge(self, _: object) -> api.ChallengeIssued:
        return self.thm.challenge(self.stored, self.version)

    def vault_open(self, body: api.OpenVault) -> api.VaultOpened:
        return self.thm.answer(self.stored, body, self.keys.values())

    def vault_replace(self, body: api.ReplaceVault) -> api.VaultInfo:
        if body.expected_snapshot_version != self.version:
            raise SnapshotConflict("replaced meanwhile")
        self.stored, self.version = body, self.version + 1
        self.keys = {key.alias: key for key in body.application_keys}
        return self.info()

    def application_key_list(self, _: object) -> api.ApplicationKeyList:
        return api.ApplicationKeyList(
            snapshot_version=self.version, application_keys=tuple(self.keys.values())
        )


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> OneVault:
    def at_once(_: float) -> Flow[None]:
        return pause(0)

    monkeypatch.setattr("hwkm.client.procedures.pause", at_once)
    monkeypatch.setattr("hwkm.client.agent.pause", at_once)
    return OneVault()


@pytest.fixture
def trust(vault: OneVault) -> FixedCohort:
    return FixedCohort(vault.thm.cohort.public_key)


def create(vault: OneVault, trust: FixedCohort) -> str:
    quick = sha256_params(bytes(16))
    info, _ = run(procedures.create(trust, PIN, KfType.PIN, name="phone", kf_params=quick), vault)
    return info.handle


def change_pin(vault: OneVault, trust: FixedCohort, handle: str) -> api.VaultInfo:
    quick = sha256_params(bytes(range(16)))
    info, _ = run(procedures.change_pin(trust, handle, PIN, NEW_PIN, kf_params=quick), vault)
    return info


def test_a_vault_whose_creation_was_not_answered_is_found(vault: OneVault, trust: FixedCohort) -> None:
    vault.lost = {"vault.create"}
    handle = create(vault, trust)
    assert vault.done == ["cohort", "vault.create", "vault.show"]
    with run(procedures.open_vault(trust, handle, PIN), vault) as recovered:
        assert recovered.handle == handle


def test_a_vault_that_was_not_created_stays_lost(vault: OneVault, trust: FixedCohort) -> None:
    def never(_: object) -> api.VaultInfo:
        raise Unavailable("before it arrived")

    vault.instead["vault.create"] = never
    with pytest.raises(Unavailable, match="before it arrived"):
        create(vault, trust)


def test_a_refusal_is_not_asked_about(vault: OneVault, trust: FixedCohort) -> None:
    def refused(_: object) -> api.VaultInfo:
        raise VaultExists("the name is taken")

    vault.instead["vault.create"] = refused
    with pytest.raises(VaultExists):
        create(vault, trust)
    assert "vault.show" not in vault.done


def test_a_new_pin_whose_change_was_not_answered_is_found(vault: OneVault, trust: FixedCohort) -> None:
    handle = create(vault, trust)
    vault.lost = {"vault.replace"}
    assert change_pin(vault, trust, handle).snapshot_version == 2
    with run(procedures.open_vault(trust, handle, NEW_PIN), vault):
        pass


def test_a_rotation_that_was_not_answered_is_not_guessed_at(vault: OneVault, trust: FixedCohort) -> None:
    handle = create(vault, trust)
    vault.lost = {"vault.replace"}
    with pytest.raises(Unavailable):
        run(procedures.rotate(trust, handle, PIN), vault)
    info, made = run(procedures.rotate(trust, handle, PIN), vault)
    assert info.snapshot_version == 3
    with run(procedures.open_vault(trust, handle, PIN), vault) as recovered:
        assert recovered.recovery_key == made.recovery_key


def test_a_key_stored_while_rotating_is_kept(vault: OneVault, trust: FixedCohort) -> None:
    handle = create(vault, trust)
    key = ApplicationKey.generate("late")

    def opened_then_stored(body: api.OpenVault) -> api.VaultOpened:
        answer = vault.vault_open(body)
        with run_open() as recovered:
            vault.keys["late"] = key.wrap(recovered.recovery_key)
        return answer

    def run_open() -> Any:
        vault.instead.clear()
        return run(procedures.open_vault(trust, handle, PIN), vault)

    vault.instead["vault.open"] = opened_then_stored
    run(procedures.rotate(trust, handle, PIN), vault)
    with run(procedures.open_vault(trust, handle, PIN), vault) as recovered:
        assert recovered.key_ring.keys["late"].key == key.key


def test_a_vault_replaced_while_rotating_is_not_overwritten(vault: OneVault, trust: FixedCohort) -> None:
    handle = create(vault, trust)

    def listed_late(body: object) -> api.ApplicationKeyList:
        vault.version += 1
        return vault.application_key_list(body)

    vault.instead["application_key.list"] = listed_late
    with pytest.raises(SnapshotConflict):
        run(procedures.rotate(trust, handle, PIN), vault)


def test_a_list_in_circles_ends() -> None:
    handles = [f"{number:034x}" for number in (1, 2)]

    def circle(_: Call[Any]) -> api.VaultList:
        return api.VaultList(vaults=(), next=handles[0])

    with pytest.raises(FormatError, match="circles"):
        run(procedures.list_all(), circle)


def test_names_that_several_vaults_have_need_a_handle(vault: OneVault, trust: FixedCohort) -> None:
    create(vault, trust)
    info = vault.info()
    page = api.VaultList(vaults=(info, info), next=None)
    with pytest.raises(FormatError, match="use a handle"):
        run(procedures.find("phone"), lambda _: page)
    with pytest.raises(VaultNotFound):
        run(procedures.find("other"), lambda _: page)


def test_the_operations_played_are_real_ones() -> None:
    real = {operation.name.replace(".", "_") for operation in operations.OPERATIONS}
    played = {name for name in vars(OneVault) if not name.startswith("_")} - {"info"}
    assert played <= real
