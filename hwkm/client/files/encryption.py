"""Encrypt and decrypt files and streams: the daemon for their data keys, :mod:`message` for their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hwkm import errors
from hwkm.client.backup import output
from hwkm.client.data_key import DataKey
from hwkm.client.files.errors import (
    ContextMismatch,
    FileSigned,
    NotEncrypted,
    WrongFileKey,
)
from hwkm.client.files.frames import Progress, Sink, Source, no_progress
from hwkm.client.files.message import SealedMessage, seal
from hwkm.client.files.source import reading
from hwkm.client.keys import KeyClient
from hwkm.errors import HwkmError
from hwkm.formats.message import MessageHeader, Suite, WrappedDataKey
from hwkm.secret import SecretBytes

PROVIDER: Final = b"aws-kms"
"""What the AWS Encryption SDK calls a key service with ARNs, ours among them."""

_NOT_THIS_ONE: Final = (
    errors.AccessDenied,
    errors.CiphertextInvalid,
    errors.FormatError,
    errors.IncorrectKey,
    errors.InvalidArn,
    errors.KeyDisabled,
    errors.KeyNotFound,
    errors.KeyStateInvalid,
    errors.KeyUsageInvalid,
)
"""Another of the file's wrapped data keys may do."""


@dataclass(frozen=True, slots=True)
class Encrypted:
    """What was encrypted: size of the plaintext in bytes, version and ARN of the key."""

    content_bytes: int
    key: str
    version: int


@dataclass(frozen=True, slots=True)
class Decrypted:
    """What was decrypted: size of the plaintext in bytes, and the file's header."""

    content_bytes: int
    header: MessageHeader


def encrypt_file(
    client: KeyClient,
    source: Path,
    target: Path,
    key: str,
    context: Mapping[str, str] | None = None,
    progress: Progress = no_progress,
) -> Encrypted:
    """Encrypt a file into a new file (mode 0600) under a new data key.

    Raises:
        OutputExists, SourceUnreadable, StorageUnavailable, and what the daemon says: nothing was left behind.
    """
    with reading(source) as plain, output.new_file(target) as file:
        return encrypt_stream(client, plain, file, key, context, progress)


def encrypt_stream(
    client: KeyClient,
    source: Source,
    sink: Sink,
    key: str,
    context: Mapping[str, str] | None = None,
    progress: Progress = no_progress,
) -> Encrypted:
    """Encrypt a stream under a new data key."""
    with client.generate_data_key(key, context or {}) as data_key:
        size = seal(source, sink, data_key.plaintext, wrapped_by(data_key), context or {}, progress)
    return Encrypted(size, data_key.key, data_key.version)


def decrypt_file(
    client: KeyClient,
    source: Path,
    target: Path,
    *,
    key: str | None = None,
    context: Mapping[str, str] | None = None,
    progress: Progress = no_progress,
) -> Decrypted:
    """Decrypt a file into a new file (mode 0600), which gets its name when all of it is verified.

    ``key``: refuse a file under another one. ``context``: refuse a file without these pairs.

    Raises:
        FileDamaged, NotEncrypted, WrongFileKey, ContextMismatch, OutputExists, SourceUnreadable,
        StorageUnavailable, and what the daemon says: nothing was left behind.
    """
    with reading(source) as sealed, output.new_file(target) as file:
        return decrypt_stream(client, sealed, file, key=key, context=context, progress=progress)


def decrypt_stream(
    client: KeyClient,
    source: Source,
    sink: Sink,
    *,
    key: str | None = None,
    context: Mapping[str, str] | None = None,
    progress: Progress = no_progress,
    to_the_end: bool = True,
) -> Decrypted:
    """Decrypt a stream. ``sink`` gets each frame when it is verified, so before the end is.

    ``to_the_end``: whoever reads from the sink waits for the end. Where nobody does (a pipe), a signed
    file is refused, because its signature comes last.

    Raises:
        FileDamaged: what ``sink`` got is a true beginning of the plaintext (of a file that is not
            signed), and not all of it.
    """
    message = SealedMessage.read(source)
    require_context(message.header, context or {})
    if message.header.suite is Suite.COMMITTED_SIGNED and not to_the_end:
        raise FileSigned("the file is signed, and its signature comes last: decrypt it into a file")
    size = 0
    with unwrapped(client, message.header, key) as data_key:
        for chunk in message.frames(data_key):
            sink.write(chunk)
            size += len(chunk)
            progress(len(chunk))
    return Decrypted(size, message.header)


def read_header(path: Path) -> MessageHeader:
    """What an encrypted file says of itself; unverified until its data key is unwrapped.

    Raises:
        NotEncrypted, SourceUnreadable: it is none, or cannot be read.
    """
    with reading(path) as source:
        return SealedMessage.read(source).header


def wrapped_by(data_key: DataKey) -> WrappedDataKey:
    """A data key as it goes into a header."""
    return WrappedDataKey(PROVIDER, data_key.key.encode("ascii"), data_key.wrapped)


def require_context(header: MessageHeader, wanted: Mapping[str, str]) -> None:
    """Refuse a file that lacks pairs that it should have.

    Raises:
        ContextMismatch: it does.
    """
    for name, value in wanted.items():
        if header.context.get(name) != value:
            raise ContextMismatch(f"the file's encryption context lacks {name}={value}")


def unwrapped(client: KeyClient, header: MessageHeader, key: str | None) -> SecretBytes:
    """The data key of a file, by the first of its wrappings that the daemon opens.

    Raises:
        WrongFileKey: none of them is by a key service.
        HwkmError: what the daemon says of the last one.
    """
    failure: HwkmError = WrongFileKey("the file is under no key of a key service")
    for wrapped in header.data_keys:
        if wrapped.provider != PROVIDER:
            continue
        try:
            named = key or wrapped.key_info.decode("ascii")
            return client.decrypt(wrapped.wrapped, header.context, key=named)
        except UnicodeDecodeError:
            failure = NotEncrypted("the file names its key by something that is no ARN")
        except _NOT_THIS_ONE as exc:
            failure = exc
    if isinstance(failure, errors.IncorrectKey) and key:
        raise WrongFileKey(f"the file is not under {key}")
    raise failure
