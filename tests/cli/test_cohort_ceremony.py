"""docs/operations/cohorts.md, run as it stands there, on three SoftHSM tokens."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hwkm.formats.membership import Membership
from hwkm.wire.api import CohortInfo
from tests.daemon import Daemon
from tests.hardware import SoftHsm
from tests.vault_http import VaultHttp

pytestmark = [pytest.mark.needs("softhsm2-util"), pytest.mark.slow]

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations" / "cohorts.md"
BLOCK = re.compile(r"^```sh member=(\d)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^(fingerprint|sender|cohort|sealed cohort|cohort +) ?([0-9a-f]{64})", re.MULTILINE)
WITH_CONFIGURATION = 'hwkmd() { command hwkmd "$@" --config "$CONFIGURATION"; }\n'


@pytest.fixture
def machines() -> Iterator[list[Daemon]]:
    with ExitStack() as stack:
        made = []
        for _ in range(3):
            device = SoftHsm()
            stack.callback(device.stop)
            machine = Daemon(device)
            stack.callback(machine.stop)
            made.append(machine)
        yield made


def run(machine: Daemon, directory: Path, script: str) -> str:
    """Run shell lines on a machine, with this checkout's ``hwkmd``."""
    scripts = Path(sys.executable).parent
    environment = {
        **machine.environment,
        "CONFIGURATION": str(machine.config_path),
        "PATH": f"{scripts}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", WITH_CONFIGURATION + script],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def filled_in(script: str, known: dict[str, str]) -> str:
    for placeholder, value in known.items():
        script = script.replace(placeholder, value)
    return script


def test_the_document_makes_a_cohort_of_three(machines: list[Daemon], tmp_path: Path) -> None:
    known: dict[str, str] = {}
    cohorts = set()
    steps = BLOCK.findall(DOCUMENT.read_text())
    for member, script in steps:
        printed = run(machines[int(member)], tmp_path, filled_in(script, known))
        for name, value in PRINTED.findall(printed):
            if name == "fingerprint":
                known[f"FINGERPRINT-{member}"] = value
            elif name == "sender":
                known["SENDER"] = value
            else:
                cohorts.add(value)
    assert len(steps) == 8
    assert set(known) == {"FINGERPRINT-1", "FINGERPRINT-2", "SENDER"}
    assert len(cohorts) == 1, "the digest is the same at every member"
    for number, machine in enumerate(machines):
        machine.start()
        with machine.http() as http:
            info = VaultHttp(http).call("GET", "/v1/cohort", CohortInfo)
        assert info.membership == Membership(number, 3)
        assert hashlib.sha256(info.public_key).hexdigest() in cohorts
