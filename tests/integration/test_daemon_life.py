"""Starting, stopping, killing and sharing: nothing is lost, nothing is left behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hwkm.audit.reader import read
from hwkm.errors import RateLimited, TokenError, Unavailable, VaultLocked, WrongKnowledgeFactor
from hwkm.server.exit_codes import EXIT_CONFIG, EXIT_NO_MATCH, EXIT_TRY_AGAIN
from tests.audit_log import verify_audit_log
from tests.core_process import Device, MemoryToken
from tests.daemon import HWKMD, Daemon, can_connect
from tests.devices import ALL, make_device
from tests.hardware import Swtpm, short_directory
from tests.vault_clients import SealedVault, seal
from tests.vault_http import VaultHttp, handle_of


@pytest.fixture(params=ALL)
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Device]:
    with ExitStack() as stack:
        yield make_device(request.param, tmp_path, stack)


@pytest.fixture
def memory(tmp_path: Path) -> MemoryToken:
    return MemoryToken(tmp_path)


def wrong_guess(vaults: VaultHttp, vault: SealedVault) -> int:
    """Guess wrong; return the attempts that remain."""
    with pytest.raises(WrongKnowledgeFactor) as wrong:
        vaults.guess(vault, secrets.token_bytes(32))
    return wrong.value.attempts_remaining


def test_a_vault_lives_through_restarts_and_crashes_of_both_processes(device: Device) -> None:
    with Daemon(device) as daemon:
        with daemon.http() as http:
            vaults = VaultHttp(http)
            vault = seal(vaults.cohort())
            vaults.create(vault)
            assert vaults.guess(vault, vault.kf_hash) == vault.recovery_key
            assert wrong_guess(vaults, vault) == 9
        daemon.restart()
        with daemon.http() as http:
            assert wrong_guess(VaultHttp(http), vault) == 8
        daemon.kill()
        daemon.start()
        with daemon.http() as http:
            vaults = VaultHttp(http)
            assert wrong_guess(vaults, vault) == 7
            killed = daemon.kill_core()
            status = daemon.wait_until_ready(deadline_s=30)
            assert status.core_pid != killed
            assert status.core_restarts == 1
            assert wrong_guess(vaults, vault) == 6
            assert vaults.guess(vault, vault.kf_hash) == vault.recovery_key
            assert vaults.show(vault).attempts_remaining == 10
        assert daemon.terminate() == 0
        report = verify_audit_log(daemon)
        assert report.signed == report.records


def test_the_core_is_back_soon_after_it_was_killed(memory: MemoryToken) -> None:
    with Daemon(memory) as daemon:
        for _ in range(3):
            killed = daemon.kill_core()
            while daemon.status().core_pid == killed:
                time.sleep(0.01)
            daemon.wait_until_ready(deadline_s=30)
        assert daemon.status().core_restarts == 3
        assert daemon.metrics()["hwkm_core_restarts_total"] == 3


def test_while_the_core_is_gone_requests_are_told_to_come_back(memory: MemoryToken) -> None:
    with Daemon(memory) as daemon, daemon.http() as http:
        vaults = VaultHttp(http)
        vault = seal(vaults.cohort())
        vaults.create(vault)
        daemon.kill_core()
        deadline = time.monotonic() + 30
        while True:  # every answer on the way is either the typed refusal or the real thing
            answer = http.post(f"/v1/vaults/{handle_of(vault)}/challenge")
            if answer.status_code == 200:
                break
            assert answer.status_code == 503, answer.text
            assert answer.json()["error"]["code"] == "unavailable"
            assert answer.json()["error"]["retry_after_ms"] > 0
            assert int(answer.headers["retry-after"]) >= 1
            assert time.monotonic() < deadline


def test_a_core_that_hangs_is_ended_and_replaced(memory: MemoryToken) -> None:
    with Daemon(memory, settings={"core": {"answer_timeout": "1s"}}) as daemon, daemon.http() as http:
        vaults = VaultHttp(http)
        vault = seal(vaults.cohort())
        vaults.create(vault)
        hung = daemon.status().core_pid
        os.kill(hung, signal.SIGSTOP)
        with pytest.raises(Unavailable):
            vaults.challenge(vault)
        while daemon.status().core_pid == hung:
            time.sleep(0.01)
        daemon.wait_until_ready()
        assert vaults.guess(vault, vault.kf_hash) == vault.recovery_key


def test_sigterm_lets_a_request_in_flight_finish(memory: MemoryToken) -> None:
    with Daemon(memory) as daemon, daemon.http() as http:
        vaults = VaultHttp(http)
        vault = seal(vaults.cohort())
        vaults.create(vault)
        claimed = vaults.claim(vault, vault.kf_hash)
        core = daemon.status().core_pid
        os.kill(core, signal.SIGSTOP)
        answers: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(vaults.present(vault, claimed)))
        asking.start()
        with daemon.http() as other:
            while "hwkm_requests_in_flight 1.0" not in other.get("/metrics").text:
                time.sleep(0.01)
        assert daemon.process is not None
        daemon.process.terminate()
        while can_connect(daemon.socket_path):
            time.sleep(0.01)
        os.kill(core, signal.SIGCONT)
        asking.join()
        assert daemon.wait_until_ended() == 0
        assert len(answers) == 1
        assert not daemon.socket_path.exists()
        assert [record.operation for record in read(daemon.state_directory / "audit")][-1] == "daemon.stop"


def test_sigterm_does_not_wait_for_ever(memory: MemoryToken) -> None:
    impatient = Daemon(memory, settings={"daemon": {"stop_timeout": "200ms"}})
    with impatient as daemon, socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(60)
        raw.connect(str(daemon.socket_path))
        core = daemon.status().core_pid
        os.kill(core, signal.SIGSTOP)
        raw.sendall(b'POST /v1/random HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{"length": 32}')
        while daemon.metrics()["hwkm_requests_in_flight"] == 0:
            time.sleep(0.01)
        assert daemon.process is not None
        daemon.process.terminate()
        assert raw.recv(1024) == b""
        os.kill(core, signal.SIGCONT)
        assert daemon.wait_until_ended() == 0


def test_a_request_that_is_not_whole_is_not_waited_for(memory: MemoryToken) -> None:
    with Daemon(memory) as daemon, socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(60)
        raw.connect(str(daemon.socket_path))
        raw.sendall(b"POST /v1/vaults HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        while '"event": "serving"' not in daemon.log:  # from then on it ends in order
            time.sleep(0.01)
        assert daemon.terminate() == 0
        assert raw.recv(1024) == b""


# --- sharing ---------------------------------------------------------------------------------


def test_a_second_daemon_on_the_same_state_is_refused(memory: MemoryToken) -> None:
    with Daemon(memory) as daemon:
        second = daemon.command("serve")
        assert second.returncode == EXIT_TRY_AGAIN
        assert "another hwkmd is running" in second.stderr
        assert daemon.status().state == "ready"


def test_a_second_daemon_on_the_same_socket_is_refused(memory: MemoryToken, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Daemon(memory) as daemon:
        other = Daemon(MemoryToken(tmp_path / "other"))
        try:
            other.init()
            other.configure({"daemon": {"socket": str(daemon.socket_path)}})
            second = other.command("serve")
            assert second.returncode == EXIT_TRY_AGAIN
            assert "another hwkmd is running" in second.stderr
        finally:
            other.stop()
        assert daemon.status().state == "ready"


def test_a_second_daemon_on_the_same_token_is_refused(device: Device) -> None:
    with Daemon(device) as daemon:
        other = Daemon(device)
        try:
            daemon.terminate()
            shutil.copytree(daemon.state_directory, other.state_directory)
            daemon.start()
            daemon.wait_until_ready()
            second = other.command("serve")
            assert second.returncode == EXIT_TRY_AGAIN, second.stderr
            assert "holds this token" in second.stderr
        finally:
            other.stop()
        assert daemon.status().state == "ready"


def test_a_stale_socket_is_replaced(memory: MemoryToken) -> None:
    daemon = Daemon(memory)
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(daemon.socket_path))
        gone.listen()
    with daemon:
        assert daemon.status().state == "ready"
        assert stat.S_IMODE(daemon.socket_path.stat().st_mode) == 0o660


def test_state_of_another_token_is_refused(memory: MemoryToken, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Daemon(memory) as daemon, daemon.http() as http:
        vaults = VaultHttp(http)
        vault = seal(vaults.cohort())
        vaults.create(vault)
        wrong_guess(vaults, vault)
    with Daemon(MemoryToken(tmp_path / "other")) as other:
        other.terminate()
        with other.http():
            pass
        # The token has never been written to, so any node store that is not empty is not its own.
        swapped = Daemon(memory, directory=short_directory())
        try:
            subprocess.run(["cp", "-r", other.state_directory, swapped.state_directory], check=True)
            result = swapped.command("serve")
            assert result.returncode == EXIT_NO_MATCH, result.stderr
        finally:
            swapped.stop()
            subprocess.run(["rm", "-r", swapped.directory], check=True)


# --- systemd ---------------------------------------------------------------------------------


def test_systemd_hands_in_the_socket_and_is_told_what_happens(memory: MemoryToken) -> None:
    daemon = Daemon(memory)
    notifications = daemon.directory / "notify"
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
    ):
        listener.bind(str(daemon.socket_path))
        listener.listen()
        systemd.bind(str(notifications))
        systemd.settimeout(60)
        daemon.init()
        # As systemd does it: descriptor 3, and LISTEN_PID is the pid of the very process.
        launcher = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
        )
        launcher += "os.execv(sys.argv[2], sys.argv[2:])"
        environment = {
            **daemon.environment,
            "LISTEN_FDS": "1",
            "NOTIFY_SOCKET": str(notifications),
            "WATCHDOG_USEC": "200000",
        }
        arguments = [*HWKMD, "serve", "--config", str(daemon.config_path)]
        with daemon.log_path.open("ab") as log:
            daemon.process = subprocess.Popen(
                [sys.executable, "-c", launcher, str(listener.fileno()), *arguments],
                pass_fds=(listener.fileno(), 3),
                env=environment,
                stderr=log,
            )
        try:
            received = [systemd.recv(1024).decode() for _ in range(3)]
            assert received[0].startswith("READY=1\n"), daemon.log
            assert received[1:] == ["WATCHDOG=1", "WATCHDOG=1"]
            assert daemon.status().state == "ready"
            assert daemon.terminate() == 0
            while not (last := systemd.recv(1024).decode()).startswith("STOPPING=1"):
                assert last == "WATCHDOG=1"
            assert daemon.socket_path.exists(), "the socket is systemd's, not ours to remove"
        finally:
            daemon.stop()


# --- SIGHUP ----------------------------------------------------------------------------------


def test_sighup_reads_the_policy_again_and_a_wrong_one_changes_nothing(memory: MemoryToken) -> None:
    daemon = Daemon(memory)
    policy = daemon.directory / "policy.toml"
    allow = '[[rule]]\nanyone = true\noperations = ["status", "cohort"]\n'
    policy.write_text(allow)
    daemon.configure({"daemon": {"policy_file": str(policy)}})
    with daemon, daemon.http() as http:
        assert http.get("/v1/cohort").status_code == 200

        def reload(text: str, event: str) -> None:
            policy.write_text(text)
            before = daemon.log.count(event)
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGHUP)
            while daemon.log.count(event) == before:
                time.sleep(0.01)

        reload(allow.replace(', "cohort"', ""), "policy reloaded")
        denied = http.get("/v1/cohort")
        assert (denied.status_code, denied.json()["error"]["code"]) == (403, "access_denied")
        reload("[[rule]]\n", "policy not reloaded")
        assert http.get("/v1/cohort").status_code == 403
        assert http.get("/v1/status").status_code == 200
        reload(allow, "policy reloaded")
        assert http.get("/v1/cohort").status_code == 200
        denials = [
            record.operation
            for record in read(daemon.state_directory / "audit")
            if record.outcome == "access_denied"
        ]
        assert denials == ["cohort", "cohort"]


# --- what keeps it from starting -------------------------------------------------------------


def test_errors_at_the_start_are_one_line_and_an_exit_code(memory: MemoryToken) -> None:
    daemon = Daemon(memory)
    try:
        before = daemon.command("serve")
        assert before.returncode == EXIT_CONFIG
        assert before.stderr.startswith("hwkmd: state directory ")
        assert len(before.stderr.splitlines()) == 1
        daemon.init()
        memory.pin_file.chmod(0o644)
        mode = daemon.command("serve")
        assert mode.returncode == EXIT_CONFIG
        assert "chmod 600" in mode.stderr
        assert "Traceback" not in mode.stderr
    finally:
        daemon.stop()


def test_the_delay_after_wrong_guesses_holds_over_a_restart(memory: MemoryToken) -> None:
    with Daemon(memory, delays=["0s", "0s", "1h"]) as daemon:
        with daemon.http() as http:
            vaults = VaultHttp(http)
            vault = seal(vaults.cohort())
            vaults.create(vault)
            wrong_guess(vaults, vault)
            claimed = vaults.claim(vault, vault.kf_hash)
            with pytest.raises(WrongKnowledgeFactor) as wrong:
                vaults.guess(vault, secrets.token_bytes(32))
            assert wrong.value.retry_after_ms > 3_500_000
            with pytest.raises(RateLimited) as limited:
                vaults.present(vault, claimed)
            assert limited.value.retry_after_ms > 3_500_000
        daemon.restart()
        with daemon.http() as http:
            vaults = VaultHttp(http)
            info = vaults.show(vault)
            assert info.attempts_remaining == 8
            assert info.retry_after_ms > 3_400_000
            with pytest.raises(RateLimited):
                vaults.guess(vault, vault.kf_hash)
            assert vaults.show(vault).attempts_remaining == 8


def test_a_lock_out_outlives_everything(device: Device) -> None:
    with Daemon(device) as daemon:
        with daemon.http() as http:
            vaults = VaultHttp(http)
            vault = seal(vaults.cohort(), max_attempts=3)
            vaults.create(vault)
            assert [wrong_guess(vaults, vault) for _ in range(3)] == [2, 1, 0]
            assert vaults.show(vault).state == "locked"
        daemon.kill()
        assert vault.blob not in (daemon.state_directory / "records.db").read_bytes()
        daemon.start()
        with daemon.http() as http:
            vaults = VaultHttp(http)
            with pytest.raises(VaultLocked):
                vaults.challenge(vault)
            vaults.delete(vault)
            with pytest.raises(VaultLocked):
                vaults.create(vault)


@pytest.mark.needs("swtpm")
def test_a_token_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with Swtpm() as tpm, Daemon(tpm) as daemon:
        with daemon.http() as http:
            vaults = VaultHttp(http)
            vault = seal(vaults.cohort())
            vaults.create(vault)
            claimed = vaults.claim(vault, vault.kf_hash)
            tpm.power_off()
            with pytest.raises((TokenError, Unavailable)):
                vaults.present(vault, claimed)
            while (answer := http.get("/healthz")).status_code == 200:
                time.sleep(0.01)
            assert answer.json()["detail"]
            assert daemon.status().state != "ready"
            tpm.start()
            daemon.wait_until_ready()
            assert vaults.guess(vault, vault.kf_hash) == vault.recovery_key
        daemon.terminate()
        tpm.power_off()
        gone = daemon.command("serve")
        assert gone.returncode == EXIT_TRY_AGAIN, gone.stderr
        assert len(gone.stderr.splitlines()) == 1
        tpm.start()
        daemon.start()
        assert daemon.status().state == "ready"
