"""Take and restore what an attacker can copy: a device's memory, node store, database, audit log.

Each is a directory or a set of files, so a snapshot is a copy. They are taken and restored
separately, or together by :class:`Machine`. A running swtpm can be copied at any time, because it
replaces its state file by rename; it is powered off and on to take an older one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.core_process import Device, MemoryToken
from tests.hardware import SoftHsm, Swtpm

Files = dict[str, bytes]
"""Contents by path, relative to a root."""


class Part(Protocol):
    """Something that can be taken back to an earlier state."""

    def take(self) -> Files: ...
    def restore(self, files: Files) -> None: ...


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file with all files whose names begin with its name: SQLite's ``-wal`` and ``-shm``."""

    path: Path

    def take(self) -> Files:
        return {file.name: file.read_bytes() for file in self._files()}

    def restore(self, files: Files) -> None:
        for file in self._files():
            file.unlink()
        _write(self.path.parent, files)

    def _files(self) -> Iterable[Path]:
        return list(self.path.parent.glob(f"{self.path.name}*"))


@dataclass(frozen=True, slots=True)
class DirectoryPart:
    """A directory with everything below it: a SoftHSM token, an audit log.

    A temporary file that its writer renames or removes while it is copied is not part of the copy.
    """

    path: Path

    def take(self) -> Files:
        files: Files = {}
        for file in self.path.rglob("*"):
            with suppress(FileNotFoundError):
                if file.is_file():
                    files[str(file.relative_to(self.path))] = file.read_bytes()
        return files

    def restore(self, files: Files) -> None:
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        _write(self.path, files)


@dataclass(frozen=True, slots=True)
class SwtpmPart:
    """The non-volatile memory of a software TPM, on or off; it is on after a restore."""

    device: Swtpm

    def take(self) -> Files:
        files = DirectoryPart(self.device.state_directory).take()
        return {name: data for name, data in files.items() if not Path(name).name.startswith(("TMP", "."))}

    def restore(self, files: Files) -> None:
        with self.off():
            DirectoryPart(self.device.state_directory).restore(files)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Powered off inside, on afterwards."""
        self.device.power_off()
        yield
        self.device.start()


def device_part(device: Device) -> Part:
    """What holds the state of a device."""
    if isinstance(device, Swtpm):
        return SwtpmPart(device)
    if isinstance(device, SoftHsm):
        return DirectoryPart(device.token_directory)
    assert isinstance(device, MemoryToken)
    return FilePart(device.directory / "token.json")


@dataclass
class Machine:
    """The parts of one installation by name, to be taken back one by one or all together."""

    parts: dict[str, Part] = field(default_factory=dict)

    def take(self, *names: str) -> dict[str, Files]:
        """Copy the named parts, or all."""
        return {name: self.parts[name].take() for name in names or self.parts}

    def restore(self, taken: dict[str, Files], *names: str) -> None:
        """Take the named parts back, or all that were taken. No core may be running."""
        for name in names or taken:
            self.parts[name].restore(taken[name])


def _write(root: Path, files: Files) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)


@contextmanager
def written(files: Files) -> Iterator[Path]:
    """A temporary directory that holds ``files``."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hwkm-image-")))
        _write(directory, files)
        yield directory
