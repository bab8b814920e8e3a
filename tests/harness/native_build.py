"""Builds the instruments that are written in C, once a process, into a temporary directory."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

_SOURCES: Final = Path(__file__).parent / "native"


@functools.cache
def built(name: str) -> Path:
    """Return the shared library made of ``native/NAME.c``."""
    library = _directory() / f"{name}.so"
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"]
    subprocess.run(
        [*command, "-o", str(library), str(_SOURCES / f"{name}.c"), "-ldl", "-lpthread", "-lrt"], check=True
    )
    return library


@functools.cache
def built_program(name: str) -> Path:
    """Return the program made of ``native/NAME.c``."""
    program = _directory() / name
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(_SOURCES / f"{name}.c")]
    subprocess.run([*command, "-lrt"], check=True)
    return program


@functools.cache
def _directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="hwkm-instruments-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
