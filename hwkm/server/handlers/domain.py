"""Operations on the domain keys: how they stand, rotate."""

from __future__ import annotations

from hwkm.server.handlers.call import Call, Desk
from hwkm.wire.api import Nothing
from hwkm.wire.key_api import DomainInfo, ExchangeInfo, ExportedKeys, ExportKeys, ImportedKeys, ImportKeys


async def status(desk: Desk, _call: Call[Nothing]) -> DomainInfo:
    """How the domain keys stand, and how far a rotation is."""
    return await desk.domain.info()


async def rotate(desk: Desk, _call: Call[Nothing]) -> DomainInfo:
    """Begin to rotate the domain key."""
    return await desk.domain.rotate()


async def exchange(desk: Desk, _call: Call[Nothing]) -> ExchangeInfo:
    """What another module needs to send keys here."""
    return await desk.moving.exchange()


async def export(desk: Desk, call: Call[ExportKeys]) -> ExportedKeys:
    """A page of all keys, wrapped to another module."""
    return await desk.moving.export(call.body)


async def import_page(desk: Desk, call: Call[ImportKeys]) -> ImportedKeys:
    """Take a page of keys from another module."""
    return await desk.moving.import_page(call.body)
