"""hwkmd with a code-bound key, as it is installed: its files, its settings, and the machine's boot change."""

from __future__ import annotations

import importlib.util
import marshal
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwkm.fleet.evidence.cohort import verify_member
from hwkm.fleet.evidence.findings import Trust
from hwkm.formats.code_record import CodeRecord
from hwkm.formats.evidence import MemberEvidence, TpmModule
from hwkm.server.exit_codes import EXIT_CONFIG, EXIT_NO_MATCH
from tests.contract.devices import SwtpmDevice
from tests.contract.test_tpm_code_bound import extend, pcr_of
from tests.daemon import ROOT, Daemon
from tests.vault_clients import SealedVault, seal
from tests.vault_http import VaultHttp

pytestmark = [pytest.mark.needs("swtpm"), pytest.mark.slow]

CODE_BOUND = {"token": {"code_bound": True}}
LIMIT = {"attempts": {"max_attempts_limit": 9}}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A copy of the package, to be changed."""
    shutil.copytree(ROOT / "hwkm", tmp_path / "code" / "hwkm", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "code" / "hwkm"


@pytest.fixture
def device() -> Iterator[SwtpmDevice]:
    item = SwtpmDevice()
    try:
        yield item
    finally:
        item.stop()


@pytest.fixture
def daemon(device: SwtpmDevice, code: Path) -> Iterator[Daemon]:
    """A daemon that was set up with a code-bound key, and does not run."""
    prepared = Daemon(device, settings=CODE_BOUND, environment={"PYTHONPATH": str(code.parent)})
    try:
        prepared.init()
        yield prepared
    finally:
        prepared.stop()


def record_of(daemon: Daemon) -> CodeRecord:
    return CodeRecord.parse((daemon.state_directory / "code-record.json").read_bytes())


def made(daemon: Daemon) -> SealedVault:
    with daemon.http() as http:
        vaults = VaultHttp(http)
        vault = seal(vaults.cohort())
        vaults.create(vault)
        assert vaults.guess(vault, vault.kf_hash) == vault.recovery_key
        return vault


def open_again(daemon: Daemon, vault: SealedVault) -> None:
    with daemon.http() as http:
        assert VaultHttp(http).guess(vault, vault.kf_hash) == vault.recovery_key


def refused(daemon: Daemon, *words: str) -> None:
    """See that the daemon ends at once, for good, and says why."""
    before = len(daemon.log)
    daemon.start(wait=False)
    code = daemon.wait_until_ended()
    said = daemon.log[before:]
    assert code == EXIT_NO_MATCH, said
    assert [word for word in words if word not in said] == []


def test_it_serves_through_restarts_and_a_power_cycle(daemon: Daemon, device: SwtpmDevice) -> None:
    daemon.start()
    vault = made(daemon)
    daemon.kill_core()
    daemon.wait_until_ready()
    open_again(daemon, vault)
    daemon.restart()
    open_again(daemon, vault)
    assert pcr_of(device) == record_of(daemon).measured_value()
    daemon.terminate()
    device.restart()
    daemon.start()
    open_again(daemon, vault)


def test_the_record_names_every_file_and_no_bytecode(daemon: Daemon, code: Path) -> None:
    manifest = record_of(daemon).manifest
    files = {f"hwkm/{path.relative_to(code)}" for path in code.rglob("*.py")}
    assert files < set(manifest)
    assert {"setting max_attempts_limit", "setting delays_ms"} < set(manifest)
    assert [name for name in manifest if "__pycache__" in name] == []


def test_a_changed_file_is_refused_and_its_return_is_not(daemon: Daemon, code: Path) -> None:
    daemon.start()
    vault = made(daemon)
    daemon.terminate()
    opening = code / "thm" / "opening.py"
    original = opening.read_bytes()
    opening.write_bytes(original + b"\n# one attempt more\n")
    refused(daemon, "hwkm/thm/opening.py was changed")
    opening.write_bytes(original)
    (code / "thm" / "another.abi3.so").write_bytes(b"")
    refused(daemon, "hwkm/thm/another.abi3.so was added")
    (code / "thm" / "another.abi3.so").unlink()
    daemon.start()
    open_again(daemon, vault)


def test_bytecode_put_in_place_of_a_file_is_not_run(daemon: Daemon, code: Path) -> None:
    life = code / "core" / "life.py"
    cache = Path(importlib.util.cache_from_source(life))
    cache.parent.mkdir(exist_ok=True)
    cache.write_bytes(unchecked_bytecode("raise SystemExit(99)"))
    plain = subprocess.run([sys.executable, "-P", "-c", "import hwkm.core.life"], env=daemon.environment)
    assert plain.returncode == 99
    daemon.start()
    made(daemon)


def test_its_evidence_verifies(daemon: Daemon, tmp_path: Path) -> None:
    done = daemon.command("evidence", str(tmp_path / "evidence"))
    assert done.returncode == 0, done.stderr
    evidence = MemberEvidence.parse((tmp_path / "evidence").read_bytes())
    first, *_ = verify_member(evidence, Trust(int(time.time())))
    assert "PCR 13 holds the measurement" in first.what
    assert isinstance(evidence.statement.module, TpmModule)
    assert evidence.statement.module.code == record_of(daemon)


def test_a_changed_setting_is_refused(daemon: Daemon) -> None:
    daemon.configure({"attempts": {"delays": ["0s"]}}, CODE_BOUND, LIMIT)
    refused(daemon, "setting max_attempts_limit was changed")


def test_a_machine_that_booted_otherwise_is_refused(daemon: Daemon, device: SwtpmDevice) -> None:
    extend(device, 4, b"another boot loader.............")
    refused(daemon, "PCR 4 differs")


def test_a_pcr_that_somebody_extended_is_refused(daemon: Daemon, device: SwtpmDevice) -> None:
    extend(device, 13, bytes(32))
    refused(daemon, "PCR 13 is neither")


def test_a_lost_record_and_a_switched_off_binding_are_refused(daemon: Daemon) -> None:
    path = daemon.state_directory / "code-record.json"
    contents = path.read_bytes()
    path.unlink()
    daemon.start(wait=False)
    assert daemon.wait_until_ended() == EXIT_CONFIG
    assert "code-record.json cannot be read" in daemon.log
    path.write_bytes(contents)
    daemon.configure({"attempts": {"delays": ["0s"]}})
    daemon.start(wait=False)
    assert daemon.wait_until_ended() == EXIT_CONFIG
    assert "code_bound = true" in daemon.log


def test_set_up_again_in_the_same_boot_destroys_nothing(daemon: Daemon, device: SwtpmDevice) -> None:
    daemon.start()
    vault = made(daemon)
    daemon.terminate()
    again = daemon.command("init")
    assert again.returncode == EXIT_NO_MATCH
    assert "PCR 13 was extended" in again.stderr
    assert "Nothing was changed" in again.stderr
    daemon.start()
    open_again(daemon, vault)


def test_a_cohort_of_several_is_refused_before_anything_is_touched(device: SwtpmDevice, code: Path) -> None:
    daemon = Daemon(device, settings=CODE_BOUND, environment={"PYTHONPATH": str(code.parent)})
    try:
        for arguments in (("create", "--members", "2"), ("request", "--out", str(code / "request"))):
            done = daemon.command("cohort", *arguments)
            assert done.returncode == EXIT_CONFIG, done.stderr
            assert "only a cohort of one module" in done.stderr
        assert not daemon.state_directory.exists()
    finally:
        daemon.stop()


def unchecked_bytecode(source: str) -> bytes:
    """A cache file that Python runs without a look at the source (PEP 552, unchecked hash)."""
    code = compile(source, "planted", "exec")
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)
