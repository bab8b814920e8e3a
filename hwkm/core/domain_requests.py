"""Requests about the domain: keys made, rewrapped and exchanged, domain keys rotated and retired."""

from __future__ import annotations

from typing import assert_never

from hwkm.errors import WrappedKeyRefused
from hwkm.formats.key_kind import KeyName
from hwkm.thm.ports import Domain, WrappedItem
from hwkm.wire import key_messages as wire
from hwkm.wire.key_messages import KeyRef

DomainRequest = (
    wire.CreateKey
    | wire.RewrapKeys
    | wire.ReadDomain
    | wire.RotateDomain
    | wire.RetireDomain
    | wire.ReadExchange
    | wire.ExportKeys
    | wire.ImportKeys
)


def answer_domain(domain: Domain, request: DomainRequest) -> wire.KeyReply:
    """Do what is asked.

    Raises:
        UnsupportedKind, GenerationRefused, WrappedKeyRefused, ExchangeRefused, ExchangeUnsupported,
            TokenError: as the methods of :class:`~hwkm.thm.ports.Domain` say.
    """
    match request:
        case wire.CreateKey():
            return _create(domain, request)
        case wire.RewrapKeys(keys=keys):
            items = tuple(_rewrapped(domain, key) for key in keys)
            return wire.KeysRewrapped(generation=domain.generation, items=items)
        case wire.ReadDomain():
            return _read(domain)
        case wire.RotateDomain():
            domain.rotate()
            return _read(domain)
        case wire.RetireDomain(generation=generation):
            domain.retire(generation)
            return _read(domain)
        case wire.ReadExchange():
            return wire.ExchangeRead(statement=domain.exchange_statement())
        case wire.ExportKeys(statement=statement, fingerprint=fingerprint, keys=keys):
            exported = domain.export_keys(statement, fingerprint, [_item(key) for key in keys])
            return wire.KeysExported(domain_token=exported)
        case wire.ImportKeys(domain_token=domain_token, sender=sender):
            imported = domain.import_keys(domain_token, sender)
            return wire.KeysImported(generation=domain.generation, keys=tuple(map(_ref, imported)))
    assert_never(request)


def _create(domain: Domain, request: wire.CreateKey) -> wire.KeyCreated:
    made = domain.create(KeyName(request.key_id, request.version), request.kind)
    return wire.KeyCreated(wrapped=made.wrapped, public_key=made.public_key, generation=domain.generation)


def _rewrapped(domain: Domain, key: KeyRef) -> bytes | None:
    try:
        return domain.rewrap(KeyName(key.key_id, key.version), key.kind, key.wrapped)
    except WrappedKeyRefused:
        return None


def _read(domain: Domain) -> wire.DomainRead:
    return wire.DomainRead(
        generation=domain.generation,
        generations=domain.generations(),
        kinds=domain.kinds,
        loaded_max=domain.loaded_max,
    )


def _item(key: KeyRef) -> WrappedItem:
    return WrappedItem(KeyName(key.key_id, key.version), key.kind, key.wrapped)


def _ref(item: WrappedItem) -> KeyRef:
    return KeyRef(item.name.key_id, item.name.version, item.kind, item.wrapped)
