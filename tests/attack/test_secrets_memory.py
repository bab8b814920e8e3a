"""Secrets searched for after every path (attack 13): in the memory of core and daemon, in all files and answers.

The core holds ``thm_kf_hash`` and claimant key of a claim while it decides it. After that, none of it
may be left: neither whole nor any 8 bytes of it, nor what was agreed with the cohort key to open it. What
the core never sees (PIN, ``kf_hash``, recovery key) and what the daemon never sees must not be there at all.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from hwkm.core.environment import FREED_MEMORY_OVERWRITTEN
from hwkm.crypto import securebox
from hwkm.crypto.knowledge_factor import encode_credential, hash_credential, sha256_params, thm_kf_hash
from hwkm.errors import HwkmError
from hwkm.wire import core_messages as wire
from tests.core_process import CoreProcess, Device
from tests.daemon import Daemon
from tests.devices import REAL, make_device
from tests.hardware import SoftHsm, Swtpm, short_directory
from tests.harness.board import Board
from tests.harness.memory_dump import Hunt, readable_by_its_user
from tests.harness.pkcs11_shim import CKR_DEVICE_MEMORY, shimmed
from tests.harness.plan import Act, Plan
from tests.harness.rig import Rig
from tests.harness.tpm_proxy import RC_NV_RATE, TpmProxy
from tests.harness.trial import LIMIT
from tests.vault_clients import Claimed, SealedVault, make_claim, seal
from tests.vault_http import VaultHttp

pytestmark = pytest.mark.attack

BATCH: Final = 64
COMMIT: Final = {"softhsm": "pkcs11.C_CreateObject", "swtpm": "tpm.NV_Write"}
BUSY: Final = {"softhsm": CKR_DEVICE_MEMORY, "swtpm": RC_NV_RATE}


@dataclass
class Planted:
    """Every secret that clients made, by a name that says whose it is."""

    secrets: dict[str, bytes] = field(default_factory=dict)

    def pin(self) -> bytes:
        """The ``kf_hash`` of a new PIN; both are planted, and what the core gets to see of them."""
        pin = f"a PIN that nobody has {secrets.token_hex(8)}"
        params = sha256_params(secrets.token_bytes(16))
        kf_hash = hash_credential(encode_credential(pin), params).expose()
        number = len(self.secrets)
        self.secrets |= {
            f"PIN {number}": pin.removeprefix("a PIN that nobody has ").encode(),
            f"kf_hash {number}": kf_hash,
            f"thm_kf_hash {number}": thm_kf_hash(kf_hash),
        }
        return kf_hash

    def vault(self, cohort_public_key: bytes) -> SealedVault:
        vault = seal(cohort_public_key, kf_hash=self.pin(), max_attempts=LIMIT)
        self.secrets[f"recovery key {len(self.secrets)}"] = vault.recovery_key
        return vault

    def claimed(self, claimed: Claimed) -> Claimed:
        self.secrets[f"claimant key {len(self.secrets)}"] = claimed.claimant_key
        return claimed

    def agreed(self, value: bytes) -> None:
        self.secrets[f"agreed {len(self.secrets)}"] = value

    def hunt(self) -> Hunt:
        return Hunt(self.secrets)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Planted:
    """Clients in this process, whose every secret is written down."""
    made = Planted()
    derive = securebox._derive_key

    def note(agreed: bytes, shared_secret: bytes, info: bytes) -> bytes:
        if agreed:
            made.agreed(agreed)
        return derive(agreed, shared_secret, info)

    monkeypatch.setattr(securebox, "_derive_key", note)
    return made


# --- the core --------------------------------------------------------------------------------


@contextmanager
def started_as_by_hwkmd(rig: Rig, environment: dict[str, str] | None = None) -> Iterator[CoreProcess]:
    overwriting = dict(FREED_MEMORY_OVERWRITTEN) if environment is None else environment
    with CoreProcess(rig.device, {**overwriting, **readable_by_its_user()}) as core:
        core.serve(rig.settings)
        yield core


def left_in(core: CoreProcess, planted: Planted) -> set[str]:
    """What a core at rest holds of them."""
    assert isinstance(core.call(wire.ReadStatistics()), wire.Statistics)
    return planted.hunt().in_memory(core.process.pid)


def guess(core: CoreProcess, planted: Planted, vault: SealedVault, kf_hash: bytes) -> wire.CoreReply:
    return core.present(planted.claimed(core.claim(vault, kf_hash)))


def a_right_guess(core: CoreProcess, planted: Planted, rig: Rig) -> None:
    vault = planted.vault(rig.cohort_public_key)
    assert isinstance(guess(core, planted, vault, vault.kf_hash), wire.VaultOpened)


def a_wrong_guess(core: CoreProcess, planted: Planted, rig: Rig) -> None:
    vault = planted.vault(rig.cohort_public_key)
    assert isinstance(guess(core, planted, vault, planted.pin()), wire.VaultWrong)


def a_lock(core: CoreProcess, planted: Planted, rig: Rig) -> None:
    vault = planted.vault(rig.cohort_public_key)
    for _ in range(LIMIT):
        assert isinstance(guess(core, planted, vault, planted.pin()), wire.VaultWrong)
    assert isinstance(guess(core, planted, vault, vault.kf_hash), wire.VaultIsLocked)


def the_same_claim_again(core: CoreProcess, planted: Planted, rig: Rig) -> None:
    vault = planted.vault(rig.cohort_public_key)
    claimed = planted.claimed(core.claim(vault, vault.kf_hash))
    for _ in range(3):
        assert isinstance(core.present(claimed), wire.VaultOpened)


def a_claim_that_is_refused(core: CoreProcess, planted: Planted, rig: Rig) -> None:
    """Its challenge is another vault's, or it does not open."""
    vault, other = planted.vault(rig.cohort_public_key), planted.vault(rig.cohort_public_key)
    foreign = core.claim(other, other.kf_hash).request.challenge
    for claimed in (
        make_claim(vault, vault.kf_hash, foreign),
        make_claim(other, vault.kf_hash, core.claim(vault, vault.kf_hash).request.challenge),
    ):
        planted.claimed(claimed)
        assert isinstance(core.present(claimed), wire.Failed)


