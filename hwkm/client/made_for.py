"""For which list and cohort key this client made each of its vaults.

One private file of the user. Nothing in it is secret. A vault that is not in it was made by another
client, or before a list was trusted; losing the file means no more than that.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hwkm.client.cohort import VerifiedCohort
from hwkm.client.trust import config_directory, replace_file, require_private
from hwkm.errors import ConfigError

FILE_BYTES_MAX: Final = 16 * 1024 * 1024

_Handle = Annotated[str, Meta(pattern=r"^[0-9a-f]{34}\Z")]
_Point = Annotated[str, Meta(pattern=r"^04[0-9a-f]{128}\Z")]


class MadeFor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cohort key (hex) of a vault, and the epoch of the list that had it."""

    cohort: _Point
    epoch: Annotated[int, Meta(ge=0)]

    @classmethod
    def of(cls, cohort: VerifiedCohort, epoch: int) -> MadeFor:
        """What is written of a new vault."""
        return cls(cohort.public_key.hex(), epoch)

    @property
    def key(self) -> bytes:
        """The cohort key, 65 bytes."""
        return bytes.fromhex(self.cohort)


class VaultRecord:
    """The file. Changed by one process at a time."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or config_directory() / "vaults.json"

    def all(self) -> Mapping[str, MadeFor]:
        """Everything, by handle.

        Raises:
            ConfigError: the file cannot be read, or can be written by others.
        """
        try:
            with self._path.open("rb") as file:
                require_private(self._path, os.fstat(file.fileno()))
                data = file.read(FILE_BYTES_MAX)
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise ConfigError(f"{self._path}: {exc.strerror}") from exc
        try:
            return msgspec.json.decode(data, type=dict[_Handle, MadeFor])
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{self._path}: {exc}") from None

    def of(self, handle: str) -> MadeFor | None:
        """What is known of a vault.

        Raises:
            ConfigError: as :meth:`all`.
        """
        return self.all().get(handle)

    def put(self, handle: str, made: MadeFor) -> None:
        """Remember a vault. Durable when this returns.

        Raises:
            ConfigError: the file cannot be read or written.
        """
        with self._changed() as vaults:
            vaults[handle] = made

    def forget(self, handle: str) -> None:
        """Forget a vault that is gone.

        Raises:
            ConfigError: as :meth:`put`.
        """
        if not self._path.exists():
            return
        with self._changed() as vaults:
            vaults.pop(handle, None)

    @contextmanager
    def _changed(self) -> Iterator[dict[str, MadeFor]]:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path.with_name(f".{self._path.name}.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                vaults = dict(self.all())
                yield vaults
                replace_file(self._path, msgspec.json.encode(vaults, order="sorted") + b"\n")
        except OSError as exc:
            raise ConfigError(f"{self._path}: {exc.strerror or exc}") from exc
