"""What the keys' attributes must be, for the keys to be unable to leave the token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pkcs11 import PKCS11Error
from pkcs11.constants import Attribute
from pkcs11.mechanisms import KeyType

from hwkm.errors import KeyExposedError
from hwkm.formats.membership import Membership
from hwkm.tokens.pkcs11.keys import P256_PARAMETERS

# PKCS#11 v3.1, 4.9 and 6.3.4. ALWAYS_SENSITIVE, NEVER_EXTRACTABLE and LOCAL are set by the token
# itself and tell of the key's whole life: made here, never readable, never wrappable.
_PRIVATE_KEY: Final[Mapping[Attribute, object]] = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.LOCAL: True,
    Attribute.MODIFIABLE: False,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.KEY_TYPE: KeyType.EC,
    Attribute.EC_PARAMS: P256_PARAMETERS,
}
COHORT_KEY: Final[Mapping[Attribute, object]] = {
    **_PRIVATE_KEY,
    Attribute.DERIVE: True,
    Attribute.SIGN: False,
}
EXCHANGE_KEY: Final = COHORT_KEY
# The other histories of a cohort key (docs/spec/cohort.md).
UNSEALED_COHORT_KEY: Final[Mapping[Attribute, object]] = {
    **COHORT_KEY,
    Attribute.EXTRACTABLE: True,
    Attribute.NEVER_EXTRACTABLE: False,
    Attribute.MODIFIABLE: True,
}
SEALED_COHORT_KEY: Final[Mapping[Attribute, object]] = {**COHORT_KEY, Attribute.NEVER_EXTRACTABLE: False}
JOINED_COHORT_KEY: Final[Mapping[Attribute, object]] = {
    **SEALED_COHORT_KEY,
    Attribute.ALWAYS_SENSITIVE: False,
    Attribute.LOCAL: False,
}
AUDIT_KEY: Final[Mapping[Attribute, object]] = {
    **_PRIVATE_KEY,
    Attribute.DERIVE: False,
    Attribute.SIGN: True,
}


def cohort_key_policy(membership: Membership) -> Mapping[Attribute, object]:
    """What a cohort key's attributes are in a member: made here, made here and sealed, or come here wrapped."""
    if membership.members == 1:
        return COHORT_KEY
    return JOINED_COHORT_KEY if membership.number else SEALED_COHORT_KEY


def verify_attributes(name: str, key: Any, required: Mapping[Attribute, object]) -> None:
    """Check every required attribute; one that the token does not tell counts as wrong.

    Raises:
        KeyExposedError: the message names the key and the attribute.
    """
    for attribute, wanted in required.items():
        try:
            actual = key[attribute]
        except PKCS11Error as exc:
            raise KeyExposedError(f"the {name}: the token does not tell CKA_{attribute.name}") from exc
        if actual != wanted:
            raise KeyExposedError(f"the {name} has CKA_{attribute.name} {actual!r}, not {wanted!r}")
