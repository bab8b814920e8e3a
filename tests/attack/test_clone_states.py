"""Device state copied, taken back, used twice (attack 5).

What a lone device cannot notice is asserted as such: attempts do come back. It is R4 of
docs/threat-model.md, which names these tests. Everything else is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from hwkm.errors import VaultLocked, WrongKnowledgeFactor
from hwkm.formats.anchor import AnchorState
from hwkm.secret import Pin
from hwkm.server.exit_codes import EXIT_TRY_AGAIN
from hwkm.tokens import registry
from hwkm.wire import core_messages as wire
from tests.core_process import CoreProcess, Device
from tests.daemon import Daemon
from tests.devices import REAL
from tests.hardware import SoftHsm, Swtpm
from tests.harness.daemon_state import asking, machine_of, make_installed, one_life
from tests.harness.history import History, refusal
from tests.harness.invariant import InvariantBroken, Witness
from tests.harness.rig import Rig
from tests.harness.snapshot import device_part
from tests.harness.trial import END_DEADLINE_S, LIMIT, end, use_up, wrong
from tests.vault_clients import SealedVault, seal
from tests.vault_http import VaultHttp

pytestmark = pytest.mark.attack

THREAT_MODEL: Final = (Path(__file__).parents[2] / "docs" / "threat-model.md").read_text()


@pytest.fixture(scope="module")
def history(real_rig: Rig) -> History:
    return History.make(real_rig)


def accepted(risk: str) -> str:
    """What the threat model says of a risk that it accepts."""
    (row,) = [line for line in THREAT_MODEL.splitlines() if line.startswith(f"| {risk} |")]
    return row


# --- taken back ------------------------------------------------------------------------------


def test_device_and_storage_taken_back_together_give_attempts_back_as_r4_says(history: History) -> None:
    """A snapshot of a virtual machine. Nothing in it can know that there was a later state."""
    assert "restored together" in accepted("R4")
    for moment in history.moments:
        witness = history.again()["spent"]
        history.rig.machine.restore(moment.taken)
        with history.rig.core() as core:
            assert core.attempts_remaining(history.vaults["spent"]) == moment.remaining["spent"]
            if moment.remaining["spent"] > history.last.remaining["spent"]:
                with pytest.raises(InvariantBroken):
                    use_up(core, history.vaults["spent"], witness)
            else:
                use_up(core, history.vaults["spent"], witness)


def test_device_taken_back_alone_is_refused(history: History) -> None:
    """To any state but two: see the next test."""
    for moment in history.moments[1:-2]:
        history.again()
        history.rig.machine.restore(moment.taken, "device")
        assert refusal(history.rig) == "storage_mismatch", f"the anchor of epoch {moment.epoch} was taken"
    history.again()


def test_device_taken_back_alone_by_one_commit_or_to_its_beginning_is_not_noticed_as_r4_says(
    history: History,
) -> None:
    """By one commit it looks like a crash before the anchor moved; at its beginning it needs no nodes."""
    assert "alone" in accepted("R4")
    vault = history.vaults["spent"]
    history.again()
    before = history.rig.machine.take("device")
    with history.rig.core() as core:
        assert isinstance(core.guess(vault, wrong()), wire.VaultWrong)
        assert core.attempts_remaining(vault) == 0
        core.kill()
    history.rig.machine.restore(before)
    with history.rig.core() as core:
        assert core.attempts_remaining(vault) == 1
    history.rig.machine.restore(history.moments[0].taken, "device")
    with history.rig.core() as core:
        assert core.attempts_remaining(vault) == LIMIT


def test_device_taken_back_alone_by_one_commit_after_a_clean_stop_gives_nothing_back(
    history: History,
) -> None:
    """The last commit of a clean stop holds verdicts, no charge."""
    vault = history.vaults["spent"]
    history.again()
    with history.rig.core() as core:
        assert isinstance(core.guess(vault, wrong()), wire.VaultWrong)
        charged = history.rig.machine.take("device")
        end(core)
    history.rig.machine.restore(charged)
    with history.rig.core() as core:
        assert core.attempts_remaining(vault) == 0


# --- two cores on one device -----------------------------------------------------------------


def test_second_core_on_one_device_with_a_copy_of_the_storage_is_refused(
    history: History, tmp_path: Path
) -> None:
    history.again()
    elsewhere = copied_nodes(history, tmp_path)
    with history.rig.core() as core, CoreProcess(history.rig.device) as second:
        started = second.start(wire.Serve(settings=elsewhere))
        assert isinstance(started, wire.Failed), started
        assert started.code == "token_in_use"
        assert history.remaining(core) == history.last.remaining


def copied_nodes(history: History, directory: Path) -> wire.CoreSettings:
    for name, data in history.last.taken["nodes"].items():
        (directory / name).write_bytes(data)
        (directory / name).chmod(0o600)
    return msgspec.structs.replace(history.rig.direct, nodes_path=str(directory / "nodes.db"))


def test_second_writer_that_no_lock_keeps_out_ends_the_first_without_a_verdict_and_is_refused_itself(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another network namespace, in which the lock has no effect: its core moves the anchor, too.

    On PKCS#11 the first core misses the object it made; on a TPM that is reached directly it misses its
    session. Behind a resource manager a TPM tells neither of the other: R11.
    """
    assert "different network namespaces" in accepted("R11")
    history.again()
    with history.rig.core() as core:
        claimed = core.claim(history.vaults["spent"], history.vaults["spent"].kf_hash)
        advance_as_another(history, monkeypatch)
        assert isinstance(core.present(claimed), wire.Failed)
        assert core.process.wait(END_DEADLINE_S) == 75
    assert refusal(history.rig) in {"anchor_tampered", "storage_mismatch"}
    history.again()