def a_token_that_was_busy(core: CoreProcess, planted: Planted, rig: Rig) -> None:
    """The claim is opened, and then cannot be charged."""
    if rig.kind == "memory":
        return
    vault = planted.vault(rig.cohort_public_key)
    claimed = planted.claimed(core.claim(vault, vault.kf_hash))
    rig.board.arm(Plan.nth(1, Act.REFUSE, COMMIT[rig.kind], code=BUSY[rig.kind]))
    assert isinstance(core.present(claimed), wire.Failed)
    assert rig.board.struck == 1
    rig.board.arm()


def a_crowd(core: CoreProcess, planted: Planted, rig: Rig) -> None:
    """A whole batch at once, every other guess right."""
    claims = []
    for number in range(BATCH):
        vault = planted.vault(rig.cohort_public_key)
        kf_hash = vault.kf_hash if number % 2 else planted.pin()
        claims.append(planted.claimed(core.claim(vault, kf_hash)))
    numbers = [core.send_claim(claimed) for claimed in claims]
    assert all(isinstance(core.reply(number), wire.VaultOpened | wire.VaultWrong) for number in numbers)


PATHS: Final = (
    a_right_guess,
    a_wrong_guess,
    a_lock,
    the_same_claim_again,
    a_claim_that_is_refused,
    a_token_that_was_busy,
    a_crowd,
)


def test_core_at_rest_holds_no_secret_of_any_claim_it_decided(rig: Rig, planted: Planted) -> None:
    with started_as_by_hwkmd(rig) as core:
        planted.secrets["token PIN"] = rig.device.pin_file.read_bytes().strip()
        assert left_in(core, planted) == set(), "after the start"
        for path in PATHS:
            path(core, planted, rig)
            assert left_in(core, planted) == set(), f"after {path.__name__}"
        check_that_the_search_finds(core, rig)


def check_that_the_search_finds(core: CoreProcess, rig: Rig) -> None:
    """What the core does hold is found, whole and in pieces."""
    vault = seal(rig.cohort_public_key)
    claimed = core.claim(vault, vault.kf_hash)
    core.present(claimed)
    held = Hunt({"public key": rig.cohort_public_key, "absent": secrets.token_bytes(32)})
    assert held.in_memory(core.process.pid) == {"public key"}
    core.kill()


