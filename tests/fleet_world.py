"""A fleet in a directory: two parties with keys, lists, and what an attacker among them can publish."""

from __future__ import annotations

import functools
import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets

from hwkm.crypto.p256 import encode_point
from hwkm.fleet import ceremony
from hwkm.fleet.ceremony import RoleKeys, encode_metadata
from hwkm.fleet.cohort_list import LIST_PATH, Cohort, CohortList
from hwkm.fleet.list_log import EntryKind, LogEntry, LogPolicy
from hwkm.fleet.signing_keys import Party, import_public_key
from hwkm.secret import SecretBytes
from hwkm.tlog.checkpoint import Checkpoint
from hwkm.tlog.merkle import leaf_hash, root_of
from hwkm.tlog.note import NoteSignature, SignedNote
from hwkm.tlog.note_keys import KeyType, PrivateNoteKey
from hwkm.tlog.tiles import TILE_WIDTH, encode_bundle, tile_at


def in_days(days: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


@functools.cache
def signer(name: str) -> CryptoSigner:
    """A key for each name, made once. ``operator-2`` is the operator's second."""
    made = CryptoSigner.generate_ed25519()
    party = Party(name.split("-", maxsplit=1)[0]) if name.split("-", maxsplit=1)[0] in set(Party) else None
    pem = made._private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return CryptoSigner(made._private_key, import_public_key(pem, party))


@functools.cache
def cohort(name: str) -> Cohort:
    key = encode_point(ec.generate_private_key(ec.SECP256R1()).public_key())
    return Cohort(hashlib.sha256(name.encode()).hexdigest(), name, key.hex())


def note_key(name: str) -> PrivateNoteKey:
    return PrivateNoteKey(name, SecretBytes(hashlib.sha256(name.encode()).digest()))


ORIGIN = "fleet.example/log"
ROOT_KEYS = ("operator-root", "auditor-root")
LIST_KEYS = ("operator-list", "auditor-list")


@dataclass
class World:
    """Publishes into ``directory``; every publication may be made wrong on purpose."""

    directory: Path
    root: Metadata[Root] = field(init=False)
    roots: list[bytes] = field(default_factory=list)
    snapshot_version: int = 0
    origin: str = "fleet.example/log"
    log_key: PrivateNoteKey = field(default_factory=lambda: note_key(ORIGIN))
    entries: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rotate_root()

    @property
    def pinned(self) -> bytes:
        """The first root, as a client embeds it."""
        return self.roots[0]

    def stage_root(
        self,
        root_keys: Sequence[str] = ROOT_KEYS,
        list_keys: Sequence[str] = LIST_KEYS,
        online: str = "online",
        *,
        days: int = 365,
        thresholds: tuple[int, int] = (2, 2),
        log: LogPolicy | None = None,
    ) -> Metadata[Root]:
        made = ceremony.new_root(
            len(self.roots) + 1,
            in_days(days),
            RoleKeys([signer(name).public_key for name in root_keys], thresholds[0]),
            RoleKeys([signer(name).public_key for name in list_keys], thresholds[1]),
            [signer(online).public_key],
            log or self.log_policy,
        )
        # A copy, so that a test which breaks it breaks no key of another test.
        return ceremony.parse_metadata(Root, encode_metadata(made))

    def publish_root(self, staged: Metadata[Root], signed_by: Sequence[str]) -> bytes:
        for name in signed_by:
            staged.sign(signer(name), append=True)
        data = encode_metadata(staged)
        self.root = staged
        self.roots.append(data)
        self.write(f"metadata/{staged.signed.version}.root.json", data)
        self.log(EntryKind.ROOT, staged.signed.version, data)
        return data

    # --- the log -----------------------------------------------------------------------------

    @property
    def log_policy(self) -> LogPolicy:
        return LogPolicy(self.log_key.public(KeyType.ED25519))

    def log(self, kind: EntryKind, number: int, data: bytes) -> None:
        """Announce something in the log."""
        self.entries.append(LogEntry(hashlib.sha256(data).hexdigest(), kind, number).encode())
        self.write_log(self.entries)

    def write_log(self, entries: Sequence[bytes], cosigned_by: Sequence[PrivateNoteKey] = ()) -> None:
        """Write a log of these entries and nothing else, signed by its key."""
        self.remove_log()
        for index in range(-(-len(entries) // TILE_WIDTH)):
            tile = tile_at(None, index, len(entries))
            self.write(f"log/{tile.path()}", encode_bundle(entries[tile.first : tile.first + tile.width]))
        root = root_of([leaf_hash(entry) for entry in entries])
        text = Checkpoint(self.origin, len(entries), root).text()
        signatures = [
            NoteSignature(
                self.log_policy.log_key.name, self.log_policy.log_key.key_id, self.log_key.sign(text)
            )
        ]
        for witness in cosigned_by:
            key = witness.public(KeyType.COSIGNATURE)
            signatures.append(NoteSignature(key.name, key.key_id, witness.cosign(text, int(time.time()))))
        self.write("log/checkpoint", SignedNote(text, tuple(signatures)).encode())

    def rotate_root(self, signed_by: Sequence[str] = ROOT_KEYS) -> bytes:
        return self.publish_root(self.stage_root(), signed_by)

    def stage_list(
        self, epoch: int, names: Sequence[str | Cohort], days: int = 90
    ) -> tuple[Metadata[Targets], bytes]:
        listed = [cohort(name) if isinstance(name, str) else name for name in names]
        cohorts = CohortList(tuple(sorted(listed, key=lambda one: one.name)), epoch)
        return ceremony.new_targets(cohorts, in_days(days)), cohorts.encode()

    def publish_list(
        self,
        epoch: int,
        names: Sequence[str | Cohort] = ("alpha", "beta"),
        *,
        signed_by: Sequence[str] = LIST_KEYS,
        days: int = 90,
        online_days: int = 7,
        online: str = "online",
        snapshot_version: int | None = None,
        logged: bool = True,
    ) -> bytes:
        targets, data = self.stage_list(epoch, names, days)
        for name in signed_by:
            targets.sign(signer(name), append=True)
        self.publish_signed(targets, data, online_days, online, snapshot_version, logged=logged)
        return data

    def publish_signed(
        self,
        targets: Metadata[Targets],
        data: bytes,
        online_days: int = 7,
        online: str = "online",
        snapshot_version: int | None = None,
        *,
        logged: bool = True,
    ) -> None:
        self.snapshot_version = snapshot_version or self.snapshot_version + 1
        version, expires = self.snapshot_version, in_days(online_days)
        encoded = encode_metadata(targets)
        self.write(f"metadata/{targets.signed.version}.targets.json", encoded)
        self.write(f"targets/{hashlib.sha256(data).hexdigest()}.{LIST_PATH}", data)
        if logged:
            self.log(EntryKind.LIST, targets.signed.version, data)
        snapshot = ceremony.new_snapshot(version, encoded, targets.signed.version, expires)
        snapshot.sign(signer(online))
        self.write(f"metadata/{version}.snapshot.json", encode_metadata(snapshot))
        timestamp = ceremony.new_timestamp(version, encode_metadata(snapshot), version, expires)
        timestamp.sign(signer(online))
        self.write("metadata/timestamp.json", encode_metadata(timestamp))

    def remove_log(self) -> None:
        shutil.rmtree(self.directory / "log", ignore_errors=True)

    def write(self, name: str, data: bytes) -> None:
        (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
        (self.directory / name).write_bytes(data)
