"""A data key: its plaintext to use at once and forget, its wrapped form to keep beside the data."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from hwkm.secret import SecretBytes
from hwkm.wire import key_api


@dataclass(frozen=True, slots=True, repr=False)
class DataKey:
    """Plaintext (secret), ciphertext (``wrapped``), and which version of which key wrapped it.

    Leaving a ``with`` wipes the plaintext.
    """

    plaintext: SecretBytes
    wrapped: bytes
    key: str
    """Key ARN."""
    version: int

    def wipe(self) -> None:
        """Wipe the plaintext."""
        self.plaintext.wipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.wipe()

    @classmethod
    def all_of(cls, answer: key_api.DataKeys) -> tuple[Self, ...]:
        """From the daemon's answer."""
        return tuple(
            cls(SecretBytes(item.plaintext), item.ciphertext, answer.key, answer.version)
            for item in answer.items
        )


@dataclass(frozen=True, slots=True, repr=False)
class DataKeyPair:
    """Public key (SPKI DER), private key (PKCS#8 DER, secret) and its ciphertext (``wrapped``).

    Leaving a ``with`` wipes the private key.
    """

    public_key: bytes
    private_key: SecretBytes
    wrapped: bytes
    key: str
    """Key ARN."""
    version: int

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.private_key.wipe()
