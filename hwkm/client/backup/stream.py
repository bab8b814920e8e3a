"""The payload of a backup: the STREAM construction over AES-256-GCM, 64 KiB at a time.

Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance", 2015, as age uses it: chunk n is encrypted with nonce n (11 bytes big endian)
and a last byte that is 1 for the last chunk only, so chunks can be neither reordered nor dropped.
Every chunk but the last is full; the last is empty only in an empty payload. A key is used for
one payload.
"""

from __future__ import annotations

from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hwkm.client.backup.errors import BackupDamaged
from hwkm.secret import SecretBytes

CHUNK_BYTES: Final = 64 * 1024
TAG_BYTES: Final = 16
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES

_COUNTER_BYTES: Final = 11


class Source(Protocol):
    """Bytes to read: fewer than asked for only at the end."""

    def read(self, size: int, /) -> bytes: ...


class Sink(Protocol):
    """Takes all the bytes it is given."""

    def write(self, data: bytes, /) -> int: ...


class SealingWriter:
    """A file to write plaintext to; :meth:`finish` seals the last chunk."""

    def __init__(self, sink: Sink, key: SecretBytes) -> None:
        self._sink = sink
        self._cipher = AESGCM(key.expose())
        self._pending = bytearray()
        self._counter = 0
        self._position = 0

    def write(self, data: bytes) -> int:
        """Take in plaintext, and pass on every chunk that is now known not to be the last."""
        self._pending += data
        self._position += len(data)
        if len(self._pending) > CHUNK_BYTES:
            self._seal_full_chunks()
        return len(data)

    def tell(self) -> int:
        """How many bytes of plaintext were written."""
        return self._position

    def finish(self) -> None:
        """Seal what is left as the last chunk. Nothing is written after this."""
        self._seal(bytes(self._pending), is_last=True)
        self._pending.clear()

    def _seal_full_chunks(self) -> None:
        """The last chunk is held back, even when it is full."""
        whole = (len(self._pending) - 1) // CHUNK_BYTES
        with memoryview(self._pending) as view:
            for start in range(0, whole * CHUNK_BYTES, CHUNK_BYTES):
                self._seal(view[start : start + CHUNK_BYTES], is_last=False)
        del self._pending[: whole * CHUNK_BYTES]

    def _seal(self, chunk: bytes | memoryview, *, is_last: bool) -> None:
        self._sink.write(self._cipher.encrypt(_nonce(self._counter, is_last=is_last), chunk, None))
        self._counter += 1


class OpeningReader:
    """A file to read plaintext from. Nothing is returned that was not verified."""

    def __init__(self, source: Source, key: SecretBytes) -> None:
        self._source = source
        self._cipher = AESGCM(key.expose())
        self._next = source.read(SEALED_CHUNK_BYTES)
        self._counter = 0
        self._is_finished = False
        self._pending = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; none at the verified end.

        Raises:
            BackupDamaged: the payload was cut, changed or reordered.
        """
        while not self._pending and not self._is_finished:
            self._pending = memoryview(self._open_next())
        data = bytes(self._pending[:size])
        self._pending = self._pending[size:]
        return data

    def drain(self) -> None:
        """Verify what is left.

        Raises:
            BackupDamaged: as :meth:`read`.
        """
        while self.read(CHUNK_BYTES):
            pass

    def _open_next(self) -> bytes:
        sealed, self._next = self._next, self._source.read(SEALED_CHUNK_BYTES)
        is_last = not self._next
        chunk = self._open(sealed, is_last=is_last)
        if not chunk and self._counter:
            raise BackupDamaged("the backup ends with an empty chunk, which no writer makes")
        self._counter += 1
        self._is_finished = is_last
        return chunk

    def _open(self, sealed: bytes, *, is_last: bool) -> bytes:
        try:
            return self._cipher.decrypt(_nonce(self._counter, is_last=is_last), sealed, None)
        except InvalidTag:
            raise BackupDamaged(self._what_is_wrong(sealed, is_last=is_last)) from None

    def _what_is_wrong(self, sealed: bytes, *, is_last: bool) -> str:
        """For people only: a chunk that opens as the other kind tells a cut or an extended file."""
        try:
            self._cipher.decrypt(_nonce(self._counter, is_last=not is_last), sealed, None)
        except InvalidTag:
            return f"the backup is damaged in chunk {self._counter} (of 64 KiB)"
        if is_last:
            return f"the backup was cut short after chunk {self._counter} (of 64 KiB)"
        return "something was added to the end of the backup"


def _nonce(counter: int, *, is_last: bool) -> bytes:
    return counter.to_bytes(_COUNTER_BYTES, "big") + bytes([is_last])
