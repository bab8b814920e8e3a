"""PKCS#11 return values to hwkm's errors. No other exception leaves this package.

PKCS#11 says little about what state a session is in after a failure, and tokens differ, so every
return value that is not known to be harmless means :class:`TokenUnavailable`: the core process
ends and starts again with a new session.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pkcs11

from hwkm.errors import (
    TokenBusy,
    TokenError,
    TokenFull,
    TokenInUse,
    TokenPinIncorrect,
    TokenPinLocked,
    TokenUnavailable,
)

# Refused before the token did anything: the request may be made again, elsewhere or later.
# PKCS#11 v3.1, 5.1: CKR_DEVICE_MEMORY means no room for the operation; CKR_SESSION_COUNT no room
# for a session.
NOT_APPLIED: Final[dict[type[pkcs11.PKCS11Error], type[TokenError]]] = {
    pkcs11.DeviceMemory: TokenFull,
    pkcs11.SessionCount: TokenBusy,
    pkcs11.TokenWriteProtected: TokenFull,
}
_LOGIN: Final[dict[type[pkcs11.PKCS11Error], type[TokenError]]] = {
    pkcs11.PinIncorrect: TokenPinIncorrect,
    pkcs11.PinInvalid: TokenPinIncorrect,
    pkcs11.PinLenRange: TokenPinIncorrect,
    pkcs11.PinExpired: TokenPinLocked,
    pkcs11.PinLocked: TokenPinLocked,
    pkcs11.UserAlreadyLoggedIn: TokenInUse,
    pkcs11.AnotherUserAlreadyLoggedIn: TokenInUse,
}
_REQUEST: Final = (
    pkcs11.ArgumentsBad,
    pkcs11.DataInvalid,
    pkcs11.DataLenRange,
    pkcs11.DomainParamsInvalid,
    pkcs11.FunctionNotSupported,
    pkcs11.MechanismInvalid,
    pkcs11.MechanismParamInvalid,
    pkcs11.PublicKeyInvalid,
    pkcs11.TemplateIncomplete,
    pkcs11.TemplateInconsistent,
)


def translate(error: pkcs11.PKCS11Error, doing: str) -> TokenError:
    """Return the error for a failure of an operation that changes nothing, or of a login."""
    name = type(error).__name__
    known = NOT_APPLIED.get(type(error)) or _LOGIN.get(type(error))
    if known is not None:
        return known(f"{doing}: the token answered {name}")
    if isinstance(error, _REQUEST):
        return TokenError(f"{doing}: the token refused the request: {name}")
    return TokenUnavailable(f"{doing}: the token failed: {name} {error}".rstrip())


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise hwkm's errors instead of python-pkcs11's. ``doing`` says what was attempted."""
    try:
        yield
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, doing) from exc
