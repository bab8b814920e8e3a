"""Secrets that do not print, compare in constant time, and are wiped.

``SecretBytes`` owns a ``bytearray``. Reading it takes an explicit :meth:`SecretBytes.expose`, so
every exposure can be found by search. CPython cannot promise that no copy survives elsewhere
(an argument turned into ``bytes`` for a C library is a copy), which is why long-lived keys stay
in the token and these live for one request.
"""

from __future__ import annotations

import hmac
from types import TracebackType
from typing import NoReturn, Self


class SecretBytes:
    """A short-lived secret of a fixed length in bytes."""

    __slots__ = ("_buffer",)

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        self._buffer = bytearray(value)

    def expose(self) -> bytes:
        """Return the secret as plain bytes.

        Raises:
            ValueError: the secret was wiped.
        """
        if not self._buffer:
            raise ValueError("secret is empty or was wiped")
        return bytes(self._buffer)

    def wipe(self) -> None:
        """Overwrite the buffer with zeros and forget it. May be called again."""
        self._buffer[:] = bytes(len(self._buffer))  # of the same length, so in place
        self._buffer.clear()

    def __len__(self) -> int:
        return len(self._buffer)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return hmac.compare_digest(self._buffer, other._buffer)

    __hash__ = None  # type: ignore[assignment]  # a hash would leak equality through dict timing

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be pickled or copied")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.wipe()

    def __del__(self) -> None:
        if hasattr(self, "_buffer"):
            self.wipe()


class Pin(SecretBytes):
    """A token's user PIN, as UTF-8 bytes."""

    __slots__ = ()
