"""What a PKCS#11 token tells of hwkm's keys, for others to read (``docs/spec/evidence.md``).

A token proves none of it to others: it is the word of who asked it.
"""

from __future__ import annotations

from datetime import date
from enum import Enum
from typing import Any, Final

from pkcs11 import PKCS11Error
from pkcs11.constants import Attribute, ObjectClass

from hwkm.formats.evidence import Pkcs11Module
from hwkm.tokens.pkcs11.errors import translated
from hwkm.tokens.pkcs11.objects import Labels, find
from hwkm.tokens.pkcs11.session import Session

# Parts of a private key. A token whose key is sensitive refuses them; we do not even ask.
_SECRET: Final = frozenset(
    {
        Attribute.VALUE,
        Attribute.PRIVATE_EXPONENT,
        Attribute.PRIME_1,
        Attribute.PRIME_2,
        Attribute.EXPONENT_1,
        Attribute.EXPONENT_2,
        Attribute.COEFFICIENT,
    }
)
_TEXT_MAX: Final = 2048


def describe_module(session: Session, labels: Labels) -> Pkcs11Module:
    """Ask the token for everything it tells.

    Raises:
        TokenError: the hardware failed.
    """
    handle = session.handle
    with translated("asking the token for its evidence"):
        return Pkcs11Module(
            audit_key=_facts(handle, ObjectClass.PRIVATE_KEY, labels.audit),
            audit_public_key=_facts(handle, ObjectClass.PUBLIC_KEY, labels.audit),
            cohort_key=_facts(handle, ObjectClass.PRIVATE_KEY, labels.cohort),
            cohort_public_key=_facts(handle, ObjectClass.PUBLIC_KEY, labels.cohort),
            description=_description(session),
            mechanisms=tuple(sorted({_text(item) for item in session.token.slot.get_mechanisms()})),
        )


def _facts(session: Any, kind: ObjectClass, label: str) -> dict[str, str]:
    """Return every attribute that the token tells, by its name in PKCS#11."""
    (item,) = find(session, kind, label)
    facts = {}
    for attribute in Attribute:
        if attribute in _SECRET:
            continue
        try:
            facts[f"CKA_{attribute.name}"] = _text(item[attribute])
        except (PKCS11Error, NotImplementedError, KeyError, ValueError):
            continue  # the object has no such attribute, or it is of a form that nobody knows
    return facts


def _description(session: Session) -> dict[str, str]:
    token, library = session.token, session.library
    slot = token.slot
    return {
        "cryptoki version": _version(library.cryptoki_version),
        "library description": library.library_description,
        "library manufacturer": library.manufacturer_id,
        "library version": _version(library.library_version),
        "slot description": slot.slot_description,
        "slot manufacturer": slot.manufacturer_id,
        "token firmware": _version(token.firmware_version),
        "token hardware": _version(token.hardware_version),
        "token label": token.label,
        "token manufacturer": token.manufacturer_id,
        "token model": token.model,
        "token serial": token.serial.decode("utf-8", "replace"),
    }


def _version(parts: Any) -> str:
    return ".".join(map(str, parts))


def _text(value: Any) -> str:
    """Return a value as text: numbers of PKCS#11 by their names, bytes in hex."""
    match value:
        case bool():
            return "true" if value else "false"
        case Enum():
            return value.name
        case bytes():
            return value.hex()[:_TEXT_MAX]
        case date():
            return value.isoformat()
        case _:
            return str(value)[:_TEXT_MAX]
