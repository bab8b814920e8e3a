"""Who is in the TPM's few slots for loaded objects.

A TPM has three (``MIN_TRANSIENT`` of the PC client profile), and each persistent key takes one for as long
as a command uses it. So two loaded keys at most stay there, and one or none while a command needs more.
The others are saved outside by TPM2_ContextSave, encrypted for this TPM until it is restarted, and
come back by TPM2_ContextLoad, which is quicker than loading and needs no authorisation.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from hwkm.errors import TokenError
from hwkm.secret import SecretBytes
from hwkm.tokens.tpm.hmac_session import Entity, Transport
from hwkm.tokens.tpm.key_commands import context_load, context_save, flush

_STAY: Final = 2


class LoadedObject:
    """One loaded object, in a slot or saved. It is used through :meth:`Slots.entity` only."""

    __slots__ = ("authorisation", "context", "gone", "handle", "name")

    def __init__(self, handle: int, name: bytes, authorisation: SecretBytes) -> None:
        self.handle: int | None = handle
        self.name = name
        self.authorisation = authorisation
        self.context: bytes | None = None
        self.gone = False


class Slots:
    """The objects that we loaded, least recently used first."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._inside: OrderedDict[LoadedObject, None] = OrderedDict()

    def entity(self, item: LoadedObject) -> Entity:
        """Return the object as commands use it, loading it again if it was saved.

        Raises:
            TokenError: the object was removed.
            CommandRefused: the TPM refused.
            TokenUnavailable: the TPM does not answer.
        """
        if item.gone:
            raise TokenError("the key was unloaded")
        if item.handle is None:
            self.make_room(_STAY - 1)
            item.handle = context_load(self._transport, item.context or b"")
            self._inside[item] = None
        else:
            self._inside.move_to_end(item)
        return Entity(item.handle, item.name, item.authorisation)

    def add(self, handle: int, name: bytes, authorisation: SecretBytes) -> LoadedObject:
        """Take charge of an object that was loaded, after room was made for it."""
        item = LoadedObject(handle, name, authorisation)
        self._inside[item] = None
        return item

    def make_room(self, stay: int) -> None:
        """Save objects until at most ``stay`` are inside.

        Raises:
            As :meth:`entity`.
        """
        while len(self._inside) > stay:
            item = next(iter(self._inside))
            if item.handle is not None:
                if item.context is None:
                    item.context = context_save(self._transport, item.handle)
                flush(self._transport, item.handle)
                item.handle = None
            del self._inside[item]

    def remove(self, item: LoadedObject) -> None:
        """Remove an object for good. May be called again. Never raises."""
        item.gone = True
        item.context = None
        if item in self._inside:
            del self._inside[item]
            if item.handle is not None:
                flush(self._transport, item.handle)
        item.handle = None
