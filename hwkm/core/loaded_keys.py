"""Customer master keys that stay loaded in the hardware between requests: bounded, the oldest goes.

The bound is what the domain says, or less: hardware that has no room for one more (tokens do not say
what they hold) gets a quarter of its keys taken away and is not filled so far again.
"""

from __future__ import annotations

from collections import OrderedDict

from hwkm.errors import TokenFull
from hwkm.formats.key_kind import KeyName
from hwkm.thm.ports import Domain, LoadedKey
from hwkm.wire.key_messages import KeyRef


class LoadedKeys:
    """Loads keys on demand, at most as many as the hardware holds at once.

    A key is found again only by all of its reference: id, version, kind and every wrapped byte. So
    what was loaded under one reference never answers for another.
    """

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._keys: OrderedDict[KeyRef, LoadedKey] = OrderedDict()
        self._count_max = domain.loaded_max
        self.loads = 0
        self.hits = 0

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, ref: KeyRef) -> LoadedKey:
        """Return the key, loaded. It may be unloaded by the next call.

        Raises:
            WrappedKeyRefused, UnsupportedKind, TokenError: as :meth:`Domain.load`.
        """
        key = self._keys.get(ref)
        if key is not None:
            self._keys.move_to_end(ref)
            self.hits += 1
            return key
        return self._load(ref)

    def forget(self, key_id: bytes) -> None:
        """Unload every version of a key."""
        for ref in [ref for ref in self._keys if ref.key_id == key_id]:
            self._keys.pop(ref).unload()

    def forget_all(self) -> None:
        """Unload everything."""
        self._shrink_to(0)

    def _load(self, ref: KeyRef) -> LoadedKey:
        self._shrink_to(self._count_max - 1)
        name = KeyName(ref.key_id, ref.version)
        try:
            key = self._domain.load(name, ref.kind, ref.wrapped)
        except TokenFull:
            if not self._keys:
                raise
            self._count_max = max(1, len(self._keys) * 3 // 4)
            return self._load(ref)
        self._keys[ref] = key
        self.loads += 1
        return key

    def _shrink_to(self, count: int) -> None:
        while len(self._keys) > count:
            _, oldest = self._keys.popitem(last=False)
            oldest.unload()
