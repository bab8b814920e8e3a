"""Software devices for tests: a SoftHSM token and a swtpm, each in a directory of its own.

Both are context managers and need no pytest. Nothing is shared between two of them: random
labels, own state, Unix sockets, no ports. SoftHSM is bound to ``SOFTHSM2_CONF`` when its library
is initialised, so either give ``environment`` to the process under test, or enter
:meth:`SoftHsm.activated` before opening the token in this one.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SETUP: Final = Path(__file__).resolve().parent.parent / "softhsm-config"
START_DEADLINE_S: Final = 20.0
STOP_DEADLINE_S: Final = 10.0

_INSTALL_HINTS: Final = {
    "softhsm2-util": "apt-get install softhsm2",
    "swtpm": "apt-get install swtpm swtpm-tools",
    "swtpm_setup": "apt-get install swtpm-tools",
}


class MissingTool(Exception):
    """A program that the tests need is not installed; the message says how to install it."""


def require_tool(name: str) -> None:
    """Check that a program is installed.

    Raises:
        MissingTool: it is not.
    """
    if shutil.which(name) is None:
        raise MissingTool(f"{name} is not installed: {_INSTALL_HINTS[name]}")


def short_directory() -> Path:
    """Return a new directory whose path leaves room for a Unix socket's name (108 bytes)."""
    return Path(tempfile.mkdtemp(prefix="hwkm-", dir="/tmp"))


class SoftHsm:
    """A SoftHSM token with a random label and a random PIN.

    ``uri``, ``pin_file`` (mode 0600) and ``environment`` are what a process needs to use it;
    ``token_directory`` is what a backup or a thief would copy.
    """

    def __init__(self, directory: Path | None = None) -> None:
        require_tool("softhsm2-util")
        self._owned = directory is None
        self.directory = directory or short_directory()
        setup = [str(SETUP / "softhsm-setup.sh"), str(self.directory)]
        self.uri = subprocess.run(setup, check=True, capture_output=True, text=True).stdout.strip()
        self.pin_file = self.directory / "pin"
        self.so_pin_file = self.directory / "so-pin"
        self.token_directory = self.directory / "tokens"
        self.environment: Mapping[str, str] = {"SOFTHSM2_CONF": str(self.directory / "softhsm2.conf")}

    @property
    def pin(self) -> bytes:
        """The user PIN."""
        return self.pin_file.read_bytes()

    @contextmanager
    def activated(self) -> Iterator[Self]:
        """Point this process's SoftHSM library at this token, as long as none is open here."""
        previous = os.environ.get("SOFTHSM2_CONF")
        os.environ.update(self.environment)
        try:
            yield self
        finally:
            if previous is None:
                os.environ.pop("SOFTHSM2_CONF", None)
            else:
                os.environ["SOFTHSM2_CONF"] = previous

    def restart(self) -> None:
        """Nothing runs between uses: the token is a directory."""

    def stop(self) -> None:
        """Remove the directory if this object made it."""
        if self._owned:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class TpmMaker:
    """A maker of software TPMs: a certificate authority in a directory, which certifies endorsement keys.

    ``root`` is its root certificate, ``intermediates`` that of the authority which signs (PEM).
    """

    def __init__(self, directory: Path) -> None:
        require_tool("swtpm_setup")
        directory.mkdir(parents=True, exist_ok=True)
        self._setup, authority = directory / "setup.conf", directory / "localca.conf"
        self.root = directory / "swtpm-localca-rootca-cert.pem"
        self.intermediates = directory / "issuercert.pem"
        authority.write_text(
            f"statedir = {directory}\nsigningkey = {directory}/signkey.pem\n"
            f"issuercert = {self.intermediates}\ncertserial = {directory}/certserial\n"
        )
        options = directory / "localca.options"
        options.write_text("--platform-manufacturer hwkm\n--platform-version 1\n--platform-model tests\n")
        self._setup.write_text(
            f"create_certs_tool = {shutil.which('swtpm_localca')}\n"
            f"create_certs_tool_config = {authority}\ncreate_certs_tool_options = {options}\n"
        )

    def intermediates_der(self) -> tuple[bytes, ...]:
        """The certificate of the authority that signs, as ``hwkmd evidence`` takes it to the core."""
        return (ssl.PEM_cert_to_DER_cert(self.intermediates.read_text()),)

    def manufacture(self, state: Path) -> None:
        """Make the state of a new TPM, with the certificates of its endorsement keys."""
        state.mkdir(parents=True, exist_ok=True)
        command = ["swtpm_setup", "--tpm2", "--tpmstate", f"dir://{state}", "--create-ek-cert"]
        command += ["--pcr-banks", "sha256", "--config", str(self._setup)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"swtpm_setup: {done.stdout}{done.stderr}")


class Swtpm:
    """A running swtpm with its own state; by a ``maker`` it has a certified endorsement key. One client at a time.

    ``uri`` and ``pin_file`` (mode 0600) are what a process needs to use it; ``state_directory``
    is its non-volatile memory.
    """

    def __init__(self, directory: Path | None = None, maker: TpmMaker | None = None) -> None:
        require_tool("swtpm")
        self._owned = directory is None
        self.directory = directory or short_directory()
        self.socket_path = self.directory / "tpm.sock"
        self.uri = f"tpm:tcti=swtpm:path={self.socket_path}"
        self.pin_file = self.directory / "pin"
        self.state_directory = self.directory / "state"
        self.environment: Mapping[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        if maker is not None:
            maker.manufacture(self.state_directory)
        self.start()

    @property
    def pin(self) -> bytes:
        """The PIN that set-up made."""
        return self.pin_file.read_bytes()

    def start(self) -> None:
        """Power on: start swtpm on its state and wait until it answers."""
        command = [str(SETUP / "swtpm-setup.sh"), str(self.directory), "run"]
        devnull = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=devnull, stdout=devnull, stderr=devnull)
        try:
            self._wait_until_it_answers(time.monotonic() + START_DEADLINE_S)
        except BaseException:
            self.power_off()
            raise

    def power_off(self) -> None:
        """Terminate swtpm without a TPM2_Shutdown, as a power cut does. State stays."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Power off and on again."""
        self.power_off()
        self.start()

    def stop(self) -> None:
        """Power off, and remove the directory if this object made it."""
        self.power_off()
        if self._owned:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_it_answers(self, deadline: float) -> None:
        while True:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.socket_path))
                return
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"swtpm ended at once; run {SETUP}/swtpm-setup.sh {self.directory} run")
            if time.monotonic() > deadline:
                raise TimeoutError("swtpm does not listen")
            time.sleep(0.01)


def child_environment(*devices: SoftHsm | Swtpm) -> dict[str, str]:
    """Return this process's environment with what the devices need, for a process under test."""
    environment = dict(os.environ)
    for device in devices:
        environment.update(device.environment)
    return environment
