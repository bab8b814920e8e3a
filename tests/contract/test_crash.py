"""Processes killed and devices gone at a bad moment."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hwkm.crypto.p256 import encode_point, load_scalar
from hwkm.errors import AnchorTampered, AnchorUncertain, TokenError, TokenUnavailable
from tests.contract.devices import (
    Device,
    SoftHsmDevice,
    SwtpmDevice,
    inventory,
    open_token,
    opened,
    process_environment,
)

REPOSITORY = Path(__file__).resolve().parents[2]
POINT = encode_point(load_scalar(bytes(31) + b"\x07").public_key())


def advance_and_kill(device: Device, epochs: int) -> int:
    """Let a process advance the anchor ``epochs`` times at least, kill it, return the last printed."""
    command = [sys.executable, "-m", "tests.contract.advance_until_killed", device.uri, str(device.pin_file)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=process_environment(device), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process, process.stdout:
        for _ in range(epochs):
            assert process.stdout.readline(), "the process ended by itself"
        process.kill()
        rest = process.stdout.read().split("\n")
        # The last piece has no line end: it may have been cut.
        printed = [int(line) for line in rest[:-1]]
    return max(printed, default=epochs)


def test_what_was_durable_before_a_kill_is_read_after_it(device: Device) -> None:
    for _ in range(6):  # more kills than a TPM has session slots
        with opened(device) as token:
            before = token.anchor.read().epoch
        advance_and_kill(device, epochs=3)
        with opened(device) as token:
            after = token.anchor.read()
            assert after.epoch >= before + 3
            token.anchor.advance(dataclasses.replace(after, epoch=after.epoch + 1))
    assert len([line for line in inventory(device) if "anchor" in line]) == 1


def test_the_epoch_after_a_kill_is_the_last_printed_or_the_next(device: Device) -> None:
    printed = advance_and_kill(device, epochs=1)
    with opened(device) as token:
        assert token.anchor.read().epoch in {printed, printed + 1}


@pytest.mark.needs("swtpm")
def test_a_tpm_that_loses_power_is_unavailable_and_a_write_then_is_uncertain(swtpm: SwtpmDevice) -> None:
    token = open_token(swtpm)
    state = token.anchor.read()
    swtpm.power_off()
    with pytest.raises(AnchorUncertain):
        token.anchor.advance(dataclasses.replace(state, epoch=1))
    for use in (
        lambda: list(token.cohort_key.agree([POINT])),
        token.anchor.read,
        lambda: token.audit_key.sign(bytes(32)),
        lambda: token.random(8),
        token.describe,
    ):
        with pytest.raises(TokenUnavailable):
            use()
    token.close()
    with pytest.raises(TokenUnavailable):
        open_token(swtpm)
    swtpm.start()
    with opened(swtpm) as reopened:
        assert reopened.anchor.read() == state


@pytest.mark.needs("swtpm")
def test_a_token_opened_before_a_restart_of_the_tpm_is_of_no_use_after_it(swtpm: SwtpmDevice) -> None:
    token = open_token(swtpm)
    state = token.anchor.read()
    swtpm.restart()
    with pytest.raises(TokenUnavailable):
        list(token.cohort_key.agree([POINT]))
    with pytest.raises(TokenUnavailable):
        token.anchor.read()
    with pytest.raises(AnchorUncertain):
        token.anchor.advance(dataclasses.replace(state, epoch=1))
    token.close()
    with opened(swtpm) as reopened:
        assert reopened.anchor.read() == state


@pytest.mark.needs("softhsm2-util")
def test_a_token_whose_directory_is_gone_fails_with_typed_errors(softhsm: SoftHsmDevice) -> None:
    token = open_token(softhsm)
    state = token.anchor.read()
    shutil.move(softhsm.token_directory, softhsm.directory / "elsewhere")
    with pytest.raises(TokenUnavailable):
        list(token.cohort_key.agree([POINT]))
    with pytest.raises(AnchorUncertain):
        token.anchor.advance(dataclasses.replace(state, epoch=1))
    with pytest.raises((AnchorTampered, TokenUnavailable)):
        token.anchor.read()
    token.close()
    with pytest.raises(TokenError):
        open_token(softhsm)
    shutil.move(softhsm.directory / "elsewhere", softhsm.token_directory)
    with opened(softhsm) as reopened:
        assert reopened.anchor.read() == state
