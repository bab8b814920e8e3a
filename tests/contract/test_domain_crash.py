"""Processes killed while they rotate a domain: no key is lost, no generation is half there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hwkm.formats.key_kind import KeyKind
from tests.contract.devices import Device, opened, process_environment
from tests.contract.keys import domain_of, domain_on, mac, new_name

REPOSITORY = Path(__file__).resolve().parents[2]


def rotate_and_kill(device: Device, key_file: Path, rotations: int) -> int:
    """Let a process rotate ``rotations`` times at least, kill it, return the last generation it printed."""
    arguments = [device.uri, str(device.pin_file), str(key_file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.rotate_until_killed", *arguments],
        cwd=REPOSITORY,
        env=process_environment(device),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    printed = []
    with process, process.stdout:
        for _ in range(rotations):
            line = process.stdout.readline()
            assert line, "the process ended by itself"
            printed.append(int(line))
        process.kill()
        # The last piece has no line end: it may have been cut.
        printed += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    return max(printed)


def test_a_kill_at_any_moment_of_a_rotation_loses_no_key(device: Device, tmp_path: Path) -> None:
    name, key_file = new_name(), tmp_path / "key"
    with domain_on(device) as domain:
        wrapped = domain.create(name, KeyKind.SYMMETRIC).wrapped
        first = mac(domain, name, wrapped)
    key_file.write_bytes(wrapped)
    for rotations in (1, 2, 3, 1, 2):
        last = rotate_and_kill(device, key_file, rotations)
        with opened(device) as token:
            token.verify_key_policy()
            domain = domain_of(token)
            # Whole before, whole after, or both there; never more, and the last printed not undone.
            assert domain.generation in {last, last + 1}
            assert len(domain.generations()) in {1, 2}
            assert mac(domain, name, key_file.read_bytes()) == first
