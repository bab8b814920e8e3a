"""Rewrap the files of one batch: look at them, have their data keys wrapped anew, exchange headers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from hwkm.client.backup.errors import SourceUnreadable
from hwkm.client.files.encryption import PROVIDER
from hwkm.client.files.errors import FileDamaged, FileSigned, NotEncrypted
from hwkm.client.files.header_swap import HeaderSwap, HeldFile, held, replace_by_copy, swap_in_place
from hwkm.client.files.message_keys import header_tag, verified_frame_key
from hwkm.client.files.targets import Target, Targets, key_name_of
from hwkm.client.key_procedures import Ciphertext, ReEncrypted
from hwkm.client.keys import KeyClient
from hwkm.errors import FormatError, HwkmError, StorageUnavailable, TokenError, Unavailable
from hwkm.formats.message import TAG_BYTES, MessageHeader, Suite, WrappedDataKey, is_message
from hwkm.secret import SecretBytes

Result = TypeVar("Result")

STOPS: Final = (Unavailable, TokenError)
"""No other file will fare better."""


class Outcome(StrEnum):
    """What became of a file."""

    REWRAPPED = "rewrapped"
    CURRENT = "current"
    """It was under the right key and version already."""
    LEFT = "left"
    """It is no encrypted file, or is not under the key that was asked for."""
    RECOVERED = "recovered"
    """A header that a crash left behind was written again."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileResult:
    """A file and what became of it; the error if it failed."""

    path: Path
    outcome: Outcome
    error: HwkmError | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Files of one directory."""

    directory: Path
    names: tuple[str, ...]


@dataclass(slots=True)
class _Sealed:
    """A file that is to be rewrapped, through the steps of that."""

    file: HeldFile
    header: MessageHeader
    encoded: bytes
    tag: bytes
    index: int
    target: Target
    data_key: SecretBytes = field(default_factory=lambda: SecretBytes(b""))
    wrapped: ReEncrypted | None = None

    @property
    def old(self) -> WrappedDataKey:
        """The wrapped data key that is to be exchanged."""
        return self.header.data_keys[self.index]

    def wipe(self) -> None:
        """Wipe the data key."""
        self.data_key.wipe()


class BatchRewrapper:
    """Rewraps batches; shared by the threads."""

    def __init__(self, client: KeyClient, *, to: str | None, only_from: str | None, dry_run: bool) -> None:
        self._client = client
        self._targets = Targets(client, to)
        if to:
            self._targets.of(to)  # a wrong name is said before anything is done
        self._only_from = client.show(only_from).arn.encode() if only_from else None
        self._dry_run = dry_run

    def rewrap(self, batch: Batch) -> list[FileResult]:
        """Rewrap the files of a batch.

        Raises:
            Unavailable, TokenError: the daemon or its hardware failed; nothing, or all, of it was done.
        """
        results: list[FileResult] = []
        with ExitStack() as stack:
            found: list[_Sealed] = []
            for name in batch.names:
                looked_at = self._look_at(batch.directory / name, stack)
                if isinstance(looked_at, FileResult):
                    results.append(looked_at)
                else:
                    found.append(looked_at)
            if self._dry_run:
                return results + [_done(sealed) for sealed in found]
            for sealed in found:
                stack.callback(sealed.wipe)
            results += self._exchange(batch.directory, found)
        return results

    # --- looking at a file -----------------------------------------------------------------

    def _look_at(self, path: Path, stack: ExitStack) -> _Sealed | FileResult:
        try:
            file = stack.enter_context(held(path, to_read=self._dry_run))
            start = file.head()
            if not is_message(start):
                return FileResult(path, Outcome.LEFT)
            return self._sealed(file, start)
        except _Settled as settled:
            return FileResult(path, settled.outcome)
        except STOPS:
            raise
        except HwkmError as exc:
            return FileResult(path, Outcome.FAILED, exc)
        except OSError as exc:
            return FileResult(path, Outcome.FAILED, SourceUnreadable(f"{path}: {exc.strerror}"))

    def _sealed(self, file: HeldFile, start: bytes) -> _Sealed:
        try:
            header, length = MessageHeader.parse(start)
        except FormatError as exc:
            raise NotEncrypted(f"{file.path}: {exc}") from None
        index = self._which_key(header)
        wrapped = header.data_keys[index]
        target = self._targets.of(wrapped.key_info.decode("ascii", "replace"))
        if target.has(wrapped.wrapped) and wrapped.key_info == target.arn.encode():
            raise _Settled(Outcome.CURRENT)
        if header.suite is Suite.COMMITTED_SIGNED:
            raise FileSigned(
                f"{file.path} is signed: its header cannot be changed; decrypt it and encrypt it again"
            )
        return _Sealed(file, header, start[:length], start[length : length + TAG_BYTES], index, target)

    def _which_key(self, header: MessageHeader) -> int:
        """The place of the one wrapped data key that is by this service and of the right key."""
        ours = [
            index
            for index, wrapped in enumerate(header.data_keys)
            if wrapped.provider == PROVIDER and key_name_of(wrapped.wrapped) is not None
            if self._only_from in (None, wrapped.key_info)
        ]
        if not ours:
            raise _Settled(Outcome.LEFT)
        if len(ours) > 1:
            raise NotEncrypted("several wrapped data keys of the file are by this service; use --from")
        return ours[0]

    # --- exchanging the key ------------------------------------------------------------------

    def _exchange(self, directory: Path, found: list[_Sealed]) -> list[FileResult]:
        results: list[FileResult] = []
        for step in (self._open, self._wrap, self._check):
            found = _kept(found, step(found), results)
        prepared = [(sealed, _new_header(sealed)) for sealed in found]
        in_place = [(s, new) for s, new in prepared if len(new) == len(s.encoded) + TAG_BYTES]
        results += _write_in_place(directory, in_place)
        for sealed, new in prepared:
            if len(new) != len(sealed.encoded) + TAG_BYTES:
                results.append(_write_copy(sealed, new))
        return results

    def _open(self, found: list[_Sealed]) -> list[HwkmError | None]:
        """Decrypt the data keys, and verify headers with them: no header gets a new tag that had not a right one."""
        items = [Ciphertext(sealed.old.wrapped, sealed.header.context) for sealed in found]
        opened = _each(self._client.decrypt_many, items)
        return [_take_data_key(sealed, result) for sealed, result in zip(found, opened, strict=True)]

    def _wrap(self, found: list[_Sealed]) -> list[HwkmError | None]:
        """Wrap them for their targets, inside the core."""
        failures: dict[int, HwkmError] = {}
        for target in {sealed.target for sealed in found}:
            group = [sealed for sealed in found if sealed.target == target]
            items = [Ciphertext(sealed.old.wrapped, sealed.header.context) for sealed in group]
            answers = _each(partial(self._client.re_encrypt_many, target.arn), items)
            for sealed, answer in zip(group, answers, strict=True):
                if isinstance(answer, HwkmError):
                    failures[id(sealed)] = answer
                else:
                    sealed.wrapped = answer
        return [failures.get(id(sealed)) for sealed in found]

    def _check(self, found: list[_Sealed]) -> list[HwkmError | None]:
        """See that the new wrapped keys open, and to the same data keys."""
        items = [
            Ciphertext(sealed.wrapped.ciphertext, sealed.header.context) for sealed in found if sealed.wrapped
        ]
        again = _each(self._client.decrypt_many, items)
        return [_difference(sealed, key) for sealed, key in zip(found, again, strict=True)]


class _Settled(Exception):
    """There is nothing to do for a file."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def _each(
    ask_for: Callable[[Sequence[Ciphertext]], tuple[Result | HwkmError, ...]], items: Sequence[Ciphertext]
) -> Sequence[Result | HwkmError]:
    """The result of each item; an error of the whole request is that of each, unless it stops everything."""
    try:
        return ask_for(items)
    except STOPS:
        raise
    except HwkmError as exc:
        return [exc] * len(items)


