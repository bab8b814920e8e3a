"""Where the client programs are, and how a server among them is run. Needs no pytest.

``make interop`` puts them into ``.venv-interop``, by the locks in ``requirements/``: Python programs and
libraries, SeaweedFS, OpenBao and Node.js in ``bin``, JavaScript packages in ``node_modules``.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

ROOT: Final = Path(__file__).resolve().parents[2]
TOOLS: Final = ROOT / ".venv-interop"
BIN: Final = TOOLS / "bin"
NODE_MODULES: Final = TOOLS / "node_modules"
START_DEADLINE_S: Final = 90.0
STOP_DEADLINE_S: Final = 20.0
POLL_S: Final = 0.02

_HIGHEST_PORT_OF_WEED: Final = 65535 - 10_000
_KEPT: Final = ("LANG", "LC_ALL", "PYTHONDONTWRITEBYTECODE")


def search_path() -> str:
    """PATH with the client programs first."""
    return f"{BIN}:{os.environ['PATH']}"


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """An environment without this machine's AWS settings, proxies and certificate bundles."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PATH": search_path(), "HOME": str(home), **more}


def free_ports(count: int, *, highest: int = 65535) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            if probe.getsockname()[1] <= highest:
                ports.append(probe.getsockname()[1])
        return ports


def free_weed_ports(count: int) -> list[int]:
    """Ports for weed, which listens on each of them and on the one 10,000 higher."""
    while True:
        ports = free_ports(count, highest=_HIGHEST_PORT_OF_WEED)
        if all(_is_free(port + 10_000) for port in ports):
            return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class ServerDied(Exception):
    """A server ended, or did not answer in time; the message holds its log."""


class Server:
    """A program that runs until it is stopped, by its own process object."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_path: Path,
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.command, self.environment, self.log_path = list(command), dict(environment), log_path
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, in the directory of its log."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.log_path.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until(self, answers: Callable[[], bool]) -> None:
        """Wait until ``answers``.

        Raises:
            ServerDied: it ended, or the deadline passed.
        """
        deadline = time.monotonic() + START_DEADLINE_S
        while not answers():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                state = "ended" if ended else "does not answer"
                raise ServerDied(f"{self.command[0]} {state}:\n{self.log_path.read_text()}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End it by its signal, and by SIGKILL if it does not heed that."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(self._stop_signal)
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def can_connect(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
