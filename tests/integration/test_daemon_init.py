"""``hwkmd init`` and ``hwkmd check``: nothing is destroyed unasked, and what is wrong is said plainly."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hwkm.audit.reader import read
from hwkm.errors import CohortMismatch
from hwkm.server.exit_codes import EXIT_CONFIG, EXIT_NO_MATCH, EXIT_PIN, EXIT_TRY_AGAIN
from hwkm.store.nodes import SqliteNodeStore
from tests.core_process import Device, MemoryToken
from tests.daemon import Daemon
from tests.devices import ALL, make_device
from tests.hardware import SoftHsm
from tests.vault_clients import seal
from tests.vault_http import VaultHttp


@pytest.fixture(params=ALL)
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Device]:
    with ExitStack() as stack:
        yield make_device(request.param, tmp_path, stack)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    prepared = Daemon(MemoryToken(tmp_path))
    yield prepared
    prepared.stop()


def store_one_vault(daemon: Daemon) -> bytes:
    """Run the daemon once and leave a charged vault behind; return the cohort's public key."""
    daemon.start()
    with daemon.http() as http:
        vaults = VaultHttp(http)
        vault = seal(cohort := vaults.cohort())
        vaults.create(vault)
        assert vaults.guess(vault, vault.kf_hash) == vault.recovery_key
    assert daemon.terminate() == 0
    return cohort


def digest_in(text: str) -> str:
    """The digest that a refusal says to give."""
    found = re.search(r"--destroy-existing ([0-9a-f]{64})", text)
    assert found is not None, text
    return found[1]


def test_a_second_init_lists_what_is_there_and_changes_nothing_until_its_digest_is_given(
    device: Device,
) -> None:
    daemon = Daemon(device)
    try:
        printed = daemon.init()
        before = store_one_vault(daemon)
        refused = daemon.command("init")
        assert refused.returncode == EXIT_CONFIG
        for words in ("cohort", "audit", "anchor", "nodes.db", "1 vaults"):
            assert words in refused.stderr
        digest = digest_in(refused.stderr)
        assert digest == hashlib.sha256(before).hexdigest()
        assert f"cohort {digest}" in printed
        again = daemon.command("init", "--destroy-existing", digest[:-1])
        assert again.returncode == EXIT_CONFIG
        assert digest_in(again.stderr) == digest
        daemon.init("--destroy-existing", digest)
        daemon.start()
        assert daemon.status().vaults == 0
        with daemon.http() as http:
            after = VaultHttp(http).cohort()
            with pytest.raises(CohortMismatch):
                VaultHttp(http).create(seal(before))
        assert after != before
        operations = [record.operation for record in read(daemon.state_directory / "audit")]
        assert operations[0] == "token.provision"
        assert "token.destroy" in operations
    finally:
        daemon.stop()


