"""Ways to begin to count anew (attack 7): replacing, deleting, renaming, altering. None gives an attempt back."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import pytest

from hwkm.errors import VaultExists, VaultLocked, WrongKnowledgeFactor
from hwkm.formats.vault_params import VaultParams
from hwkm.wire import api
from hwkm.wire import core_messages as wire
from tests.daemon import Daemon
from tests.harness.daemon_state import make_installed
from tests.harness.invariant import Witness
from tests.harness.rig import Rig
from tests.harness.trial import LIMIT, use_up, wrong
from tests.vault_clients import Claimed, SealedVault, reseal, seal
from tests.vault_http import VaultHttp, handle_of

pytestmark = pytest.mark.attack


@pytest.fixture
def vault(rig: Rig) -> SealedVault:
    return seal(rig.cohort_public_key, max_attempts=LIMIT)


def altered(vault: SealedVault, **changes: object) -> SealedVault:
    """The same blob, said to belong to other params."""
    params = replace(VaultParams.parse(vault.params), **changes).encode()  # type: ignore[arg-type]
    return replace(vault, params=params)


def alterations(vault: SealedVault) -> Iterator[SealedVault]:
    """Every bit of the counter id, every byte of the handle, every other limit."""
    params = VaultParams.parse(vault.params)
    for bit in range(64):
        yield altered(vault, counter_id=params.counter_id ^ 1 << bit)
    for position in range(len(params.handle)):
        handle = bytearray(params.handle)
        handle[position] ^= 1
        yield altered(vault, handle=bytes(handle))
    for limit in set(range(1, 11)) - {LIMIT}:
        yield altered(vault, max_attempts=limit)


# --- at the core -----------------------------------------------------------------------------


def test_no_alteration_of_params_makes_the_right_guess_right(rig: Rig, vault: SealedVault) -> None:
    """Under an altered counter id or handle one may guess for ever, and never hear anything but wrong."""
    witness = Witness.of(vault)
    with rig.core() as core:
        assert isinstance(witness.guess(core, vault, wrong()), wire.VaultWrong)
        before = core.attempts_remaining(vault)
        for other in alterations(vault):
            same_counter = VaultParams.parse(other.params).max_attempts != LIMIT
            if not same_counter:
                assert isinstance(core.guess(other, vault.kf_hash), wire.VaultWrong)
                assert core.attempts_remaining(vault) == before
        use_up(core, vault, witness)


def test_another_limit_in_the_params_meets_the_same_counter_and_never_opens(
    rig: Rig, vault: SealedVault
) -> None:
    with rig.core() as core:
        for used in range(LIMIT):
            other = altered(vault, max_attempts=10)
            assert core.attempts_remaining(other) == 10 - used
            assert isinstance(core.guess(other, vault.kf_hash), wire.VaultWrong)
        assert core.attempts_remaining(vault) == 0
        assert isinstance(core.guess(vault, vault.kf_hash), wire.VaultIsLocked)


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "crashed"])
def test_vault_replaced_after_each_guess_whose_reply_is_dropped_has_one_limit_for_all_its_blobs(
    rig: Rig, vault: SealedVault, crash: bool
) -> None:
    """The owner uploads again and again under one PIN; whoever guesses between has no more for it."""
    witness = Witness.of(vault)
    blobs = [vault]
    for _ in range(LIMIT + 2):
        with rig.core() as core:
            witness.guess(core, blobs[-1], wrong())
            blobs.append(reseal(vault))
            if crash:
                core.kill()
            else:
                core.stop()
    assert len(witness.evaluated) == LIMIT
    with rig.core() as core:
        assert core.attempts_remaining(vault) == 0
        for blob in blobs:
            # Delayed: the newest charge lost its verdict in the crash; its own claim may still be repeated.
            assert isinstance(core.guess(blob, vault.kf_hash), wire.VaultIsLocked | wire.VaultDelayed)
        assert core.attempts_remaining(vault) == 0


def test_own_blob_opened_under_the_owners_params_clears_nothing_of_the_owners(
    rig: Rig, vault: SealedVault
) -> None:
    """An operator guesses at the owner's blob, then opens a blob of his own in its place, for ever."""
    witness = Witness.of(vault)
    own = reseal(vault, wrong())
    with rig.core() as core:
        for number in itertools.count():
            if isinstance(witness.guess(core, vault, wrong()), wire.VaultIsLocked):
                break
            assert number < LIMIT
            assert isinstance(core.guess(own, own.kf_hash), wire.VaultOpened | wire.VaultIsLocked)
        assert len(witness.evaluated) == LIMIT
        assert isinstance(core.guess(vault, vault.kf_hash), wire.VaultIsLocked)


def test_resuming_a_vault_gives_no_attempt(rig: Rig, vault: SealedVault) -> None:
    witness = Witness.of(vault)
    with rig.core() as core:
        for left in reversed(range(LIMIT)):
            assert isinstance(witness.guess(core, vault, wrong()), wire.VaultWrong)
            for _ in range(3):
                assert isinstance(core.call(wire.ResumeVault(params=vault.params)), wire.Done)
            assert core.attempts_remaining(vault) == left
        assert isinstance(witness.guess(core, vault, vault.kf_hash), wire.VaultIsLocked)


