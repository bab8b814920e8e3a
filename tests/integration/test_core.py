"""The trusted core as a real process on real tokens: what survives, what is refused, who may."""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from hwkm.formats.counter import Counter as AttemptCounter
from hwkm.secret import Pin
from hwkm.store.nodes import SqliteNodeStore
from hwkm.thm.ledger import Ledger
from hwkm.tokens import registry
from hwkm.tokens.token import Token
from hwkm.wire import core_messages as wire
from tests.core_process import CoreEnded, CoreProcess, MemoryToken, core_settings, provision
from tests.devices import ALL, REAL, Module, provisioned
from tests.hardware import Swtpm
from tests.vault_clients import SealedVault, finish, seal


@pytest.fixture(params=ALL)
def module(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Module]:
    yield from provisioned(request.param, tmp_path)


@pytest.fixture
def memory_module(tmp_path: Path) -> Iterator[Module]:
    yield from provisioned("memory", tmp_path)


@pytest.fixture
def vault(module: Module) -> SealedVault:
    return seal(module.cohort_public_key)


def wrong() -> bytes:
    return secrets.token_bytes(32)


def with_settings(module: Module, **changes: object) -> Module:
    return Module(
        module.device, msgspec.structs.replace(module.settings, **changes), module.cohort_public_key
    )


class TestLife:
    def test_right_wrong_and_locked(self, module: Module, vault: SealedVault) -> None:
        with module.core() as core:
            claimed = core.claim(vault, vault.kf_hash)
            opened = core.present(claimed)
            assert isinstance(opened, wire.VaultOpened)
            assert finish(vault, claimed, opened.response) == vault.recovery_key
            for remaining in range(9, -1, -1):
                reply = core.guess(vault, wrong())
                assert reply == wire.VaultWrong(attempts_remaining=remaining, retry_after_ms=0)
            assert core.guess(vault, vault.kf_hash) == wire.VaultIsLocked()

    def test_attempts_and_keys_survive_a_clean_restart(self, module: Module, vault: SealedVault) -> None:
        with module.core() as core:
            core.guess(vault, wrong())
            core.stop()
        module.device.restart()
        with module.core() as core:
            assert core.ready is not None
            assert core.ready.cohort_public_key == module.cohort_public_key
            assert core.attempts_remaining(vault) == 9
            assert isinstance(core.guess(vault, vault.kf_hash), wire.VaultOpened)

    def test_clean_stop_makes_the_clear_durable(self, module: Module, vault: SealedVault) -> None:
        slow = with_settings(module, settle_delay_ms=60_000)
        with slow.core() as core:
            core.guess(vault, wrong())
            core.guess(vault, vault.kf_hash)
            core.stop()
        with slow.core() as core:
            assert core.attempts_remaining(vault) == 10

    def test_idle_core_settles_by_itself(self, module: Module, vault: SealedVault) -> None:
        with module.core() as core:
            core.guess(vault, vault.kf_hash)
            deadline = time.monotonic() + 30
            while core.call(wire.ReadStatistics()).epoch < 2:  # type: ignore[union-attr]
                assert time.monotonic() < deadline
                time.sleep(0.01)
            core.kill()
        with module.core() as core:
            assert core.attempts_remaining(vault) == 10


class TestKilled:
    def test_kill_after_the_answer_loses_at_most_one_attempt(
        self, module: Module, vault: SealedVault
    ) -> None:
        slow = with_settings(module, settle_delay_ms=60_000)
        with slow.core() as core:
            claimed = core.claim(vault, vault.kf_hash)
            assert isinstance(core.present(claimed), wire.VaultOpened)
            core.kill()
        with slow.core() as core:
            assert core.attempts_remaining(vault) == 9
            opened = core.present(claimed)
            assert isinstance(opened, wire.VaultOpened)
            assert finish(vault, claimed, opened.response) == vault.recovery_key
            assert core.attempts_remaining(vault) == 10

    def test_kill_at_any_moment_of_a_claim(self, module: Module, vault: SealedVault) -> None:
        """Many lives, each killed a little later in its claim; the limit holds over all of them."""
        verdicts, claimed = 0, None
        for life in range(12):
            with module.core() as core:
                before = core.attempts_remaining(vault)
                if before == 0:
                    break
                claimed = core.claim(vault, wrong())
                core.send_claim(claimed)
                time.sleep(0.0004 * life)
                core.kill()
            with module.core() as core:
                after = core.attempts_remaining(vault)
                assert before - 1 <= after <= before
                if core.call(wire.ReadCounter(params=vault.params)).suspended:  # type: ignore[union-attr]
                    core.call(wire.ResumeVault(params=vault.params))
                if isinstance(core.present(claimed), wire.VaultWrong):
                    verdicts += 1
                    assert core.attempts_remaining(vault) == after
                core.stop()
        assert verdicts <= 10

    def test_back_within_two_seconds(self, module: Module) -> None:
        with module.core() as core:
            core.kill()
        started = time.monotonic()
        with module.core():
            assert time.monotonic() - started < 2.0


