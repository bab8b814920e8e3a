"""The domain keys of a TPM (:class:`hwkm.thm.ports.Domain`): persistent parents of customer master keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from hwkm.errors import GenerationRefused, UnsupportedKind
from hwkm.formats.domain_token import ExportedKey
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.formats.wrapped_key import Backend, WrappedKey
from hwkm.thm.ports import CreatedKey, LoadedKey, WrappedItem
from hwkm.tokens.exchange import open_token, parse_statement, seal_token, verify_count
from hwkm.tokens.token import AuditKey
from hwkm.tokens.tpm.authorisation import KeyServiceAuthorisations
from hwkm.tokens.tpm.capabilities import Capabilities
from hwkm.tokens.tpm.children import Nursery, encode_blob, parse_blob, proofs, refusals
from hwkm.tokens.tpm.customer_keys import Engine, TpmPrivateKey, TpmSecretKey
from hwkm.tokens.tpm.errors import translated
from hwkm.tokens.tpm.exchange import Exchange, Receiving, Sending
from hwkm.tokens.tpm.hmac_session import Entity
from hwkm.tokens.tpm.key_commands import ChildBlob
from hwkm.tokens.tpm.key_templates import spki
from hwkm.tokens.wrapping import parse_wrapped, refusal

# Those that are not in the TPM's slots are saved contexts of 1 to 2 KB in our memory.
_LOADED_MAX: Final = 1024


class PersistentKeys(Protocol):
    """The domain keys in the TPM's non-volatile memory."""

    def parents(self) -> dict[int, Entity]:
        """Return those that are there, by generation. No I/O."""
        ...

    def make(self, generation: int) -> Entity:
        """Make one. Raises TokenFull: no room; TokenError."""
        ...

    def remove(self, generation: int) -> None:
        """Remove one. Raises TokenError."""
        ...


class TpmDomain:
    """All generations of one TPM."""

    loaded_max = _LOADED_MAX

    def __init__(
        self,
        engine: Engine,
        nursery: Nursery,
        capabilities: Capabilities,
        persistent: PersistentKeys,
        authorisations: KeyServiceAuthorisations,
        exchange: Exchange,
        audit_key: AuditKey,
    ) -> None:
        self._engine = engine
        self._nursery = nursery
        self._capabilities = capabilities
        self._persistent = persistent
        self._parents = persistent.parents()
        self._authorisations = authorisations
        self._exchange = exchange
        self._audit_key = audit_key

    @property
    def generation(self) -> int:
        return max(self._parents)

    @property
    def kinds(self) -> frozenset[KeyKind]:
        return self._capabilities.kinds

    def generations(self) -> tuple[int, ...]:
        return tuple(sorted(self._parents))

    def create(self, name: KeyName, kind: KeyKind) -> CreatedKey:
        self._verify_kind(kind)
        with translated(f"making a key of kind {kind}"):
            blob = self._nursery.make(self._newest(), kind, self._authorisations.customer_key(name, kind))
        return CreatedKey(self._encode(name, kind, blob), spki(kind, blob.public))

    def load(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> LoadedKey:
        self._verify_kind(kind)
        generation, blob = self._parsed(name, kind, wrapped)
        parent, value = self._parents[generation], self._authorisations.customer_key(name, kind)
        with refusals(name, kind, generation, "loading a key"):
            item = self._nursery.load(parent, blob, value)
        try:
            with proofs(name, kind, generation):
                self._nursery.prove(item, kind)
        except BaseException:
            self._engine.slots.remove(item)
            raise
        return (TpmSecretKey if kind.is_secret_key else TpmPrivateKey)(self._engine, kind, item)

    def rewrap(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> bytes:
        self._verify_kind(kind)
        generation, blob = self._parsed(name, kind, wrapped)
        if generation == self.generation:
            self.load(name, kind, wrapped).unload()
            return wrapped
        parent, value = self._parents[generation], self._authorisations.customer_key(name, kind)
        with refusals(name, kind, generation, "moving a key"), proofs(name, kind, generation):
            moved = self._nursery.move(blob, parent, self._newest(), value)
        return self._encode(name, kind, moved)

    def rotate(self) -> int:
        generation = self.generation + 1
        with translated("making room for a domain key"):
            self._engine.slots.make_room(0)
        self._parents[generation] = self._persistent.make(generation)
        return generation

    def retire(self, generation: int) -> None:
        if generation == self.generation or generation not in self._parents:
            raise GenerationRefused(f"the domain key of generation {generation} is the newest or not there")
        self._persistent.remove(generation)
        del self._parents[generation]

    def exchange_statement(self) -> bytes:
        with translated("attesting the domain key"):
            self._engine.slots.make_room(0)
            return self._exchange.statement(self._newest()).encode()

    def export_keys(self, statement: bytes, fingerprint: bytes, keys: Sequence[WrappedItem]) -> bytes:
        verify_count(keys)
        receiver = parse_statement(statement, fingerprint, Backend.TPM)
        with translated("exporting keys"):
            self._engine.slots.make_room(0)
            with self._exchange.sending(receiver) as sending:
                exported = [self._export(sending, key) for key in keys]
                return seal_token(Backend.TPM, receiver, sending.transport, exported, self._audit_key)

    def import_keys(self, domain_token: bytes, sender: bytes) -> list[WrappedItem]:
        with translated("importing keys"):
            self._engine.slots.make_room(0)
            ours = {self._exchange.fingerprint(parent): parent for parent in self._parents.values()}
            token = open_token(domain_token, sender, list(ours), Backend.TPM)
            for key in token.keys:
                self._verify_kind(key.kind)
            parent = ours[token.receiver]
            with self._exchange.receiving(parent, token.transport) as receiving:
                return [self._import(receiving, parent, key) for key in token.keys]

    def _newest(self) -> Entity:
        return self._parents[self.generation]

    def _verify_kind(self, kind: KeyKind) -> None:
        if kind not in self._capabilities.kinds:
            raise UnsupportedKind(f"this TPM has no keys of kind {kind}")

    def _parsed(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> tuple[int, ChildBlob]:
        parsed = parse_wrapped(name, kind, wrapped, Backend.TPM)
        if parsed.generation not in self._parents or parsed.binding:
            raise refusal(name, kind, parsed.generation)
        return parsed.generation, parse_blob(name, kind, parsed.blob)

    def _encode(self, name: KeyName, kind: KeyKind, blob: ChildBlob) -> bytes:
        return WrappedKey(Backend.TPM, kind, self.generation, name, encode_blob(blob)).encode()

    def _export(self, sending: Sending, item: WrappedItem) -> ExportedKey:
        self._verify_kind(item.kind)
        generation, blob = self._parsed(item.name, item.kind, item.wrapped)
        parent, value = self._parents[generation], self._authorisations.customer_key(item.name, item.kind)
        name, kind = item.name, item.kind
        with refusals(name, kind, generation, "exporting a key"), proofs(name, kind, generation):
            return ExportedKey(name, kind, sending.wrap(parent, blob, value))

    def _import(self, receiving: Receiving, parent: Entity, key: ExportedKey) -> WrappedItem:
        value = self._authorisations.customer_key(key.name, key.kind)
        blob = receiving.unwrap(parent, key, value)
        if parent is not self._newest():
            blob = self._nursery.move(blob, parent, self._newest(), value)
        return WrappedItem(key.name, key.kind, self._encode(key.name, key.kind, blob))
