"""A customer master key at rest: what the store keeps of one version (``docs/spec/wrapped-key.md``).

Everything but ``blob`` and ``binding`` can be read by anyone; nothing here is secret, because the
blob is encrypted under a domain key inside the hardware. The *binding* makes a wrapped key useless
under another name or kind: it is a MAC, by a key in the hardware, of :meth:`WrappedKey.bound`.
Where the hardware's own object binds name and kind (a TPM's can), it is empty.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from hwkm.errors import FormatError
from hwkm.formats.key_kind import KeyKind, KeyName

BLOB_BYTES_MAX: Final = 6 * 1024
BINDING_BYTES: Final = 32
WRAPPED_KEY_BYTES_MAX: Final = 29 + BLOB_BYTES_MAX + BINDING_BYTES

_FORMAT: Final = 1
_HEAD: Final = struct.Struct(">BBBI16sIH")  # format, backend, kind, generation, key id, version, blob length
_GENERATION_MAX: Final = 2**32 - 1


class Backend(IntEnum):
    """What kind of hardware the blob is for."""

    MEMORY = 1
    PKCS11 = 2
    TPM = 3


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """One version of a CMK, wrapped by the domain key of ``generation`` (1 to 2^32-1).

    ``blob`` (1 to 6,144 bytes) is the backend's own; ``binding`` has 32 bytes or none.
    """

    backend: Backend
    kind: KeyKind
    generation: int
    name: KeyName
    blob: bytes
    binding: bytes = b""

    def __post_init__(self) -> None:
        if not 1 <= self.generation <= _GENERATION_MAX:
            raise FormatError(f"a domain key's generation is 1 to {_GENERATION_MAX}")
        if not 1 <= len(self.blob) <= BLOB_BYTES_MAX:
            raise FormatError(f"a wrapped key's blob has 1 to {BLOB_BYTES_MAX} bytes")
        if len(self.binding) not in (0, BINDING_BYTES):
            raise FormatError(f"a wrapped key's binding has {BINDING_BYTES} bytes or none")

    def bound(self) -> bytes:
        """What the binding is computed over: every byte before it."""
        return (
            _HEAD.pack(
                _FORMAT,
                self.backend,
                self.kind.code,
                self.generation,
                self.name.key_id,
                self.name.version,
                len(self.blob),
            )
            + self.blob
        )

    def encode(self) -> bytes:
        """The bytes that are stored: 29, the blob, the binding."""
        return self.bound() + self.binding

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote. The binding is not checked here; only the hardware can.

        Raises:
            FormatError: anything is not as it must be.
        """
        if not _HEAD.size < len(data) <= WRAPPED_KEY_BYTES_MAX:
            raise FormatError("a wrapped key has the wrong length")
        version, backend, kind, generation, key_id, key_version, length = _HEAD.unpack_from(data)
        if version != _FORMAT:
            raise FormatError(f"wrapped key format {version} is not {_FORMAT}")
        end = _HEAD.size + length
        if len(data) < end:
            raise FormatError("a wrapped key is cut short")
        name = KeyName(key_id, key_version)
        return cls(
            _backend(backend),
            KeyKind.of_code(kind),
            generation,
            name,
            data[_HEAD.size : end],
            data[end:],
        )


def _backend(number: int) -> Backend:
    try:
        return Backend(number)
    except ValueError:
        raise FormatError(f"no backend has the number {number}") from None
