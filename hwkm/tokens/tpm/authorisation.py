"""Authorisation values of the TPM's objects, derived from the PIN.

Each object has its own value, so that one disclosed does not open another::

    SHA-256("hwkm tpm authorisation v1" || 0x00 || object || 0x00 || PIN)[0:31] || 0x01

with ``object`` one of ``cohort``, ``audit``, ``anchor``, ``cohort counter``, ``cohort record``, ``attestation``,
``domain keys``, ``customer keys``.
32 bytes, the size of the Name algorithm's digest, is the most that an object takes. The last byte is fixed
because the TPM drops trailing zeros of a value and the host would have to do the same.

Of the last two come the values of objects of which there are many. A customer master key's binds it to
its name and kind, so that a blob put in another's place is of no use::

    domain key             HMAC-SHA-256(value of "domain keys", generation (u32 BE))[0:31] || 0x01
    customer master key    HMAC-SHA-256(value of "customer keys",
                                        key id (16) || version (u32 BE) || kind (u8))[0:31] || 0x01

The objects have no dictionary attack protection (noDA), because a lockout caused by anyone would
stop the service. So the PIN must be unguessable instead: 16 bytes at least.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from hwkm.errors import ConfigError
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.secret import Pin, SecretBytes

PIN_BYTES_MIN: Final = 16

COHORT: Final = b"cohort"
AUDIT: Final = b"audit"
ANCHOR: Final = b"anchor"
COHORT_COUNTER: Final = b"cohort counter"
COHORT_RECORD: Final = b"cohort record"
_ATTESTATION: Final = b"attestation"
_DOMAIN_KEYS: Final = b"domain keys"
_CUSTOMER_KEYS: Final = b"customer keys"

_LABEL: Final = b"hwkm tpm authorisation v1"


def authorisation_value(pin: Pin, object_name: bytes) -> SecretBytes:
    """Return the 32 bytes that authorise the use of one object."""
    digest = hashlib.sha256(b"\0".join((_LABEL, object_name, pin.expose()))).digest()
    return SecretBytes(digest[:31] + b"\x01")


class KeyServiceAuthorisations:
    """Values of domain keys, attestation key and customer master keys; the PIN is not kept for them."""

    def __init__(self, pin: Pin) -> None:
        self._domain_keys = authorisation_value(pin, _DOMAIN_KEYS)
        self._customer_keys = authorisation_value(pin, _CUSTOMER_KEYS)
        self._attestation = authorisation_value(pin, _ATTESTATION)

    def domain_key(self, generation: int) -> SecretBytes:
        """Return the 32 bytes that authorise the use of a domain key as a parent."""
        return _bound_value(self._domain_keys, generation.to_bytes(4, "big"))

    def customer_key(self, name: KeyName, kind: KeyKind) -> SecretBytes:
        """Return the 32 bytes that authorise the use of one version of one key, of that kind."""
        bound = name.key_id + name.version.to_bytes(4, "big") + bytes((kind.code,))
        return _bound_value(self._customer_keys, bound)

    def attestation_key(self) -> SecretBytes:
        """Return the 32 bytes that authorise the use of the attestation key."""
        return SecretBytes(self._attestation.expose())

    def wipe(self) -> None:
        """Forget all of them. May be called again."""
        for secret in (self._domain_keys, self._customer_keys, self._attestation):
            secret.wipe()


def _bound_value(key: SecretBytes, bound: bytes) -> SecretBytes:
    return SecretBytes(hmac.digest(key.expose(), bound, "sha256")[:31] + b"\x01")


def verify_pin_length(pin: Pin) -> None:
    """Refuse a PIN that could be guessed.

    Raises:
        ConfigError: fewer than 16 bytes.
    """
    if len(pin) < PIN_BYTES_MIN:
        raise ConfigError(
            f"the PIN for a TPM must have at least {PIN_BYTES_MIN} bytes: nothing counts wrong PINs there."
            " Remove the PIN file and let hwkmd init make one"
        )
