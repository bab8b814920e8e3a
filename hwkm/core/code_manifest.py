"""What a code-bound cohort key is bound to: every file of the package, and the settings that guard vaults.

Every file, not only those that are imported today: another one (an extension module, say) could take the place of
one that is. Bytecode caches are not measured, so none may be read: hwkmd starts this process with options that
name a cache which cannot exist.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

import hwkm
from hwkm.core.environment import NO_BYTECODE_PREFIX
from hwkm.errors import ConfigError, FormatError
from hwkm.formats.code_record import CodeRecord
from hwkm.store.private_file import replace_private
from hwkm.wire.core_messages import CodeBinding, CoreSettings

SETTINGS: Final = ("challenge_lifetime_ms", "delays_ms", "max_attempts_limit", "require_hardening")
_CACHE: Final = "__pycache__"


def code_manifest(settings: CoreSettings, package: Path | None = None) -> dict[str, str]:
    """Return the manifest of the package (by default this one) and of the settings.

    Raises:
        ConfigError: a file cannot be read, or Python may have read bytecode in its place.
    """
    if sys.pycache_prefix != NO_BYTECODE_PREFIX or not sys.dont_write_bytecode:
        raise ConfigError(
            "code-bound: this process may have run bytecode that nobody measured; hwkmd starts it"
        )
    directory = package or Path(hwkm.__file__).parent
    try:
        files = {f"hwkm/{path.relative_to(directory)}": _sha256(path) for path in _files(directory)}
    except OSError as exc:
        raise ConfigError(f"code-bound: {exc.filename} cannot be read: {exc.strerror}") from exc
    return files | {f"setting {name}": _digest(getattr(settings, name)) for name in SETTINGS}


def read_record(binding: CodeBinding) -> CodeRecord:
    """Read the record that set-up wrote.

    Raises:
        ConfigError: there is none, it cannot be read, or it is about other PCRs than the configuration.
    """
    path = Path(binding.record_path)
    try:
        record = CodeRecord.parse(path.read_bytes())
    except OSError as exc:
        raise ConfigError(f"the record of the code {path} cannot be read: {exc.strerror}") from exc
    except FormatError as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    boot_pcrs = tuple(pcr.number for pcr in record.boot_pcrs)
    if (record.code_pcr, boot_pcrs) != (binding.code_pcr, binding.boot_pcrs):
        raise ConfigError(
            f"code_pcr and boot_pcrs in [token] stay as they were at set-up: {record.code_pcr}, {list(boot_pcrs)}"
        )
    return record


def write_record(binding: CodeBinding, record: CodeRecord) -> None:
    """Write the record, durably, in place of one that is there.

    Raises:
        ConfigError: it cannot be written.
    """
    path = Path(binding.record_path)
    try:
        replace_private(path, record.encode())
    except OSError as exc:
        raise ConfigError(f"the record of the code {path} cannot be written: {exc.strerror}") from exc


def _files(directory: Path) -> list[Path]:
    """Every file below, links followed to files; caches are left out, a link to a directory is refused."""
    found: list[Path] = []
    for root, directories, names in os.walk(directory, onerror=_raise):
        if _CACHE in directories:
            directories.remove(_CACHE)
        for name in directories:
            if (path := Path(root) / name).is_symlink():
                raise ConfigError(
                    f"code-bound: {path} is a link to a directory, what is in it is not measured"
                )
        found += [Path(root) / name for name in names]
    return found


def _raise(error: OSError) -> None:
    raise error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()
