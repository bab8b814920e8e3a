"""A TPM changed by its owner (attack 3): refused, and attempts never come back.

What the token itself notices is shown in ``tests/contract/test_tpm.py``; here a vault of which two of
three attempts are gone is attacked through the whole core, with every anchor and every node store that
there ever was in the attacker's hands.
"""

from __future__ import annotations

import copy
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, cast

import pytest
from tpm2_pytss.constants import ESYS_TR

from hwkm.errors import AnchorTampered, Unavailable
from hwkm.formats.anchor import AnchorState
from hwkm.tokens.tpm.authorisation import COHORT
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.templates import audit_template, cohort_template
from hwkm.wire import core_messages as wire
from tests.contract.bus import NV_WRITE, Bus, command_code
from tests.contract.devices import SwtpmDevice, opened
from tests.contract.test_tpm import define_again, evict, handles, owner, replace_key, undefine, value
from tests.core_process import CoreEnded, CoreProcess, provision
from tests.harness.daemon_state import Installed, asking, make_installed
from tests.harness.history import History, refusal
from tests.harness.rig import Rig
from tests.harness.trial import END_DEADLINE_S, end, use_up, wrong
from tests.vault_clients import SealedVault, seal
from tests.vault_http import VaultHttp

pytestmark = [pytest.mark.attack, pytest.mark.needs("swtpm")]

TAMPERED: Final = "anchor_tampered"


@pytest.fixture(scope="module")
def recorded(swtpm_rig: Rig) -> History:
    return History.make(swtpm_rig)


@pytest.fixture
def history(recorded: History) -> Iterator[History]:
    """As the script left it; afterwards nothing is gained and nothing lost, and the limit holds."""
    recorded.again()
    yield recorded
    witnesses = recorded.again()
    with recorded.rig.core() as core:
        assert recorded.remaining(core) == recorded.last.remaining
        use_up(core, recorded.vaults["spent"], witnesses["spent"])


@pytest.fixture
def tpm(history: History) -> SwtpmDevice:
    """The TPM, with the looks that the contract tests give it."""
    return cast("SwtpmDevice", history.rig.device)


def check_refused(history: History, code: str) -> None:
    """Not only once: nothing heals it, no restart of the TPM either."""
    assert refusal(history.rig) == code
    history.rig.device.restart()
    assert refusal(history.rig) == code


def anchors(history: History, tpm: SwtpmDevice) -> list[AnchorState]:
    """The anchor of every moment, as its holder could read it."""
    found = []
    for moment in history.moments:
        history.rig.machine.restore(moment.taken, "device")
        with opened(tpm) as token:
            found.append(token.anchor.read())
    history.again()
    return found


# --- the anchor's index ----------------------------------------------------------------------


def test_anchor_index_removed_is_refused(history: History, tpm: SwtpmDevice) -> None:
    with owner(tpm) as connection:
        undefine(connection, handles(tpm).anchor)
    check_refused(history, TAMPERED)


@pytest.mark.parametrize(
    "authorisation", [b"", b"guessed", bytes(31) + b"\x01"], ids=["none", "short", "long"]
)
def test_anchor_index_defined_again_with_the_same_name_and_its_very_contents_is_refused(
    history: History, tpm: SwtpmDevice, authorisation: bytes
) -> None:
    true = anchors(history, tpm)[-1]
    with owner(tpm) as connection:
        undefine(connection, handles(tpm).anchor)
        define_again(connection, handles(tpm).anchor, authorisation, true.encode())
    check_refused(history, TAMPERED)


def test_anchor_index_defined_again_with_old_contents_and_their_node_store_is_refused(
    history: History, tpm: SwtpmDevice, record_property: Callable[[str, object], None]
) -> None:
    """The state in which no attempt was gone, put back whole, but for what only the PIN can give."""
    states = anchors(history, tpm)
    assert [state.epoch for state in states] == [moment.epoch for moment in history.moments]
    for moment, state in zip(history.moments, states, strict=True):
        history.again("nodes")
        history.rig.machine.restore(moment.taken, "nodes")
        with owner(tpm) as connection:
            undefine(connection, handles(tpm).anchor)
            define_again(connection, handles(tpm).anchor, b"", state.encode())
        assert refusal(history.rig) == TAMPERED
    record_property("anchors", len(states))