class TestCrowd:
    def test_200_parallel_wrong_claims_give_exactly_10_verdicts(
        self, module: Module, vault: SealedVault
    ) -> None:
        with module.core() as core:
            claims = [core.claim(vault, wrong()) for _ in range(200)]
            numbers = [core.send_claim(claimed) for claimed in claims]
            replies = [core.reply(number) for number in numbers]
        tally = Counter(type(reply) for reply in replies)
        assert tally == {wire.VaultWrong: 10, wire.VaultIsLocked: 190}

    def test_many_vaults_share_anchor_writes(self, module: Module) -> None:
        vaults = [seal(module.cohort_public_key) for _ in range(40)]
        with module.core() as core:
            claims = [core.claim(vault, vault.kf_hash) for vault in vaults]
            numbers = [core.send_claim(claimed) for claimed in claims]
            assert all(isinstance(core.reply(number), wire.VaultOpened) for number in numbers)
            statistics = core.call(wire.ReadStatistics())
        assert isinstance(statistics, wire.Statistics)
        assert statistics.anchor_writes < 20


class TestRefusedToStart:
    def refusal(self, module: Module) -> wire.Failed:
        with CoreProcess(module.device) as core:
            started = core.start(wire.Serve(settings=module.settings))
            assert isinstance(started, wire.Failed), started
            assert core.process.wait(10) == 1
            return started

    def test_second_core_on_the_same_token(self, module: Module, tmp_path: Path) -> None:
        elsewhere = with_settings(module, nodes_path=str(tmp_path / "other.db"))
        with module.core():
            assert self.refusal(elsewhere).code == "token_in_use"

    def test_second_core_by_another_name_of_the_same_token(
        self, memory_module: Module, tmp_path: Path
    ) -> None:
        alias = tmp_path / "alias.json"
        alias.symlink_to(tmp_path / "token.json")
        by_alias = with_settings(
            memory_module,
            token_uri=f"insecure-memory:path={alias}",
            nodes_path=str(tmp_path / "other.db"),
        )
        with memory_module.core():
            assert self.refusal(by_alias).code == "token_in_use"

    def test_second_provisioning_names_what_exists(self, module: Module) -> None:
        refused = provision(module.device, module.settings)
        assert isinstance(refused, wire.Failed)
        assert refused.code == "token_already_provisioned"
        assert "cohort" in refused.message

    def test_node_store_gone(self, module: Module, vault: SealedVault) -> None:
        with module.core() as core:
            core.guess(vault, wrong())
            core.stop()
        Path(module.settings.nodes_path).unlink()
        assert self.refusal(module).code == "storage_mismatch"

    def test_older_node_store(self, module: Module, vault: SealedVault) -> None:
        nodes = Path(module.settings.nodes_path)
        with module.core() as core:
            core.guess(vault, wrong())
            core.stop()
        older = nodes.read_bytes()
        with module.core() as core:
            core.guess(vault, wrong())
            core.stop()
        for file in nodes.parent.glob("nodes.db*"):
            file.unlink()
        nodes.write_bytes(older)
        nodes.chmod(0o600)
        assert self.refusal(module).code == "storage_mismatch"

    def test_wrong_pin_is_not_hidden(self, module: Module) -> None:
        module.device.pin_file.write_text("0" * 32)
        assert self.refusal(module).code == "token_pin_incorrect"

    def test_pin_file_open_to_others(self, memory_module: Module) -> None:
        memory_module.device.pin_file.chmod(0o644)
        refused = self.refusal(memory_module)
        assert refused.code == "bad_config"
        assert "chmod 600" in refused.message

    def test_token_not_provisioned(self, tmp_path: Path) -> None:
        device = MemoryToken(tmp_path)
        settings = core_settings(device, tmp_path / "nodes.db")
        assert self.refusal(Module(device, settings, b"")).code == "token_not_provisioned"


class TestTokenGone:
    @pytest.mark.needs("swtpm")
    def test_pulled_in_the_middle_then_back(self, tmp_path: Path) -> None:
        for module in provisioned("swtpm", tmp_path):
            assert isinstance(module.device, Swtpm)
            vault = seal(module.cohort_public_key)
            with module.core() as core:
                claimed = core.claim(vault, vault.kf_hash)
                module.device.power_off()
                refused = core.present(claimed)
                assert isinstance(refused, wire.Failed), refused
                assert refused.code == "token_unavailable"
                with pytest.raises(CoreEnded):
                    core.attempts_remaining(vault)
                assert core.process.wait(10) == 75
            module.device.start()
            with module.core() as core:
                assert core.attempts_remaining(vault) == 10
                assert isinstance(core.guess(vault, vault.kf_hash), wire.VaultOpened)


