"""Signing keys of a ceremony in a PKCS#11 token, by securesystemslib's signer.

A key is named ``hsm:KEYID?label=TOKEN``, both as in securesystemslib: CKA_ID as a number, and the token's
label, percent-encoded. The PIN is asked for, or read from a private file, once in each command.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

import typer
from securesystemslib.exceptions import Error as SecureSystemsError
from securesystemslib.signer import HSMSigner, Signature, SSlibKey

from hwkm.cli.pin import obtain_pin
from hwkm.errors import TokenPinIncorrect, TokenPinLocked, TokenUnavailable
from hwkm.secret import SecretBytes

HSM_PREFIX: Final = "hsm:"
_MODULE_VARIABLE: Final = "PYKCS11LIB"
"""Where securesystemslib looks for the path of the token's library. A path is no secret."""


class TokenPin:
    """The PIN of a token, obtained when it is first needed."""

    def __init__(self, pin_file: Path | None) -> None:
        self._file = pin_file
        self._pin: SecretBytes | None = None

    def __call__(self, _what: str) -> str:
        """Return it as securesystemslib wants it.

        Raises:
            HwkmError: it cannot be obtained.
        """
        if self._pin is None:
            self._pin = obtain_pin("PIN of the token", self._file, option="--passphrase-file")
        return self._pin.expose().decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def wipe(self) -> None:
        """Forget it."""
        if self._pin is not None:
            self._pin.wipe()


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key in a token: its CKA_ID as a number, and the token's label, None if there is only one token."""

    key_id: int
    label: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name.

        Raises:
            typer.BadParameter: it is none.
        """
        parts = urlsplit(text)
        if f"{parts.scheme}:" == HSM_PREFIX and (not parts.path or parts.path.isdecimal()):
            label = parse_qs(parts.query).get("label", [None])[0]
            return cls(int(parts.path or HSMSigner.SCHEME_KEYID), label)
        raise typer.BadParameter(f"{text}: a key in a token is named hsm:KEYID?label=TOKEN")

    def public(self, module: Path | None, pin: TokenPin) -> SSlibKey:
        """Return the public key.

        Raises:
            TokenError: there is no such token or key, or the PIN is wrong.
        """
        if module is not None:
            os.environ[_MODULE_VARIABLE] = str(module)
        if not os.environ.get(_MODULE_VARIABLE):
            raise typer.BadParameter("the path of the token's library is needed", param_hint="--module")
        with _translated():
            _, key = HSMSigner.import_(self.key_id, self.label, pin)
        return key

    def signer(self, public: SSlibKey, pin: TokenPin) -> TokenSigner:
        """Return what signs with it."""
        return TokenSigner(self.key_id, public, pin, self.label)


class TokenSigner(HSMSigner):
    """securesystemslib's signer, with hwkm's errors. The PIN is forgotten after one signature."""

    def sign(self, payload: bytes) -> Signature:
        """Sign. Raises TokenError: the token has no such key, or refuses the PIN."""
        try:
            with _translated():
                return super().sign(payload)
        finally:
            if isinstance(self.pin_handler, TokenPin):
                self.pin_handler.wipe()


@contextmanager
def _translated() -> Iterator[None]:
    """Raise hwkm's errors. Those of python-pkcs11 are known by their names: the command does not import it."""
    try:
        yield
    except (ValueError, SecureSystemsError, OSError) as exc:
        raise TokenUnavailable(f"the token: {exc}") from exc
    except Exception as exc:
        if not type(exc).__module__.startswith("pkcs11"):
            raise
        match type(exc).__name__:
            case "PinIncorrect":
                raise TokenPinIncorrect("the token refused the PIN; another try may lock it") from exc
            case "PinLocked":
                raise TokenPinLocked("the token has locked its PIN") from exc
            case name:
                raise TokenUnavailable(f"the token: {name} {exc}".rstrip()) from exc
