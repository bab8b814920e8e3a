"""One logged-in read-write session on one token, the only one of this process.

A PKCS#11 login belongs to the process, not the session, so a second user of a library in one
process would share the login of the first: it is refused. Closing finalises the library, which
logs out and makes the next opening read the token (and, for SoftHSM, ``SOFTHSM2_CONF``) afresh.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pkcs11
from pkcs11.attributes import AttributeMapper
from pkcs11.constants import Attribute, ObjectClass

from hwkm.errors import TokenInUse, TokenPinIncorrect, TokenUnavailable
from hwkm.secret import Pin
from hwkm.tokens.pkcs11.errors import translated
from hwkm.tokens.uri import Pkcs11Uri

# python-pkcs11 has no name for it; its value is an array of CK_ATTRIBUTE (PKCS#11 v3.1, 4.10).
UNWRAP_TEMPLATE: Final = 0x40000212


class PlainSecretMapper(AttributeMapper):
    """Leaves the class of a secret key as bytes.

    python-pkcs11 builds a new Python *type* for each object handle it can classify, three times
    the cost of the ECDH in SoftHSM's own objects and cyclic garbage besides. A secret key whose
    class it does not recognise becomes a plain object, which can be read and destroyed: all that
    an agreed secret needs.
    """

    _SECRET_KEY = ObjectClass.SECRET_KEY

    def __init__(self) -> None:
        super().__init__()
        self.register_handler(UNWRAP_TEMPLATE, bytes, bytes)  # type: ignore[arg-type]

    def unpack_attributes(self, key: Attribute, value: bytes) -> Any:
        if key == Attribute.CLASS and super().unpack_attributes(key, value) == self._SECRET_KEY:
            return value
        return super().unpack_attributes(key, value)


_in_use: set[str] = set()


class Session:
    """A session. ``handle`` is python-pkcs11's session, ``token`` its token."""

    def __init__(self, uri: Pkcs11Uri, pin: Pin | None) -> None:
        """Load the library, find the token, log in once as the user, or not at all without a PIN.

        Raises:
            TokenUnavailable: no such library, or no such token.
            TokenInUse: this process has a session in this library already.
            TokenPinIncorrect, TokenPinLocked: the PIN was refused.
        """
        self.module_path = uri.module_path
        self._path = str(Path(uri.module_path).resolve())
        if self._path in _in_use:
            raise TokenInUse(f"this process already uses a token of {uri.module_path}")
        self._library: Any = _load(uri.module_path)
        _in_use.add(self._path)
        try:
            self.token: Any = _find_token(self._library, uri)
            self.handle: Any = _log_in(self.token, pin)
        except BaseException:
            self.close()
            raise

    @property
    def library(self) -> Any:
        """python-pkcs11's library, as long as the session is open."""
        return self._library

    def close(self) -> None:
        """Log out by finalising the library. May be called again."""
        if self._library is None:
            return
        library, self._library = self._library, None
        _in_use.discard(self._path)
        try:
            library.finalize()
        except pkcs11.PKCS11Error:
            # A token that was pulled out cannot be logged out of; nothing is left to release.
            return


def _load(module_path: str) -> Any:
    if not Path(module_path).is_file():
        raise TokenUnavailable(f"the PKCS#11 library {module_path} does not exist")
    with translated(f"loading {module_path}"):
        return pkcs11.lib(module_path)


def _find_token(library: Any, uri: Pkcs11Uri) -> Any:
    with translated("looking for the token"):
        tokens = [slot.get_token() for slot in library.get_slots(token_present=True)]
    matching = [token for token in tokens if _matches(token, uri)]
    if len(matching) != 1:
        wanted = uri.token or f"serial {uri.serial}"
        found = ", ".join(repr(token.label) for token in tokens if token.label) or "none"
        raise TokenUnavailable(
            f"{len(matching)} tokens match {wanted!r} in {uri.module_path}, not one; present: {found}"
            + _where_softhsm_looks(uri.module_path)
        )
    return matching[0]


def _where_softhsm_looks(module_path: str) -> str:
    """SoftHSM has no tokens but those of the configuration that its variable names: mostly that is what is wrong."""
    if "softhsm" not in module_path.lower():
        return ""
    return f"; SOFTHSM2_CONF is {os.environ.get('SOFTHSM2_CONF') or 'not set'}"


def _matches(token: Any, uri: Pkcs11Uri) -> bool:
    wanted = (uri.token, uri.serial, uri.manufacturer, uri.model)
    actual = (token.label, token.serial.decode("utf-8", "replace"), token.manufacturer_id, token.model)
    return all(want is None or want == have for want, have in zip(wanted, actual, strict=True))


def _log_in(token: Any, pin: Pin | None) -> Any:
    if pin is None:
        with translated("opening a session"):
            return token.open(rw=True, attribute_mapper=PlainSecretMapper())
    try:
        text = pin.expose().decode("utf-8")
    except ValueError as exc:
        raise TokenPinIncorrect("the PIN is empty or not UTF-8; it was not tried") from exc
    with translated("logging in"):
        return token.open(rw=True, user_pin=text, attribute_mapper=PlainSecretMapper())