# --- through the daemon ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with make_installed("memory") as installed, installed.anew() as running:
        running.start()
        yield running


@pytest.fixture
def vaults(daemon: Daemon) -> Iterator[VaultHttp]:
    with daemon.http() as http:
        yield VaultHttp(http)


@pytest.fixture
def uploaded(vaults: VaultHttp) -> SealedVault:
    made = seal(vaults.cohort(), max_attempts=LIMIT)
    vaults.create(made)
    return made


def verdicts(vaults: VaultHttp, vault: SealedVault) -> int:
    """Guess wrongly until the vault is locked; return how many verdicts there were."""
    for count in itertools.count():
        try:
            vaults.guess(vault, wrong())
        except WrongKnowledgeFactor:
            continue
        except VaultLocked:
            return count
    raise AssertionError


Step = Callable[[VaultHttp, SealedVault], SealedVault]


def deleted_and_made_again(vaults: VaultHttp, vault: SealedVault) -> SealedVault:
    vaults.delete(vault)
    vaults.create(vault)
    return vault


def made_again_under_another_name(vaults: VaultHttp, vault: SealedVault) -> SealedVault:
    with pytest.raises(VaultExists):
        vaults.create(vault, f"copy of {handle_of(vault)}")
    vaults.delete(vault)
    vaults.create(vault, f"another name of {handle_of(vault)}")
    return vault


def replaced_under_the_same_params(vaults: VaultHttp, vault: SealedVault) -> SealedVault:
    new = reseal(vault)
    vaults.replace(new, vaults.show(vault).snapshot_version)
    return new


def replaced_under_a_new_counter_and_back(vaults: VaultHttp, vault: SealedVault) -> SealedVault:
    """The new counter is fresh, and the blob does not open under it: not even the right guess."""
    other = altered(vault, counter_id=VaultParams.parse(vault.params).counter_id ^ 1)
    vaults.replace(other, vaults.show(vault).snapshot_version)
    with pytest.raises(WrongKnowledgeFactor):
        vaults.guess(other, vault.kf_hash)
    vaults.replace(vault, vaults.show(vault).snapshot_version)
    return vault


def replaced_under_a_higher_limit_and_back(vaults: VaultHttp, vault: SealedVault) -> SealedVault:
    vaults.replace(altered(vault, max_attempts=10), vaults.show(vault).snapshot_version)
    vaults.replace(vault, vaults.show(vault).snapshot_version)
    return vault


def locked_copy_made_under_another_handle(vaults: VaultHttp, vault: SealedVault) -> SealedVault:
    """The blob under a handle of its own can be uploaded, and never opened."""
    handle = bytearray(VaultParams.parse(vault.params).handle)
    handle[-1] ^= 1
    other = altered(vault, handle=bytes(handle))
    vaults.create(other)
    with pytest.raises(WrongKnowledgeFactor):
        vaults.guess(other, vault.kf_hash)
    vaults.delete(other)
    return vault


STEPS: tuple[Step, ...] = (
    deleted_and_made_again,
    made_again_under_another_name,
    replaced_under_the_same_params,
    replaced_under_a_new_counter_and_back,
    replaced_under_a_higher_limit_and_back,
    locked_copy_made_under_another_handle,
)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_whatever_is_done_to_its_record_between_guesses_a_vault_has_one_limit(
    vaults: VaultHttp, uploaded: SealedVault, step: Step
) -> None:
    vault = uploaded
    for left in reversed(range(LIMIT)):
        with pytest.raises(WrongKnowledgeFactor) as refused:
            vaults.guess(vault, wrong())
        assert refused.value.attempts_remaining == left
        if left:
            vault = step(vaults, vault)
            assert vaults.show(vault).attempts_remaining == left
    with pytest.raises(VaultLocked):
        vaults.guess(vault, vault.kf_hash)


def test_locked_vault_is_not_taken_again_under_any_name(vaults: VaultHttp, uploaded: SealedVault) -> None:
    assert verdicts(vaults, uploaded) == LIMIT
    vaults.delete(uploaded)
    for blob in (uploaded, reseal(uploaded)):
        with pytest.raises(VaultLocked):
            vaults.create(blob, "once more")


def test_callers_who_hang_up_before_the_reply_have_spent_their_attempts(
    daemon: Daemon, vaults: VaultHttp, uploaded: SealedVault
) -> None:
    hung_up = 0
    while vaults.show(uploaded).attempts_remaining:
        claimed = vaults.claim(uploaded, wrong())
        hang_up_after(daemon, f"/v1/vaults/{handle_of(uploaded)}/open", claimed)
        hung_up += 1
        while daemon.metrics()["hwkm_requests_in_flight"]:
            pass
    assert hung_up >= LIMIT
    with pytest.raises(VaultLocked):
        vaults.guess(uploaded, uploaded.kf_hash)


def hang_up_after(daemon: Daemon, path: str, claimed: Claimed) -> None:
    """Send a whole request and close the connection without waiting for the answer."""
    request = claimed.request
    body = msgspec.json.encode(api.OpenVault(challenge=request.challenge, claim=request.claim))
    head = f"POST {path} HTTP/1.1\r\nHost: hwkmd\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(daemon.socket_path))
        caller.sendall(head.encode() + body)
