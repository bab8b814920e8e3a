"""How keys are named: key id, key ARN, ``alias/NAME``, alias ARN. Four forms of one thing."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hwkm.errors import InvalidArn, KeyNotFound
from hwkm.wire.key_api import ACCOUNT_PATTERN, ALIAS_PATTERN, ALIAS_PREFIX, KEY_ID_PATTERN

PARSED_MAX: Final = 8192
ARN_PREFIX: Final = "arn:"

_KEY_ID: Final = re.compile(KEY_ID_PATTERN)
_ALIAS: Final = re.compile(ALIAS_PATTERN)
_ACCOUNT: Final = re.compile(ACCOUNT_PATTERN)
_ARN_FIELDS: Final = 6


@dataclass(frozen=True, slots=True)
class KeyIdentifier:
    """What an identifier says: a key id (16 bytes) or an alias, and the account if it is an ARN."""

    key_id: bytes | None
    alias: str
    account: str | None


def key_id_text(key_id: bytes) -> str:
    """The UUID of a key id."""
    return str(uuid.UUID(bytes=key_id))


def is_alias(text: str) -> bool:
    """Whether it is ``alias/NAME``."""
    return _ALIAS.match(text) is not None


class KeyNames:
    """Makes and reads the names of keys in one region."""

    def __init__(self, region: str) -> None:
        self._prefix = f"arn:aws:kms:{region}:"
        # Most requests name one of few keys, and a name always means the same.
        self.parse = lru_cache(PARSED_MAX)(self._parse)

    def key_arn(self, account: str, key_id: bytes) -> str:
        """The ARN of a key. Rotation does not change it."""
        return f"{self._prefix}{account}:key/{key_id_text(key_id)}"

    def alias_arn(self, account: str, alias: str) -> str:
        """The ARN of an alias."""
        return f"{self._prefix}{account}:{alias}"

    def _parse(self, text: str) -> KeyIdentifier:
        """Read an identifier.

        Raises:
            InvalidArn: it begins like an ARN and is none of this region.
            KeyNotFound: it is no identifier of a key.
        """
        if text.startswith(ARN_PREFIX):
            return self._parse_arn(text)
        if _ALIAS.match(text):
            return KeyIdentifier(None, text, None)
        return KeyIdentifier(_key_id(text, text), "", None)

    def _parse_arn(self, text: str) -> KeyIdentifier:
        fields = text.split(":", _ARN_FIELDS - 1)
        if not text.startswith(self._prefix) or len(fields) != _ARN_FIELDS or not _ACCOUNT.match(fields[4]):
            raise InvalidArn(f"Invalid arn {text}")
        account, resource = fields[4], fields[5]
        if resource.startswith(ALIAS_PREFIX) and _ALIAS.match(resource):
            return KeyIdentifier(None, resource, account)
        if not resource.startswith("key/"):
            raise InvalidArn(f"Invalid arn {text}")
        return KeyIdentifier(_key_id(resource.removeprefix("key/"), text), "", account)


def _key_id(text: str, shown: str) -> bytes:
    if not _KEY_ID.match(text):
        raise KeyNotFound(f"Invalid keyId '{shown}'")
    return bytes.fromhex(text.replace("-", ""))