def test_anchor_index_defined_again_and_never_written_is_refused(history: History, tpm: SwtpmDevice) -> None:
    with owner(tpm) as connection:
        undefine(connection, handles(tpm).anchor)
        define_again(connection, handles(tpm).anchor, b"", None)
    check_refused(history, TAMPERED)


def test_anchor_index_replaced_under_a_running_core_gives_no_verdict_not_even_to_the_right_guess(
    history: History, tpm: SwtpmDevice
) -> None:
    old = anchors(history, tpm)[0]
    vault = history.vaults["spent"]
    with history.rig.core() as core:
        claimed = core.claim(vault, vault.kf_hash)
        history.rig.machine.restore(history.moments[0].taken, "nodes")
        with owner(tpm) as connection:
            undefine(connection, handles(tpm).anchor)
            define_again(connection, handles(tpm).anchor, b"", old.encode())
        reply = core.present(claimed)
        assert isinstance(reply, wire.Failed), reply
        assert reply.code in {TAMPERED, "storage_mismatch"}
        check_ended_or_halted(core)
    assert refusal(history.rig) == TAMPERED


def check_ended_or_halted(core: CoreProcess) -> None:
    with suppress(CoreEnded):
        statistics = core.call(wire.ReadStatistics())
        assert isinstance(statistics, wire.Statistics)
        assert statistics.halted
        return
    assert core.process.wait(END_DEADLINE_S) == 75


def test_anchor_writes_recorded_on_the_bus_and_sent_again_are_refused(
    history: History, tpm: SwtpmDevice
) -> None:
    """The authorisation of a command holds for one nonce: neither later in its session nor after it."""
    vault = history.vaults["third"]
    answers = []
    with Bus(tpm) as bus:
        with history.rig.core(token_uri=bus.uri) as core:
            for _ in range(2):
                assert isinstance(core.guess(vault, wrong()), wire.VaultWrong)
                answers += [sent(tpm, write) for write in recorded_writes(bus)]  # its session still lives
            core.kill()
        writes = recorded_writes(bus)
    assert len(writes) == 2
    answers += [sent(tpm, write) for write in writes]
    assert len(answers) == 5
    assert all(map(response_code, answers))
    (tpm.directory / "bus.sock").unlink()
    (tpm.directory / "bus.sock.ctrl").unlink()
    with history.rig.core() as core:
        assert core.attempts_remaining(vault) == 0
        end(core)


def recorded_writes(bus: Bus) -> list[bytes]:
    return [frame for frame in bus.traffic[::2] if command_code(frame) == NV_WRITE]


def sent(tpm: SwtpmDevice, command: bytes) -> bytes:
    """Send a command straight to the TPM."""
    with socket.socket(socket.AF_UNIX) as bus:
        bus.connect(str(tpm.socket_path))
        bus.sendall(command)
        return bus.recv(4096)


def response_code(answer: bytes) -> int:
    return int(struct.unpack(">I", answer[6:10])[0])


# --- the keys --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cohort", "audit", "storage"])
def test_key_removed_is_refused(history: History, tpm: SwtpmDevice, name: str) -> None:
    with owner(tpm) as connection:
        evict(connection, getattr(handles(tpm), name))
    check_refused(history, TAMPERED)


def test_cohort_key_replaced_at_its_handle_is_refused(history: History, tpm: SwtpmDevice) -> None:
    with owner(tpm) as connection:
        replace_key(connection, tpm, handles(tpm).cohort, cohort_template(), value(tpm, COHORT))
    check_refused(history, TAMPERED)


def test_cohort_key_exchanged_for_the_audit_key_is_refused(history: History, tpm: SwtpmDevice) -> None:
    with owner(tpm) as connection:
        replace_key(connection, tpm, handles(tpm).cohort, audit_template(), value(tpm, COHORT))
    check_refused(history, TAMPERED)


