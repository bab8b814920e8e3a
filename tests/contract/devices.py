"""The three kinds of token behind one face, for tests that hold for all of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from hwkm.secret import Pin
from hwkm.tokens import registry
from hwkm.tokens.token import Token
from hwkm.tokens.tpm.connection import Connection
from tests.hardware import SoftHsm, Swtpm


class Device(Protocol):
    """A token that was not provisioned yet."""

    uri: str
    environment: Mapping[str, str]

    @property
    def pin(self) -> bytes: ...
    @property
    def pin_file(self) -> Path: ...
    def activated(self) -> AbstractContextManager[object]: ...
    def restart(self) -> None: ...
    def nv_objects(self) -> int:
        """How many non-volatile objects of any kind the device holds."""
        ...

    def stop(self) -> None: ...


class MemoryDevice:
    """A file in a directory of its own."""

    environment: Mapping[str, str] = {}
    pin = b"a pin of thirty-two bytes length"

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="hwkm-"))
        self.uri = f"insecure-memory:path={self._directory / 'token'}"
        self.pin_file = self._directory / "pin"
        self.pin_file.write_bytes(self.pin)
        self.pin_file.chmod(0o600)

    def activated(self) -> AbstractContextManager[object]:
        return nullcontext()

    def restart(self) -> None:
        """Nothing runs."""

    def nv_objects(self) -> int:
        return len(list(self._directory.iterdir()))

    def stop(self) -> None:
        shutil.rmtree(self._directory)


class SoftHsmDevice(SoftHsm):
    """A SoftHSM token: each object is a file."""

    def nv_objects(self) -> int:
        return len(list(self.token_directory.glob("*/*.object")))


class SwtpmDevice(Swtpm):
    """A swtpm: persistent objects and NV indices."""

    def activated(self) -> AbstractContextManager[object]:
        return nullcontext()

    def nv_objects(self) -> int:
        connection = Connection(f"swtpm:path={self.socket_path}")
        try:
            return len(connection.handles(0x81000000)) + len(connection.handles(0x01000000))
        finally:
            connection.close()


def open_token(device: Device, pin: bytes | None = None) -> Token:
    """Open the device with its own PIN, or with another."""
    with Pin(pin or device.pin) as secret:
        return registry.open_token(device.uri, secret)


@contextmanager
def opened(device: Device) -> Iterator[Token]:
    """Open the device, and close it afterwards."""
    token = open_token(device)
    try:
        yield token
    finally:
        token.close()


def provision(device: Device) -> None:
    with Pin(device.pin) as pin:
        registry.provision(device.uri, pin)


def inventory(device: Device) -> list[str]:
    with Pin(device.pin) as pin:
        return registry.inventory(device.uri, pin)


def destroy(device: Device) -> None:
    with Pin(device.pin) as pin:
        registry.destroy(device.uri, pin)


def process_environment(device: Device) -> dict[str, str]:
    """Return the environment of a process that uses the device."""
    return {**os.environ, **device.environment}
