"""``make demo``, ``make demo-keys`` and ``make demo-fleet``: as promised, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hardware import short_directory

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


_SOFTHSM = pytest.mark.needs("softhsm2-util")
_SWTPM = pytest.mark.needs("swtpm")


@pytest.mark.parametrize(
    ("token", "story"),
    [
        pytest.param("softhsm", "vaults", marks=_SOFTHSM),
        pytest.param("softhsm", "keys", marks=_SOFTHSM),
        pytest.param("softhsm", "fleet", marks=_SOFTHSM),
        pytest.param("tpm", "vaults", marks=_SWTPM),
        pytest.param("tpm", "keys", marks=_SWTPM),
        pytest.param("tpm", "fleet", marks=_SWTPM),
    ],
)
def test_the_demonstration_is_as_promised_and_leaves_nothing(token: str, story: str) -> None:
    directory = short_directory()
    done = subprocess.run(
        [ROOT / "demo" / "run", token, story],
        env={**os.environ, "PYTHON": sys.executable, "HWKM_DEMO_DIRECTORY": str(directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "All as promised" in done.stdout
    directory.rmdir()  # fails if anything is left in it
    assert not [p for p in processes() if str(directory) in p], "something is left running"


def processes() -> list[str]:
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
