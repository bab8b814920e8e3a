"""The exchange key of a PKCS#11 token, and the wrapping key that two tokens agree on.

ECDH between hardware keys: the receiver's exchange key is a token object, the sender's is a session
object made for one domain token. What they agree on stays in both tokens: the x coordinate becomes an
AES-256 key that only wraps (there) and only unwraps (here).

PKCS#11 cannot prove to others that a key is inside hardware. The statement is the receiving module's
word, signed by its audit key: ``docs/spec/domain-token.md`` says what that is worth.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import pkcs11
from pkcs11 import KDF, PKCS11Error
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType, Mechanism

from hwkm.crypto.p256 import load_point
from hwkm.errors import ExchangeRefused, ExchangeUnsupported, InvalidKeyError
from hwkm.formats.domain_token import ExchangeStatement
from hwkm.formats.key_kind import KeyKind
from hwkm.formats.wrapped_key import Backend
from hwkm.tokens.exchange import unsigned_statement
from hwkm.tokens.pkcs11.customer_keys import extractable, wrap
from hwkm.tokens.pkcs11.domain_objects import WrappingKey
from hwkm.tokens.pkcs11.errors import translated
from hwkm.tokens.pkcs11.keys import (
    P256_PARAMETERS,
    PRIVATE_KEY_TEMPLATE,
    generate_key_pair,
    load_key_pair,
    read_point,
)
from hwkm.tokens.pkcs11.mechanisms import Capabilities
from hwkm.tokens.pkcs11.objects import find
from hwkm.tokens.pkcs11.policy import EXCHANGE_KEY, verify_attributes

# What is claimed of the exchange key, because it was checked before the statement was signed.
CLAIMS: Final = (
    b"CKA_TOKEN CKA_PRIVATE CKA_SENSITIVE CKA_ALWAYS_SENSITIVE CKA_NEVER_EXTRACTABLE CKA_LOCAL CKA_DERIVE"
)

_AGREED_KEY: Final = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
}


class Sending:
    """Wraps keys for one receiver."""

    def __init__(self, wrapping_key: Any, mechanism: Mechanism, transport: bytes) -> None:
        self._key = wrapping_key
        self._mechanism = mechanism
        self.transport = transport

    def wrap(self, item: Any) -> bytes:
        """Return a key wrapped to the receiver."""
        return wrap(self._key, self._mechanism, item)


class Receiving:
    """Unwraps keys from one sender."""

    def __init__(self, wrapping_key: Any, mechanism: Mechanism) -> None:
        self._key = wrapping_key
        self._mechanism = mechanism

    def keep(self, blob: bytes, **attributes: Any) -> Any:
        """Keep a received private key on P-256 in the token, with these attributes; it can agree and nothing else.

        Raises:
            ExchangeRefused: the token does not unwrap it.
        """
        try:
            return self._key.unwrap_key(
                ObjectClass.PRIVATE_KEY,
                KeyType.EC,
                blob,
                mechanism=self._mechanism,
                store=True,
                capabilities=MechanismFlag.DERIVE,
                **attributes,
            )
        except PKCS11Error as exc:
            raise ExchangeRefused(f"the token does not unwrap the key: {type(exc).__name__}") from exc

    def extractable(self, kind: KeyKind, blob: bytes, *, trusted: bool) -> AbstractContextManager[Any]:
        """Give a received key that can be wrapped under our domain key, and destroy it afterwards."""
        return extractable(self._key, self._mechanism, kind, blob, trusted=trusted)


class Exchange:
    """An exchange key, made when it is first asked for. ``claims`` are what both sides say of such keys."""

    def __init__(
        self, session: Any, label: str, capabilities: Capabilities, audit_point: bytes, claims: bytes = CLAIMS
    ) -> None:
        self._session = session
        self._label = label
        self._capabilities = capabilities
        self._audit_point = audit_point
        self._claims = claims

    def verify_policy(self) -> None:
        """Check the exchange key, if there is one.

        Raises:
            KeyExposedError: the message names the attribute.
            TokenError: the hardware failed.
        """
        if find(self._session, ObjectClass.PRIVATE_KEY, self._label):
            private, _ = load_key_pair(self._session, self._label)
            verify_attributes("exchange key", private, EXCHANGE_KEY)

    def statement(self) -> ExchangeStatement:
        """Return the statement, still to be signed by the audit key.

        Raises:
            ExchangeUnsupported: the token has no ECDH.
            KeyExposedError: the exchange key could leave the token.
            TokenError: the hardware failed.
        """
        _, point = self._key_pair()
        return unsigned_statement(Backend.PKCS11, point, self._audit_point, self._claims)

    @contextmanager
    def sending(self, receiver: ExchangeStatement) -> Iterator[Sending]:
        """Agree with a receiver whose statement was verified.

        Raises:
            ExchangeRefused: its key is not on P-256, or it claims something else.
            TokenError: the hardware failed.
        """
        if receiver.claims != self._claims:
            raise ExchangeRefused("the statement does not claim that its key is inside a token, for this use")
        self._verify_supported()
        with _destroyed_afterwards() as objects:
            public, private = _ephemeral_pair(self._session)
            objects += [public, private]
            key = _agree(private, receiver.exchange_key, MechanismFlag.WRAP)
            objects.append(key)
            yield Sending(key, self._capabilities.wrapping, read_point(public, "of an export"))

    @contextmanager
    def receiving(self, transport: bytes) -> Iterator[Receiving]:
        """Agree with a sender by the point that came with the domain token.

        Raises:
            ExchangeRefused: it is not on P-256.
            TokenError: the hardware failed.
        """
        private, _ = self._key_pair()
        with _destroyed_afterwards() as objects:
            key = _agree(private, transport, MechanismFlag.UNWRAP)
            objects.append(key)
            yield Receiving(key, self._capabilities.wrapping)

    def _key_pair(self) -> tuple[Any, bytes]:
        self._verify_supported()
        if not find(self._session, ObjectClass.PRIVATE_KEY, self._label):
            generate_key_pair(self._session, self._label, MechanismFlag.DERIVE)
        private, point = load_key_pair(self._session, self._label)
        verify_attributes("exchange key", private, EXCHANGE_KEY)
        return private, point

    def _verify_supported(self) -> None:
        if not self._capabilities.exchange:
            raise ExchangeUnsupported("this token has no ECDH, which an exchange of keys needs")


@contextmanager
def _destroyed_afterwards() -> Iterator[list[Any]]:
    objects: list[Any] = []
    try:
        yield objects
    finally:
        for item in objects:
            with _unless_the_token_is_gone():
                item.destroy()


@contextmanager
def _unless_the_token_is_gone() -> Iterator[None]:
    try:
        yield
    except pkcs11.PKCS11Error:
        return  # its session objects are gone with it


def _ephemeral_pair(session: Any) -> tuple[Any, Any]:
    with translated("making a key pair for an export"):
        curve = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: P256_PARAMETERS}, local=True
        )
        public, private = curve.generate_keypair(
            capabilities=MechanismFlag.DERIVE, private_template=PRIVATE_KEY_TEMPLATE
        )
    return public, private


def _agree(private: Any, point: bytes, use: MechanismFlag) -> Any:
    try:
        load_point(point)
    except InvalidKeyError as exc:
        raise ExchangeRefused("a public key of the exchange is not on P-256") from exc
    try:
        key = private.derive_key(
            KeyType.AES,
            256,
            capabilities=use,
            mechanism=Mechanism.ECDH1_DERIVE,
            mechanism_param=(KDF.NULL, None, point),
            template=_AGREED_KEY,
        )
    except PKCS11Error as exc:
        raise ExchangeUnsupported(
            f"the token does not derive a wrapping key by ECDH: {type(exc).__name__}"
        ) from exc
    return WrappingKey(key.wrapper)
