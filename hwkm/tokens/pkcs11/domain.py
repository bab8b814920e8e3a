"""The domain keys of a PKCS#11 token (:class:`hwkm.thm.ports.Domain`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hwkm.errors import ExchangeUnsupported, GenerationRefused, UnsupportedKind
from hwkm.formats.domain_token import ExportedKey
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.formats.wrapped_key import Backend, WrappedKey
from hwkm.thm.ports import CreatedKey, LoadedKey, WrappedItem
from hwkm.tokens.exchange import (
    open_token,
    parse_statement,
    seal_token,
    signed,
    verify_count,
    verify_own_signature,
)
from hwkm.tokens.pkcs11.customer_keys import (
    Pkcs11PrivateKey,
    Pkcs11SecretKey,
    extractable,
    made,
    unwrapped,
    wrap,
)
from hwkm.tokens.pkcs11.direct import DirectHmac
from hwkm.tokens.pkcs11.domain_objects import (
    DomainKey,
    destroy_domain_key,
    make_domain_key,
    verify_spares_left,
)
from hwkm.tokens.pkcs11.exchange import Exchange, Receiving, Sending
from hwkm.tokens.pkcs11.mechanisms import HMAC_MECHANISMS, Capabilities
from hwkm.tokens.pkcs11.objects import Labels
from hwkm.tokens.token import AuditKey
from hwkm.tokens.wrapping import parse_wrapped, refusal, verify_binding

# Session objects cost the token's working memory only (SoftHSM 2.6: 8 KiB each, and an HMAC among 10,000
# takes a tenth longer than among 10; a load takes as long as 20 HMACs). A token that holds fewer
# answers CKR_DEVICE_MEMORY, TokenFull here, and the caller keeps fewer.
_LOADED_MAX: Final = 16_384
_BINDING_BYTES: Final = 32


class Pkcs11Domain:
    """All generations, with their handles found once."""

    loaded_max = _LOADED_MAX

    def __init__(
        self,
        session: Any,
        labels: Labels,
        capabilities: Capabilities,
        keys: dict[int, DomainKey],
        direct: DirectHmac,
        exchange: Exchange,
        audit_key: AuditKey,
    ) -> None:
        self._session = session
        self._labels = labels
        self._capabilities = capabilities
        self._direct = direct
        self._exchange = exchange
        self._audit_key = audit_key
        self._keys = keys

    @property
    def generation(self) -> int:
        return max(self._keys)

    @property
    def kinds(self) -> frozenset[KeyKind]:
        return self._capabilities.kinds

    @property
    def trusted(self) -> bool:
        """Whether the security officer marked the newest domain key."""
        return self._newest().trusted

    def generations(self) -> tuple[int, ...]:
        return tuple(sorted(self._keys))

    def verify_policy(self) -> None:
        """Check every domain key and the exchange key.

        Raises:
            KeyExposedError: the message names the key and the attribute.
            TokenError: the hardware failed.
        """
        for key in self._keys.values():
            key.verify_policy()
        self._exchange.verify_policy()

    def create(self, name: KeyName, kind: KeyKind) -> CreatedKey:
        self._verify_kind(kind)
        with made(self._session, kind, trusted=self.trusted) as (item, public_key):
            return CreatedKey(self._wrap(name, kind, item), public_key)

    def load(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> LoadedKey:
        self._verify_kind(kind)
        parsed, key = self._verified(name, kind, wrapped)
        item = unwrapped(
            key.wrapping, self._wrapping, kind, parsed.blob, trusted=key.trusted, extractable=False
        )
        if kind.is_secret_key:
            return Pkcs11SecretKey(kind, item, self._direct)
        return Pkcs11PrivateKey(kind, item)

    def rewrap(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> bytes:
        self._verify_kind(kind)
        parsed, key = self._verified(name, kind, wrapped)
        if parsed.generation == self.generation:
            return wrapped
        with extractable(key.wrapping, self._wrapping, kind, parsed.blob, trusted=self.trusted) as item:
            return self._wrap(name, kind, item)

    def rotate(self) -> int:
        if self.trusted:
            verify_spares_left(self._session, self._labels)
        new = make_domain_key(self._session, self._labels, self.generation + 1)
        self._keys[new.generation] = new
        return new.generation

    def retire(self, generation: int) -> None:
        if generation == self.generation or generation not in self._keys:
            raise GenerationRefused(f"the domain key of generation {generation} is the newest or not there")
        destroy_domain_key(self._keys.pop(generation))

    def exchange_statement(self) -> bytes:
        return signed(self._exchange.statement(), self._audit_key)

    def export_keys(self, statement: bytes, fingerprint: bytes, keys: Sequence[WrappedItem]) -> bytes:
        verify_count(keys)
        if any(key.trusted for key in self._keys.values()):
            raise ExchangeUnsupported(
                "keys under a trusted domain key can be wrapped by trusted keys only; another module has none"
            )
        receiver = parse_statement(statement, fingerprint, Backend.PKCS11)
        verify_own_signature(receiver)
        with self._exchange.sending(receiver) as sending:
            exported = [self._export(sending, key) for key in keys]
            return seal_token(Backend.PKCS11, receiver, sending.transport, exported, self._audit_key)

    def import_keys(self, domain_token: bytes, sender: bytes) -> list[WrappedItem]:
        ours = self._exchange.statement().fingerprint()
        token = open_token(domain_token, sender, [ours], Backend.PKCS11)
        for key in token.keys:
            self._verify_kind(key.kind)
        with self._exchange.receiving(token.transport) as receiving:
            return [self._import(receiving, key) for key in token.keys]

    @property
    def _wrapping(self) -> Any:
        return self._capabilities.wrapping

    def _newest(self) -> DomainKey:
        return self._keys[self.generation]

    def _verify_kind(self, kind: KeyKind) -> None:
        if kind not in self._capabilities.kinds:
            raise UnsupportedKind(f"this token has no keys of kind {kind}")

    def _verified(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> tuple[WrappedKey, DomainKey]:
        """Return a wrapped key whose binding is ours, and its domain key."""
        parsed = parse_wrapped(name, kind, wrapped, Backend.PKCS11)
        key = self._keys.get(parsed.generation)
        if key is None:
            raise refusal(name, kind, parsed.generation)
        verify_binding(parsed, self._binding(key, parsed))
        return parsed, key

    def _wrap(self, name: KeyName, kind: KeyKind, item: Any) -> bytes:
        key = self._newest()
        blob = wrap(key.wrapping, self._wrapping, item)
        wrapped = WrappedKey(Backend.PKCS11, kind, key.generation, name, blob)
        return wrapped.bound() + self._binding(key, wrapped)

    def _binding(self, key: DomainKey, wrapped: WrappedKey) -> bytes:
        mechanism = HMAC_MECHANISMS[_BINDING_BYTES]
        (mac,) = self._direct.hmac(key.binding.handle, mechanism, _BINDING_BYTES, [wrapped.bound()])
        return mac

    def _export(self, sending: Sending, item: WrappedItem) -> ExportedKey:
        self._verify_kind(item.kind)
        parsed, key = self._verified(item.name, item.kind, item.wrapped)
        with extractable(
            key.wrapping, self._wrapping, item.kind, parsed.blob, trusted=False
        ) as unwrapped_key:
            return ExportedKey(item.name, item.kind, sending.wrap(unwrapped_key))

    def _import(self, receiving: Receiving, key: ExportedKey) -> WrappedItem:
        with receiving.extractable(key.kind, key.blob, trusted=self.trusted) as item:
            return WrappedItem(key.name, key.kind, self._wrap(key.name, key.kind, item))
