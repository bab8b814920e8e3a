"""Keys on their way from TPM to TPM (``docs/spec/domain-token.md``).

The receiver's exchange key is its domain key: what comes in is at once a child of it. Its attestation key,
which signs only what the TPM itself says, certifies that this very key is fixed in the TPM that it is in.

The sender gives each key a passing authorisation value, duplicates it to that domain key, and tells the
receiver's TPM, by a credential (TPM2_ActivateCredential) bound to the attestation key, the secret that
those values and the inner wrapping keys are derived from.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tpm2_pytss.types import TPM2B_PUBLIC

from hwkm.crypto.labels import EXCHANGE_STATEMENT
from hwkm.crypto.p256 import load_point
from hwkm.crypto.tpm_protection import IDENTITY, protect_credential, share_secret
from hwkm.errors import ExchangeRefused, InvalidKeyError, TokenUnavailable
from hwkm.formats.domain_token import ExchangeStatement, ExportedKey
from hwkm.formats.wrapped_key import Backend
from hwkm.secret import SecretBytes
from hwkm.tokens.exchange import verify_signature
from hwkm.tokens.tpm.children import Nursery
from hwkm.tokens.tpm.errors import CommandRefused, refused_authorisation, refused_parameter
from hwkm.tokens.tpm.hmac_session import (
    Entity,
    HmacSession,
    execute_together,
    sized,
    split_sized,
)
from hwkm.tokens.tpm.key_commands import (
    INNER_KEY_BYTES,
    ChildBlob,
    Duplicated,
    flush,
    import_child,
    load_public,
)
from hwkm.tokens.tpm.key_templates import is_of_kind, name_of
from hwkm.tokens.tpm.templates import attestation_template, storage_template

_CERTIFY: Final = 0x148
_ACTIVATE_CREDENTIAL: Final = 0x147
_SCHEME_NULL: Final = struct.pack(">H", 0x0010)
_ECDSA_SHA256: Final = struct.pack(">HH", 0x0018, 0x000B)
_SECRET_BYTES: Final = 32

# TPMS_ATTEST (part 2, 10.12.12): magic TPM_GENERATED_VALUE, type TPM_ST_ATTEST_CERTIFY
_CERTIFIED: Final = struct.pack(">IH", 0xFF544347, 0x8017)
_CLOCK_AND_FIRMWARE_BYTES: Final = 17 + 8
_CONTEXT: Final = hashlib.sha256(EXCHANGE_STATEMENT).digest()


class Sending:
    """Wraps keys for one receiver, whose domain key is loaded here as a public key."""

    def __init__(self, nursery: Nursery, receiver: Entity, secret: SecretBytes, transport: bytes) -> None:
        self._nursery = nursery
        self._receiver = receiver
        self._secret = secret
        self.transport = transport

    def wrap(self, parent: Entity, blob: ChildBlob, value: SecretBytes) -> bytes:
        """Return a child as it travels. Raises CommandRefused, TokenUnavailable."""
        passing, inner_key = derived_secrets(self._secret, name_of(blob.public))
        with self._nursery.loaded(parent, blob, value) as item:
            travelling = self._nursery.reauthorised(item, parent, blob.public, passing)
        with self._nursery.loaded(parent, travelling, passing) as item:
            moving = self._nursery.duplicated(item, self._receiver, inner_key)
        return sized(blob.public) + sized(moving.duplicate) + sized(moving.seed)


class Receiving:
    """Takes in keys from one sender."""

    def __init__(self, session: HmacSession, nursery: Nursery, secret: SecretBytes) -> None:
        self._session = session
        self._nursery = nursery
        self._secret = secret

    def unwrap(self, parent: Entity, key: ExportedKey, value: SecretBytes) -> ChildBlob:
        """Return a key as a child of ``parent`` with an authorisation value of ours.

        Raises:
            ExchangeRefused: it is not a key of its kind, or does not come in.
            CommandRefused, TokenUnavailable: the TPM failed.
        """
        public, moving = _parse_travelling(key)
        passing, inner_key = derived_secrets(self._secret, name_of(public))
        try:
            blob = import_child(self._session, parent, public, moving, inner_key.expose())
            with self._nursery.loaded(parent, blob, passing) as item:
                return self._nursery.reauthorised(item, parent, public, value)
        except CommandRefused as exc:
            if refused_parameter(exc.code) or refused_authorisation(exc.code):
                raise ExchangeRefused("a key in the domain token does not come in") from exc
            raise


class Exchange:
    """What this TPM does to send and to receive. ``attestation`` returns its key, made if need be."""

    def __init__(
        self,
        sessions: tuple[HmacSession, HmacSession],
        nursery: Nursery,
        public_of: Callable[[Entity], bytes],
        attestation: Callable[[], Entity],
    ) -> None:
        self._sessions = sessions
        self._nursery = nursery
        self._public_of = public_of
        self._attestation = attestation

    def statement(self, domain_key: Entity) -> ExchangeStatement:
        """Let the TPM certify a domain key. Raises CommandRefused, TokenError."""
        attestation = self._attestation()
        parameters = sized(_CONTEXT) + _SCHEME_NULL
        answer = execute_together(self._sessions, _CERTIFY, (domain_key, attestation), parameters)
        attest, answer = split_sized(answer)
        return ExchangeStatement(
            Backend.TPM,
            self._public_of(domain_key),
            self._public_of(attestation),
            attest,
            _signature(answer),
        )

    def fingerprint(self, domain_key: Entity) -> bytes:
        """Return the fingerprint of statements about a domain key. Raises CommandRefused, TokenError."""
        keys = self._public_of(domain_key), self._public_of(self._attestation())
        return ExchangeStatement(Backend.TPM, *keys, b"", b"").fingerprint()

    @contextmanager
    def sending(self, receiver: ExchangeStatement) -> Iterator[Sending]:
        """Prepare for a receiver.

        Raises:
            ExchangeRefused: its TPM did not certify its domain key.
            CommandRefused, TokenUnavailable: our TPM failed.
        """
        point = verify_certified(receiver)
        transport = self._sessions[0].transport
        with SecretBytes(os.urandom(_SECRET_BYTES)) as secret:
            credential = make_credential(point, name_of(receiver.identity_key), secret)
            handle = load_public(transport, receiver.exchange_key)
            try:
                parent = Entity(handle, name_of(receiver.exchange_key), SecretBytes(b""))
                yield Sending(self._nursery, parent, secret, credential)
            finally:
                flush(transport, handle)

    @contextmanager
    def receiving(self, domain_key: Entity, transport: bytes) -> Iterator[Receiving]:
        """Let the TPM open the credential of a domain token.

        Raises:
            ExchangeRefused: it is not for our attestation key and this domain key.
            CommandRefused, TokenError: the TPM failed.
        """
        attestation = self._attestation()
        try:
            answer = execute_together(
                self._sessions, _ACTIVATE_CREDENTIAL, (attestation, domain_key), transport
            )
        except CommandRefused as exc:
            if refused_parameter(exc.code):
                raise ExchangeRefused("the domain token's credential does not open") from exc
            raise
        value, _ = split_sized(answer)
        with SecretBytes(value) as secret:
            yield Receiving(self._sessions[0], self._nursery, secret)


def verify_certified(statement: ExchangeStatement, context: bytes = _CONTEXT) -> bytes:
    """Check that a TPM said of its exchange key that it is fixed in it; return the key's point.

    ``context`` (32 bytes) is what the statement is for.

    That the attestation key is a TPM's own is what the fingerprint is compared for.

    Raises:
        ExchangeRefused: it did not.
    """
    point = p256_point(statement.exchange_key, storage_template())
    signer = p256_point(statement.identity_key, attestation_template())
    verify_signature(signer, statement.signature, hashlib.sha256(statement.claims).digest())
    try:
        _, rest = split_sized(statement.claims.removeprefix(_CERTIFIED))
        found, rest = split_sized(rest)
        certified, _ = split_sized(rest[_CLOCK_AND_FIRMWARE_BYTES:])
    except TokenUnavailable as exc:
        raise ExchangeRefused("the TPM's certificate of the exchange key is cut short") from exc
    if not statement.claims.startswith(_CERTIFIED) or found != context:
        raise ExchangeRefused("the statement holds no TPM's certificate of an exchange key for this")
    if certified != name_of(statement.exchange_key):
        raise ExchangeRefused("the TPM certified another key than the exchange key")
    return point


def make_credential(point: bytes, name: bytes, secret: SecretBytes) -> bytes:
    """Return TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET (part 1, clause on credential protection).

    Only the TPM that holds both the storage key at ``point`` and the object ``name`` opens it.

    Raises:
        ExchangeRefused: ``point`` is not on P-256.
    """
    try:
        load_point(point)
    except InvalidKeyError as exc:
        raise ExchangeRefused("the domain key in the exchange statement is not on P-256") from exc
    seed, encrypted_seed = share_secret(point, IDENTITY)
    with seed:
        return sized(protect_credential(seed.expose(), name, secret.expose())) + sized(encrypted_seed)


def p256_point(public: bytes, template: TPM2B_PUBLIC) -> bytes:
    """Return the point of a TPMT_PUBLIC that must be made by our template.

    Raises:
        ExchangeRefused: it is another kind of key.
    """
    prefix = template_bytes(template)
    try:
        x, rest = split_sized(public[len(prefix) :])
        y, trailing = split_sized(rest)
    except TokenUnavailable as exc:
        raise ExchangeRefused("a public key in the exchange statement is cut short") from exc
    if not public.startswith(prefix) or trailing or max(len(x), len(y)) > 32:
        raise ExchangeRefused("a key in the exchange statement is not one that cannot leave a TPM")
    return b"\x04" + x.rjust(32, b"\0") + y.rjust(32, b"\0")


def template_bytes(template: TPM2B_PUBLIC) -> bytes:
    """Return the TPMT_PUBLIC of a P-256 template without its point."""
    marshalled: bytes = template.publicArea.marshal()
    return marshalled[:-4]  # two empty coordinates


def _parse_travelling(key: ExportedKey) -> tuple[bytes, Duplicated]:
    try:
        public, rest = split_sized(key.blob)
        moving, rest = split_sized(rest)
        seed, trailing = split_sized(rest)
    except TokenUnavailable as exc:
        raise ExchangeRefused("a key in the domain token is cut short") from exc
    if trailing or not is_of_kind(key.kind, public):
        raise ExchangeRefused("a key in the domain token is not of its kind")
    return public, Duplicated(moving, seed)


def derived_secrets(secret: SecretBytes, name: bytes) -> tuple[SecretBytes, SecretBytes]:
    """Return the passing authorisation value and the inner wrapping key of the child with that Name."""
    value = hmac.digest(secret.expose(), b"hwkm passing authorisation v1\0" + name, "sha256")
    inner_key = hmac.digest(secret.expose(), b"hwkm inner wrapping v1\0" + name, "sha256")
    return SecretBytes(value[:31] + b"\x01"), SecretBytes(inner_key[:INNER_KEY_BYTES])


def _signature(answer: bytes) -> bytes:
    """Return r and s of a TPMT_SIGNATURE, 32 bytes each."""
    if not answer.startswith(_ECDSA_SHA256):
        raise TokenUnavailable("the TPM signed with another scheme than ECDSA with SHA-256")
    r, rest = split_sized(answer[len(_ECDSA_SHA256) :])
    s, _ = split_sized(rest)
    return r.rjust(32, b"\0") + s.rjust(32, b"\0")