def advance_as_another(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in history.rig.device.environment.items():
        monkeypatch.setenv(name, content)
    token = registry.open_token(history.rig.device.uri, Pin(history.rig.device.pin_file.read_bytes()))
    state = token.anchor.read()
    token.anchor.advance(AnchorState(state.epoch + 1, bytes(range(32)), state.cohort))
    token.close()


# --- clones ----------------------------------------------------------------------------------


@contextmanager
def clone_of(device: Device) -> Iterator[Device]:
    """Another device with a copy of all that is in this one. Its PIN file is the same."""
    with ExitStack() as stack:
        copy: SoftHsm | Swtpm = SoftHsm() if isinstance(device, SoftHsm) else Swtpm()
        stack.callback(copy.stop)
        device_part(copy).restore(device_part(device).take())
        if isinstance(copy, SoftHsm):
            copy.uri = device.uri
        copy.pin_file = device.pin_file
        yield copy


def test_clone_on_the_same_machine_is_refused_while_the_original_is_served_and_the_reverse(
    history: History, tmp_path: Path
) -> None:
    """The cohort key gives it away, whatever its path or slot."""
    history.again()
    with clone_of(history.rig.device) as clone:
        settings = msgspec.structs.replace(copied_nodes(history, tmp_path), token_uri=clone.uri)
        with history.rig.core(), CoreProcess(clone) as second:
            started = second.start(wire.Serve(settings=settings))
            assert isinstance(started, wire.Failed), started
            assert started.code == "token_in_use"
        with CoreProcess(clone) as second:
            second.serve(settings)
            assert refusal(history.rig) == "token_in_use"


def test_clones_used_one_after_the_other_give_every_attempt_once_each_as_r4_says(
    history: History, tmp_path: Path
) -> None:
    assert "copied" in accepted("R4")
    vault = history.vaults["spent"]
    witness = history.again()["spent"]
    with clone_of(history.rig.device) as clone:
        settings = msgspec.structs.replace(copied_nodes(history, tmp_path), token_uri=clone.uri)
        with history.rig.core() as core:
            use_up(core, vault, witness)
        with CoreProcess(clone) as core:
            core.serve(settings)
            assert core.attempts_remaining(vault) == 1
            with pytest.raises(InvariantBroken):
                use_up(core, vault, witness)
            unseen = Witness(limit=1)
            use_up(core, vault, unseen)  # but no more than that


@pytest.mark.parametrize("kind", REAL)
def test_two_daemons_on_clones_are_kept_apart_on_one_machine_and_blind_to_each_other_on_two(
    kind: str,
) -> None:
    with make_installed(kind) as installed, installed.anew() as daemon:
        vault = one_life(daemon, new_vault)
        with clone_of(daemon.device) as device:
            twin = Daemon(device)
            try:
                twin.state_directory.mkdir(mode=0o700)
                for name in ("nodes", "records", "audit"):
                    part = machine_of(twin).parts[name]
                    (twin.state_directory / "audit").mkdir(exist_ok=True, mode=0o700)
                    part.restore(machine_of(daemon).parts[name].take())
                daemon.start()
                refused = twin.command("serve")
                assert refused.returncode == EXIT_TRY_AGAIN, refused.stderr
                assert "holds this token" in refused.stderr
                assert asking(daemon, lambda vaults: exhausted(vaults, vault)) == LIMIT
                daemon.terminate()
                assert one_life(twin, lambda vaults: exhausted(vaults, vault)) == LIMIT
            finally:
                twin.stop()


def new_vault(vaults: VaultHttp) -> SealedVault:
    vault = seal(vaults.cohort(), max_attempts=LIMIT)
    vaults.create(vault)
    return vault


def exhausted(vaults: VaultHttp, vault: SealedVault) -> int:
    """Guess wrongly until the vault is locked; return how many verdicts there were."""
    count = 0
    while True:
        try:
            vaults.guess(vault, wrong())
        except WrongKnowledgeFactor:
            count += 1
        except VaultLocked:
            return count