class TestHardening:
    def test_measures_hold_and_can_be_seen_from_outside(self, memory_module: Module) -> None:
        with memory_module.core() as core:
            assert core.ready is not None
            held = set(core.ready.hardening)
            assert {"no-core-dumps", "not-dumpable", "no-new-privileges", "system-calls-filtered"} <= held
            status = Path(f"/proc/{core.process.pid}/status").read_text()
            assert "NoNewPrivs:\t1" in status
            assert "Seccomp:\t2" in status
            limits = Path(f"/proc/{core.process.pid}/limits").read_text()
            assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]

    def test_no_network_and_no_new_program(self) -> None:
        code = (
            "import socket, subprocess\n"
            "from hwkm.core.hardening import harden\n"
            "assert 'system-calls-filtered' in harden(require_all=False)\n"
            "socket.socket(socket.AF_UNIX).close()\n"
            "for what in (lambda: socket.socket(socket.AF_INET), lambda: socket.socket(socket.AF_INET6),\n"
            "             lambda: subprocess.run(['/bin/true'])):\n"
            "    try:\n        what()\n"
            "    except PermissionError:\n        continue\n"
            "    raise SystemExit('allowed')\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def test_missing_measure_stops_the_start_where_all_are_required(self, memory_module: Module) -> None:
        """Without a memory limit that allows locking, as an ordinary user; root may always lock."""
        strict = with_settings(memory_module, require_hardening=True)
        with CoreProcess(strict.device) as core:
            started = core.start(wire.Serve(settings=strict.settings))
        if os.geteuid() == 0:
            assert isinstance(started, wire.Ready)
            assert "memory-locked" in started.hardening
        else:
            assert isinstance(started, wire.Ready | wire.Failed)

    def test_terminal_signals_do_not_end_the_core(self, memory_module: Module) -> None:
        with memory_module.core() as core:
            core.process.send_signal(signal.SIGINT)
            core.process.send_signal(signal.SIGTERM)
            assert isinstance(core.call(wire.ReadStatistics()), wire.Statistics)

    def test_garbage_on_the_channel_ends_it_without_quoting_it(self, memory_module: Module) -> None:
        with memory_module.core() as core:
            core._write(b"\xc1 planted secret")
            assert core.process.wait(10) != 0
            assert core.process.stderr is not None
            printed = core.process.stderr.read()
        assert b"planted" not in printed
        assert b"hwkm-thm: " in printed


class TestSweep:
    def sweep(self, module: Module) -> wire.CoreStarted:
        with CoreProcess(module.device) as core:
            return core.start(wire.Sweep(settings=module.settings))

    def test_orphans_go_and_the_tree_stays(self, module: Module, vault: SealedVault) -> None:
        with module.core() as core:
            core.guess(vault, wrong())
            core.stop()
        with SqliteNodeStore(module.settings.nodes_path) as nodes:
            nodes.put({hashlib.sha256(b"orphan").digest(): b"orphan"}, ())
        # Removed: the orphan, and the leaf that the last commit replaced.
        assert self.sweep(module) == wire.Swept(nodes=1, removed=2)
        assert self.sweep(module) == wire.Swept(nodes=1, removed=0)
        with module.core() as core:
            assert core.attempts_remaining(vault) == 9

    def test_refused_while_a_core_serves(self, memory_module: Module) -> None:
        with memory_module.core():
            refused = self.sweep(memory_module)
        assert isinstance(refused, wire.Failed)
        assert refused.code == "token_in_use"


class TestHundredThousandCounters:
    """Constant NV use: the hardware holds one anchor, however many counters there are."""

    @pytest.mark.parametrize("kind", REAL)
    def test_anchor_takes_no_more_room(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in provisioned(kind, tmp_path):
            for name, value in module.device.environment.items():
                monkeypatch.setenv(name, value)
            with self.token(module) as token:
                cohort = hashlib.sha256(module.cohort_public_key).digest()
                with SqliteNodeStore(module.settings.nodes_path) as nodes:
                    ledger = Ledger(token.anchor, nodes, cohort)
                    ledger.commit(self.counters(1))
                    one = self.nv_in_use(module, token)
                    ledger.commit(self.counters(100_000))
                    assert ledger.counter(hashlib.sha256(b"77777").digest()) is not None
                    assert self.nv_in_use(module, token) == one

    @staticmethod
    def counters(count: int) -> dict[bytes, AttemptCounter]:
        keys = (hashlib.sha256(str(number).encode()).digest() for number in range(count))
        return {key: AttemptCounter(key, carried=1) for key in keys}

    @staticmethod
    def token(module: Module) -> closing[Token]:
        return closing(
            registry.open_token(module.settings.token_uri, Pin(module.device.pin_file.read_bytes()))
        )

    @staticmethod
    def nv_in_use(module: Module, token: Token) -> tuple[int | None, int]:
        """Bytes that the TPM says are free; files of the SoftHSM token."""
        files = sum(1 for _ in module.device.directory.rglob("*.object"))
        return token.describe().nv_bytes_free, files
