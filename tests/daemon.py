"""A real hwkmd on a device, in a directory of its own. Needs no pytest.

>>> with Daemon(MemoryToken(directory), delays=["0s", "1s"]) as daemon:
...     VaultClient(daemon.socket_path)

A daemon that does not end by itself is killed, by its own process object, never by name.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from hwkm.wire.api import Status
from tests.core_process import Device
from tests.hardware import short_directory

START_DEADLINE_S: Final = 60.0
STOP_DEADLINE_S: Final = 30.0
POLL_S: Final = 0.02
ROOT: Final = Path(__file__).resolve().parent.parent

Settings = Mapping[str, Mapping[str, Any]]


class DaemonDied(Exception):
    """The daemon ended while it was waited for; the message holds its exit code and log."""


class Daemon:
    """hwkmd with its configuration. ``settings`` are sections that are added or changed.

    Entering it provisions the device, unless that was done, and starts it; leaving it stops it.
    """

    def __init__(
        self,
        device: Device,
        *,
        delays: Sequence[str] = ("0s",),
        settings: Settings | None = None,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.device = device
        self._owned = directory is None
        self.directory = directory or short_directory()
        self.socket_path = self.directory / "hwkmd.sock"
        self.state_directory = self.directory / "state"
        self.config_path = self.directory / "hwkmd.toml"
        self.log_path = self.directory / "hwkmd.log"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **device.environment,
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.configure({"attempts": {"delays": list(delays)}}, settings or {})

    def configure(self, *changes: Settings) -> None:
        """Write the configuration anew; it counts from the next start."""
        sections: dict[str, dict[str, Any]] = {
            "daemon": {
                "socket": str(self.socket_path),
                "state_directory": str(self.state_directory),
                "log_level": "debug",
            },
            "token": {"uri": self.device.uri, "pin_file": str(self.device.pin_file)},
        }
        for change in changes:
            for name, values in change.items():
                sections.setdefault(name, {}).update(values)
        self.config_path.write_text(to_toml(sections))

    # --- commands ----------------------------------------------------------------------------

    def command(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run one hwkmd command to its end."""
        return subprocess.run(
            [*HWKMD, *arguments, "--config", str(self.config_path)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=START_DEADLINE_S,
            **options,
        )

    def init(self, *arguments: str) -> str:
        """Provision the device; return what was printed."""
        done = self.command("init", *arguments)
        if done.returncode != 0:
            raise DaemonDied(f"init ended with {done.returncode}: {done.stderr}")
        return done.stdout

    # --- life --------------------------------------------------------------------------------

    def start(self, *, wait: bool = True) -> None:
        """Start serving; by default wait until it does."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*HWKMD, "serve", "--config", str(self.config_path)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.wait_until_listening()

    def wait_until_listening(self) -> None:
        """Wait until the socket takes connections, or raise DaemonDied."""
        deadline = time.monotonic() + START_DEADLINE_S
        while not can_connect(self.socket_path):
            self._check_alive(deadline, "does not listen")
            time.sleep(POLL_S)

    def wait_until_ready(self, deadline_s: float = START_DEADLINE_S) -> Status:
        """Wait until the core is ready; return the status."""
        deadline = time.monotonic() + deadline_s
        while (status := self.status()).state != "ready":
            self._check_alive(deadline, f"is {status.state}: {status.detail}")
            time.sleep(POLL_S)
        return status

    def wait_until_ended(self) -> int:
        """Wait until the daemon ends by itself; return its exit code."""
        assert self.process is not None
        return self.process.wait(START_DEADLINE_S)

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_DEADLINE_S)

    def kill(self) -> None:
        """Send SIGKILL, as an out-of-memory killer would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_DEADLINE_S)

    def restart(self) -> None:
        """Stop cleanly and start again."""
        self.terminate()
        self.start()

    def stop(self) -> None:
        """End it however it is, and remove the directory if it is ours."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()
        if self._owned:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill_core(self) -> int:
        """SIGKILL the trusted core; return its process id."""
        pid = self.status().core_pid
        assert pid > 1
        os.kill(pid, signal.SIGKILL)
        return pid

    # --- HTTP --------------------------------------------------------------------------------

    def http(self, **options: Any) -> httpx.Client:
        """A raw HTTP client; close it."""
        options.setdefault("timeout", START_DEADLINE_S)
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket_path)), base_url="http://hwkmd", **options
        )

    def status(self) -> Status:
        """What ``/v1/status`` says."""
        with self.http() as http:
            return msgspec.json.decode(http.get("/v1/status").content, type=Status)

    def asked_of_core(self) -> float:
        """How many items of the key service have reached the core."""
        return sum(
            value for name, value in self.metrics().items() if name.startswith("hwkm_key_operations_total")
        )

    def metrics(self) -> dict[str, float]:
        """What ``/metrics`` says: series to value."""
        with self.http() as http:
            lines = http.get("/metrics").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    @property
    def log(self) -> str:
        """All that the daemon wrote."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def _check_alive(self, deadline: float, problem: str) -> None:
        if self.process is None or self.process.poll() is not None:
            code = self.process.returncode if self.process else None
            raise DaemonDied(f"hwkmd ended with {code}:\n{self.log}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"hwkmd {problem}; its log:\n{self.log}")

    def __enter__(self) -> Self:
        try:
            if not self.state_directory.exists():
                self.init()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


HWKMD: Final = (sys.executable, "-m", "hwkm.server")


def can_connect(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def to_toml(sections: Settings) -> str:
    """Write sections of numbers, booleans, strings and lists of strings."""
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_toml_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    # JSON's form of these is TOML's too.
    return msgspec.json.encode(value).decode()
