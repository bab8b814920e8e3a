"""The domain keys of ``insecure-memory:``; they lie in the token's file in clear."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from hwkm.crypto.p256 import encode_point, load_scalar
from hwkm.errors import GenerationRefused
from hwkm.formats.domain_token import ExchangeStatement, ExportedKey
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.formats.wrapped_key import Backend, WrappedKey
from hwkm.thm.ports import CreatedKey, WrappedItem
from hwkm.tokens.exchange import (
    open_token,
    parse_statement,
    seal_token,
    signed,
    unsigned_statement,
    verify_count,
    verify_own_signature,
)
from hwkm.tokens.memory_exchange import INSECURE_CLAIMS, InsecureReceiving, InsecureSending
from hwkm.tokens.memory_keys import InsecureKey, new_secret
from hwkm.tokens.token import AuditKey
from hwkm.tokens.wrapping import parse_wrapped, refusal, verify_binding

_KEY_BYTES: Final = 32
_LOADED_MAX: Final = 256


class InsecureDomainKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One generation: the AES-256 key that wraps and the HMAC key that binds."""

    generation: int
    wrapping: bytes
    binding: bytes


def new_domain_key(generation: int) -> InsecureDomainKey:
    """Make the domain key of a generation."""
    return InsecureDomainKey(generation, os.urandom(_KEY_BYTES), os.urandom(_KEY_BYTES))


class InsecureDomain:
    """See :class:`hwkm.thm.ports.Domain`. ``save`` replaces the domain keys in the file."""

    kinds = frozenset(KeyKind)
    loaded_max = _LOADED_MAX

    def __init__(
        self,
        keys: tuple[InsecureDomainKey, ...],
        save: Callable[[tuple[InsecureDomainKey, ...]], None],
        exchange_scalar: bytes,
        audit_key: AuditKey,
    ) -> None:
        self._keys = {key.generation: key for key in keys}
        self._save = save
        self._exchange_scalar = exchange_scalar
        self._audit_key = audit_key

    @property
    def generation(self) -> int:
        return max(self._keys)

    def generations(self) -> tuple[int, ...]:
        return tuple(sorted(self._keys))

    def create(self, name: KeyName, kind: KeyKind) -> CreatedKey:
        secret, public_key = new_secret(kind)
        return CreatedKey(self._wrap(name, kind, secret), public_key)

    def load(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> InsecureKey:
        return InsecureKey(kind, self._unwrap(name, kind, wrapped))

    def rewrap(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> bytes:
        return self._wrap(name, kind, self._unwrap(name, kind, wrapped))

    def rotate(self) -> int:
        made = new_domain_key(self.generation + 1)
        self._replace({**self._keys, made.generation: made})
        return made.generation

    def retire(self, generation: int) -> None:
        if generation == self.generation or generation not in self._keys:
            raise GenerationRefused(f"the domain key of generation {generation} is the newest or not there")
        self._replace({number: key for number, key in self._keys.items() if number != generation})

    def exchange_statement(self) -> bytes:
        return signed(self._unsigned(), self._audit_key)

    def export_keys(self, statement: bytes, fingerprint: bytes, keys: Sequence[WrappedItem]) -> bytes:
        verify_count(keys)
        receiver = parse_statement(statement, fingerprint, Backend.MEMORY)
        verify_own_signature(receiver)
        sending = InsecureSending(receiver.exchange_key)
        exported = [
            ExportedKey(key.name, key.kind, sending.wrap(self._unwrap(key.name, key.kind, key.wrapped)))
            for key in keys
        ]
        return seal_token(Backend.MEMORY, receiver, sending.transport, exported, self._audit_key)

    def import_keys(self, domain_token: bytes, sender: bytes) -> list[WrappedItem]:
        token = open_token(domain_token, sender, [self._unsigned().fingerprint()], Backend.MEMORY)
        receiving = InsecureReceiving(self._exchange_scalar, token.transport)
        return [
            WrappedItem(key.name, key.kind, self._wrap(key.name, key.kind, receiving.unwrap(key.blob)))
            for key in token.keys
        ]

    def _unsigned(self) -> ExchangeStatement:
        point = encode_point(load_scalar(self._exchange_scalar).public_key())
        return unsigned_statement(Backend.MEMORY, point, self._audit_key.public_key(), INSECURE_CLAIMS)

    def _replace(self, keys: dict[int, InsecureDomainKey]) -> None:
        self._save(tuple(keys.values()))
        self._keys = keys

    def _wrap(self, name: KeyName, kind: KeyKind, secret: bytes) -> bytes:
        key = self._keys[self.generation]
        blob = aes_key_wrap_with_padding(key.wrapping, secret)
        wrapped = WrappedKey(Backend.MEMORY, kind, key.generation, name, blob)
        return wrapped.bound() + hmac.digest(key.binding, wrapped.bound(), "sha256")

    def _unwrap(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> bytes:
        parsed = parse_wrapped(name, kind, wrapped, Backend.MEMORY)
        key = self._keys.get(parsed.generation)
        if key is None:
            raise refusal(name, kind, parsed.generation)
        verify_binding(parsed, hmac.digest(key.binding, parsed.bound(), "sha256"))
        try:
            return aes_key_unwrap_with_padding(key.wrapping, parsed.blob)
        except InvalidUnwrap as exc:
            raise refusal(name, kind, parsed.generation) from exc
