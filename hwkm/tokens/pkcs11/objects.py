"""hwkm's objects in a token: their labels, how they are found, and how they are listed.

=======================  =====================================================================
label                    object
=======================  =====================================================================
``<prefix>.cohort``      P-256 private key (private, sensitive) and its public key
``<prefix>.audit``       P-256 private key (private, sensitive) and its public key
``<prefix>.anchor``      private data object, CKA_VALUE is the 73 bytes of the anchor format
=======================  =====================================================================
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from pkcs11.constants import Attribute, ObjectClass

from hwkm.tokens.pkcs11.errors import translated

_NAMES = {
    ObjectClass.PRIVATE_KEY: "private key",
    ObjectClass.PUBLIC_KEY: "public key",
    ObjectClass.DATA: "data object",
}
_IDENTIFIED_BY = {
    ObjectClass.PRIVATE_KEY: Attribute.ID,
    ObjectClass.PUBLIC_KEY: Attribute.EC_POINT,
    ObjectClass.DATA: Attribute.VALUE,
}


@dataclass(frozen=True, slots=True)
class Labels:
    """The three labels made of the URI's ``object`` prefix."""

    prefix: str

    @property
    def cohort(self) -> str:
        return f"{self.prefix}.cohort"

    @property
    def audit(self) -> str:
        return f"{self.prefix}.audit"

    @property
    def anchor(self) -> str:
        return f"{self.prefix}.anchor"


def find(session: Any, object_class: ObjectClass, label: str) -> list[Any]:
    """Return every token object of this class and label. Slow (a full scan in SoftHSM).

    Raises:
        TokenError: the hardware failed.
    """
    template = {Attribute.CLASS: object_class, Attribute.LABEL: label, Attribute.TOKEN: True}
    with translated(f"looking for {label}"):
        return list(session.get_objects(template))


def find_all(session: Any, labels: Labels) -> list[tuple[ObjectClass, str, Any]]:
    """Return all of hwkm's objects, anchors first.

    Raises:
        TokenError: the hardware failed.
    """
    found = [
        (ObjectClass.DATA, labels.anchor, item) for item in find(session, ObjectClass.DATA, labels.anchor)
    ]
    for label in (labels.cohort, labels.audit):
        for object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            found += [(object_class, label, item) for item in find(session, object_class, label)]
    return found


def describe(object_class: ObjectClass, label: str, item: Any) -> str:
    """Return one line that says what the object is, with a digest that identifies it."""
    attribute = _IDENTIFIED_BY[object_class]
    with translated(f"reading {label}"):
        value = item[attribute]
    return f"{_NAMES[object_class]} {label} (SHA-256 of CKA_{attribute.name} {hashlib.sha256(value).hexdigest()})"
