"""Processes killed after each change of a SoftHSM token while a cohort is made, joined and sealed.

Whatever a kill leaves, no member serves with a key that could leave, and the next command finishes or says
in plain words that the token has to be cleared.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hwkm.errors import CohortUnsealed, TokenAlreadyProvisioned, TokenError
from hwkm.tokens.cohort import Stage
from tests.contract import cohorts
from tests.contract.devices import SoftHsmDevice, destroy, inventory, opened, process_environment
from tests.harness.pkcs11_shim import shimmed
from tests.harness.plan import Act, Plan, Rule

pytestmark = [pytest.mark.needs("softhsm2-util", "gcc"), pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[3]
CHANGES = (
    "C_CreateObject",
    "C_CopyObject",
    "C_DestroyObject",
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_UnwrapKey",
)
"""The functions by which hwkm changes a token."""


class Victim:
    """A token whose processes are killed, and set back to where it was before each."""

    def __init__(self, device: SoftHsmDevice, directory: Path) -> None:
        self.device = device
        self._plain_uri = device.uri
        self._shimmed_uri, self._board = shimmed(device.uri, device.directory)
        self._saved = directory / "saved tokens"
        shutil.copytree(device.token_directory, self._saved)

    def kill_after(self, number: int, function: str, step: str, *carried: str) -> bool:
        """Do a step on the token as it was, killed after the nth call of a function; False if there is none."""
        shutil.rmtree(self.device.token_directory)
        shutil.copytree(self._saved, self.device.token_directory)
        self._board.arm(Plan((Rule(Act.KILL_EXECUTED, f"pkcs11.{function}", number, number),)))
        arguments = [self._shimmed_uri, str(self.device.pin_file), step, *carried]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fault.tokens.cohort_step", *arguments],
            cwd=REPOSITORY,
            env=process_environment(self.device),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode == 0) == (self._board.struck == 0), done.stderr
        return self._board.struck > 0

    def close(self) -> None:
        self._board.close()


@pytest.fixture
def devices() -> Iterator[tuple[SoftHsmDevice, SoftHsmDevice]]:
    with ExitStack() as stack:
        made = SoftHsmDevice(), SoftHsmDevice()
        for device in made:
            stack.callback(device.stop)
        yield made


Check = Callable[[], Stage]


def killed_everywhere(
    device: SoftHsmDevice, directory: Path, check: Check, step: str, *carried: str
) -> set[Stage]:
    """Kill the step after every change it makes, and check what is left; return the stages that were found."""
    victim = Victim(device, directory)
    found = set()
    try:
        for function in CHANGES:
            number = 1
            while victim.kill_after(number, function, step, *carried):
                try:
                    found.add(check())
                except BaseException as exc:
                    exc.add_note(f"killed after call {number} of {function}")
                    raise
                number += 1
    finally:
        victim.close()
    return found


def serves(device: SoftHsmDevice) -> bool:
    """Whether the token opens; then its keys are as they must be."""
    try:
        with device.activated(), opened(device) as token:
            token.verify_key_policy()
    except TokenError:
        return False
    return True


def clear(device: SoftHsmDevice) -> None:
    with device.activated():
        destroy(device)
        assert inventory(device) == []


def test_create(devices: tuple[SoftHsmDevice, SoftHsmDevice], tmp_path: Path) -> None:
    first, _ = devices

    def check() -> Stage:
        assert not serves(first)
        stage = cohorts.state_of(first).stage
        if stage is not Stage.BLANK:
            with pytest.raises(TokenAlreadyProvisioned, match="the token already holds"):
                cohorts.create(first, 2)
            clear(first)
        cohorts.create(first, 2)
        assert cohorts.state_of(first).stage is Stage.UNSEALED
        return stage

    found = killed_everywhere(first, tmp_path, check, "create")
    assert found == {Stage.BLANK, Stage.UNFINISHED, Stage.UNSEALED}


def test_request(devices: tuple[SoftHsmDevice, SoftHsmDevice], tmp_path: Path) -> None:
    first, second = devices
    cohorts.create(first, 2)

    def check() -> Stage:
        assert not serves(second)
        stage = cohorts.state_of(second).stage
        if stage is Stage.UNFINISHED:
            with pytest.raises(TokenAlreadyProvisioned, match="the token already holds"):
                cohorts.request(second)
            clear(second)
        asked = cohorts.request(second)
        assert cohorts.state_of(second).stage is Stage.REQUESTED
        assert cohorts.state_of(second).fingerprint == cohorts.fingerprint_of(asked)
        return stage

    found = killed_everywhere(second, tmp_path, check, "request")
    assert found == {Stage.BLANK, Stage.UNFINISHED, Stage.REQUESTED}


def test_invite(devices: tuple[SoftHsmDevice, SoftHsmDevice], tmp_path: Path) -> None:
    first, second = devices
    cohorts.create(first, 2)
    asked = cohorts.request(second)
    fingerprint = cohorts.fingerprint_of(asked)
    (tmp_path / "request").write_bytes(asked)
    invitations = []

    def check() -> Stage:
        assert not serves(first)
        assert cohorts.state_of(first).invited in ({}, {1: fingerprint})
        invitations.append(cohorts.invite(first, asked, 1))
        assert cohorts.state_of(first).invited == {1: fingerprint}
        return cohorts.state_of(first).stage

    carried = (str(tmp_path / "request"), fingerprint.hex())
    assert killed_everywhere(first, tmp_path, check, "invite", *carried) == {Stage.UNSEALED}
    cohorts.join(second, invitations[-1], cohorts.sender_of(first))


def test_join(devices: tuple[SoftHsmDevice, SoftHsmDevice], tmp_path: Path) -> None:
    first, second = devices
    cohorts.create(first, 2)
    invitation, sender = cohorts.invite(first, cohorts.request(second), 1), cohorts.sender_of(first)
    (tmp_path / "invitation").write_bytes(invitation)
    public_key = cohorts.state_of(first).public_key

    def check() -> Stage:
        state = cohorts.state_of(second)
        assert serves(second) == (state.stage is Stage.JOINED)
        cohorts.join(second, invitation, sender)
        with second.activated(), opened(second) as token:
            token.verify_key_policy()
            assert token.cohort_key.public_key() == public_key
        assert cohorts.state_of(second).stage is Stage.JOINED
        return state.stage

    carried = (str(tmp_path / "invitation"), sender.hex())
    found = killed_everywhere(second, tmp_path, check, "join", *carried)
    assert found == {Stage.JOINING, Stage.JOINED}


def test_seal(devices: tuple[SoftHsmDevice, SoftHsmDevice], tmp_path: Path) -> None:
    first, second = devices
    cohorts.create(first, 2)
    asked = cohorts.request(second)
    cohorts.invite(first, asked, 1)

    def check() -> Stage:
        stage = cohorts.state_of(first).stage
        assert serves(first) == (stage is Stage.SEALED)
        if stage is Stage.UNSEALED:
            with first.activated(), pytest.raises(CohortUnsealed, match="hwkmd cohort seal"), opened(first):
                pass
        cohorts.seal(first)
        assert serves(first)
        assert cohorts.state_of(first).stage is Stage.SEALED
        return stage

    assert killed_everywhere(first, tmp_path, check, "seal") == {Stage.UNSEALED, Stage.SEALED}
