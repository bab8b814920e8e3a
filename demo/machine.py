"""The machine of the demonstration: a token or a TPM in software, and the daemon on it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.stage import BIN, Unexpected

SETUP: Final = Path(__file__).resolve().parent.parent / "softhsm-config"
START_DEADLINE_S: Final = 30.0
STOP_DEADLINE_S: Final = 20.0
_POLL_S: Final = 0.02

CONFIGURATION: Final = """\
[token]
uri = "{uri}"
pin_file = "{pin_file}"

[daemon]
socket = "{socket}"
state_directory = "state"

[aws]
listen = "127.0.0.1:{aws_port}"

# Short pauses after wrong PINs, so that nobody has to wait long.
[attempts]
max_attempts_limit = 10
delays = ["0s", "0s", "8s"]
"""


@dataclass(frozen=True, slots=True)
class Token:
    """Where the keys are: URI, PIN file, and what a process needs in its environment."""

    uri: str
    pin_file: Path
    environment: Mapping[str, str]


@contextmanager
def softhsm(directory: Path) -> Iterator[Token]:
    """A SoftHSM token."""
    uri = _set_up("softhsm-setup.sh", directory)
    yield Token(uri, directory / "pin", {"SOFTHSM2_CONF": str(directory / "softhsm2.conf")})


@contextmanager
def software_tpm(directory: Path) -> Iterator[Token]:
    """A TPM 2.0 in software, switched on."""
    uri = _set_up("swtpm-setup.sh", directory)
    with _running(
        [str(SETUP / "swtpm-setup.sh"), str(directory), "run"], os.environ, directory / "log"
    ) as tpm:
        _wait_for(directory / "tpm.sock", tpm)
        yield Token(uri, directory / "pin", {})


def _set_up(script: str, directory: Path) -> str:
    done = subprocess.run([str(SETUP / script), str(directory)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unexpected(f"{script}: {done.stderr.strip()}")
    return done.stdout.strip()


class Service:
    """hwkmd on a token, with its files in a directory."""

    def __init__(self, directory: Path, token: Token) -> None:
        directory.mkdir(mode=0o700)
        self.directory = directory
        self.uri = token.uri
        self.socket = directory / "hwkmd.sock"
        self.config = directory / "hwkmd.toml"
        self.audit = directory / "state" / "audit"
        self.aws_port = _free_port()
        self.environment = {**os.environ, **token.environment}
        self.config.write_text(
            CONFIGURATION.format(
                uri=token.uri, pin_file=token.pin_file, socket=self.socket, aws_port=self.aws_port
            )
        )

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon; what it logs goes into a file."""
        command = [str(BIN / "hwkmd"), "serve", "--config", str(self.config)]
        with _running(command, self.environment, self.directory / "log") as daemon:
            _wait_for(self.socket, daemon)
            yield daemon


@contextmanager
def _running(
    command: list[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended when the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
    except Unexpected:
        print(f"\nThe end of the log of {Path(command[0]).name}:\n{log.read_text()[-3000:]}", flush=True)
        raise
    finally:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while not _listens(path):
        if process.poll() is not None:
            raise Unexpected(f"{process.args!r} ended at once with {process.returncode}")
        if time.monotonic() > deadline:
            raise Unexpected(f"nobody listens on {path}")
        time.sleep(_POLL_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