def _kept(
    found: list[_Sealed], failures: Sequence[HwkmError | None], results: list[FileResult]
) -> list[_Sealed]:
    for sealed, failure in zip(found, failures, strict=True):
        if failure:
            results.append(FileResult(sealed.file.path, Outcome.FAILED, failure))
    return [sealed for sealed, failure in zip(found, failures, strict=True) if not failure]


def _take_data_key(sealed: _Sealed, result: SecretBytes | HwkmError) -> HwkmError | None:
    if isinstance(result, HwkmError):
        return result
    sealed.data_key = result
    try:
        verified_frame_key(sealed.header, sealed.encoded, sealed.tag, result).wipe()
    except FileDamaged as exc:
        return exc
    return None


def _difference(sealed: _Sealed, again: SecretBytes | HwkmError) -> HwkmError | None:
    if isinstance(again, HwkmError):
        return again
    with again:
        if again != sealed.data_key:
            return FileDamaged("the daemon wrapped another data key than that of the file")
    return None


def _new_header(sealed: _Sealed) -> bytes:
    assert sealed.wrapped is not None
    key = WrappedDataKey(PROVIDER, sealed.wrapped.key.encode("ascii"), sealed.wrapped.ciphertext)
    encoded = sealed.header.with_data_key(sealed.index, key).encode()
    with verified_frame_key(sealed.header, sealed.encoded, sealed.tag, sealed.data_key) as frame_key:
        return encoded + header_tag(frame_key, encoded)


def _write_in_place(directory: Path, prepared: Sequence[tuple[_Sealed, bytes]]) -> list[FileResult]:
    if not prepared:
        return []
    swaps = [
        (sealed.file, HeaderSwap(os.fsencode(sealed.file.path.name), sealed.encoded + sealed.tag, new))
        for sealed, new in prepared
    ]
    try:
        swap_in_place(directory, swaps)
    except OSError as exc:
        failure = StorageUnavailable(f"cannot write in {directory}: {exc.strerror}; run it again")
        return [FileResult(sealed.file.path, Outcome.FAILED, failure) for sealed, _ in prepared]
    return [_done(sealed) for sealed, _ in prepared]


def _write_copy(sealed: _Sealed, new: bytes) -> FileResult:
    path = sealed.file.path
    try:
        replace_by_copy(sealed.file, len(sealed.encoded) + TAG_BYTES, new)
    except HwkmError as exc:
        return FileResult(path, Outcome.FAILED, exc)
    except OSError as exc:
        failure = StorageUnavailable(f"cannot write {path} anew: {exc.strerror}; it is unchanged")
        return FileResult(path, Outcome.FAILED, failure)
    return _done(sealed)


def _done(sealed: _Sealed) -> FileResult:
    return FileResult(sealed.file.path, Outcome.REWRAPPED)
