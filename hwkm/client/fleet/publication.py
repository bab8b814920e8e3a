"""The directory in which a fleet's lists are prepared and published.

::

    staged/    root.json targets.json cohorts.json evidence/     what is being signed
    public/    metadata/ targets/ evidence/ log/                 what the world is served

Nothing in ``public`` is changed before enough keys of both parties have signed. Publishing may be
interrupted and done again: the log comes first, ``timestamp.json`` last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from hwkm.client.fleet.log_files import CHECKPOINT, PENDING, fetch_entries
from hwkm.client.trust import replace_file
from hwkm.errors import ConfigError, FormatError, ListConflict, NoteUnverified
from hwkm.fleet import ceremony
from hwkm.fleet.ceremony import METADATA_BYTES_MAX, encode_metadata, parse_metadata
from hwkm.fleet.cohort_list import LIST_BYTES_MAX, LIST_PATH, CohortList
from hwkm.fleet.list_log import EntryKind, LogEntry, LogPolicy, verified_checkpoint
from hwkm.fleet.log_files import files_between
from hwkm.formats.evidence import COHORT_BYTES_MAX
from hwkm.tlog.checkpoint import Checkpoint
from hwkm.tlog.merkle import leaf_hash, root_of
from hwkm.tlog.note import NOTE_BYTES_MAX, NoteSignature, SignedNote
from hwkm.tlog.note_keys import PrivateNoteKey

_STAGED_ROOT: Final = "staged/root.json"
_STAGED_TARGETS: Final = "staged/targets.json"
_STAGED_LIST: Final = "staged/cohorts.json"
_CHECKPOINT: Final = f"public/{CHECKPOINT}"
_PENDING: Final = f"public/{PENDING}"

_Signed = TypeVar("_Signed", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True, slots=True)
class OnlineKeys:
    """What publishing needs: the key of snapshot and timestamp, and the key of the log."""

    signer: Signer
    log: PrivateNoteKey


class FleetDirectory:
    """One fleet's directory. One person at a time works in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # --- what is there -----------------------------------------------------------------------

    def root(self) -> Metadata[Root] | None:
        """The newest published root.

        Raises:
            FormatError, ConfigError: it cannot be read.
        """
        version = self._newest("root")
        return None if version is None else self._metadata(Root, f"public/metadata/{version}.root.json")

    def root_in_force(self) -> Root:
        """The root that decides who signs lists: the one being staged before the first is published.

        Raises:
            ConfigError: there is none yet.
        """
        root = self.root() or self.staged_root()
        if root is None:
            raise ConfigError(f"{self.path} holds no fleet; begin with `hwkm fleet init-root`")
        return root.signed

    def staged_root(self) -> Metadata[Root] | None:
        """The root being signed."""
        return self._metadata(Root, _STAGED_ROOT) if self._has(_STAGED_ROOT) else None

    def staged_targets(self) -> tuple[Metadata[Targets], CohortList] | None:
        """The list being signed, with the metadata that is signed for it.

        Raises:
            ListConflict: the list is not the one that the metadata is for.
        """
        if not self._has(_STAGED_TARGETS):
            return None
        targets, data = self._metadata(Targets, _STAGED_TARGETS), self._read(_STAGED_LIST, LIST_BYTES_MAX)
        cohorts = CohortList.parse(data)
        if ceremony.new_targets(cohorts, targets.signed.expires).signed != targets.signed:
            raise ListConflict("the staged metadata is not that of the staged list")
        return targets, cohorts

    def cohorts(self) -> CohortList | None:
        """The list published last."""
        version = self._newest("targets")
        if version is None:
            return None
        targets = self._metadata(Targets, f"public/metadata/{version}.targets.json").signed
        digest = targets.targets[LIST_PATH].hashes["sha256"]
        return CohortList.parse(self._read(f"public/targets/{digest}.{LIST_PATH}", LIST_BYTES_MAX))

    def evidence(self, digest: str) -> bytes:
        """The evidence of a cohort, staged or published, by its SHA-256 in hex.

        Raises:
            FormatError: the file has other content.
            ConfigError: it is not there.
        """
        name = f"evidence/{digest}.json"
        area = "staged" if self._has(f"staged/{name}") else "public"
        data = self._read(f"{area}/{name}", COHORT_BYTES_MAX)
        if hashlib.sha256(data).hexdigest() != digest:
            raise FormatError(f"{area}/{name} has other content than its name says")
        return data

    # --- staging -----------------------------------------------------------------------------

    def stage_root(self, root: Metadata[Root]) -> None:
        """Put a root up for signing, or keep the one that is staged with a signature more."""
        self._write(_STAGED_ROOT, encode_metadata(root))

    def stage_list(self, cohorts: CohortList, expires: datetime, evidence: Sequence[bytes]) -> None:
        """Put a list up for signing, with the evidence of its cohorts."""
        for data in evidence:
            self._write(f"staged/evidence/{hashlib.sha256(data).hexdigest()}.json", data)
        self._write(_STAGED_LIST, cohorts.encode())
        self._write(_STAGED_TARGETS, encode_metadata(ceremony.new_targets(cohorts, expires)))

    def save_signed_targets(self, metadata: Metadata[Targets]) -> None:
        """Keep the staged list's metadata to which a signature was added."""
        self._write(_STAGED_TARGETS, encode_metadata(metadata))

    # --- publishing --------------------------------------------------------------------------

    def publish(self, keys: OnlineKeys, expires: datetime, *, dry_run: bool = False) -> list[str]:
        """Publish what is staged and signed, or renew the timestamp; return what was done, for people.

        Where witnesses have to cosign, the new checkpoint waits for them in ``log/checkpoint.pending``,
        and nothing else changes until publishing is done again.

        Raises:
            SignatureMissing, FleetRulesBroken, WeakKey, FormatError: it may not be published.
            ConfigError: a file cannot be read or written.
        """
        staged_root, staged = self.staged_root(), self.staged_targets()
        published = self.root()
        root = staged_root or published
        if root is None:
            raise ConfigError(f"{self.path} holds no fleet; begin with `hwkm fleet init-root`")
        if staged_root is not None:
            ceremony.verify_root_succession(staged_root, published.signed if published else None)
        if staged is not None:
            ceremony.verify_signed(staged[0], root.signed)
        announced = _announced(staged_root, staged[1] if staged else None)
        if dry_run:
            return [f"would publish {_entry_text(entry)}" for entry in announced]
        entries = self._entries()
        entries += [entry for entry in announced if entry not in entries]
        if not self._log(entries, LogPolicy.of(root.signed), keys.log):
            return ["the log's new checkpoint waits for its witnesses; add their cosignatures, publish again"]
        self._publish_files(staged_root, staged)
        self._publish_online(keys.signer, expires)
        done = [f"published {_entry_text(entry)}" for entry in announced]
        return done or [f"the timestamp was renewed until {expires:%Y-%m-%d %H:%M} UTC"]

    def add_cosignature(self, line: str) -> None:
        """Add a witness's signature line to the checkpoint that waits.

        Raises:
            NoteUnverified: it is of no witness of this fleet, or wrong.
            ConfigError: no checkpoint waits.
        """
        note = SignedNote.parse(self._read(_PENDING, NOTE_BYTES_MAX))
        signature = NoteSignature.parse(line.strip())
        root = self.staged_root() or self.root()
        witnesses = LogPolicy.of(root.signed).witnesses if root else ()
        witness = next((key for key in witnesses if signature.is_by(key)), None)
        if witness is None:
            raise NoteUnverified("the cosignature is of no witness of this fleet")
        witness.verify(note.text, signature.signature)
        self._write(_PENDING, note.with_signatures([signature]).encode())

    def log_size(self) -> int:
        """How many entries the log in force has."""
        return self._checkpoint(_CHECKPOINT).size if self._has(_CHECKPOINT) else 0

    def _entries(self) -> list[bytes]:
        return fetch_entries(lambda name, most: self._read(f"public/{name}", most), 0, self.log_size())

    def _log(self, entries: Sequence[bytes], policy: LogPolicy, key: PrivateNoteKey) -> bool:
        """Bring the log to these entries; return whether its checkpoint is in force."""
        if key.public(policy.log_key.type) != policy.log_key:
            raise ConfigError("this key of a log is not the one that the root names")
        text = Checkpoint(policy.log_key.name, len(entries), root_of(map(leaf_hash, entries))).text()
        if self._has(_CHECKPOINT) and self._note(_CHECKPOINT).text == text:
            return True
        if not self._has(_PENDING) or self._note(_PENDING).text != text:
            for name, data in files_between(entries, self.log_size()).items():
                self._write(f"public/log/{name}", data)
            signature = NoteSignature(policy.log_key.name, policy.log_key.key_id, key.sign(text))
            self._write(_PENDING, SignedNote(text, (signature,)).encode())
        try:
            verified_checkpoint(self._read(_PENDING, NOTE_BYTES_MAX), policy)
        except NoteUnverified:
            return False
        (self.path / _PENDING).replace(self.path / _CHECKPOINT)
        return True

    def _publish_files(
        self, root: Metadata[Root] | None, staged: tuple[Metadata[Targets], CohortList] | None
    ) -> None:
        if root is not None:
            self._write(f"public/metadata/{root.signed.version}.root.json", encode_metadata(root))
            (self.path / _STAGED_ROOT).unlink()
        if staged is None:
            return
        targets, cohorts = staged
        for cohort in cohorts.cohorts:
            self._write(f"public/evidence/{cohort.evidence}.json", self.evidence(cohort.evidence))
            (self.path / f"staged/evidence/{cohort.evidence}.json").unlink(missing_ok=True)
        data = cohorts.encode()
        self._write(f"public/targets/{hashlib.sha256(data).hexdigest()}.{LIST_PATH}", data)
        self._write(f"public/metadata/{cohorts.epoch}.targets.json", encode_metadata(targets))
        (self.path / _STAGED_TARGETS).unlink()
        (self.path / _STAGED_LIST).unlink()

    def _publish_online(self, signer: Signer, expires: datetime) -> None:
        """Sign a snapshot of the newest list and a timestamp, each with the next version."""
        epoch = self._newest("targets")
        if epoch is None:
            return
        version = (self._newest("snapshot") or 0) + 1
        targets = self._read(f"public/metadata/{epoch}.targets.json", METADATA_BYTES_MAX)
        snapshot = ceremony.new_snapshot(version, targets, epoch, expires)
        snapshot.sign(signer)
        data = encode_metadata(snapshot)
        self._write(f"public/metadata/{version}.snapshot.json", data)
        timestamp = ceremony.new_timestamp(version, data, version, expires)
        timestamp.sign(signer)
        self._write("public/metadata/timestamp.json", encode_metadata(timestamp))

    # --- files -------------------------------------------------------------------------------

    def _newest(self, role: str) -> int | None:
        names = (self.path / "public" / "metadata").glob(f"*.{role}.json")
        numbers = [int(name.name.split(".")[0]) for name in names if name.name.split(".")[0].isdigit()]
        return max(numbers, default=None)

    def _metadata(self, kind: type[_Signed], name: str) -> Metadata[_Signed]:
        return parse_metadata(kind, self._read(name, METADATA_BYTES_MAX))

    def _note(self, name: str) -> SignedNote:
        return SignedNote.parse(self._read(name, NOTE_BYTES_MAX))

    def _checkpoint(self, name: str) -> Checkpoint:
        return Checkpoint.parse(self._note(name).text)

    def _has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def _read(self, name: str, bytes_max: int) -> bytes:
        try:
            with (self.path / name).open("rb") as file:
                data = file.read(bytes_max + 1)
        except OSError as exc:
            raise ConfigError(f"{self.path / name}: {exc.strerror}") from exc
        if len(data) > bytes_max:
            raise FormatError(f"{self.path / name} is larger than {bytes_max} bytes")
        return data

    def _write(self, name: str, data: bytes) -> None:
        """Replace a file whole; durable on return."""
        path = self.path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data, mode=0o644)
        except OSError as exc:
            raise ConfigError(f"{path}: {exc.strerror}") from exc


def _announced(root: Metadata[Root] | None, cohorts: CohortList | None) -> list[bytes]:
    """What the log has to announce of what is staged."""
    announced = []
    if root is not None:
        announced.append(_entry(EntryKind.ROOT, root.signed.version, encode_metadata(root)))
    if cohorts is not None:
        announced.append(_entry(EntryKind.LIST, cohorts.epoch, cohorts.encode()))
    return announced


def _entry(kind: EntryKind, number: int, data: bytes) -> bytes:
    return LogEntry(hashlib.sha256(data).hexdigest(), kind, number).encode()


def _entry_text(entry: bytes) -> str:
    parsed = LogEntry.parse(entry)
    return f"{parsed.kind} {parsed.number} (SHA-256 {parsed.digest})"
