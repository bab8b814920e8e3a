"""What a PKCS#11 token holds at each stage on its way into a cohort of several, and what changes it.

======================  =======================================================================
stage                   objects
======================  =======================================================================
unsealed                anchor as member 0; the cohort key can be wrapped (CKA_EXTRACTABLE)
being sealed            the same, and a copy of the key that cannot be wrapped
sealed                  anchor as member 0; the copy alone
requested               audit and domain key, a joining key pair; no anchor
being joined            a cohort key and the joining key pair; the anchor or none
joined                  anchor as member 1 or more; the cohort key; the joining public key
======================  =======================================================================

Sealing copies the key, because PKCS#11 lets a copy be less permissive than the original and never more.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from pkcs11 import PKCS11Error
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType, Mechanism

from hwkm.errors import AnchorTampered, ExchangeUnsupported, KeyExposedError
from hwkm.formats.anchor import AnchorState
from hwkm.tokens.cohort import Stage
from hwkm.tokens.pkcs11.anchor import Pkcs11Anchor
from hwkm.tokens.pkcs11.domain_objects import WrappingKey
from hwkm.tokens.pkcs11.errors import translated
from hwkm.tokens.pkcs11.exchange import Receiving
from hwkm.tokens.pkcs11.keys import (
    DER_POINT,
    NOT_OF_A_PRIVATE_KEY,
    P256_PARAMETERS,
    PRIVATE_KEY_TEMPLATE,
    generate_key_pair,
)
from hwkm.tokens.pkcs11.objects import Labels, find, find_all, find_data
from hwkm.tokens.pkcs11.policy import SEALED_COHORT_KEY, verify_attributes

_ID_BYTES: Final = 16
_SEALED: Final = {Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False}
# MODIFIABLE, because SoftHSM copies no other; the copy is not.
_UNSEALED_TEMPLATE: Final = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: True,
    Attribute.MODIFIABLE: True,
}


@dataclass(frozen=True, slots=True)
class Found:
    """What decides the stage: the anchor's state, if any, and the keys by label."""

    state: AnchorState | None
    cohort_keys: list[Any]
    joining_keys: list[Any]
    joining_public: list[Any]
    blank: bool

    @property
    def extractable(self) -> list[Any]:
        """Cohort private keys that can be wrapped."""
        return [key for key in self.cohort_keys if _is_extractable(key)]

    @property
    def sealed(self) -> list[Any]:
        """Cohort private keys that cannot."""
        return [key for key in self.cohort_keys if not _is_extractable(key)]

    @property
    def stage(self) -> Stage:
        """How far the token is."""
        if self.blank:
            return Stage.BLANK
        if self.state is None:
            return self._stage_without_anchor
        if self.state.membership.members == 1:
            return Stage.ALONE
        if self.state.membership.number:
            return Stage.JOINING if self.joining_keys else Stage.JOINED
        return Stage.UNSEALED if self.extractable else Stage.SEALED

    @property
    def _stage_without_anchor(self) -> Stage:
        if not self.joining_keys:
            return Stage.UNFINISHED
        return Stage.JOINING if self.cohort_keys else Stage.REQUESTED


def look(session: Any, labels: Labels) -> Found:
    """Find what decides the stage.

    Raises:
        AnchorTampered, TokenError: as reading the anchor.
    """
    anchored = bool(find(session, ObjectClass.DATA, labels.anchor))
    return Found(
        Pkcs11Anchor(session, labels.anchor).read() if anchored else None,
        find(session, ObjectClass.PRIVATE_KEY, labels.cohort),
        find(session, ObjectClass.PRIVATE_KEY, labels.joining),
        find(session, ObjectClass.PUBLIC_KEY, labels.joining),
        blank=not find_all(session, labels),
    )


def generate_unsealed(session: Any, labels: Labels) -> bytes:
    """Make a cohort key pair that can be wrapped; return its point.

    Raises:
        TokenError: the hardware failed.
    """
    return generate_key_pair(session, labels.cohort, MechanismFlag.DERIVE, _UNSEALED_TEMPLATE)


def sealed_copy(key: Any) -> Any:
    """Return a copy of a key that can be wrapped, which cannot.

    Raises:
        TokenError: the hardware failed.
    """
    with translated("sealing the cohort key"):
        return key.copy(_SEALED)


