"""PKCS#11 return values: which leave the session usable, and what the rest means."""

from __future__ import annotations

import pkcs11
import pytest

from hwkm.errors import (
    HwkmError,
    TokenBusy,
    TokenError,
    TokenFull,
    TokenInUse,
    TokenPinIncorrect,
    TokenPinLocked,
    TokenUnavailable,
)
from hwkm.tokens.pkcs11.errors import translate, translated


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pkcs11.PinIncorrect, TokenPinIncorrect),
        (pkcs11.PinLenRange, TokenPinIncorrect),
        (pkcs11.PinLocked, TokenPinLocked),
        (pkcs11.UserAlreadyLoggedIn, TokenInUse),
        (pkcs11.DeviceMemory, TokenFull),
        (pkcs11.SessionCount, TokenBusy),
        (pkcs11.PublicKeyInvalid, TokenError),
        (pkcs11.MechanismParamInvalid, TokenError),
        (pkcs11.DeviceRemoved, TokenUnavailable),
        (pkcs11.DeviceError, TokenUnavailable),
        (pkcs11.GeneralError, TokenUnavailable),
        (pkcs11.FunctionFailed, TokenUnavailable),
        (pkcs11.SessionHandleInvalid, TokenUnavailable),
        (pkcs11.ObjectHandleInvalid, TokenUnavailable),
        (pkcs11.UserNotLoggedIn, TokenUnavailable),
        (pkcs11.OperationActive, TokenUnavailable),
        (pkcs11.HostMemory, TokenUnavailable),
        (pkcs11.PKCS11Error, TokenUnavailable),
    ],
)
def test_each_return_value_has_its_error(error: type[pkcs11.PKCS11Error], kind: type[TokenError]) -> None:
    assert type(translate(error(), "testing")) is kind


def all_errors() -> list[type[pkcs11.PKCS11Error]]:
    return [
        item
        for item in vars(pkcs11).values()
        if isinstance(item, type) and issubclass(item, pkcs11.PKCS11Error)
    ]


@pytest.mark.parametrize("error", all_errors(), ids=lambda item: str(item.__name__))
def test_no_exception_of_the_library_gets_out(error: type[pkcs11.PKCS11Error]) -> None:
    with pytest.raises(HwkmError) as caught, translated("testing"):
        raise error
    assert isinstance(caught.value, TokenError)
    assert "testing" in str(caught.value)