# --- the whole TPM ---------------------------------------------------------------------------


def test_cleared_tpm_is_refused_and_set_up_anew_opens_no_old_vault(
    history: History, tpm: SwtpmDevice
) -> None:
    with owner(tpm) as connection:
        connection.esapi.clear(ESYS_TR.LOCKOUT)
    check_refused(history, "token_not_provisioned")
    made = provision(tpm, history.rig.direct)
    assert isinstance(made, wire.Inventory), made
    history.rig.machine.restore(history.moments[0].taken, "nodes")
    with history.rig.core() as core:
        for vault in history.vaults.values():
            reply = core.call(wire.IssueChallenge(params=vault.params, vault=vault.blob))
            assert isinstance(reply, wire.Failed)
            assert reply.code == "cohort_mismatch"
        assert isinstance(guess_right(core, made.cohort_public_key), wire.VaultOpened)


def guess_right(core: CoreProcess, cohort_public_key: bytes) -> wire.CoreReply:
    vault: SealedVault = seal(cohort_public_key)
    return core.guess(vault, vault.kf_hash)


def change_authorisations(connection: Connection) -> None:
    for hierarchy in (ESYS_TR.OWNER, ESYS_TR.ENDORSEMENT, ESYS_TR.LOCKOUT):
        connection.esapi.hierarchy_change_auth(hierarchy, b"another authorisation")


def test_owner_and_lockout_authorisation_changed_make_no_difference(
    history: History, tpm: SwtpmDevice
) -> None:
    with history.rig.core() as core:
        with owner(tpm) as connection:
            change_authorisations(connection)
        assert history.remaining(core) == history.last.remaining
        assert isinstance(core.guess(history.vaults["third"], wrong()), wire.VaultWrong)
        end(core)
    history.rig.device.restart()
    with history.rig.core() as core:
        assert history.remaining(core) == history.last.remaining | {"third": 1}
        use_up(core, history.vaults["spent"], copy.deepcopy(history.witnesses["spent"]))
        end(core)


def test_owner_hierarchy_switched_off_is_refused_until_the_tpm_is_started_again(
    history: History, tpm: SwtpmDevice
) -> None:
    with owner(tpm) as connection:
        connection.esapi.hierarchy_control(ESYS_TR.PLATFORM, ESYS_TR.OWNER, False)
    with history.rig.nursery.core() as core:
        started = core.start(wire.Serve(settings=history.rig.settings))
        assert isinstance(started, wire.Failed), started
    history.rig.device.restart()
    with history.rig.core() as core:
        assert history.remaining(core) == history.last.remaining


# --- a daemon on it --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    with make_installed("swtpm") as made:
        yield made


def test_daemon_works_on_under_new_authorisations_and_halts_at_a_replaced_anchor(
    installed: Installed,
) -> None:
    with installed.anew() as daemon:
        tpm = cast("SwtpmDevice", daemon.device)
        daemon.start()
        vault = asking(daemon, new_vault)
        with owner(tpm) as connection:
            change_authorisations(connection)
        assert asking(daemon, lambda vaults: vaults.guess(vault, vault.kf_hash)) == vault.recovery_key
        daemon.kill_core()
        daemon.wait_until_ready()
        assert asking(daemon, lambda vaults: vaults.guess(vault, vault.kf_hash)) == vault.recovery_key
        with owner(tpm) as connection:
            connection.esapi.tr_set_auth(ESYS_TR.OWNER, b"another authorisation")
            undefine(connection, handles(tpm).anchor)
            define_again(connection, handles(tpm).anchor, b"", bytes(73))
        with pytest.raises((AnchorTampered, Unavailable)):
            asking(daemon, lambda vaults: vaults.guess(vault, vault.kf_hash))
        while (status := daemon.status()).state != "halted":
            assert status.state in {"ready", "starting"}
        assert "anchor" in status.detail
        with pytest.raises(Unavailable):
            asking(daemon, lambda vaults: vaults.challenge(vault))


def new_vault(vaults: VaultHttp) -> SealedVault:
    vault = seal(vaults.cohort())
    vaults.create(vault)
    return vault
