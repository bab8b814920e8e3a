"""A fleet's list, fetched and verified; only what passed everything gives :class:`VerifiedCohort`.

python-tuf's client workflow comes first (root rotation, signatures by both parties, expiry, no
older version); then the root's rules, the list itself, and that no other list of its epoch was ever
accepted here. All of it happens in a copy of the remembered state: a refused list changes nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuf.api import exceptions as tuf
from tuf.api.metadata import Root, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater, UpdaterConfig

from hwkm.client.fleet.fetching import base_url_of, fetcher_of
from hwkm.client.fleet.state import Accepted, FleetState, read_accepted, write_accepted
from hwkm.errors import (
    FormatError,
    ListConflict,
    ListDowngrade,
    ListExpired,
    ListSignatureInvalid,
    ListUnavailable,
    SignatureMissing,
)
from hwkm.fleet.ceremony import METADATA_BYTES_MAX, parse_metadata
from hwkm.fleet.cohort_list import LIST_BYTES_MAX, LIST_PATH, CohortList
from hwkm.fleet.root_rules import verify_root_rules

ROOT_ROTATIONS_MAX: Final = 256
_TUF_DIRECTORY: Final = "tuf"


@dataclass(frozen=True, slots=True)
class VerifiedCohort:
    """A cohort whose key a client may make vaults for. Made by this module only.

    ``public_key`` is 65 bytes, ``evidence`` the SHA-256 of the evidence that both parties saw.
    """

    name: str
    public_key: bytes
    evidence: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class VerifiedFleet:
    """A list that passed every check, with its epoch and SHA-256 (32 bytes)."""

    epoch: int
    digest: bytes
    cohorts: tuple[VerifiedCohort, ...]

    def draw(self) -> VerifiedCohort:
        """Choose a cohort for a new vault, at random."""
        return secrets.choice(self.cohorts)


class Fleet:
    """One fleet, as a client knows it: a pinned root, where its files are, what was seen."""

    def __init__(self, pinned_root: bytes, source: str, state: Path) -> None:
        """Take the root metadata embedded in the client, a directory or address, and a private directory.

        Raises:
            ConfigError: the source is neither.
            FormatError, FleetRulesBroken, WeakKey: the pinned root is unusable.
        """
        verify_root_rules(parse_metadata(Root, pinned_root).signed)
        self._pinned_root = pinned_root
        self._base_url = base_url_of(source)
        self._state = FleetState(state)

    def refresh(self) -> VerifiedFleet:
        """Fetch and verify the newest list; what was seen is remembered durably on return.

        Raises:
            SignatureMissing, ListSignatureInvalid, ListExpired, ListDowngrade, ListConflict,
            FleetRulesBroken, WeakKey, FormatError: it is not to be trusted.
            ListUnavailable: it could not be fetched.
            ConfigError: the state cannot be read or written.
        """
        with self._state.change() as draft:
            data, version = self._fetch(draft)
            cohorts = CohortList.parse(data)
            if cohorts.epoch != version:
                raise FormatError(f"the list of epoch {cohorts.epoch} was signed as version {version}")
            accepted = Accepted(epoch=cohorts.epoch, digest=hashlib.sha256(data).hexdigest())
            _check_succession(accepted, read_accepted(draft))
            write_accepted(draft, accepted)
        return _verified(cohorts, accepted)

    def _fetch(self, draft: Path) -> tuple[bytes, int]:
        """Run TUF's client workflow in ``draft``; return the list's bytes and the version signed for."""
        directory = draft / _TUF_DIRECTORY
        directory.mkdir(exist_ok=True)
        targets = draft / "targets"
        targets.mkdir(exist_ok=True)
        with _translated():
            updater = Updater(
                str(directory),
                f"{self._base_url}/metadata/",
                str(targets),
                f"{self._base_url}/targets/",
                fetcher=fetcher_of(self._base_url),
                config=_limits(),
                bootstrap=self._pinned_root,
            )
            try:
                updater.refresh()
            finally:
                _verify_roots(directory / "root_history")
            target = updater.get_targetinfo(LIST_PATH)
            if target is None or target.length > LIST_BYTES_MAX:
                raise FormatError("the fleet's metadata names no list of cohorts of a sensible size")
            data = Path(updater.download_target(target)).read_bytes()
        return data, parse_metadata(Targets, (directory / "targets.json").read_bytes()).signed.version


def _limits() -> UpdaterConfig:
    return UpdaterConfig(
        max_root_rotations=ROOT_ROTATIONS_MAX,
        root_max_length=METADATA_BYTES_MAX,
        targets_max_length=METADATA_BYTES_MAX,
        snapshot_max_length=METADATA_BYTES_MAX,
        max_delegations=1,
    )


def _verify_roots(history: Path) -> None:
    """Every root on the way keeps the rules: none may have let one party act alone."""
    for path in sorted(history.glob("*.root.json")):
        verify_root_rules(parse_metadata(Root, path.read_bytes()).signed)


def _check_succession(new: Accepted, old: Accepted | None) -> None:
    if old is None:
        return
    if new.epoch < old.epoch:
        raise ListDowngrade(f"the list has epoch {new.epoch}; {old.epoch} was accepted before")
    if new.epoch == old.epoch and new.digest != old.digest:
        raise ListConflict(f"another list of epoch {new.epoch} was accepted before")


def _verified(cohorts: CohortList, accepted: Accepted) -> VerifiedFleet:
    return VerifiedFleet(
        epoch=cohorts.epoch,
        digest=bytes.fromhex(accepted.digest),
        cohorts=tuple(
            VerifiedCohort(cohort.name, cohort.key, bytes.fromhex(cohort.evidence), cohorts.epoch)
            for cohort in cohorts.cohorts
        ),
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Raise hwkm's errors instead of python-tuf's."""
    try:
        yield
    except tuf.ExpiredMetadataError as exc:
        raise ListExpired(f"{exc}; a newer one may be held back") from exc
    except tuf.BadVersionNumberError as exc:
        raise ListDowngrade(str(exc)) from exc
    except tuf.UnsignedMetadataError as exc:
        raise SignatureMissing(str(exc)) from exc
    except tuf.LengthOrHashMismatchError as exc:
        raise ListSignatureInvalid(f"not the bytes that were signed for: {exc}") from exc
    except tuf.DownloadLengthMismatchError as exc:
        raise FormatError(f"a file of the fleet is larger than it may be: {exc}") from exc
    except tuf.DownloadError as exc:
        raise ListUnavailable(f"the fleet's files cannot be fetched: {exc}") from exc
    except (tuf.RepositoryError, DeserializationError) as exc:
        raise FormatError(f"the fleet's metadata is malformed: {exc}") from exc
