"""Which key, and which version of it, wrapped data keys are to be brought under."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass

from hwkm.client.keys import KeyClient
from hwkm.errors import FormatError, HwkmError
from hwkm.formats.ciphertext import CiphertextHead
from hwkm.formats.key_kind import KeyName


@dataclass(frozen=True, slots=True)
class Target:
    """A key by its ARN, and its newest version."""

    arn: str
    newest: KeyName

    def has(self, wrapped: bytes) -> bool:
        """Whether a wrapped data key is under this key, and no older version of it."""
        name = key_name_of(wrapped)
        return name is not None and name.key_id == self.newest.key_id and name.version >= self.newest.version


class Targets:
    """Asks the daemon once for each key. May be shared by threads."""

    def __init__(self, client: KeyClient, to: str | None) -> None:
        """``to``: the key that everything goes to; None: each under its own, its newest version."""
        self._client = client
        self._to = to
        self._known: dict[str, Target | HwkmError] = {}
        self._lock = threading.Lock()

    def of(self, own_key: str) -> Target:
        """Where a data key goes that is wrapped by ``own_key``.

        Raises:
            HwkmError: what the daemon says of the key.
        """
        key = self._to or own_key
        with self._lock:
            if key not in self._known:
                self._known[key] = self._ask(key)
            found = self._known[key]
        if isinstance(found, HwkmError):
            raise found
        return found

    def _ask(self, key: str) -> Target | HwkmError:
        try:
            info = self._client.show(key)
        except HwkmError as exc:
            return exc
        return Target(info.arn, KeyName(uuid.UUID(info.key_id).bytes, info.version))


def key_name_of(wrapped: bytes) -> KeyName | None:
    """Which version of which key wrapped a data key; None if it was no daemon of ours."""
    try:
        return CiphertextHead.parse(wrapped).name
    except FormatError:
        return None


def key_id_text(name: KeyName) -> str:
    """The key id of a key name, as people write it."""
    return str(uuid.UUID(bytes=name.key_id))
