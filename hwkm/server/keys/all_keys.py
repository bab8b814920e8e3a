"""The key service as it runs: all its parts over one desk."""

from __future__ import annotations

from hwkm.server.keys.aliases import Aliases
from hwkm.server.keys.data import DataKeys
from hwkm.server.keys.desk import KeyDesk
from hwkm.server.keys.life import Life
from hwkm.server.keys.service import KeyService
from hwkm.server.keys.signing import Signing


class Keys(Life, Aliases, DataKeys, Signing):
    """Fulfils :class:`KeyService`."""


def key_service(desk: KeyDesk) -> KeyService:
    """The key service, as its interfaces see it."""
    return Keys(desk)
