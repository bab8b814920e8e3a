"""Which cohort public key this client trusts: given in a file, or the first one it was offered.

What is trusted on first use is trusted blindly that one time, as with ssh's known_hosts: somebody
in the daemon's place at that moment could offer a key of their own, and guess the PINs of vaults
made for it. Give the key by a file from a source you trust, or trust a fleet's signed list
(:mod:`hwkm.client.fleet.trust`), to close that gap.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from hwkm.client.cohort import VerifiedCohort, VerifiedFleet, by_hand, unverified_by_first_use
from hwkm.crypto import p256
from hwkm.errors import CohortMismatch, ConfigError, InvalidKeyError

KNOWN_COHORTS_BYTES_MAX: Final = 1024 * 1024
_KEY_FILE_BYTES_MAX: Final = 1024


class CohortTrust(Protocol):
    """Decides about a cohort key (65 bytes)."""

    def trusted(self) -> VerifiedCohort | None:
        """Return the cohort that is trusted without an offer, or None if that depends on the offer.

        Raises:
            ConfigError: what was remembered cannot be read.
        """
        ...

    def verify(self, offered: bytes) -> VerifiedCohort:
        """Return the cohort of the key ``offered`` if it is trusted, or the first ever seen (then remember it).

        Raises:
            CohortMismatch: another key is trusted.
            ConfigError: what was remembered cannot be read or written.
        """
        ...


def fingerprint(public_key: bytes) -> str:
    """SHA-256 of a cohort key, in hex: short enough to be compared by people."""
    return hashlib.sha256(public_key).hexdigest()


def parse_cohort_key(text: str, source: str) -> bytes:
    """Read a key written as 130 hex digits.

    Raises:
        ConfigError: it is not a P-256 point.
    """
    try:
        key = bytes.fromhex(text.strip())
        p256.load_point(key)
    except (ValueError, InvalidKeyError) as exc:
        raise ConfigError(f"{source}: not a cohort key (130 hex digits of a P-256 point)") from exc
    return key


def read_cohort_key_file(path: Path) -> bytes:
    """Read a file that holds one key.

    Raises:
        ConfigError: it cannot be read or holds no key.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_KEY_FILE_BYTES_MAX).decode("ascii", "replace")
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    return parse_cohort_key(text, str(path))


class OneCohort:
    """Exactly this cohort, which was verified before."""

    def __init__(self, cohort: VerifiedCohort) -> None:
        self._cohort = cohort

    def trusted(self) -> VerifiedCohort | None:
        return self._cohort

    def verify(self, offered: bytes) -> VerifiedCohort:
        if offered != self._cohort.public_key:
            raise _mismatch(self._cohort.public_key, offered, "the one that it verified or was given")
        return self._cohort


class FixedCohort(OneCohort):
    """Exactly this key, given by hand: as good as the way it came (:func:`hwkm.client.cohort.by_hand`)."""

    def __init__(self, public_key: bytes) -> None:
        """Raises InvalidKeyError for what is no point on P-256."""
        super().__init__(by_hand(public_key))


class GivenCohorts:
    """A source of cohorts whose keys were given by hand."""

    def __init__(self, public_keys: Iterable[bytes]) -> None:
        """Raises InvalidKeyError for what is no point on P-256."""
        self._fleet = VerifiedFleet(0, b"", tuple(by_hand(key) for key in public_keys))

    def refresh(self) -> VerifiedFleet:
        return self._fleet


class KnownCohort:
    """The key that was first offered on one socket, remembered in a file of ``KEY  SOCKET`` lines.

    Nobody vouches for it (:func:`hwkm.client.cohort.unverified_by_first_use`).
    """

    def __init__(self, socket_path: Path | str, file: Path | None = None) -> None:
        self._service = os.path.abspath(socket_path)  # noqa: PTH100  (must not follow symbolic links)
        self._file = file or known_cohorts_path()

    @property
    def file(self) -> Path:
        """Where the keys are remembered."""
        return self._file

    def known(self) -> bytes | None:
        """The key that is remembered, 65 bytes, or None before the first time.

        Raises:
            ConfigError: the file cannot be read.
        """
        for key, service in self._lines():
            if service == self._service:
                return parse_cohort_key(key, str(self._file))
        return None

    def trusted(self) -> VerifiedCohort | None:
        known = self.known()
        return None if known is None else unverified_by_first_use(known)

    def verify(self, offered: bytes) -> VerifiedCohort:
        known = self.known()
        if known is not None and known != offered:
            raise _mismatch(known, offered, f"the one remembered in {self._file}")
        cohort = unverified_by_first_use(offered)
        if known is None:
            self._write([*self._lines(), (offered.hex(), self._service)])
        return cohort

    def replace(self, public_key: bytes) -> None:
        """Trust another key from now on. Vaults made for the old one no longer open here.

        Raises:
            ConfigError: the file cannot be read or written.
        """
        others = [line for line in self._lines() if line[1] != self._service]
        self._write([*others, (public_key.hex(), self._service)])

    def _lines(self) -> list[tuple[str, str]]:
        try:
            with self._file.open("rb") as file:
                require_private(self._file, os.fstat(file.fileno()))
                text = file.read(KNOWN_COHORTS_BYTES_MAX).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise ConfigError(f"{self._file}: {exc.strerror}") from exc
        return [_split(line, self._file) for line in text.splitlines() if line]

    def _write(self, lines: list[tuple[str, str]]) -> None:
        if any(character in self._service for character in "\r\n"):
            raise ConfigError("a socket path with a line break in it cannot be remembered")
        text = "".join(f"{key}  {service}\n" for key, service in lines)
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._file, text.encode("utf-8", "surrogateescape"))
        except OSError as exc:
            raise ConfigError(f"cannot remember the cohort key in {self._file}: {exc.strerror}") from exc


def known_cohorts_path() -> Path:
    """``known_cohorts`` in the configuration directory."""
    return config_directory() / "known_cohorts"


def config_directory() -> Path:
    """$XDG_CONFIG_HOME/hwkm, by default ~/.config/hwkm."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "hwkm"


def _mismatch(trusted: bytes, offered: bytes, what: str) -> CohortMismatch:
    return CohortMismatch(
        f"the daemon offers cohort key {fingerprint(offered)[:16]}…, this client trusts "
        f"{fingerprint(trusted)[:16]}…, {what}"
    )


def require_private(path: Path, facts: os.stat_result) -> None:
    """Check that nobody else can write a file that decides what is trusted.

    Raises:
        ConfigError: somebody can.
    """
    if facts.st_uid not in {os.geteuid(), 0} or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{path} can be written by others: chmod 600 {path}, and check what is in it")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _split(line: str, path: Path) -> tuple[str, str]:
    key, gap, service = line.partition("  ")
    if not gap or not service:
        raise ConfigError(f"{path}: a line is not 'KEY  SOCKET'")
    return key, service


def replace_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file whole or not at all, private unless ``mode`` says otherwise. Durable when this returns.

    Raises:
        OSError: it could not be written; what was there is there.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
        _sync_directory(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
