"""The TPM proxy of the benchmark, a small program in C: ``native/tpm_relay.c``."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.native_build import built_program
from tests.harness.tpm_commands import KINDS


@contextmanager
def relayed(upstream: Path, listen: Path, board: Path) -> Iterator[str]:
    """Run a proxy that counts and delays by a board; yield the URI that leads through it."""
    listen.with_name(listen.name + ".ctrl").symlink_to(f"{upstream}.ctrl")
    kinds = [f"{code.hex()}={kind}" for code, kind in KINDS.items()]
    command = [str(built_program("tpm_relay")), str(upstream), str(listen), str(board), *kinds]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "the TPM proxy did not start"
            yield f"tpm:tcti=swtpm:path={listen}"
        finally:
            process.kill()
