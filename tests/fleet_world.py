"""A fleet in a directory: two parties with keys, lists, and what an attacker among them can publish."""

from __future__ import annotations

import functools
import hashlib
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
from hwkm.fleet.signing_keys import Party, import_public_key


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


ROOT_KEYS = ("operator-root", "auditor-root")
LIST_KEYS = ("operator-list", "auditor-list")


@dataclass
class World:
    """Publishes into ``directory``; every publication may be made wrong on purpose."""

    directory: Path
    root: Metadata[Root] = field(init=False)
    roots: list[bytes] = field(default_factory=list)
    snapshot_version: int = 0

    def __post_init__(self) -> None:
        for name in ("metadata", "targets"):
            (self.directory / name).mkdir(parents=True)
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
    ) -> Metadata[Root]:
        made = ceremony.new_root(
            len(self.roots) + 1,
            in_days(days),
            RoleKeys([signer(name).public_key for name in root_keys], thresholds[0]),
            RoleKeys([signer(name).public_key for name in list_keys], thresholds[1]),
            [signer(online).public_key],
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
        return data

    def rotate_root(self, signed_by: Sequence[str] = ROOT_KEYS) -> bytes:
        return self.publish_root(self.stage_root(), signed_by)

    def stage_list(self, epoch: int, names: Sequence[str], days: int = 90) -> tuple[Metadata[Targets], bytes]:
        cohorts = CohortList(tuple(cohort(name) for name in sorted(names)), epoch)
        return ceremony.new_targets(cohorts, in_days(days)), cohorts.encode()

    def publish_list(
        self,
        epoch: int,
        names: Sequence[str] = ("alpha", "beta"),
        *,
        signed_by: Sequence[str] = LIST_KEYS,
        days: int = 90,
        online_days: int = 7,
        online: str = "online",
        snapshot_version: int | None = None,
    ) -> bytes:
        targets, data = self.stage_list(epoch, names, days)
        for name in signed_by:
            targets.sign(signer(name), append=True)
        self.publish_signed(targets, data, online_days, online, snapshot_version)
        return data

    def publish_signed(
        self,
        targets: Metadata[Targets],
        data: bytes,
        online_days: int = 7,
        online: str = "online",
        snapshot_version: int | None = None,
    ) -> None:
        self.snapshot_version = snapshot_version or self.snapshot_version + 1
        version, expires = self.snapshot_version, in_days(online_days)
        encoded = encode_metadata(targets)
        self.write(f"metadata/{targets.signed.version}.targets.json", encoded)
        self.write(f"targets/{hashlib.sha256(data).hexdigest()}.{LIST_PATH}", data)
        snapshot = ceremony.new_snapshot(version, encoded, targets.signed.version, expires)
        snapshot.sign(signer(online))
        self.write(f"metadata/{version}.snapshot.json", encode_metadata(snapshot))
        timestamp = ceremony.new_timestamp(version, encode_metadata(snapshot), version, expires)
        timestamp.sign(signer(online))
        self.write("metadata/timestamp.json", encode_metadata(timestamp))

    def write(self, name: str, data: bytes) -> None:
        (self.directory / name).write_bytes(data)
