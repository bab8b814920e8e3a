"""Operations on the domain keys: how they stand, rotate."""

from __future__ import annotations

from hwkm.server.handlers.call import Call, Desk
from hwkm.wire.api import Nothing
from hwkm.wire.key_api import DomainInfo


async def status(desk: Desk, _call: Call[Nothing]) -> DomainInfo:
    """How the domain keys stand, and how far a rotation is."""
    return await desk.domain.info()


async def rotate(desk: Desk, _call: Call[Nothing]) -> DomainInfo:
    """Begin to rotate the domain key."""
    return await desk.domain.rotate()
