"""Everything about a fleet that its public files prove, checked again from the beginning, line by line.

For somebody who trusts neither party. Nothing is remembered and nobody is asked but the files: roots from
the first one, the newest list as a client verifies it, the log from its first entry, and the evidence of every
cohort. What is checked is checked by the code that clients and ceremonies use.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from tuf.api.metadata import Metadata, Root, Targets

from hwkm.client.cohort import VerifiedCohort, VerifiedFleet
from hwkm.client.fleet.fetching import FleetFiles
from hwkm.client.fleet.log_files import fetch_checkpoint, fetch_entries
from hwkm.client.fleet.verification import ROOT_ROTATIONS_MAX, Fleet
from hwkm.errors import FormatError, HwkmError, ListNotLogged, ListSignatureInvalid
from hwkm.fleet import ceremony
from hwkm.fleet.ceremony import METADATA_BYTES_MAX, TwoPartyMetadata, parse_metadata, signatures_of
from hwkm.fleet.cohort_list import LIST_BYTES_MAX, LIST_PATH, CohortList
from hwkm.fleet.evidence.cohort import verify_cohort
from hwkm.fleet.evidence.findings import Trust
from hwkm.fleet.list_log import EntryKind, LogEntry, LogPolicy, follow, verified_checkpoint
from hwkm.fleet.signing_keys import party_of
from hwkm.formats.evidence import COHORT_BYTES_MAX, CohortEvidence

_T = TypeVar("_T")

FIRST_ROOT: Final = "metadata/1.root.json"


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"


class Basis(StrEnum):
    """What a line rests on: what anybody computes from the files, what hardware proves, or somebody's word."""

    CHECKED = "checked"
    HARDWARE = "hardware"
    OPERATOR = "operator"
    READER = "reader"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report: what it is about, what was found, and on what that rests."""

    about: str
    result: Result
    what: str
    basis: Basis
    by: str


@dataclass
class Report:
    """All lines in order. ``in_hardware`` says of each cohort whether hardware proves where its key is."""

    lines: list[Line] = field(default_factory=list)
    in_hardware: dict[str, bool] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(line.result is Result.OK for line in self.lines)

    def ok(self, about: str, what: str, basis: Basis, by: str) -> None:
        """Add what was found."""
        self.lines.append(Line(about, Result.OK, what, basis, by))

    def failed(self, about: str, error: HwkmError) -> None:
        """Add what is wrong."""
        self.lines.append(Line(about, Result.FAILED, str(error), Basis.CHECKED, error.code))


class FleetAudit:
    """The audit of one fleet."""

    def __init__(self, source: str, trust: Trust, root: bytes | None = None) -> None:
        """Take a directory or an address, whom the reader trusts, and the first root if he has it from elsewhere.

        Raises:
            ConfigError: the source is neither.
        """
        self._source = source
        self._files = FleetFiles(source)
        self._trust = trust
        self._pinned = root
        self._report = Report()
        self._roots: dict[int, Metadata[Root]] = {}
        self._root_digests: dict[int, str] = {}

    def run(self) -> Report:
        """Check everything; what fails is in the report, not raised."""
        first = self._step("root 1", self._first_root)
        if first is not None:
            self._chain_of_roots(first)
            self._log()
            verified = self._step("the newest list", lambda: self._newest_list(first))
            for cohort in verified.cohorts if verified else ():
                self._evidence(cohort)
        return self._report

    # --- roots -------------------------------------------------------------------------------

    def _first_root(self) -> bytes:
        data = self._files.fetch(FIRST_ROOT, METADATA_BYTES_MAX)
        digest = hashlib.sha256(data).hexdigest()
        if self._pinned is None:
            self._report.ok(
                "root 1",
                f"SHA-256 {digest}: compare it with what others have",
                Basis.OPERATOR,
                "the word of whoever serves these files",
            )
        elif self._pinned != data:
            raise ListSignatureInvalid(
                f"the fleet's first root, SHA-256 {digest}, is not the one that you gave"
            )
        else:
            self._report.ok("root 1", f"SHA-256 {digest}", Basis.READER, "the root that you gave")
        return data

    def _chain_of_roots(self, first: bytes) -> None:
        data: bytes | None = first
        for version in range(1, ROOT_ROTATIONS_MAX + 1):
            if data is None:
                return
            current = data
            if not self._step(f"root {version}", lambda: self._root(version, current)):  # noqa: B023
                return
            data = self._step(f"root {version + 1}", lambda: self._next_root(version))  # noqa: B023

    def _next_root(self, version: int) -> bytes | None:
        return self._files.fetch_if_there(f"metadata/{version + 1}.root.json", METADATA_BYTES_MAX)

    def _root(self, version: int, data: bytes) -> bool:
        root = parse_metadata(Root, data)
        before = self._roots[version - 1].signed if version > 1 else None
        ceremony.verify_root_succession(root, before)
        self._roots[version] = root
        self._root_digests[version] = hashlib.sha256(data).hexdigest()
        by = f"signed by {_signers(root, root.signed)}"
        if before is not None:
            by += f"; of the keys of root {version - 1}: {_signers(root, before)}"
        self._report.ok(f"root {version}", f"neither party can act alone; {_until(root)}", Basis.CHECKED, by)
        return True

    # --- the newest list ---------------------------------------------------------------------

    def _newest_list(self, first: bytes) -> VerifiedFleet:
        with tempfile.TemporaryDirectory(prefix="hwkm-audit-") as state:
            verified = Fleet(first, self._source, Path(state) / "state").refresh()
        self._report.ok(
            "the newest list",
            f"epoch {verified.epoch}, SHA-256 {verified.digest.hex()}, {len(verified.cohorts)} cohorts",
            Basis.CHECKED,
            "a client accepts it: both parties signed, nothing expired, the newest in the log",
        )
        return verified

    # --- the log -----------------------------------------------------------------------------

    def _log(self) -> None:
        if not self._roots:
            return
        entries = self._step("the log", self._entries) or []
        in_force: Root | None = None
        for number, entry in enumerate(entries):
            about = f"entry {number} of the log"
            if entry.kind is EntryKind.ROOT:
                self._step(about, lambda: self._logged_root(about, entry))  # noqa: B023
                in_force = self._roots[entry.number].signed if entry.number in self._roots else None
            else:
                self._step(about, lambda: self._logged_list(about, entry, in_force))  # noqa: B023

    def _entries(self) -> Sequence[LogEntry]:
        policy = LogPolicy.of(self._roots[max(self._roots)].signed)
        checkpoint = verified_checkpoint(fetch_checkpoint(self._files.fetch), policy)
        entries = fetch_entries(self._files.fetch, 0, checkpoint.checkpoint.size)
        followed = follow(None, checkpoint, entries)
        seen = ", ".join(f"{key.name} at {_moment(time_s)}" for key, time_s in checkpoint.witnesses)
        self._report.ok(
            "the log",
            f"{followed.size} entries from its beginning give the root {followed.root().hex()}",
            Basis.CHECKED,
            f"signed by {policy.log_key.name}; witnesses: {seen or 'none'}; {policy.quorum} are asked for",
        )
        return [LogEntry.parse(entry) for entry in entries]

    def _logged_root(self, about: str, entry: LogEntry) -> None:
        if self._root_digests.get(entry.number) != entry.digest:
            raise ListNotLogged(f"the log announces another root {entry.number} than is published")
        self._report.ok(about, f"root {entry.number} is what is published", Basis.CHECKED, _sha256(entry))

    def _logged_list(self, about: str, entry: LogEntry, root: Root | None) -> None:
        if root is None:
            raise ListNotLogged(f"list {entry.number} was announced before any root that could vouch for it")
        data = self._files.fetch(f"targets/{entry.digest}.{LIST_PATH}", LIST_BYTES_MAX)
        if hashlib.sha256(data).hexdigest() != entry.digest:
            raise ListSignatureInvalid(f"list {entry.number} is not what the log announced")
        signed = self._files.fetch(f"metadata/{entry.number}.targets.json", METADATA_BYTES_MAX)
        targets, cohorts = parse_metadata(Targets, signed), CohortList.parse(data)
        if ceremony.new_targets(cohorts, targets.signed.expires).signed != targets.signed:
            raise ListSignatureInvalid(f"list {entry.number} is not what its metadata was signed for")
        if cohorts.epoch != entry.number:
            raise FormatError(f"list {entry.number} has the epoch {cohorts.epoch} in it")
        ceremony.verify_signed(targets, root)
        names = ", ".join(cohort.name for cohort in cohorts.cohorts)
        what = f"list {entry.number} ({names}) is what is published; {_until(targets)}"
        by = f"{_sha256(entry)}; signed by {_signers(targets, root)}"
        self._report.ok(about, what, Basis.CHECKED, by)

    # --- evidence ----------------------------------------------------------------------------

    def _evidence(self, cohort: VerifiedCohort) -> None:
        about = f"cohort {cohort.name}"
        self._report.in_hardware[cohort.name] = False
        self._step(about, lambda: self._checked_evidence(about, cohort))

    def _checked_evidence(self, about: str, cohort: VerifiedCohort) -> None:
        digest = cohort.evidence.hex()
        data = self._files.fetch(f"evidence/{digest}.json", COHORT_BYTES_MAX)
        if hashlib.sha256(data).digest() != cohort.evidence:
            raise ListSignatureInvalid("its evidence is not the one that the list was signed for")
        found = verify_cohort(CohortEvidence.parse(data), self._trust, cohort.public_key)
        self._report.ok(
            about,
            f"its evidence is about its key, of all {len(found.members)} members",
            Basis.CHECKED,
            f"SHA-256 {digest}, which both parties signed",
        )
        for number, findings in enumerate(found.members):
            for finding in findings:
                basis = Basis(finding.proof.value)
                self._report.ok(f"{about}, member {number}", finding.what, basis, finding.by)
        for person in found.present:
            what = f"{person.name} signs for having been present"
            self._report.ok(about, what, Basis.CHECKED, f"the key {person}, whose word it is")
        self._report.in_hardware[cohort.name] = found.in_hardware

    def _step(self, about: str, check: Callable[[], _T]) -> _T | None:
        try:
            return check()
        except HwkmError as exc:
            self._report.failed(about, exc)
            return None


def _signers(metadata: TwoPartyMetadata, root: Root) -> str:
    keys = signatures_of(metadata, root).values()
    return ", ".join(sorted(f"{party_of(key)} {key.keyid[:16]}" for key in keys))


def _until(metadata: TwoPartyMetadata) -> str:
    return f"valid until {metadata.signed.expires:%Y-%m-%d}"


def _sha256(entry: LogEntry) -> str:
    return f"SHA-256 {entry.digest}"


def _moment(time_s: int) -> str:
    return f"{datetime.fromtimestamp(min(time_s, 253402300799), UTC):%Y-%m-%d %H:%M} UTC"
