"""hwkm's objects in a token: their labels, how they are found, and how they are listed.

===========================  =================================================================
label                        object
===========================  =================================================================
``<prefix>.cohort``          P-256 private key (private, sensitive) and its public key
``<prefix>.audit``           P-256 private key (private, sensitive) and its public key
``<prefix>.anchor``          private data object, CKA_VALUE is the 73 bytes of the anchor format
``<prefix>.domain.<n>``      AES-256 key that wraps customer master keys, generation n
``<prefix>.domain-mac.<n>``  generic secret of 32 bytes that binds them to their names
``<prefix>.domain-spare``    AES-256 keys marked CKA_TRUSTED, to become domain keys
``<prefix>.exchange``        P-256 private key and its public key, to receive exported keys
``<prefix>.joining``         P-256 key pair to receive the cohort key; its private key goes when it has
``<prefix>.invited.<k>``     private data object: the fingerprint that was invited as member k
===========================  =================================================================
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from pkcs11.constants import Attribute, ObjectClass

from hwkm.formats.membership import MEMBERS_MAX
from hwkm.tokens.pkcs11.errors import translated

_NAMES = {
    ObjectClass.PRIVATE_KEY: "private key",
    ObjectClass.PUBLIC_KEY: "public key",
    ObjectClass.DATA: "data object",
    ObjectClass.SECRET_KEY: "secret key",
}
_IDENTIFIED_BY = {
    ObjectClass.PRIVATE_KEY: Attribute.ID,
    ObjectClass.PUBLIC_KEY: Attribute.EC_POINT,
    ObjectClass.DATA: Attribute.VALUE,
    ObjectClass.SECRET_KEY: Attribute.ID,
}


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels made of the URI's ``object`` prefix."""

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

    @property
    def exchange(self) -> str:
        return f"{self.prefix}.exchange"

    @property
    def joining(self) -> str:
        return f"{self.prefix}.joining"

    def invited(self, number: int) -> str:
        return f"{self.prefix}.invited.{number}"

    @property
    def spare(self) -> str:
        return f"{self.prefix}.domain-spare"

    def domain(self, generation: int) -> str:
        return f"{self.prefix}.domain.{generation}"

    def binding(self, generation: int) -> str:
        return f"{self.prefix}.domain-mac.{generation}"

    @property
    def domain_pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.prefix) + r"\.domain\.([1-9][0-9]{0,9})")

    @property
    def binding_pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.prefix) + r"\.domain-mac\.([1-9][0-9]{0,9})")


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
    invited = map(labels.invited, range(1, MEMBERS_MAX))
    data = find_data(session)
    found += [(ObjectClass.DATA, label, item) for label in invited for item in data.get(label, ())]
    for label in (labels.cohort, labels.audit, labels.exchange, labels.joining):
        for object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            found += [(object_class, label, item) for item in find(session, object_class, label)]
    return found + _find_secret_keys(session, labels)


def find_data(session: Any) -> dict[str, list[Any]]:
    """Return every data object in the token, whoever made it, by label.

    Raises:
        TokenError: the hardware failed.
    """
    template = {Attribute.CLASS: ObjectClass.DATA, Attribute.TOKEN: True}
    found: dict[str, list[Any]] = {}
    with translated("looking for data objects"):
        for item in list(session.get_objects(template)):
            found.setdefault(_label(item), []).append(item)
    return found


def _find_secret_keys(session: Any, labels: Labels) -> list[tuple[ObjectClass, str, Any]]:
    """Return wrapping keys, binding keys and spares, in that order."""
    everything = find_secret_keys(session)
    patterns = (labels.domain_pattern, labels.binding_pattern, re.compile(re.escape(labels.spare)))
    return [
        (ObjectClass.SECRET_KEY, label, item)
        for pattern in patterns
        for label, item in everything
        if pattern.fullmatch(label)
    ]


def find_secret_keys(session: Any) -> list[tuple[str, Any]]:
    """Return label and object of every secret key in the token, whoever made it, by label.

    Raises:
        TokenError: the hardware failed.
    """
    template = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.TOKEN: True}
    with translated("looking for secret keys"):
        found = [(_label(item), item) for item in list(session.get_objects(template))]
    return sorted(found, key=lambda pair: pair[0])


def _label(item: Any) -> str:
    try:
        return str(item[Attribute.LABEL])
    except UnicodeDecodeError:
        return ""  # not one of ours


def describe(object_class: ObjectClass, label: str, item: Any) -> str:
    """Return one line that says what the object is, with a digest that identifies it."""
    attribute = _IDENTIFIED_BY[object_class]
    with translated(f"reading {label}"):
        value = item[attribute]
    return f"{_NAMES[object_class]} {label} (SHA-256 of CKA_{attribute.name} {hashlib.sha256(value).hexdigest()})"
