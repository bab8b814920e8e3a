"""Making a fleet's metadata, step by step: pure, so that each step can be shown before it is done.

A ceremony stages new metadata, the parties add their signatures one after the other, and only what
both have signed is published. Times arrive as arguments; signers come from securesystemslib.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from securesystemslib.exceptions import Error as SecureSystemsError
from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    SPECIFICATION_VERSION,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from hwkm.errors import FormatError, HwkmError, SignatureMissing, SignatureRefused
from hwkm.fleet.cohort_list import LIST_PATH, CohortList
from hwkm.fleet.list_log import LOG_FIELD, LogPolicy
from hwkm.fleet.root_rules import ONLINE_ROLES, role_keys, verify_root_rules
from hwkm.fleet.signing_keys import Party, keys_of, party_of

METADATA_BYTES_MAX: Final = 1024 * 1024
_SPEC: Final = ".".join(SPECIFICATION_VERSION)

Signed = TypeVar("Signed", Root, Targets, Snapshot, Timestamp)
AnyMetadata = Metadata[Root] | Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp]
TwoPartyMetadata = Metadata[Root] | Metadata[Targets]


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """Keys of a two-party role, each with its owner, and how many of them must sign."""

    keys: Sequence[Key]
    threshold: int


def new_root(
    version: int,
    expires: datetime,
    root: RoleKeys,
    targets: RoleKeys,
    online: Sequence[Key],
    log: LogPolicy,
) -> Metadata[Root]:
    """Stage root metadata, unsigned.

    Raises:
        FleetRulesBroken, WeakKey: as :func:`verify_root_rules`.
    """
    signed = Root(
        version=version,
        spec_version=_SPEC,
        expires=expires,
        consistent_snapshot=True,
        unrecognized_fields={LOG_FIELD: log.encode()},
    )
    for role, wanted in ((Root.type, root), (Targets.type, targets)):
        for key in wanted.keys:
            signed.add_key(key, role)
        signed.roles[role].threshold = wanted.threshold
    for role in ONLINE_ROLES:
        for key in online:
            signed.add_key(key, role)
    verify_root_rules(signed)
    return Metadata(signed)


def new_targets(cohorts: CohortList, expires: datetime) -> Metadata[Targets]:
    """Stage the metadata of a list, unsigned. Its version is the list's epoch."""
    target = TargetFile.from_data(LIST_PATH, cohorts.encode(), ["sha256"])
    signed = Targets(version=cohorts.epoch, spec_version=_SPEC, expires=expires, targets={LIST_PATH: target})
    return Metadata(signed)


def new_snapshot(version: int, targets: bytes, targets_version: int, expires: datetime) -> Metadata[Snapshot]:
    """Stage the snapshot that names exactly these bytes of targets metadata."""
    meta = {"targets.json": MetaFile.from_data(targets_version, targets, ["sha256"])}
    return Metadata(Snapshot(version=version, spec_version=_SPEC, expires=expires, meta=meta))


def new_timestamp(
    version: int, snapshot: bytes, snapshot_version: int, expires: datetime
) -> Metadata[Timestamp]:
    """Stage the timestamp that names exactly these bytes of snapshot metadata."""
    meta = MetaFile.from_data(snapshot_version, snapshot, ["sha256"])
    return Metadata(Timestamp(version=version, spec_version=_SPEC, expires=expires, snapshot_meta=meta))


def parse_metadata(kind: type[Signed], data: bytes) -> Metadata[Signed]:
    """Read staged or published metadata of one kind; no signature is checked.

    Raises:
        FormatError: it is not that.
    """
    if len(data) > METADATA_BYTES_MAX:
        raise FormatError(f"metadata has at most {METADATA_BYTES_MAX} bytes")
    try:
        parsed = Metadata[Signed].from_bytes(data)
    except (DeserializationError, RepositoryError, ValueError, RecursionError) as exc:
        raise FormatError(f"not {kind.type} metadata: {type(exc).__name__}") from None
    if not isinstance(parsed.signed, kind):
        raise FormatError(f"not {kind.type} metadata but {parsed.signed.type}")
    return parsed


def encode_metadata(metadata: AnyMetadata) -> bytes:
    """Return metadata as it is stored."""
    return metadata.to_bytes(JSONSerializer(compact=False)) + b"\n"


# --- signing ---------------------------------------------------------------------------------


def add_signature(metadata: TwoPartyMetadata, signer: Signer, root: Root, party: Party) -> None:
    """Add a party's signature to staged root or targets metadata.

    The operator signs first: the auditor answers for what the operator has bound himself to.

    Raises:
        SignatureRefused: the key is not the party's for this role, has signed already, or it is not
            the party's turn.
        HwkmError: what the signer raises.
    """
    role = metadata.signed.type
    key = next((key for key in role_keys(root, role) if key.keyid == signer.public_key.keyid), None)
    if key is None or party_of(key) is not party:
        raise SignatureRefused(f"this key is none of the {party}'s for role {role}")
    if key.keyid in metadata.signatures:
        raise SignatureRefused(f"key {key.keyid[:16]}… has signed already")
    if party is Party.AUDITOR and not _signed_by(metadata, root, Party.OPERATOR):
        raise SignatureRefused("the operator has to sign first")
    try:
        metadata.sign(signer, append=True)
    except (SecureSystemsError, RepositoryError, ValueError) as exc:
        if isinstance(exc.__cause__, HwkmError):
            raise exc.__cause__ from None
        raise SignatureRefused(f"signing failed: {type(exc.__cause__ or exc).__name__}") from exc


def signatures_of(metadata: TwoPartyMetadata, root: Root) -> Mapping[str, Key]:
    """The keys of its role whose signatures on the metadata are right, by key id."""
    result = root.get_verification_result(
        metadata.signed.type, metadata.signed_bytes, dict(metadata.signatures)
    )
    return result.signed


def verify_signed(metadata: TwoPartyMetadata, root: Root) -> None:
    """Check that enough keys of the role in ``root`` have signed, which takes both parties.

    Raises:
        SignatureMissing: not enough; the message says how many there are.
    """
    role = metadata.signed.type
    count, needed = len(signatures_of(metadata, root)), root.roles[role].threshold
    if count < needed:
        what = "the list" if role == Targets.type else "the root"
        raise SignatureMissing(f"{what} has {count} right signatures of {needed}")


def verify_root_succession(new: Metadata[Root], old: Root | None) -> None:
    """Check that a new root follows the old one: by number, and signed by the keys of both.

    Raises:
        SignatureMissing: as :func:`verify_signed`.
        FormatError: its version is not the next one.
        FleetRulesBroken, WeakKey: as :func:`verify_root_rules`.
    """
    verify_root_rules(new.signed)
    expected = 1 if old is None else old.version + 1
    if new.signed.version != expected:
        raise FormatError(f"the next root has version {expected}, not {new.signed.version}")
    for root in (new.signed, old or new.signed):
        verify_signed(new, root)


def signing_digest(metadata: TwoPartyMetadata) -> str:
    """SHA-256 (hex) of exactly the bytes that are signed."""
    return hashlib.sha256(metadata.signed_bytes).hexdigest()


def _signed_by(metadata: TwoPartyMetadata, root: Root, party: Party) -> bool:
    return bool(keys_of(party, signatures_of(metadata, root).values()))