def test_without_overwriting_what_is_left_of_a_crowd_is_only_what_the_core_had_to_hold(
    rig: Rig, planted: Planted, record_property: Callable[[str, object], None]
) -> None:
    """Where the C library is not glibc: no PIN, kf_hash, recovery key ever; of the rest, how many."""
    with started_as_by_hwkmd(rig, {}) as core:
        a_crowd(core, planted, rig)
        left = left_in(core, planted)
    kinds = {name.rpartition(" ")[0] for name in left}
    assert kinds <= {"thm_kf_hash", "claimant key", "agreed"}
    for kind in sorted(kinds):
        record_property(
            f"{rig.kind}: {kind} left", f"{sum(name.startswith(kind) for name in left)} of {BATCH}"
        )


# --- the daemon ------------------------------------------------------------------------------


@dataclass
class Watched:
    """A daemon on a device under instruments."""

    daemon: Daemon
    kind: str
    board: Board
    planted: Planted

    def check(self, path: str) -> None:
        """Nothing in either process, in any file, in any page."""
        hunt = self.planted.hunt()
        status = self.daemon.wait_until_ready()
        assert self.daemon.process is not None
        found = {
            "daemon": hunt.in_memory(self.daemon.process.pid),
            "files": hunt.in_bytes(b"".join(self.files())),
            "pages": hunt.in_bytes(self.pages()),
        }
        if os.geteuid() == 0:
            found["core"] = hunt.in_memory(status.core_pid)
        assert not any(found.values()), f"after {path}: {found}"

    def files(self) -> Iterator[bytes]:
        """Logs, audit log, record database, node store."""
        yield self.daemon.log.encode()
        for path in self.daemon.state_directory.rglob("*"):
            if path.is_file():
                yield path.read_bytes()

    def pages(self) -> bytes:
        with self.daemon.http() as http:
            return b"".join(http.get(page).content for page in ("/metrics", "/v1/status", "/healthz"))


@pytest.fixture(params=REAL)
def watched(request: pytest.FixtureRequest, tmp_path: Path, planted: Planted) -> Iterator[Watched]:
    with ExitStack() as stack:
        device = make_device(request.param, tmp_path, stack)
        uri, board = instrumented(device, tmp_path, stack)
        planted.secrets["token PIN"] = device.pin_file.read_bytes().strip()
        device.uri = uri
        yield Watched(stack.enter_context(Daemon(device)), request.param, board, planted)


def instrumented(device: Device, directory: Path, stack: ExitStack) -> tuple[str, Board]:
    if isinstance(device, SoftHsm):
        return shimmed(device.uri, directory)
    assert isinstance(device, Swtpm)
    board = Board.create(directory / "board")
    proxy = TpmProxy(device.socket_path, short_directory() / "proxy", board)
    return stack.enter_context(proxy).uri, board


def test_daemon_core_and_files_hold_no_secret_after_any_path(watched: Watched) -> None:
    daemon, planted = watched.daemon, watched.planted
    with daemon.http() as http:
        vaults = VaultHttp(http)
        vault = planted.vault(vaults.cohort())
        vaults.create(vault)
        watched.check("a creation")
        present(vaults, planted, vault, vault.kf_hash)
        watched.check("a right guess")
        present(vaults, planted, vault, planted.pin())
        watched.check("a wrong guess")
        watched.board.arm(Plan.nth(1, Act.REFUSE, COMMIT[watched.kind], code=BUSY[watched.kind]))
        present(vaults, planted, vault, vault.kf_hash)
        assert watched.board.struck == 1
        watched.check("a busy token")
        watched.board.arm(Plan.nth(1, Act.KILL_EXECUTED, COMMIT[watched.kind]))
        present(vaults, planted, vault, vault.kf_hash)
        assert watched.board.struck == 1
        watched.board.arm()
        watched.check("a crash of the core")
        for _ in range(LIMIT + 1):
            present(vaults, planted, vault, planted.pin())
        assert vaults.show(vault).state == "locked"
        watched.check("a lock")
    daemon.terminate()
    assert planted.hunt().in_bytes(b"".join(watched.files())) == set()


def present(vaults: VaultHttp, planted: Planted, vault: SealedVault, kf_hash: bytes) -> None:
    """Claim; a refusal is searched, too, as whoever gets it would print it."""
    try:
        vaults.present(vault, planted.claimed(vaults.claim(vault, kf_hash)))
    except HwkmError as exc:
        refused = repr((exc, vars(exc), exc.__cause__))
    else:
        return
    assert planted.hunt().in_bytes(refused.encode()) == set()
