"""Customer master keys that stay loaded in the hardware between requests: bounded, the oldest goes."""

from __future__ import annotations

from collections import OrderedDict

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
        while self._keys:
            self._unload_oldest()

    def _load(self, ref: KeyRef) -> LoadedKey:
        while len(self._keys) >= self._domain.loaded_max:
            self._unload_oldest()
        key = self._domain.load(KeyName(ref.key_id, ref.version), ref.kind, ref.wrapped)
        self._keys[ref] = key
        self.loads += 1
        return key

    def _unload_oldest(self) -> None:
        _, oldest = self._keys.popitem(last=False)
        oldest.unload()
