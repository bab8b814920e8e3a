"""Trusting cohort keys by a fleet's list, in place of the first key that was offered."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hwkm.client.cohort import CohortSource, VerifiedCohort, VerifiedFleet
from hwkm.client.fleet.android import AndroidFleet, parse_root
from hwkm.client.fleet.verification import Fleet
from hwkm.client.trust import config_directory, fingerprint
from hwkm.errors import CohortMismatch, ConfigError
from hwkm.fleet.ceremony import METADATA_BYTES_MAX

_ROOT: Final = "root.json"
_SOURCE: Final = "source.json"
_STATE: Final = "state"


class FleetCohorts:
    """Exactly the cohorts of a fleet's newest list, fetched and verified before each use.

    It waits for files or a web server, also in an asynchronous client.
    """

    def __init__(self, fleet: CohortSource) -> None:
        self._fleet = fleet

    def trusted(self) -> VerifiedCohort | None:
        """No key by itself: which cohort of the list it is, is told by the offer."""
        return None

    def verify(self, offered: bytes) -> VerifiedCohort:
        """Return the cohort of the key ``offered`` if the list has it.

        Raises:
            CohortMismatch: it is in no list that both parties signed.
            FleetError, LogError, FormatError, ConfigError: as :meth:`Fleet.refresh`.
        """
        verified = self._fleet.refresh()
        cohort = verified.cohort_of(offered)
        if cohort is None:
            raise CohortMismatch(
                f"the daemon offers cohort key {fingerprint(offered)[:16]}…, which is not in the fleet's list"
                f" of epoch {verified.epoch}"
            )
        return cohort


class ListKind(StrEnum):
    """Whose form a list has."""

    FLEET = "fleet"
    ANDROID = "android"


class _Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: Annotated[str, Meta(min_length=1, max_length=4096)]
    kind: ListKind = ListKind.FLEET


class PinnedFleet:
    """The fleet that this user trusts: root, source and state in one private directory."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or config_directory() / "fleet"

    def exists(self) -> bool:
        """Whether a fleet is trusted here."""
        return (self.directory / _SOURCE).exists()

    def source(self) -> CohortSource:
        """Return it.

        Raises:
            ConfigError: what was pinned cannot be read.
            FormatError, FleetRulesBroken, WeakKey: the pinned root is unusable.
        """
        try:
            written = msgspec.json.decode((self.directory / _SOURCE).read_bytes(), type=_Source)
            root = (self.directory / _ROOT).read_bytes()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{self.directory}: {exc}") from exc
        return self._opened(root, written, self.directory / _STATE)

    def pin(self, root: bytes, source: str, kind: ListKind = ListKind.FLEET) -> VerifiedFleet:
        """Trust a fleet from now on, in place of one that was trusted before, if its list verifies.

        ``root`` is TUF root metadata, or for Android's lists a certificate.

        Raises:
            As :meth:`CohortSource.refresh`; nothing is changed then.
            ConfigError: the directory cannot be written.
        """
        if len(root) > METADATA_BYTES_MAX:
            raise ConfigError("not a root")
        draft = self.directory.with_name(f".{self.directory.name}.new")
        absolute = source if ":" in source else str(Path(source).absolute())
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700, parents=True)
            (draft / _ROOT).write_bytes(root)
            written = _Source(absolute, kind)
            (draft / _SOURCE).write_bytes(msgspec.json.encode(written) + b"\n")
            verified = self._opened(root, written, draft / _STATE).refresh()
            shutil.rmtree(self.directory, ignore_errors=True)
            draft.rename(self.directory)
        except OSError as exc:
            raise ConfigError(f"{self.directory}: {exc.strerror or exc}") from exc
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return verified

    def _opened(self, root: bytes, written: _Source, state: Path) -> CohortSource:
        if written.kind is ListKind.ANDROID:
            return AndroidFleet(parse_root(root, str(self.directory)), written.source, state)
        return Fleet(root, written.source, state)
