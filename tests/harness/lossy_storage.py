"""What is on a disk after a power cut.

:class:`Recorder` lets processes run under ``native/storage_layer.c``, which writes down every
change of the files in one directory. :class:`Disk` replays what was written down and says at any
point what is durable and what is still pending, by the letter of POSIX:

* contents and length of a file are durable after ``fsync`` or ``fdatasync`` of that file;
* a name (creation, rename, removal) is durable after ``fsync`` of its directory.

Whatever is pending may survive a power cut or not, one by one, the newest write also in part.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from tests.harness.native_build import built
from tests.harness.snapshot import DirectoryPart, Files

_RECORD: Final = struct.Struct("<IIIIQQQ")


class Change(IntEnum):
    """The kinds of records; the numbers are those of ``native/storage_layer.c``."""

    CREATE = 1
    OPEN = 2
    WRITE = 3
    TRUNCATE = 4
    SYNC = 5
    SYNC_DIRECTORY = 6
    RENAME = 7
    UNLINK = 8


@dataclass(frozen=True, slots=True)
class Operation:
    """One change; which fields mean something depends on it."""

    change: Change
    file: int
    offset: int = 0
    data: bytes = b""
    path: str = ""
    other: str = ""


class Recorder:
    """Watches one directory. Give ``environment`` to the processes that change it."""

    def __init__(self, directory: Path, log: Path, board: Path | None = None) -> None:
        """Write to ``log``, outside of ``directory``; obey ``board`` if there is one."""
        self.directory = directory.resolve()
        self._log = log
        self.environment = {
            "LD_PRELOAD": str(built("storage_layer")),
            "HWKM_STORAGE_DIRECTORY": str(self.directory),
            "HWKM_STORAGE_LOG": str(log),
        }
        if board is not None:
            self.environment["HWKM_STORAGE_BOARD"] = str(board)
        self.begin()

    def begin(self) -> None:
        """Forget the log; what is in the directory now counts as durable."""
        self._log.touch()
        with self._log.open("r+b") as file:
            file.truncate()
        self._initial = DirectoryPart(self.directory).take()

    def operations(self) -> list[Operation]:
        """What was written down since :meth:`begin`."""
        return list(_parsed(self._log.read_bytes()))

    def disk(self) -> Disk:
        """The disk as it was at :meth:`begin`."""
        return Disk(self.directory, self._initial)


@dataclass(eq=False, slots=True)
class _File:
    content: bytearray


Apply = Callable[["_Image"], None]


@dataclass(slots=True)
class _Image:
    """Names and contents; a copy of the durable ones, to put pending changes on."""

    names: dict[str, _File]
    contents: dict[int, bytearray]

    def content(self, file: _File) -> bytearray:
        return self.contents.setdefault(id(file), bytearray(file.content))


@dataclass(eq=False, slots=True)
class _Pending:
    """A change that is not durable yet. ``waits_for``: its file, or the directory of its name."""

    waits_for: _File | str
    operation: Operation
    file: _File


class Disk:
    """Durable state and pending changes, one operation after the other."""

    def __init__(self, directory: Path, files: Files) -> None:
        self._directory = str(directory)
        self._durable: dict[str, _File] = {
            f"{directory}/{name}": _File(bytearray(data)) for name, data in files.items()
        }
        self._names = dict(self._durable)
        self._files: dict[int, _File] = {}
        self._pending: list[_Pending] = []

    @property
    def pending(self) -> int:
        """How many changes a power cut may take."""
        return len(self._pending)

    def apply(self, operation: Operation) -> None:
        """Let the disk hear of one operation."""
        _APPLY[operation.change](self, operation)

    def synced(self) -> Files:
        """What a power cut leaves at least: nothing that is pending."""
        return self.image(())

    def image(self, survivors: Sequence[int], *, torn: bool = False) -> Files:
        """What it leaves if these pending changes survive; of the last a half, if ``torn``."""
        image = _Image(dict(self._durable), {})
        for position in survivors:
            pending = self._pending[position]
            half = torn and position == survivors[-1]
            _put(image, pending, half=half)
        return {
            path.removeprefix(self._directory + "/"): bytes(image.content(file))
            for path, file in image.names.items()
        }

    def images(self) -> Iterator[Files]:
        """What a power cut can leave: every prefix of what is pending, whole and with the last of it
        torn, and each pending change alone or alone missing (disks reorder)."""
        everything = range(len(self._pending))
        for length in range(len(self._pending) + 1):
            yield self.image(everything[:length])
            yield self.image(everything[:length], torn=True)
        for position in everything:
            yield self.image([position])
            yield self.image([other for other in everything if other != position])

    def written(self, name: str) -> bytes:
        """The contents of a file as processes see it now, pending or not."""
        file = self._names.get(f"{self._directory}/{name}")
        if file is None:
            return b""
        image = _Image(dict(self._names), {})
        for pending in self._pending:
            if pending.file is file and pending.waits_for is file:
                _put(image, pending, half=False)
        return bytes(image.content(file))

    # --- operations ----------------------------------------------------------------------------

    def _create(self, operation: Operation) -> None:
        file = self._files[operation.file] = self._names[operation.path] = _File(bytearray())
        self._pending.append(_Pending(_parent(operation.path), operation, file))

    def _open(self, operation: Operation) -> None:
        self._files[operation.file] = self._names[operation.path]

    def _content(self, operation: Operation) -> None:
        file = self._files[operation.file]
        self._pending.append(_Pending(file, operation, file))

    def _rename(self, operation: Operation) -> None:
        file = self._names[operation.other] = self._names.pop(operation.path)
        self._pending.append(_Pending(_parent(operation.other), operation, file))

    def _unlink(self, operation: Operation) -> None:
        file = self._names.pop(operation.path)
        self._pending.append(_Pending(_parent(operation.path), operation, file))

    def _sync(self, operation: Operation) -> None:
        self._settle(self._files[operation.file])

    def _sync_directory(self, operation: Operation) -> None:
        self._settle(operation.path)

    def _settle(self, what: _File | str) -> None:
        """Make durable what waits for this."""
        image = _Image(self._durable, {})
        for pending in self._pending:
            if pending.waits_for == what:
                _put(image, pending, half=False)
                pending.file.content = image.content(pending.file)
        self._pending = [pending for pending in self._pending if pending.waits_for != what]


def _put(image: _Image, pending: _Pending, *, half: bool) -> None:
    """Put one pending change on an image."""
    operation = pending.operation
    match operation.change:
        case Change.CREATE:
            image.names[operation.path] = pending.file
        case Change.RENAME:
            image.names.pop(operation.path, None)
            image.names[operation.other] = pending.file
        case Change.UNLINK:
            image.names.pop(operation.path, None)
        case Change.TRUNCATE:
            content = image.content(pending.file)
            del content[operation.offset :]
            content.extend(bytes(operation.offset - len(content)))
        case _:
            data = operation.data[: len(operation.data) // 2] if half else operation.data
            content = image.content(pending.file)
            content.extend(bytes(max(0, operation.offset - len(content))))
            content[operation.offset : operation.offset + len(data)] = data


_APPLY: Final = {
    Change.CREATE: Disk._create,
    Change.OPEN: Disk._open,
    Change.WRITE: Disk._content,
    Change.TRUNCATE: Disk._content,
    Change.SYNC: Disk._sync,
    Change.SYNC_DIRECTORY: Disk._sync_directory,
    Change.RENAME: Disk._rename,
    Change.UNLINK: Disk._unlink,
}


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _parsed(log: bytes) -> Iterator[Operation]:
    at = 0
    while at < len(log):
        change, path_length, other_length, _, file, offset, length = _RECORD.unpack_from(log, at)
        at += _RECORD.size
        path, at = log[at : at + path_length].decode(), at + path_length
        other, at = log[at : at + other_length].decode(), at + other_length
        carried = length if change == Change.WRITE else 0
        data, at = log[at : at + carried], at + carried
        yield Operation(Change(change), file, offset, data, path, other)
