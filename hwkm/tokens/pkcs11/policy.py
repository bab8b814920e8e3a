"""What the keys' attributes must be, for the keys to be unable to leave the token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pkcs11 import PKCS11Error
from pkcs11.constants import Attribute
from pkcs11.mechanisms import KeyType

from hwkm.errors import KeyExposedError
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
AUDIT_KEY: Final[Mapping[Attribute, object]] = {
    **_PRIVATE_KEY,
    Attribute.DERIVE: False,
    Attribute.SIGN: True,
}


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
