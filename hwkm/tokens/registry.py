"""Which backend serves which token URI. A backend's library is loaded when it is first used.

Every function takes the URI as text and the PIN, and raises :class:`hwkm.errors.FormatError` for
a URI that is not understood, and only :class:`hwkm.errors.TokenError` for what hardware does.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final, Protocol, cast

from hwkm.errors import TokenPinIncorrect
from hwkm.secret import Pin
from hwkm.tokens.token import Token
from hwkm.tokens.uri import MemoryUri, Pkcs11Uri, TokenUri, TpmUri, parse_token_uri


class Backend(Protocol):
    """What a backend module offers; the contract of the functions below."""

    def open_token(self, uri: TokenUri, pin: Pin) -> Token: ...
    def provision(self, uri: TokenUri, pin: Pin, so_pin: Pin | None = None) -> None: ...
    def add_domain(self, uri: TokenUri, pin: Pin, so_pin: Pin | None = None) -> None: ...
    def inventory(self, uri: TokenUri, pin: Pin) -> list[str]: ...
    def destroy(self, uri: TokenUri, pin: Pin) -> None: ...


# Names, not modules: hwkm for a TPM must run where no PKCS#11 library is installed.
_BACKENDS: Final[Mapping[type[TokenUri], str]] = MappingProxyType(
    {
        Pkcs11Uri: "hwkm.tokens.pkcs11.backend",
        TpmUri: "hwkm.tokens.tpm.backend",
        MemoryUri: "hwkm.tokens.memory",
    }
)


def open_token(uri: str, pin: Pin) -> Token:
    """Open a token that was provisioned. The PIN is tried exactly once.

    Raises:
        TokenNotProvisioned: the token holds nothing of hwkm.
        AnchorTampered: keys and anchor do not belong together, or one of them is missing.
        TokenPinIncorrect, TokenPinLocked: the PIN was refused.
        TokenUnavailable: the token or its library is not there.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    return _backend(parsed).open_token(parsed, pin)


def provision(uri: str, pin: Pin, so_pin: Pin | None = None) -> None:
    """Make the cohort key, the audit key, domain key 1, and an anchor with epoch 0 and an empty root.

    With the security officer's PIN of a PKCS#11 token the domain keys are *trusted* ones: what that is
    worth and costs is in ``docs/operations/domain-keys.md``. A token that cannot keep customer master
    keys gets no domain key, and serves vaults only.

    The anchor is made last, so a token on which this was interrupted does not open; it is
    reported by :func:`inventory` and cleared by :func:`destroy`, never completed in silence.

    Raises:
        TokenAlreadyProvisioned: something of hwkm exists; the message lists all of it.
        TokenFull: no room; what was made until then is listed by :func:`inventory`.
        TokenError: the hardware failed.
        ConfigError: the PIN is too short for this kind of token, the security officer's was refused, or
            the token has none.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    _backend(parsed).provision(parsed, pin, so_pin)


def add_domain(uri: str, pin: Pin, so_pin: Pin | None = None) -> None:
    """Make domain key 1 in a token that was set up without one; with the SO PIN, also trusted spare keys.

    Raises:
        TokenAlreadyProvisioned: it has a domain key, and no SO PIN was given.
        UnsupportedKind: the token cannot keep customer master keys.
        TokenError: as :func:`open_token` and :func:`provision`; what was made is in the inventory.
        ConfigError, FormatError: as :func:`provision`.
    """
    parsed = _parse(uri, pin)
    _backend(parsed).add_domain(parsed, pin, so_pin)


def inventory(uri: str, pin: Pin) -> list[str]:
    """Return one line for each object of hwkm in the token, with a digest that identifies it.

    Raises:
        TokenError: the hardware failed or refused the PIN.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    return _backend(parsed).inventory(parsed, pin)


def destroy(uri: str, pin: Pin) -> None:
    """Destroy exactly what :func:`inventory` lists, the anchor first. It cannot be undone.

    Raises:
        TokenError: the hardware failed or refused the PIN; some objects may be left.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    _backend(parsed).destroy(parsed, pin)


def _parse(uri: str, pin: Pin) -> TokenUri:
    if not len(pin):
        raise TokenPinIncorrect("the PIN is empty; it was not tried")
    return parse_token_uri(uri)


def _backend(uri: TokenUri) -> Backend:
    return cast(Backend, import_module(_BACKENDS[type(uri)]))
