"""Trusted domain keys: made with the security officer's PIN, once, at set-up.

Only the security officer (SO) may mark a key CKA_TRUSTED, and he sees no private object; only the user may
have private ones, and a public one would lie in the token unencrypted. So the SO makes session objects,
which are in working memory only, logs out, and the user copies them into the token as private objects.

A trusted domain key unwraps only to keys that are sensitive and CKA_WRAP_WITH_TRUSTED (its
CKA_UNWRAP_TEMPLATE), and the token wraps such keys by trusted keys only: so whoever has the user PIN, but
not the SO's, cannot get a customer master key out of the token. Rotation has no SO PIN at hand either:
it takes one of the spare keys made here.
"""

from __future__ import annotations

import ctypes
import secrets
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import pkcs11
from pkcs11.constants import Attribute, MechanismFlag
from pkcs11.mechanisms import KeyType

from hwkm.errors import ConfigError, TokenPinIncorrect, TokenUnavailable
from hwkm.secret import Pin
from hwkm.tokens.pkcs11.errors import translated
from hwkm.tokens.pkcs11.objects import Labels
from hwkm.tokens.pkcs11.session import UNWRAP_TEMPLATE, PlainSecretMapper, Session
from hwkm.tokens.uri import Pkcs11Uri

SPARES: Final = 4

_TRUE: Final = ctypes.c_ubyte(1)


def _unwrap_template() -> bytes:
    """Return CK_ATTRIBUTEs as bytes; what they point to lives as long as this module."""
    value = ctypes.addressof(_TRUE)
    required = (Attribute.SENSITIVE, Attribute.WRAP_WITH_TRUSTED)
    # CK_ATTRIBUTE: type, pointer to the value, its length; all unsigned longs.
    return b"".join(struct.pack("@LPL", int(attribute), value, 1) for attribute in required)


def make_spares(uri: Pkcs11Uri, pin: Pin, so_pin: Pin, labels: Labels) -> None:
    """Make trusted spare keys, to become domain keys.

    Raises:
        ConfigError: the security officer's PIN was refused.
        TokenPinIncorrect, TokenPinLocked: the user's was.
        TokenUnavailable: the token cannot do this; its maker's own tools may.
        TokenError: the hardware failed; what was made until then is in the inventory.
    """
    with closing(Session(uri, None)) as session:
        with _logged_in(session, so_pin=so_pin), _by_the_officer():
            keys = [_make(session.handle) for _ in range(SPARES)]
        with _logged_in(session, user_pin=pin), translated("keeping the trusted keys"):
            for key in keys:
                key.copy({Attribute.TOKEN: True, Attribute.PRIVATE: True, Attribute.LABEL: labels.spare})
                key.destroy()


def _make(session: Any) -> Any:
    return session.generate_key(
        KeyType.AES,
        256,
        id=secrets.token_bytes(16),
        capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
        template={
            Attribute.PRIVATE: False,
            Attribute.TRUSTED: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            UNWRAP_TEMPLATE: _unwrap_template(),
        },
    )


@contextmanager
def _by_the_officer() -> Iterator[None]:
    try:
        yield
    except pkcs11.PKCS11Error as exc:
        raise TokenUnavailable(
            f"this token does not let its security officer make trusted keys in this way: {type(exc).__name__}"
        ) from exc


@contextmanager
def _logged_in(session: Session, *, so_pin: Pin | None = None, user_pin: Pin | None = None) -> Iterator[None]:
    """Log in on a session of its own; the login counts for all sessions until that one is closed."""
    who = "the security officer" if so_pin else "the user"
    pin = {"so_pin": _text(so_pin)} if so_pin else {"user_pin": _text(user_pin)}
    with translated(f"logging in as {who}"), _officer_refused(so_pin):
        login = session.token.open(rw=True, attribute_mapper=PlainSecretMapper(), **pin)
    yield
    with translated(f"logging out as {who}"):
        login.close()


@contextmanager
def _officer_refused(so_pin: Pin | None) -> Iterator[None]:
    """Tell a refused SO PIN from a refused user PIN, which is marked and not offered again."""
    try:
        yield
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.PinLocked) as exc:
        if so_pin is None:
            raise
        raise ConfigError(
            f"the token refused the security officer's PIN ({type(exc).__name__}); tokens count wrong ones"
        ) from exc


def _text(pin: Pin | None) -> str:
    try:
        return pin.expose().decode("utf-8") if pin else ""
    except ValueError as exc:
        raise TokenPinIncorrect("the PIN is empty or not UTF-8; it was not tried") from exc
