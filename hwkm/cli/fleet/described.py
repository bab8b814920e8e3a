"""What is described in files before a ceremony: a root, and a list of cohorts (TOML).

Paths in them are relative to the file.
"""

from __future__ import annotations

import hashlib
import time
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, structs
from securesystemslib.signer import Key

from hwkm.cli.fleet.keys import read_note_key, read_public
from hwkm.errors import ConfigError, EvidenceRefused, FormatError
from hwkm.fleet.ceremony import RoleKeys
from hwkm.fleet.cohort_list import Cohort
from hwkm.fleet.evidence.cohort import key_of, verify_cohort
from hwkm.fleet.evidence.findings import Trust
from hwkm.fleet.list_log import LogPolicy
from hwkm.fleet.signing_keys import Party, import_public_key
from hwkm.formats.evidence import COHORT_BYTES_MAX, CohortEvidence

_FILE_BYTES_MAX: Final = 1024 * 1024

_Described = TypeVar("_Described", bound=msgspec.Struct)


class DescribedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key of a root: its file, what it signs, and whose it is (nobody's, for timestamps)."""

    file: str
    signs: Literal["roots", "lists", "timestamps"]
    party: Party | None = None


class DescribedRoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A root as it is described before a ceremony."""

    key: tuple[DescribedKey, ...]
    log: str
    witnesses: tuple[str, ...] = ()
    quorum: Annotated[int, Meta(ge=0)] = 0
    root_threshold: Annotated[int, Meta(ge=2)] = 2
    list_threshold: Annotated[int, Meta(ge=2)] = 2
    days: Annotated[int, Meta(ge=1, le=3650)] = 365
    base: str = ""

    def role(self, signs: str, threshold: int) -> RoleKeys:
        """Return the keys of a role that takes both parties."""
        return RoleKeys([self._import(key) for key in self.key if key.signs == signs], threshold)

    def online_keys(self) -> list[Key]:
        """Return the keys that renew timestamps."""
        return [self._import(key) for key in self.key if key.signs == "timestamps"]

    def log_policy(self) -> LogPolicy:
        """Return the log and its witnesses."""
        witnesses = tuple(read_note_key(Path(self.base) / name) for name in self.witnesses)
        return LogPolicy(read_note_key(Path(self.base) / self.log), witnesses, self.quorum)

    def _import(self, key: DescribedKey) -> Key:
        return import_public_key(read_public(Path(self.base) / key.file), key.party)


def read_root_file(path: Path) -> DescribedRoot:
    """Read the description of a root.

    Raises:
        ConfigError: it cannot be read, or a value is impossible.
    """
    described = _read_toml(path, DescribedRoot)
    if not any(key.signs == "timestamps" for key in described.key):
        raise ConfigError(f'{path}: no key has signs = "timestamps"')
    return structs.replace(described, base=str(path.parent))


def read_cohorts_file(path: Path) -> tuple[list[Cohort], list[bytes]]:
    """Read the cohorts, in the order of their names, and the bytes of their evidence.

    Raises:
        ConfigError: a file cannot be read, or a value is impossible.
        FormatError: evidence is malformed or too large.
        EvidenceRefused: evidence does not show what it should, or is about another key.
    """
    described = sorted(_read_toml(path, _CohortsFile).cohort, key=lambda cohort: cohort.name)
    read = [_cohort(path, one) for one in described]
    return [cohort for cohort, _ in read], [evidence for _, evidence in read]


def _cohort(path: Path, described: _DescribedCohort) -> tuple[Cohort, bytes]:
    """Return a cohort and its evidence, which is checked as far as no trust is needed."""
    data = read_evidence(path.parent / described.evidence)
    try:
        evidence = CohortEvidence.parse(data)
        key = described.public_key or key_of(evidence).hex()
        listed = {"evidence": hashlib.sha256(data).hexdigest(), "name": described.name, "public_key": key}
        cohort = msgspec.convert(listed, Cohort)
        verify_cohort(evidence, Trust(int(time.time())), cohort.key)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path}: cohort {described.name}: {exc}") from None
    except FormatError as exc:
        raise FormatError(f"{described.evidence}: {exc}") from exc
    except EvidenceRefused as exc:
        raise EvidenceRefused(f"{described.evidence}: {exc}") from exc
    return cohort, data


class _DescribedCohort(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    evidence: str
    public_key: str = ""


class _CohortsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cohort: tuple[_DescribedCohort, ...]


def read_evidence(path: Path) -> bytes:
    """Read a file of evidence.

    Raises:
        ConfigError: it cannot be read.
        FormatError: it is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(COHORT_BYTES_MAX + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    if len(data) > COHORT_BYTES_MAX:
        raise FormatError(f"{path}: evidence has at most {COHORT_BYTES_MAX} bytes")
    return data


def _read_toml(path: Path, kind: type[_Described]) -> _Described:
    try:
        with path.open("rb") as file:
            return msgspec.convert(tomllib.loads(file.read(_FILE_BYTES_MAX).decode()), kind)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as exc:
        raise ConfigError(f"{path}: {exc}") from None
