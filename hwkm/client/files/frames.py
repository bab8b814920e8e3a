"""The body of an encrypted file: frames of AES-256-GCM, in order, the last one marked.

Number, length and being the last are authenticated with each frame, so frames can be neither
changed, reordered, dropped nor added. Memory is one frame, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hwkm.client.files.errors import FileDamaged
from hwkm.errors import LimitExceeded
from hwkm.formats.message import (
    FRAMES_MAX,
    IV_BYTES,
    LAST_FRAME,
    TAG_BYTES,
    MessageHeader,
    frame_aad,
    frame_head,
    frame_iv,
)
from hwkm.secret import SecretBytes

FRAME_BYTES: Final = 64 * 1024
"""What hwkm writes. 36 bytes are added to each."""


class Source(Protocol):
    """Bytes to read: fewer than asked for only at the end."""

    def read(self, size: int, /) -> bytes: ...


class Sink(Protocol):
    """Takes all the bytes it is given."""

    def write(self, data: bytes, /) -> int: ...


Progress = Callable[[int], None]
"""Called with a number of bytes of plaintext that are done."""


def no_progress(_: int) -> None:
    """Nobody is watching."""


def seal_frames(
    source: Source, sink: Sink, header: MessageHeader, frame_key: SecretBytes, progress: Progress
) -> int:
    """Encrypt all of ``source`` as frames; return how many bytes of plaintext there were.

    Raises:
        LimitExceeded: there are more than 2^32 - 1 frames of it.
    """
    cipher = AESGCM(frame_key.expose())
    number, total, chunk = 0, 0, source.read(header.frame_bytes)
    while True:
        number += 1
        if number > FRAMES_MAX:
            raise LimitExceeded(f"an encrypted file has at most {FRAMES_MAX} frames")
        # The last frame is held back until it is known to be the last, even when it is full.
        following = source.read(header.frame_bytes) if len(chunk) == header.frame_bytes else b""
        is_final = not following
        aad = frame_aad(header.message_id, number, len(chunk), is_final=is_final)
        sink.write(frame_head(number, len(chunk), is_final=is_final))
        sink.write(cipher.encrypt(frame_iv(number), chunk, aad))
        total += len(chunk)
        progress(len(chunk))
        if is_final:
            return total
        chunk = following


def open_frames(source: Source, header: MessageHeader, frame_key: SecretBytes) -> Iterator[bytes]:
    """Give the plaintext of each frame after verifying it; the source is then behind the last.

    Raises:
        FileDamaged: the body was cut, changed or reordered.
    """
    cipher = AESGCM(frame_key.expose())
    number, is_final = 0, False
    while not is_final:
        number += 1
        is_final, length = _read_head(source, number, header.frame_bytes)
        sealed = _read_exactly(source, length + TAG_BYTES, number)
        aad = frame_aad(header.message_id, number, length, is_final=is_final)
        try:
            chunk = cipher.decrypt(frame_iv(number), sealed, aad)
        except InvalidTag:
            raise FileDamaged(
                f"the file is damaged in frame {number} (of {header.frame_bytes} bytes)"
            ) from None
        yield chunk


def _read_head(source: Source, number: int, frame_bytes: int) -> tuple[bool, int]:
    """Return whether the frame is the last one, and the length of its ciphertext."""
    start = _read_exactly(source, 4, number)
    is_final = start == LAST_FRAME
    if is_final:
        start = _read_exactly(source, 4, number)
    if start + _read_exactly(source, IV_BYTES, number) != number.to_bytes(4, "big") + frame_iv(number):
        raise FileDamaged(f"the file is damaged at frame {number}: its number is not the next one")
    if not is_final:
        return False, frame_bytes
    length = int.from_bytes(_read_exactly(source, 4, number), "big")
    if length > frame_bytes:
        raise FileDamaged(f"the file is damaged: its last frame claims {length} bytes")
    return True, length


def _read_exactly(source: Source, size: int, number: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise FileDamaged(f"the file was cut short in frame {number}")
    return data