def test_state_left_over_from_a_lost_token_is_listed_and_removed_with_it(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.init()
    store_one_vault(daemon)
    (tmp_path / "token.json").unlink()
    refused = daemon.command("init")
    assert refused.returncode == EXIT_CONFIG
    assert "cohort key" not in refused.stderr
    assert "nodes.db" in refused.stderr
    daemon.init("--destroy-existing", digest_in(refused.stderr))
    daemon.start()
    assert daemon.status().state == "ready"
    assert daemon.status().vaults == 0


def test_a_token_without_its_node_store_never_opens_and_can_be_provisioned_anew(daemon: Daemon) -> None:
    """What an init that was interrupted between files and token leaves behind."""
    daemon.init()
    store_one_vault(daemon)
    for path in daemon.state_directory.glob("nodes.db*"):
        path.unlink()
    result = daemon.command("serve")
    assert result.returncode == EXIT_NO_MATCH, result.stderr
    refused = daemon.command("init")
    daemon.init("--destroy-existing", digest_in(refused.stderr))
    daemon.start()
    assert daemon.status().state == "ready"


def test_a_daemon_that_runs_is_not_provisioned_over(daemon: Daemon) -> None:
    daemon.init()
    daemon.start()
    refused = daemon.command("init", "--destroy-existing", "0" * 64)
    assert refused.returncode == EXIT_TRY_AGAIN
    assert "another hwkmd is running" in refused.stderr
    assert daemon.status().state == "ready"


def test_a_pin_is_made_where_there_is_none(daemon: Daemon) -> None:
    pin_file = daemon.directory / "made.pin"
    daemon.configure({"token": {"pin_file": str(pin_file)}})
    assert "made.pin" in daemon.init()
    assert stat.S_IMODE(pin_file.stat().st_mode) == 0o600
    assert len(pin_file.read_bytes()) == 64
    assert pin_file.read_text() not in daemon.command("config", "show").stdout


@pytest.mark.needs("softhsm2-util")
def test_the_pin_of_a_pkcs11_token_is_never_made_up() -> None:
    with SoftHsm() as token:
        daemon = Daemon(token)
        try:
            token.pin_file.unlink()
            refused = daemon.command("init")
            assert refused.returncode == EXIT_CONFIG
            assert "is absent" in refused.stderr
            assert not token.pin_file.exists()
        finally:
            daemon.stop()


@pytest.mark.needs("softhsm2-util")
def test_a_wrong_user_pin_reaches_the_token_once() -> None:
    with SoftHsm() as token:
        daemon = Daemon(token)
        right = token.pin_file.read_bytes()
        try:
            daemon.init()
            token.pin_file.write_bytes(b"not the pin of this token")
            first = daemon.command("serve")
            assert first.returncode == EXIT_PIN
            assert "before" not in first.stderr
            for command in ("check", "init", "serve"):
                again = daemon.command(command)
                assert again.returncode == EXIT_PIN, (command, again.stderr)
                assert "not tried again" in again.stderr + again.stdout
                assert "not the pin" not in again.stderr + again.stdout
            token.pin_file.write_bytes(right)
            daemon.start()
            assert daemon.status().state == "ready"
        finally:
            daemon.stop()


# --- check -----------------------------------------------------------------------------------


def findings(daemon: Daemon) -> dict[str, dict[str, str]]:
    """What ``hwkmd check --json`` found, by the name of the check."""
    done = daemon.command("check", "--json")
    report = json.loads(done.stdout)
    assert report["exit_code"] == done.returncode
    assert report["ok"] == (done.returncode == 0)
    return {finding["check"]: finding for finding in report["findings"]}


def test_check_finds_nothing_wrong_with_and_without_a_running_daemon(device: Device) -> None:
    daemon = Daemon(device)
    try:
        daemon.init()
        idle = findings(daemon)
        assert {finding["state"] for finding in idle.values()} <= {"ok", "warning"}, idle
        assert "token" in idle
        daemon.start()
        running = findings(daemon)
        assert {finding["state"] for finding in running.values()} <= {"ok", "warning"}, running
        assert "daemon" in running
        assert daemon.status().core_restarts == 0
    finally:
        daemon.stop()


def test_check_says_what_is_wrong_and_what_to_do(daemon: Daemon) -> None:
    absent = findings(daemon)
    assert absent["state directory"]["state"] == "failed"
    assert "hwkmd init" in absent["state directory"]["advice"]
    assert "audit log" not in absent
    daemon.init()
    daemon.state_directory.chmod(0o755)
    daemon.device.pin_file.chmod(0o644)
    found = findings(daemon)
    assert "chmod 700" in found["state directory"]["detail"]
    assert "chmod 600" in found["PIN file"]["detail"]
    assert found["token"]["state"] == "failed"
    daemon.state_directory.chmod(0o700)
    daemon.device.pin_file.chmod(0o600)
    shutil.rmtree(daemon.state_directory / "audit")
    found = findings(daemon)
    assert found["audit log"]["state"] == "failed"
    assert found["audit log"]["advice"]
    daemon.config_path.write_text("[token]\nurl = 'x'\n")
    broken = findings(daemon)
    assert list(broken) == ["configuration"]
    assert "hwkmd.toml:2" in broken["configuration"]["detail"]


def test_check_for_people_has_a_line_for_each_finding(daemon: Daemon) -> None:
    daemon.init()
    printed = daemon.command("check").stdout
    assert "ok      state directory: " in printed
    assert "ok      token: " in printed


def test_check_without_the_credential_of_the_service_is_no_alarm(daemon: Daemon) -> None:
    daemon.init()
    daemon.configure({"token": {"pin_file": "credential:token-pin"}})
    found = findings(daemon)
    assert found["PIN file"]["state"] == "ok"
    assert found["token"]["state"] == "warning"
    assert daemon.command("serve").returncode == EXIT_CONFIG
    credentials = daemon.directory / "credentials"
    credentials.mkdir()
    shutil.copy(daemon.device.pin_file, credentials / "token-pin")
    daemon.environment["CREDENTIALS_DIRECTORY"] = str(credentials)
    daemon.start()
    assert daemon.status().state == "ready"


def test_check_as_root_leaves_the_files_to_the_daemons_user(daemon: Daemon, tmp_path: Path) -> None:
    """As anybody else than root there is nothing to give up."""
    daemon.init()
    uid = 65534 if os.geteuid() == 0 else os.geteuid()
    for path in (daemon.state_directory, *daemon.state_directory.rglob("*"), *tmp_path.iterdir()):
        os.chown(path, uid, -1)
    report = daemon.command("check", "--json")
    assert report.stdout, report.stderr
    owners = {path.stat().st_uid for path in daemon.state_directory.rglob("*")}
    assert owners == {uid}


# --- sweep -----------------------------------------------------------------------------------


def test_sweep_removes_left_over_nodes_and_only_while_no_daemon_runs(daemon: Daemon) -> None:
    daemon.init()
    store_one_vault(daemon)
    with SqliteNodeStore(daemon.state_directory / "nodes.db") as nodes:
        orphan = b"left by a crash"
        nodes.put({hashlib.sha256(orphan).digest(): orphan})
    swept = daemon.command("sweep")
    assert swept.returncode == 0, swept.stderr
    assert "left-over nodes removed" in swept.stdout
    with SqliteNodeStore(daemon.state_directory / "nodes.db") as nodes:
        assert nodes.get(hashlib.sha256(orphan).digest()) is None
    daemon.start()
    assert daemon.status().state == "ready"
    refused = daemon.command("sweep")
    assert refused.returncode == EXIT_TRY_AGAIN


# --- domain keys -----------------------------------------------------------------------------


def test_init_makes_a_domain_key_and_lists_it(device: Device) -> None:
    daemon = Daemon(device)
    assert "domain" in daemon.init()
    refused = daemon.command("init", "--add-domain")
    assert refused.returncode == EXIT_CONFIG
    assert "domain key already" in refused.stderr


@pytest.mark.needs("softhsm2-util")
def test_init_with_the_security_officers_pin_makes_trusted_domain_keys(tmp_path: Path) -> None:
    with SoftHsm() as device:
        daemon = Daemon(device)
        try:
            printed = daemon.init("--so-pin-file", str(device.so_pin_file))
            assert printed.count("domain-spare") == 3
            daemon.start()
            token = daemon.status().token
            assert token is not None
            assert token.domain_trusted is True
            assert daemon.terminate() == 0
            more = daemon.command("init", "--add-domain", "--so-pin-file", str(device.so_pin_file))
            assert more.returncode == 0, more.stderr
            assert more.stdout.count("domain-spare") == 7
        finally:
            daemon.stop()


@pytest.mark.needs("softhsm2-util")
def test_a_wrong_security_officers_pin_makes_nothing_and_does_not_spoil_the_users(tmp_path: Path) -> None:
    with SoftHsm() as device:
        daemon = Daemon(device)
        wrong = tmp_path / "wrong-so-pin"
        wrong.write_text("not the officer's")
        wrong.chmod(0o600)
        refused = daemon.command("init", "--so-pin-file", str(wrong))
        assert refused.returncode == EXIT_CONFIG
        assert "security officer" in refused.stderr
        wrong.chmod(0o644)
        assert "chmod 600" in daemon.command("init", "--so-pin-file", str(wrong)).stderr
        daemon.init()


@pytest.mark.parametrize("kind", ["memory", pytest.param("swtpm", marks=pytest.mark.needs("swtpm"))])
def test_only_pkcs11_tokens_have_a_security_officer(kind: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        daemon = Daemon(make_device(kind, tmp_path, stack))
        so_pin = tmp_path / "so-pin"
        so_pin.write_text("any")
        so_pin.chmod(0o600)
        refused = daemon.command("init", "--so-pin-file", str(so_pin))
        assert refused.returncode == EXIT_CONFIG
        assert "no security officer" in refused.stderr
