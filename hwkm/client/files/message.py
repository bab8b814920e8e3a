"""One encrypted file as a stream: seal it under a data key, or open it with one. No daemon here.

Plaintext is given frame by frame, each verified. Whether the file is whole is known only at its
end, so whoever keeps the plaintext under its final name waits for that (:mod:`hwkm.client.files`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from hwkm.client.files.errors import FileDamaged, NotEncrypted
from hwkm.client.files.footer import HashedSource
from hwkm.client.files.frames import (
    FRAME_BYTES,
    Progress,
    Sink,
    Source,
    no_progress,
    open_frames,
    seal_frames,
)
from hwkm.client.files.message_keys import commitment_of, frame_key_of, header_tag, verified_frame_key
from hwkm.errors import FormatError
from hwkm.formats.message import (
    HEADER_BYTES_MAX,
    MESSAGE_ID_BYTES,
    TAG_BYTES,
    MessageHeader,
    Suite,
    WrappedDataKey,
)
from hwkm.secret import SecretBytes


def seal(
    source: Source,
    sink: Sink,
    data_key: SecretBytes,
    wrapped: WrappedDataKey,
    context: Mapping[str, str],
    progress: Progress = no_progress,
    *,
    frame_bytes: int = FRAME_BYTES,
) -> int:
    """Encrypt all of ``source`` under a data key used for nothing else; return the plaintext's size."""
    message_id = secrets.token_bytes(MESSAGE_ID_BYTES)
    commitment = commitment_of(message_id, data_key)
    header = MessageHeader(Suite.COMMITTED, message_id, context, (wrapped,), frame_bytes, commitment)
    encoded = header.encode()
    with frame_key_of(header.suite, message_id, data_key) as frame_key:
        sink.write(encoded + header_tag(frame_key, encoded))
        return seal_frames(source, sink, header, frame_key, progress)


@dataclass(frozen=True, slots=True)
class SealedMessage:
    """The start of an encrypted file that was read, unverified, and the rest to read."""

    header: MessageHeader
    encoded: bytes
    tag: bytes
    rest: Source

    @classmethod
    def read(cls, source: Source) -> Self:
        """Read the header at the start of a source.

        Raises:
            NotEncrypted: there is none, or one of a form that is not read.
        """
        start = source.read(HEADER_BYTES_MAX)
        try:
            header, length = MessageHeader.parse(start)
        except FormatError as exc:
            raise NotEncrypted(str(exc)) from None
        tag = start[length : length + TAG_BYTES]
        if len(tag) < TAG_BYTES:
            raise NotEncrypted("the file ends within its header")
        return cls(header, start[:length], tag, _Resumed(start[length + TAG_BYTES :], source))

    def frames(self, data_key: SecretBytes) -> Iterator[bytes]:
        """Verify the header, then give the plaintext frame by frame; once only.

        What was given is the whole and unchanged plaintext only if this ends without an error.

        Raises:
            FileDamaged: the file was changed, cut or added to, or this is not its data key.
        """
        with verified_frame_key(self.header, self.encoded, self.tag, data_key) as frame_key:
            if self.header.suite is Suite.COMMITTED_SIGNED:
                hashed = HashedSource(self.rest)
                hashed.update(self.encoded + self.tag)
                yield from open_frames(hashed, self.header, frame_key)
                hashed.verify_footer(self.header)
            else:
                yield from open_frames(self.rest, self.header, frame_key)
        if self.rest.read(1):
            raise FileDamaged("something was added to the end of the file")


class _Resumed:
    """A source of which the start was read already."""

    def __init__(self, start: bytes, source: Source) -> None:
        self._start = memoryview(start)
        self._source = source

    def read(self, size: int) -> bytes:
        """As the source."""
        if not self._start:
            return self._source.read(size)
        first = bytes(self._start[:size])
        self._start = self._start[size:]
        return first + self._source.read(size - len(first)) if len(first) < size else first
