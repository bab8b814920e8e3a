"""What software runs in the core: versions, and hashes of its files. The operator's word, no more."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from pathlib import Path
from typing import Final

import hwkm
from hwkm.errors import EvidenceUnavailable
from hwkm.formats.evidence import Software

_PACKAGE: Final = Path(hwkm.__file__).parent
_DISTRIBUTIONS: Final = ("cryptography", "msgspec", "python-pkcs11", "tpm2-pytss")
_MAPS: Final = Path("/proc/self/maps")
_PATH_AT: Final = 5  # fields before a path in a line of maps (proc(5))


def running_software() -> Software:
    """Hash every file of the package, and every file whose code is mapped into this process.

    Raises:
        EvidenceUnavailable: a file cannot be read.
    """
    try:
        return Software(
            files={_within_package(path): _sha256(path) for path in sorted(_package_files())},
            libraries={str(path): _sha256(path) for path in sorted(_mapped_files())},
            versions=_versions(),
        )
    except OSError as exc:
        raise EvidenceUnavailable(f"{exc.filename} cannot be read: {exc.strerror}") from exc


def _package_files() -> list[Path]:
    return [path for path in _PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def _within_package(path: Path) -> str:
    return f"hwkm/{path.relative_to(_PACKAGE)}"


def _mapped_files() -> set[Path]:
    """The interpreter, its extension modules, and what they loaded: a token's module, the TPM's libraries."""
    lines = (line.split(maxsplit=_PATH_AT) for line in _MAPS.read_text().splitlines())
    executable = {fields[_PATH_AT] for fields in lines if len(fields) > _PATH_AT and "x" in fields[1]}
    return {Path(path) for path in executable if path.startswith("/")}


def _versions() -> dict[str, str]:
    found = {"hwkm": hwkm.__version__, "kernel": platform.release(), "python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
