"""Which daemons a client has: for each cohort the sockets of its members.

``daemons.toml`` in the configuration directory::

    [[cohort]]
    name = "alpha"                    # as in the list that this client trusts; or key = "04…"
    sockets = ["/run/hwkm-a0/hwkmd.sock", "/run/hwkm-a1/hwkmd.sock"]

A cohort of one module has one socket. Who can write the file can deny service, but not make a key
trusted, unless keys are given in it and no list is trusted: so nobody else may write it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hwkm.client.cohort import VerifiedCohort, VerifiedFleet
from hwkm.client.trust import config_directory, parse_cohort_key, require_private
from hwkm.errors import ConfigError
from hwkm.formats.membership import MEMBERS_MAX

FILE_BYTES_MAX: Final = 256 * 1024
COHORTS_MAX: Final = 1_000

_Path = Annotated[str, Meta(min_length=1, max_length=4096)]


@dataclass(frozen=True, slots=True)
class CohortDaemons:
    """The sockets of one cohort's members. ``name`` or ``key`` (65 bytes) says which; neither: what is offered."""

    sockets: tuple[Path, ...]
    name: str = ""
    key: bytes = b""

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or (self.key.hex()[2:18] if self.key else str(self.sockets[0]))

    def cohort_in(self, fleet: VerifiedFleet) -> VerifiedCohort | None:
        """The cohort of a list that is meant, or None if the list does not have it."""
        return fleet.cohort_of(self.key) if self.key else fleet.cohort_named(self.name)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sockets: Annotated[tuple[_Path, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    name: str = ""
    key: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cohort: Annotated[tuple[_Entry, ...], Meta(min_length=1, max_length=COHORTS_MAX)]


def daemons_path() -> Path:
    """``daemons.toml`` in the configuration directory."""
    return config_directory() / "daemons.toml"


def read_daemons(path: Path) -> tuple[CohortDaemons, ...]:
    """Read the file.

    Raises:
        ConfigError: it cannot be read, is malformed, names something twice, or can be written by others.
    """
    try:
        with path.open("rb") as file:
            require_private(path, os.fstat(file.fileno()))
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    if len(text) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: more than {FILE_BYTES_MAX} bytes")
    try:
        parsed = msgspec.convert(tomllib.loads(text.decode()), _File)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as exc:
        raise ConfigError(f"{path}: {exc}") from None
    daemons = tuple(_daemons_of(entry, path) for entry in parsed.cohort)
    _check_unique([one.label for one in daemons], "cohort", path)
    _check_unique([str(socket) for one in daemons for socket in one.sockets], "socket", path)
    return daemons


def _daemons_of(entry: _Entry, path: Path) -> CohortDaemons:
    if bool(entry.name) == bool(entry.key):
        raise ConfigError(f"{path}: a cohort is given by its name or by its key")
    key = parse_cohort_key(entry.key, str(path)) if entry.key else b""
    return CohortDaemons(
        tuple(path.parent / Path(one).expanduser() for one in entry.sockets), entry.name, key
    )


def _check_unique(values: Sequence[str], what: str, path: Path) -> None:
    twice = {value for value in values if values.count(value) > 1}
    if twice:
        raise ConfigError(f"{path}: {what} {min(twice)} is there twice")
