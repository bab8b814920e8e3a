"""Starting the programs of :mod:`tests.fault.store.children`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).parents[3]


def command(child: Callable[[Path], None], directory: Path) -> list[str]:
    return [sys.executable, "-m", "tests.fault.store.children", child.__name__, str(directory)]


def run(child: Callable[[Path], None], directory: Path) -> str:
    """Run a child to its end; fail with what it said if it failed."""
    done = subprocess.run(command(child, directory), cwd=_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_and_kill(child: Callable[[Path], None], directory: Path, after: int) -> int:
    """SIGKILL a child once it has acknowledged ``after`` numbers; return the last one it acknowledged."""
    process = subprocess.Popen(command(child, directory), cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        for _ in range(after):
            assert process.stdout.readline(), "the child ended by itself"
        process.kill()
        # What it acknowledged before it died is still in the pipe; its last line may be cut off.
        rest = [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        process.wait()
    return after - 1 + len(rest)
