"""A fleet's list, fetched and verified; only what passed everything gives a :class:`VerifiedCohort`.

python-tuf's client workflow comes first (root rotation, signatures by both parties, expiry, no
older version); then the root's rules, the list itself, that no other list of its epoch was ever
accepted here, and that root and list are the newest in the fleet's public log. All of it happens in a copy of the remembered state: a refused list changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from tuf.api import exceptions as tuf
from tuf.api.metadata import Root, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater, UpdaterConfig

from hwkm.client.cohort import VerifiedFleet, by_fleet
from hwkm.client.fleet.fetching import FleetFiles, reading_a_list
from hwkm.client.fleet.log_files import fetch_checkpoint, fetch_entries
from hwkm.client.fleet.state import Accepted, FleetState, FollowedLog, read_accepted, write_accepted
from hwkm.errors import (
    FormatError,
    ListConflict,
    ListDowngrade,
    ListExpired,
    ListSignatureInvalid,
    ListTooLarge,
    ListUnavailable,
    SignatureMissing,
)
from hwkm.fleet.ceremony import METADATA_BYTES_MAX, parse_metadata
from hwkm.fleet.cohort_list import LIST_BYTES_MAX, LIST_PATH, CohortList
from hwkm.fleet.list_log import EntryKind, LogPolicy, LogState, follow, verified_checkpoint, verify_newest
from hwkm.fleet.root_rules import verify_root_rules

ROOT_ROTATIONS_MAX: Final = 256
_TUF_DIRECTORY: Final = "tuf"

_Signed = TypeVar("_Signed", Root, Targets)


class Fleet:
    """One fleet, as a client knows it: a pinned root, where its files are, what was seen."""

    def __init__(self, pinned_root: bytes, source: str | FleetFiles, state: Path) -> None:
        """Take the root metadata embedded in the client, a directory, address or files, and a private directory.

        Raises:
            ConfigError: the source is neither.
            FormatError, FleetRulesBroken, WeakKey: the pinned root is unusable.
        """
        verify_root_rules(parse_metadata(Root, pinned_root).signed)
        self._pinned_root = pinned_root
        self._files = FleetFiles(source) if isinstance(source, str) else source
        self._state = FleetState(state)

    def refresh(self) -> VerifiedFleet:
        """Fetch and verify the newest list; what was seen is remembered durably on return.

        Raises:
            SignatureMissing, ListSignatureInvalid, ListExpired, ListDowngrade, ListConflict,
            FleetRulesBroken, WeakKey, ListMalformed, ListTooLarge: it is not to be trusted.
            NoteUnverified, ListNotLogged, LogForked, LogRolledBack, EpochReused: so says its log.
            ListUnavailable: it could not be fetched.
            ConfigError: the state cannot be read or written.
        """
        with self._state.change() as draft, reading_a_list():
            data = self._fetch_list(draft)
            cohorts = CohortList.parse(data)
            before = read_accepted(draft)
            digest = hashlib.sha256(data).digest()
            signed = _read(Targets, draft, "targets.json").version
            if cohorts.epoch != signed:
                raise FormatError(f"the list of epoch {cohorts.epoch} was signed as version {signed}")
            _check_succession(cohorts.epoch, digest, before)
            log = self._follow_log(draft, before)
            verify_newest(log, EntryKind.LIST, cohorts.epoch, digest)
            followed = FollowedLog.of(log)
            write_accepted(draft, Accepted(epoch=cohorts.epoch, digest=digest.hex(), log=followed))
        return _verified(cohorts, digest)

    def _follow_log(self, draft: Path, before: Accepted | None) -> LogState:
        """Follow the log from where it was left; the root in force must be the newest in it."""
        root = _read(Root, draft, "root.json")
        checkpoint = verified_checkpoint(fetch_checkpoint(self._files.fetch), LogPolicy.of(root))
        state = before.log.state() if before else None
        if state is not None and state.origin != checkpoint.checkpoint.origin:
            state = None  # both parties have moved the fleet to another log
        known = state.size if state else 0
        entries = fetch_entries(self._files.fetch, known, checkpoint.checkpoint.size)
        followed = follow(state, checkpoint, entries)
        root_bytes = (draft / _TUF_DIRECTORY / "root.json").read_bytes()
        verify_newest(followed, EntryKind.ROOT, root.version, hashlib.sha256(root_bytes).digest())
        return followed

    def _fetch_list(self, draft: Path) -> bytes:
        """Run TUF's client workflow in ``draft``; return the list's bytes."""
        directory = draft / _TUF_DIRECTORY
        directory.mkdir(exist_ok=True)
        targets = draft / "targets"
        targets.mkdir(exist_ok=True)
        with _translated():
            updater = Updater(
                str(directory),
                f"{self._files.base_url}/metadata/",
                str(targets),
                f"{self._files.base_url}/targets/",
                fetcher=self._files.fetcher,
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
            return Path(updater.download_target(target)).read_bytes()


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


def _read(kind: type[_Signed], draft: Path, name: str) -> _Signed:
    """Read metadata that TUF's workflow has verified."""
    return parse_metadata(kind, (draft / _TUF_DIRECTORY / name).read_bytes()).signed


def _check_succession(epoch: int, digest: bytes, before: Accepted | None) -> None:
    if before is None:
        return
    if epoch < before.epoch:
        raise ListDowngrade(f"the list has epoch {epoch}; {before.epoch} was accepted before")
    if epoch == before.epoch and digest.hex() != before.digest:
        raise ListConflict(f"another list of epoch {epoch} was accepted before")


def _verified(cohorts: CohortList, digest: bytes) -> VerifiedFleet:
    return VerifiedFleet(
        epoch=cohorts.epoch,
        digest=digest,
        cohorts=tuple(
            by_fleet(cohort.key, cohort.name, cohorts.epoch, bytes.fromhex(cohort.evidence))
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
        raise ListTooLarge(f"a file of the fleet is larger than it may be: {exc}") from exc
    except tuf.DownloadError as exc:
        raise ListUnavailable(f"the fleet's files cannot be fetched: {exc}") from exc
    except (tuf.RepositoryError, DeserializationError) as exc:
        raise FormatError(f"the fleet's metadata is malformed: {exc}") from exc
