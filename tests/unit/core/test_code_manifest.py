"""The manifest holds every file and every setting that guards vaults, and the process must be able to vouch for it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import msgspec
import pytest

from hwkm.core.code_manifest import SETTINGS, code_manifest, read_record, write_record
from hwkm.core.environment import NO_BYTECODE_PREFIX
from hwkm.errors import ConfigError
from hwkm.formats.code_record import CodeRecord
from hwkm.wire.core_messages import CodeBinding
from tests.core_process import MemoryToken, core_settings


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "hwkm" / "core" / "__pycache__").mkdir(parents=True)
    (tmp_path / "hwkm" / "a.py").write_bytes(b"a")
    (tmp_path / "hwkm" / "core" / "b.so").write_bytes(b"b")
    (tmp_path / "hwkm" / "core" / "__pycache__" / "b.pyc").write_bytes(b"c")
    return tmp_path / "hwkm"


@pytest.fixture
def no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a core that hwkmd starts for a code-bound key."""
    monkeypatch.setattr(sys, "pycache_prefix", NO_BYTECODE_PREFIX)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.mark.usefixtures("no_bytecode")
def test_every_file_but_caches_is_in_it(package: Path, tmp_path: Path) -> None:
    manifest = code_manifest(core_settings(MemoryToken(tmp_path), tmp_path / "nodes"), package)
    files = {name: digest for name, digest in manifest.items() if name.startswith("hwkm/")}
    assert files == {
        "hwkm/a.py": hashlib.sha256(b"a").hexdigest(),
        "hwkm/core/b.so": hashlib.sha256(b"b").hexdigest(),
    }
    assert set(manifest) - set(files) == {f"setting {name}" for name in SETTINGS}


@pytest.mark.usefixtures("no_bytecode")
@pytest.mark.parametrize(
    "change",
    [
        {"max_attempts_limit": 11},
        {"delays_ms": (0, 0)},
        {"challenge_lifetime_ms": 60_001},
        {"require_hardening": True},
    ],
    ids=str,
)
def test_settings_that_guard_vaults_are_in_it(
    change: dict[str, object], package: Path, tmp_path: Path
) -> None:
    settings = core_settings(MemoryToken(tmp_path), tmp_path / "nodes")
    changed = msgspec.structs.replace(settings, **change)
    before, after = code_manifest(settings, package), code_manifest(changed, package)
    assert {name for name in before if before[name] != after[name]} == {f"setting {next(iter(change))}"}


@pytest.mark.usefixtures("no_bytecode")
def test_a_link_to_a_directory_is_refused(package: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (package / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="more is a link to a directory"):
        code_manifest(core_settings(MemoryToken(tmp_path), tmp_path / "nodes"), package)


@pytest.mark.parametrize(
    ("prefix", "dont_write"), [(None, True), ("/tmp", True), (NO_BYTECODE_PREFIX, False)]
)
def test_a_process_that_may_have_run_a_cache_cannot_vouch(
    prefix: str | None, dont_write: bool, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", prefix)
    monkeypatch.setattr(sys, "dont_write_bytecode", dont_write)
    with pytest.raises(ConfigError, match="bytecode that nobody measured"):
        code_manifest(core_settings(MemoryToken(tmp_path), tmp_path / "nodes"), package)


def test_the_record_is_written_in_place_of_another_and_read(tmp_path: Path) -> None:
    binding = CodeBinding(code_pcr=13, boot_pcrs=(), record_path=str(tmp_path / "record"))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_record(binding)
    older, record = (
        CodeRecord(boot_pcrs=(), code_pcr=13, manifest={"a": digest * 32}) for digest in ("00", "11")
    )
    write_record(binding, older)
    assert read_record(binding) == older
    write_record(binding, record)
    assert read_record(binding) == record
    assert [path.name for path in tmp_path.iterdir()] == ["record"]
    for other in ({"code_pcr": 12}, {"boot_pcrs": (0,)}):
        with pytest.raises(ConfigError, match="stay as they were at set-up: 13, "):
            read_record(msgspec.structs.replace(binding, **other))
    (tmp_path / "record").write_bytes(b"{}")
    with pytest.raises(ConfigError, match="not a record of the code"):
        read_record(binding)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_record(
            CodeBinding(code_pcr=13, boot_pcrs=(), record_path=str(tmp_path / "no" / "record")), record
        )