def verify_not_wrapped(session: Any, mechanism: Mechanism, key: Any) -> None:
    """Try to wrap a key, as a thief of the PIN would.

    Raises:
        KeyExposedError: the token wraps it.
        TokenError: the hardware failed.
    """
    with translated("trying the sealed cohort key"):
        probe = session.generate_key(
            KeyType.AES,
            256,
            capabilities=MechanismFlag.WRAP,
            template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )
    try:
        WrappingKey(probe.wrapper).wrap_key(key, mechanism=mechanism)
    except PKCS11Error:
        return
    finally:
        with translated("destroying the key that the cohort key was tried with"):
            probe.destroy()
    raise KeyExposedError("the token wraps the cohort key although it is sealed")


def verify_can_seal(session: Any, mechanism: Mechanism) -> None:
    """Seal a key pair made for it, before anything is made that would have to be sealed.

    Raises:
        ExchangeUnsupported: the token cannot make a key unwrappable for good.
        TokenError: the hardware failed.
    """
    with translated("making a key pair to try sealing with"):
        curve = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: P256_PARAMETERS}, local=True
        )
        objects = list(
            curve.generate_keypair(capabilities=MechanismFlag.DERIVE, private_template=_UNSEALED_TEMPLATE)
        )
    try:
        objects.append(objects[1].copy(_SEALED))
        verify_attributes("trial key", objects[2], {**SEALED_COHORT_KEY, Attribute.TOKEN: False})
        verify_not_wrapped(session, mechanism, objects[2])
    except (PKCS11Error, KeyExposedError) as exc:
        reason = str(exc) or type(exc).__name__
        raise ExchangeUnsupported(f"this token cannot seal a key: {reason}") from exc
    finally:
        with translated("destroying the key pair that sealing was tried with"):
            for item in objects:
                item.destroy()


def keep_cohort_key(session: Any, labels: Labels, receiving: Receiving, blob: bytes, point: bytes) -> None:
    """Unwrap the cohort private key into the token, never to leave it, and put its public key beside it.

    Raises:
        ExchangeRefused: the token does not unwrap it.
        TokenError: the hardware failed.
    """
    identity = secrets.token_bytes(_ID_BYTES)
    template = {**PRIVATE_KEY_TEMPLATE, **NOT_OF_A_PRIVATE_KEY}
    receiving.keep(blob, id=identity, label=labels.cohort, template=template)
    with translated("keeping the cohort public key"):
        session.create_object(
            {
                Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                Attribute.KEY_TYPE: KeyType.EC,
                Attribute.TOKEN: True,
                Attribute.PRIVATE: False,
                Attribute.MODIFIABLE: False,
                Attribute.ID: identity,
                Attribute.LABEL: labels.cohort,
                Attribute.EC_PARAMS: P256_PARAMETERS,
                Attribute.EC_POINT: DER_POINT + point,
            }
        )


def remove_cohort_key(session: Any, labels: Labels) -> None:
    """Destroy what an interrupted join left of the cohort key.

    Raises:
        TokenError: the hardware failed.
    """
    for object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
        for item in find(session, object_class, labels.cohort):
            with translated("removing a cohort key that was not proved"):
                item.destroy()


class Invited:
    """Which module each number went to: a private data object for each."""

    def __init__(self, session: Any, labels: Labels) -> None:
        self._session = session
        self._labels = labels

    def read(self, members: int) -> dict[int, bytes]:
        """Return the fingerprint that each number went to.

        Raises:
            AnchorTampered: a number went to two.
            TokenError: the hardware failed.
        """
        found = {}
        data = find_data(self._session)
        for number in range(1, members):
            objects = data.get(self._labels.invited(number), [])
            if len(objects) > 1:
                raise AnchorTampered(f"the token holds {len(objects)} records of member {number}, not one")
            if objects:
                with translated(f"reading who is member {number}"):
                    found[number] = bytes(objects[0][Attribute.VALUE])
        return found

    def add(self, number: int, fingerprint: bytes) -> None:
        """Note that a number goes to the module with that fingerprint, before its invitation is made.

        Raises:
            TokenError: the hardware failed.
        """
        with translated(f"noting who is member {number}"):
            self._session.create_object(
                {
                    Attribute.CLASS: ObjectClass.DATA,
                    Attribute.TOKEN: True,
                    Attribute.PRIVATE: True,
                    Attribute.MODIFIABLE: False,
                    Attribute.APPLICATION: "hwkm",
                    Attribute.LABEL: self._labels.invited(number),
                    Attribute.VALUE: fingerprint,
                }
            )


def _is_extractable(key: Any) -> bool:
    """Whether a key can be wrapped; one whose token does not tell counts as such."""
    try:
        return bool(key[Attribute.EXTRACTABLE])
    except PKCS11Error:
        return True
