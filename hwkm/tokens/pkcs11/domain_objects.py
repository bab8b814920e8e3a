"""Domain keys as PKCS#11 objects: made, found, checked and removed.

A generation is two token objects: the AES-256 key that wraps, ``<prefix>.domain.<n>``, and the HMAC key
that binds, ``<prefix>.domain-mac.<n>``. The first is made last and destroyed first, so a generation is
there if its wrapping key is, and a binding key alone is what a crash left: it is removed at opening.

A *trusted* domain key is one that the token's security officer marked (:mod:`.ceremony`). Keys under it
can be wrapped by trusted keys only, and unwrapped only so that this stays so.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pkcs11 import PKCS11Error, _pkcs11
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType

from hwkm.errors import AnchorTampered, KeyExposedError, TokenFull
from hwkm.tokens.pkcs11.errors import translate, translated
from hwkm.tokens.pkcs11.mechanisms import wrapping_mechanism
from hwkm.tokens.pkcs11.objects import Labels, find, find_secret_keys
from hwkm.tokens.pkcs11.policy import verify_attributes

_KEY_BITS: Final = 256
_ID_BYTES: Final = 16

_LOCKED_IN: Final[Mapping[Attribute, object]] = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
}
_NEVER_LEAVES: Final[Mapping[Attribute, object]] = {
    **_LOCKED_IN,
    Attribute.TOKEN: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.LOCAL: True,
    Attribute.ENCRYPT: False,
    Attribute.DECRYPT: False,
    Attribute.DERIVE: False,
    Attribute.VALUE_LEN: _KEY_BITS // 8,
}
WRAPPING_KEY: Final[Mapping[Attribute, object]] = {
    **_NEVER_LEAVES,
    Attribute.KEY_TYPE: KeyType.AES,
    Attribute.WRAP: True,
    Attribute.UNWRAP: True,
    Attribute.SIGN: False,
    Attribute.VERIFY: False,
}
BINDING_KEY: Final[Mapping[Attribute, object]] = {
    **_NEVER_LEAVES,
    Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
    Attribute.WRAP: False,
    Attribute.UNWRAP: False,
    Attribute.SIGN: True,
}


_WRAPPABLE_BY_TRUSTED: Final = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: True,
    Attribute.WRAP_WITH_TRUSTED: True,
}
_READABLE: Final = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}


_native: Any = _pkcs11


class PlainSecret(_native.SecretKey, _native.Object):  # type: ignore[misc]
    """A secret key that can be wrapped, destroyed, and named by its handle."""


class WrappingKey(_native.WrapMixin, _native.UnwrapMixin, _native.SecretKey, _native.Object):  # type: ignore[misc]
    """A secret key that wraps; python-pkcs11 would make a type of its own for each handle."""

    key_type = KeyType.AES


@dataclass(frozen=True, slots=True)
class DomainKey:
    """One generation: its two objects, and whether the security officer marked it."""

    generation: int
    wrapping: Any
    binding: Any
    trusted: bool

    def verify_policy(self) -> None:
        """Check that neither can leave the token nor do anything but its job.

        Raises:
            KeyExposedError: the message names the key and the attribute.
        """
        verify_attributes(f"domain key {self.generation}", self.wrapping, WRAPPING_KEY)
        verify_attributes(f"domain binding key {self.generation}", self.binding, BINDING_KEY)
        if self.trusted:
            _verify_unwrap_template(self)


def find_domain_keys(session: Any, labels: Labels) -> dict[int, DomainKey]:
    """Return every generation; remove binding keys that an interrupted rotation or retirement left.

    Raises:
        AnchorTampered: a generation is there twice, or one of its keys without the other.
        TokenError: the hardware failed.
    """
    wrapping = _numbered(session, labels.domain_pattern)
    binding = _numbered(session, labels.binding_pattern)
    if binding and not wrapping:
        raise AnchorTampered(
            "the token holds a key that binds and no domain key: someone removed it, or hwkmd init was"
            " interrupted; hwkmd init --add-domain makes a new one"
        )
    keys = {}
    for generation, objects in wrapping.items():
        bindings = binding.pop(generation, [])
        if len(objects) != 1 or len(bindings) != 1:
            raise AnchorTampered(
                f"the token holds {len(objects)} domain keys of generation {generation} and"
                f" {len(bindings)} keys that bind, not one of each: someone changed them"
            )
        keys[generation] = _domain_key(generation, objects[0], bindings[0])
    _destroy_all(binding)
    return keys


def remove_unfinished(session: Any, labels: Labels) -> None:
    """Remove what an interrupted ``hwkmd init --add-domain`` left: keys that bind, if nothing wraps.

    Raises:
        TokenError: the hardware failed.
    """
    if not _numbered(session, labels.domain_pattern):
        _destroy_all(_numbered(session, labels.binding_pattern))


def _destroy_all(numbered: dict[int, list[Any]]) -> None:
    for item in (item for objects in numbered.values() for item in objects):
        with translated("removing what an interrupted rotation left"):
            item.destroy()


def make_domain_key(session: Any, labels: Labels, generation: int) -> DomainKey:
    """Make the keys of a generation, the wrapping one from a trusted spare if there is one.

    Raises:
        TokenFull: no room.
        KeyExposedError: the token made them otherwise than it was asked to.
        TokenError: the hardware failed.
    """
    spare = _usable_spare(session, labels)
    with translated(f"making the domain keys of generation {generation}"):
        binding = session.generate_key(
            KeyType.GENERIC_SECRET,
            _KEY_BITS,
            id=secrets.token_bytes(_ID_BYTES),
            label=labels.binding(generation),
            store=True,
            capabilities=MechanismFlag.SIGN,
            template=_LOCKED_IN,
        )
        wrapping = _make_wrapping(session, labels.domain(generation), spare)
    made = _domain_key(generation, wrapping, binding)
    made.verify_policy()
    return made


def destroy_domain_key(key: DomainKey) -> None:
    """Destroy a generation, its wrapping key first.

    Raises:
        TokenError: the hardware failed.
    """
    with translated(f"destroying the domain key of generation {key.generation}"):
        key.wrapping.destroy()
        key.binding.destroy()


def verify_spares_left(session: Any, labels: Labels) -> None:
    """Check that the next domain key can be a trusted one.

    Raises:
        TokenFull: the security officer has to make spare keys first.
    """
    if _usable_spare(session, labels) is None:
        raise TokenFull(
            "the domain keys are trusted ones and no spare is left: hwkmd init --add-domain --so-pin-file FILE"
            " makes more"
        )


def _verify_unwrap_template(key: DomainKey) -> None:
    """Try to unwrap a key to one that could be read, as a thief of the user PIN would.

    CKA_UNWRAP_TEMPLATE cannot be read back from SoftHSM, so what it does is looked at instead.
    """
    session, name = key.wrapping.session, f"domain key {key.generation}"
    try:
        mechanism = wrapping_mechanism(session.token)
        probe = session.generate_key(
            KeyType.GENERIC_SECRET, _KEY_BITS, capabilities=0, template=_WRAPPABLE_BY_TRUSTED
        )
        blob = key.wrapping.wrap_key(PlainSecret(probe.wrapper), mechanism=mechanism)
        probe.destroy()
    except PKCS11Error as exc:
        raise translate(exc, f"trying the {name}") from exc
    try:
        readable = key.wrapping.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.GENERIC_SECRET,
            blob,
            mechanism=mechanism,
            capabilities=0,
            template=_READABLE,
        )
    except PKCS11Error:
        return
    readable.destroy()
    raise KeyExposedError(f"the {name} is trusted, but unwraps keys so that they can be read")


def _make_wrapping(session: Any, label: str, spare: Any) -> Any:
    if spare is not None:
        made = spare.copy({Attribute.LABEL: label, Attribute.MODIFIABLE: False})
        spare.destroy()
        return made
    return session.generate_key(
        KeyType.AES,
        _KEY_BITS,
        id=secrets.token_bytes(_ID_BYTES),
        label=label,
        store=True,
        capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
        template=_LOCKED_IN,
    )


def _usable_spare(session: Any, labels: Labels) -> Any:
    """Return a trusted spare, or None. One that became a domain key before a crash is destroyed."""
    with translated("looking for spare domain keys"):
        taken = {
            item[Attribute.ID]
            for objects in _numbered(session, labels.domain_pattern).values()
            for item in objects
        }
        usable = None
        for spare in find(session, ObjectClass.SECRET_KEY, labels.spare):
            if spare[Attribute.ID] in taken:
                spare.destroy()
            elif spare[Attribute.TRUSTED]:
                usable = spare
        return usable


def _domain_key(generation: int, wrapping: Any, binding: Any) -> DomainKey:
    return DomainKey(generation, WrappingKey(wrapping.wrapper), binding, _is_trusted(wrapping, generation))


def _is_trusted(wrapping: Any, generation: int) -> bool:
    try:
        return bool(wrapping[Attribute.TRUSTED])
    except PKCS11Error as exc:
        raise KeyExposedError(f"the domain key {generation}: the token does not tell CKA_TRUSTED") from exc


def _numbered(session: Any, pattern: re.Pattern[str]) -> dict[int, list[Any]]:
    """Return the secret keys whose label fits, by the number in it."""
    found: dict[int, list[Any]] = {}
    for label, item in find_secret_keys(session):
        match = pattern.fullmatch(label)
        if match:
            found.setdefault(int(match[1]), []).append(item)
    return found
