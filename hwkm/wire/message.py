"""The base of the core's messages."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """One message, told from the others by its tag."""


class SecretMessage(Message, frozen=True, kw_only=True):
    """A message that holds plaintext: it does not print."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One of many in a message: an array of its fields in order."""


class SecretItem(Item, frozen=True):
    """An item that holds plaintext: it does not print."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"
