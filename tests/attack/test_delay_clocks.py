"""Ways to shorten the delay after a failed opening (attack 10): none does, and no challenge lives longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import pytest

from hwkm.errors import RateLimited, WrongKnowledgeFactor
from hwkm.wire import core_messages as wire
from tests.core_process import CoreProcess
from tests.daemon import Daemon
from tests.harness.clocks import Clocks, boot_time_ms
from tests.harness.daemon_state import asking, make_installed
from tests.harness.rig import Rig
from tests.harness.trial import LIMIT, end, wrong
from tests.vault_clients import SealedVault, seal
from tests.vault_http import VaultHttp

pytestmark = pytest.mark.attack

HOUR_MS: Final = 3_600_000
YEAR_MS: Final = 365 * 24 * HOUR_MS


@dataclass
class Delayed:
    """A vault that was just failed to open, on a core whose clocks can be turned."""

    rig: Rig
    clocks: Clocks
    vault: SealedVault
    delay_ms: int
    charged_at_ms: int = 0
    """Not later than the charge."""

    def core(self) -> CoreProcess:
        """Begin a life of the core under the clocks."""
        core = CoreProcess(self.rig.device, self.clocks.environment)
        core.serve(msgspec.structs.replace(self.rig.direct, delays_ms=(0, self.delay_ms)))
        return core

    def fail(self, core: CoreProcess) -> None:
        self.charged_at_ms = boot_time_ms()
        reply = core.guess(self.vault, wrong())
        assert isinstance(reply, wire.VaultWrong), reply
        assert reply.retry_after_ms > self.delay_ms - 60_000

    def check(self, core: CoreProcess) -> None:
        """The next claim is refused, says how long, and is not charged."""
        left = core.attempts_remaining(self.vault)
        reply = core.guess(self.vault, self.vault.kf_hash)
        assert isinstance(reply, wire.VaultDelayed), reply
        assert reply.retry_after_ms >= self.delay_ms - (boot_time_ms() - self.charged_at_ms)
        assert core.attempts_remaining(self.vault) == left == LIMIT - 1


@pytest.fixture
def delayed(rig: Rig, tmp_path: Path) -> Delayed:
    return Delayed(rig, Clocks(tmp_path), seal(rig.cohort_public_key, max_attempts=LIMIT), HOUR_MS)


def stop_and_continue(core: CoreProcess, _: Clocks) -> None:
    for _number in range(3):
        core.process.send_signal(signal.SIGSTOP)
        while state_of(core.process.pid) != "T":
            pass
        core.process.send_signal(signal.SIGCONT)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wall_clock_forward(_: CoreProcess, clocks: Clocks) -> None:
    clocks.set_wall_clock(YEAR_MS)


def wall_clock_back(_: CoreProcess, clocks: Clocks) -> None:
    clocks.set_wall_clock(-YEAR_MS)


def time_since_boot_back(_: CoreProcess, clocks: Clocks) -> None:
    """No kernel does that; a virtual machine taken back to a snapshot might."""
    clocks.set_time_since_boot(-boot_time_ms() // 2)


TRICKS: Final = (stop_and_continue, wall_clock_forward, wall_clock_back, time_since_boot_back)
Trick = Callable[[CoreProcess, Clocks], None]


def test_the_clocks_of_a_process_can_be_turned(tmp_path: Path) -> None:
    """Or the tests below would prove nothing."""
    clocks = Clocks(tmp_path)
    clocks.set_wall_clock(YEAR_MS)
    clocks.reboot()
    program = "import time; from hwkm.core.clock import BootClock; n = BootClock().now();"
    program += "print(time.time_ns() // 10**6, n.ms, n.boot_id.hex())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **clocks.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    wall_ms, boot_ms, boot_id = done.stdout.split()
    assert abs(int(wall_ms) - (time.time_ns() // 10**6 + YEAR_MS)) < 60_000
    assert 0 <= int(boot_ms) < 60_000
    assert boot_id not in Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_with_a_running_core_or_its_clocks_shortens_a_delay(delayed: Delayed, trick: Trick) -> None:
    with delayed.core() as core:
        delayed.fail(core)
        trick(core, delayed.clocks)
        delayed.check(core)
        core.kill()
    with delayed.core() as core:
        delayed.check(core)


def test_restarts_in_a_loop_shorten_no_delay(delayed: Delayed) -> None:
    with delayed.core() as core:
        delayed.fail(core)
        end(core)
    for number in range(4):
        with delayed.core() as core:
            delayed.check(core)
            if number % 2:
                core.kill()
            else:
                end(core)


def test_reboots_in_a_loop_begin_the_delay_anew_and_never_shorten_it(delayed: Delayed) -> None:
    """After a reboot only the time since then is certain; what passed before it no longer counts."""
    with delayed.core() as core:
        delayed.fail(core)
        delayed.clocks.set_time_since_boot(HOUR_MS - 60_000)
        reply = core.guess(delayed.vault, wrong())
        assert isinstance(reply, wire.VaultDelayed)
        assert reply.retry_after_ms <= 60_000
        end(core)
    for _ in range(3):
        delayed.charged_at_ms = boot_time_ms()
        delayed.clocks.reboot()
        with delayed.core() as core:
            delayed.check(core)


def test_only_a_kernel_that_lies_about_the_time_since_boot_ends_a_delay_early_as_a3_assumes(
    delayed: Delayed,
) -> None:
    """For instance by a time namespace, which root has to make before the daemon is started."""
    threat_model = Path(__file__).parents[2] / "docs" / "threat-model.md"
    (assumption,) = [line for line in threat_model.read_text().splitlines() if line.startswith("| A3 |")]
    assert "CLOCK_BOOTTIME" in assumption
    with delayed.core() as core:
        delayed.fail(core)
        delayed.clocks.set_time_since_boot(HOUR_MS)
        assert isinstance(core.guess(delayed.vault, delayed.vault.kf_hash), wire.VaultOpened)


def test_first_claim_taken_after_a_delay_is_not_early_whatever_was_tried(delayed: Delayed) -> None:
    """A short delay, waited for: crashes, stops and clocks all the while."""
    delayed.delay_ms = 1_500
    with delayed.core() as core:
        delayed.fail(core)
        core.kill()
    taken = False
    while not taken:
        with delayed.core() as core:
            for trick in (stop_and_continue, wall_clock_forward, wall_clock_back):
                trick(core, delayed.clocks)
                reply = core.guess(delayed.vault, wrong())
                taken = isinstance(reply, wire.VaultWrong)
                if taken:
                    break
                assert isinstance(reply, wire.VaultDelayed)
            core.kill()
    assert boot_time_ms() - delayed.charged_at_ms >= delayed.delay_ms


@pytest.mark.parametrize("trick", [stop_and_continue, wall_clock_back])
def test_no_trick_lengthens_the_life_of_a_challenge(rig: Rig, tmp_path: Path, trick: Trick) -> None:
    clocks, lifetime_ms = Clocks(tmp_path), 300
    vault = seal(rig.cohort_public_key)
    with CoreProcess(rig.device, clocks.environment) as core:
        core.serve(msgspec.structs.replace(rig.direct, challenge_lifetime_ms=lifetime_ms))
        claimed = core.claim(vault, vault.kf_hash)
        issued_ms = boot_time_ms()
        trick(core, clocks)
        while boot_time_ms() <= issued_ms + lifetime_ms:
            time.sleep(0.01)
        reply = core.present(claimed)
        assert isinstance(reply, wire.Failed), reply
        assert reply.code == "challenge_refused"


# --- through the daemon ----------------------------------------------------------------------


def test_daemon_whose_wall_clock_is_set_and_which_is_killed_and_restarted_keeps_the_delay(
    tmp_path: Path,
) -> None:
    clocks = Clocks(tmp_path)
    with (
        make_installed("memory") as installed,
        installed.anew({"attempts": {"delays": ["0s", "1h"]}}) as daemon,
    ):
        daemon.environment |= clocks.environment
        daemon.start()
        with daemon.http() as http:
            vaults = VaultHttp(http)
            vault = seal(vaults.cohort())
            vaults.create(vault)
            charged_at_ms = boot_time_ms()
            with pytest.raises(WrongKnowledgeFactor):
                vaults.guess(vault, wrong())
        for shift_ms, disturb in disturbances(daemon):
            clocks.set_wall_clock(shift_ms)
            disturb()
            retry_after_ms = asking(daemon, lambda vaults: refused_for_ms(vaults, vault))
            assert retry_after_ms >= HOUR_MS - (boot_time_ms() - charged_at_ms)
        clocks.set_wall_clock(YEAR_MS)
        made = asking(daemon, lambda vaults: vaults.create(seal(vaults.cohort())))
        assert made.created_at_ms > time.time_ns() // 10**6 + YEAR_MS // 2, "the clock was not turned"


def disturbances(daemon: Daemon) -> Iterator[tuple[int, Callable[[], object]]]:
    """What is done to the daemon, and the wall clock that it has then."""

    def core_killed() -> None:
        daemon.kill_core()
        daemon.wait_until_ready()

    def killed() -> None:
        daemon.kill()
        daemon.start()

    yield YEAR_MS, lambda: None
    yield -YEAR_MS, core_killed
    yield YEAR_MS, killed
    yield 0, daemon.restart


def refused_for_ms(vaults: VaultHttp, vault: SealedVault) -> int:
    with pytest.raises(RateLimited) as refused:
        vaults.guess(vault, vault.kf_hash)
    assert vaults.show(vault).attempts_remaining == 9
    return refused.value.retry_after_ms
