"""The head of a backup file, and the keys it leads to (``docs/spec/backup.md``).

======  ====  =======================================================================
offset  size  field
======  ====  =======================================================================
0       11    ``hwkm backup``
11      1     version, 1
12      17    vault handle
29      32    salt
61      1     length of the alias, 1 to 64
62      n     alias of the application key, ASCII
62+n    32    commitment
======  ====  =======================================================================

HKDF-SHA-256 over application key, salt and every byte before the commitment gives the payload
key (32 bytes) and the commitment (32). The commitment authenticates the head and the key before
anything else is read; AES-GCM alone would let one file open under two keys.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hwkm.client.backup.errors import BackupDamaged, NotABackup
from hwkm.client.backup.stream import Source
from hwkm.crypto import labels
from hwkm.formats.vault import check_length
from hwkm.formats.vault_params import HANDLE_BYTES
from hwkm.secret import SecretBytes
from hwkm.wire.api import ALIAS_PATTERN

MAGIC: Final = b"hwkm backup\x01"
SALT_BYTES: Final = 32
PAYLOAD_KEY_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32

_FIXED_BYTES: Final = len(MAGIC) + HANDLE_BYTES + SALT_BYTES + 1
_ALIAS: Final = re.compile(ALIAS_PATTERN)


@dataclass(frozen=True, slots=True)
class BackupHeader:
    """Which vault (handle, 17 bytes) and which of its application keys opens the file; salt (32)."""

    handle: bytes
    alias: str
    salt: bytes

    def __post_init__(self) -> None:
        check_length("vault handle", self.handle, HANDLE_BYTES)
        check_length("salt", self.salt, SALT_BYTES)
        if not _ALIAS.fullmatch(self.alias):
            raise NotABackup("the alias in a backup is of 1 to 64 letters, digits, dots, _ and -")

    @classmethod
    def fresh(cls, handle: bytes, alias: str) -> Self:
        """With a new random salt."""
        return cls(handle, alias, secrets.token_bytes(SALT_BYTES))

    def encode(self) -> bytes:
        """Return every byte before the commitment."""
        alias = self.alias.encode("ascii")
        return MAGIC + self.handle + self.salt + bytes([len(alias)]) + alias

    @classmethod
    def parse(cls, file: Source) -> tuple[Self, bytes]:
        """Read a header from the start of a file; return it, unverified, and the commitment (32).

        Raises:
            NotABackup: it does not start like one.
        """
        fixed = file.read(_FIXED_BYTES)
        if len(fixed) < _FIXED_BYTES or not fixed.startswith(MAGIC):
            raise NotABackup("this is no hwkm backup, or one of a version not known here")
        handle = fixed[len(MAGIC) : len(MAGIC) + HANDLE_BYTES]
        alias = file.read(fixed[-1])
        commitment = file.read(COMMITMENT_BYTES)
        if len(alias) < fixed[-1] or len(commitment) < COMMITMENT_BYTES:
            raise NotABackup("the backup ends within its head")
        salt = fixed[-1 - SALT_BYTES : -1]
        return cls(handle, alias.decode("ascii", "replace"), salt), commitment

    def derive(self, application_key: SecretBytes) -> tuple[SecretBytes, bytes]:
        """Return the payload key (32 bytes) and the commitment (32 bytes, public)."""
        kdf = HKDF(
            SHA256(), PAYLOAD_KEY_BYTES + COMMITMENT_BYTES, self.salt, labels.BACKUP_KEYS + self.encode()
        )
        derived = kdf.derive(application_key.expose())
        return SecretBytes(derived[:PAYLOAD_KEY_BYTES]), derived[PAYLOAD_KEY_BYTES:]

    def verified_key(self, application_key: SecretBytes, commitment: bytes) -> SecretBytes:
        """Return the payload key (32 bytes) after checking the commitment.

        Raises:
            BackupDamaged: the head was changed, or this is not the key it was made with.
        """
        key, expected = self.derive(application_key)
        if not hmac.compare_digest(expected, commitment):
            key.wipe()
            raise BackupDamaged("the head of the backup was changed, or it was made with another key")
        return key
