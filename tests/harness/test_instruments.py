"""The instruments themselves: that they count, obey, and change nothing without a plan."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hwkm.wire import core_messages as wire
from tests.core_process import CoreProcess, core_settings, provision
from tests.hardware import Swtpm
from tests.harness.board import Board
from tests.harness.lossy_storage import Change, Disk, Operation, Recorder
from tests.harness.plan import Act, Plan, Rule, Trace
from tests.harness.rig import Rig, make_rig
from tests.harness.tpm_relay import relayed
from tests.harness.trial import end, wrong
from tests.vault_clients import seal

pytestmark = pytest.mark.attack

CLAIM = {
    "swtpm": ("tpm.ECDH_ZGen", "tpm.NV_Write", "tpm.ECDH_ZGen"),
    "softhsm": ("pkcs11.C_DeriveKey", "pkcs11.C_CreateObject", "pkcs11.C_DeriveKey"),
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("softhsm", marks=pytest.mark.needs("softhsm2-util", "gcc")),
        pytest.param("swtpm", marks=pytest.mark.needs("swtpm", "gcc")),
    ],
)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with make_rig(request.param) as made:
        yield made


# --- proxies ---------------------------------------------------------------------------------


def test_a_claim_is_two_agreements_and_one_write_of_the_anchor_between_them(rig: Rig) -> None:
    vault = seal(rig.cohort_public_key)
    with rig.core() as core:
        claimed = core.claim(vault, vault.kf_hash)
        rig.board.arm()
        assert isinstance(core.present(claimed), wire.VaultOpened)
        trace = rig.board.trace()
        assert trace.counts() == rig.board.counts()
        end(core)
    assert tuple(kind for kind in trace.kinds if kind in CLAIM[rig.kind]) == CLAIM[rig.kind]
    anchor_write = trace.kinds.index(CLAIM[rig.kind][1])
    assert "storage.sync" in trace.kinds[:anchor_write]
    assert trace.kinds[-1] == "channel.reply"


def test_a_delay_of_one_kind_delays_every_command_of_that_kind(rig: Rig) -> None:
    vault = seal(rig.cohort_public_key)
    with rig.core() as core:
        claimed = core.claim(vault, vault.kf_hash)
        rig.board.arm(Plan.slow({CLAIM[rig.kind][0]: 100.0}))
        started = time.monotonic()
        assert isinstance(core.present(claimed), wire.VaultOpened)
        assert time.monotonic() - started >= 0.2
        assert rig.board.struck == 2
        rig.board.arm()
        end(core)


def test_every_rule_counts_for_itself(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board")
    board.arm(
        Plan((Rule(Act.REFUSE, "tpm.NV_*", 2, 3, 7), Rule(Act.DROP, last=1), Rule(Act.DELAY, delay_ms=3)))
    )
    acts = [
        board.enter(kind).act
        for kind in ("tpm.NV_Write", "tpm.Sign", "tpm.NV_Read", "tpm.NV_Write", "tpm.NV_Write")
    ]
    assert acts == [Act.DROP, Act.PASS, Act.REFUSE, Act.REFUSE, Act.PASS]
    assert board.enter("tpm.Sign").delay_s == 0.003
    assert board.trace().of("tpm.S") == Trace(("tpm.Sign", "tpm.Sign"))
    assert Board(board.path).counts() == {"tpm.NV_Write": 3, "tpm.Sign": 2, "tpm.NV_Read": 1}
    board.arm()
    assert board.trace() == Trace(())
    assert board.enter("tpm.Sign").act is Act.PASS


@pytest.mark.needs("swtpm", "gcc")
def test_the_tpm_proxy_of_the_benchmark_serves_one_core_after_the_other(tmp_path: Path) -> None:
    with Swtpm() as device:
        settings = core_settings(device, tmp_path / "nodes.db")
        made = provision(device, settings)
        assert isinstance(made, wire.Inventory)
        board = Board.create(device.directory / "board")
        with relayed(device.socket_path, device.directory / "proxy", board.path) as uri:
            through = msgspec.structs.replace(settings, token_uri=uri)
            vault = seal(made.cohort_public_key)
            for lives in (1, 2):
                with CoreProcess(device) as core:
                    core.serve(through)
                    assert isinstance(core.guess(vault, wrong()), wire.VaultWrong)
                    core.kill()
                assert board.counts()["tpm.NV_Write"] == lives
            board.arm(Plan.slow({"tpm.NV_Write": 100.0}))
            with CoreProcess(device) as core:
                core.serve(through)
                started = time.monotonic()
                assert isinstance(core.guess(vault, wrong()), wire.VaultWrong)
                assert time.monotonic() - started >= 0.1
                core.kill()
            assert board.struck == 1


# --- snapshots -------------------------------------------------------------------------------


def test_a_device_copied_while_it_is_on_is_restored_as_it_was(rig: Rig) -> None:
    vault = seal(rig.cohort_public_key)
    with rig.core() as core:
        core.guess(vault, wrong())
        taken = rig.machine.take()
        core.guess(vault, wrong())
        core.kill()
    rig.machine.restore(taken)
    with rig.core() as core:
        assert core.attempts_remaining(vault) == 9
        end(core)


def test_parts_are_restored_separately(rig: Rig) -> None:
    vault = seal(rig.cohort_public_key)
    with rig.core() as core:
        core.guess(vault, wrong())
        end(core)
    taken = rig.machine.take()
    with rig.core() as core:
        core.guess(vault, wrong())
        end(core)
    later = rig.machine.take()
    rig.machine.restore(taken, "nodes")
    with rig.nursery.core() as core:
        refused = core.start(wire.Serve(settings=rig.settings))
    assert isinstance(refused, wire.Failed)
    assert refused.code == "storage_mismatch"
    rig.machine.restore(later, "nodes")
    with rig.core() as core:
        assert core.attempts_remaining(vault) == 8
        end(core)


# --- the disk --------------------------------------------------------------------------------


def disk_after(*operations: Operation, **files: bytes) -> Disk:
    disk = Disk(Path("/d"), dict(files))
    for operation in operations:
        disk.apply(operation)
    return disk


OPENED = Operation(Change.OPEN, 1, path="/d/f")
WRITTEN = Operation(Change.WRITE, 1, 2, b"xyz")
SYNCED = Operation(Change.SYNC, 1)


def test_a_write_is_lost_until_its_file_is_synced() -> None:
    assert disk_after(OPENED, WRITTEN, f=b"abcd").synced() == {"f": b"abcd"}
    assert disk_after(OPENED, WRITTEN, SYNCED, f=b"abcd").synced() == {"f": b"abxyz"}


def test_what_is_pending_survives_whole_in_part_or_not() -> None:
    disk = disk_after(OPENED, WRITTEN, Operation(Change.TRUNCATE, 1, 1), f=b"abcd")
    assert disk.pending == 2
    assert [image["f"] for image in disk.images()] == [
        *(b"abcd", b"abcd"),
        *(b"abxyz", b"abxd"),
        *(b"a", b"a"),
        *(b"abxyz", b"a"),
        *(b"a", b"abxyz"),
    ]


def test_a_name_is_lost_until_its_directory_is_synced() -> None:
    created = Operation(Change.CREATE, 1, path="/d/f")
    directory = Operation(Change.SYNC_DIRECTORY, 0, path="/d")
    assert disk_after(created, WRITTEN, SYNCED).synced() == {}
    assert disk_after(created, WRITTEN, SYNCED, directory).synced() == {"f": b"\0\0xyz"}
    renamed = Operation(Change.RENAME, 0, path="/d/f", other="/d/g")
    assert disk_after(created, directory, WRITTEN, SYNCED, renamed).synced() == {"f": b"\0\0xyz"}
    assert disk_after(created, directory, WRITTEN, SYNCED, renamed, directory).synced() == {"g": b"\0\0xyz"}
    removed = Operation(Change.UNLINK, 0, path="/d/f")
    assert disk_after(created, directory, removed).synced() == {"f": b""}
    assert disk_after(created, directory, removed, directory).synced() == {}


def test_the_layer_writes_down_what_a_process_does(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    recorder = Recorder(tmp_path / "d", tmp_path / "log")
    program = (
        "import os, sys\n"
        "d = sys.argv[1]\n"
        "f = os.open(d + '/f', os.O_CREAT | os.O_RDWR)\n"
        "os.write(f, b'one'); os.pwrite(f, b'two', 10); os.ftruncate(f, 11); os.fsync(f); os.close(f)\n"
        "f = open(d + '/f', 'ab', buffering=0); f.write(b'end'); os.fdatasync(f.fileno())\n"
        "os.rename(d + '/f', d + '/g'); os.unlink(d + '/g')\n"
        "e = os.open(d, os.O_RDONLY); os.fsync(e)\n"
        "os.write(os.open(d + '-outside', os.O_CREAT | os.O_WRONLY), b'not watched')\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(recorder.directory)], check=True, env=recorder.environment
    )
    operations = recorder.operations()
    assert [operation.change.name for operation in operations] == [
        *("CREATE", "WRITE", "WRITE", "TRUNCATE", "SYNC", "OPEN", "WRITE", "SYNC", "RENAME", "UNLINK"),
        "SYNC_DIRECTORY",
    ]
    assert [(o.offset, o.data) for o in operations if o.change is Change.WRITE] == [
        (0, b"one"),
        (10, b"two"),
        (11, b"end"),
    ]
