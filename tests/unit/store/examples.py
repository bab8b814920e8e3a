"""Records that the tests of the store use."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hwkm.crypto.knowledge_factor import KfType, argon2id_params, scrypt_params, sha256_params
from hwkm.store.vault_record import ApplicationKeyRecord, KnowledgeFactorRecord, VaultRecord

PIN_FACTOR = KnowledgeFactorRecord(KfType.PIN, argon2id_params(b"salt of 16 bytes"))
PASSWORD_FACTOR = KnowledgeFactorRecord(KfType.PASSWORD, scrypt_params(b"SALT OF 16 BYTES"))
PATTERN_FACTOR = KnowledgeFactorRecord(KfType.PATTERN, sha256_params(b"Salt Of 16 Bytes"))

KEYS = (
    ApplicationKeyRecord("backup", b"\x01" * 62),
    ApplicationKeyRecord("photos", b"\x02" * 62, b"album 7"),
)


def handle(number: int) -> bytes:
    """The handle of vault ``number``; they sort as their numbers."""
    return b"\x01" + number.to_bytes(16, "big")


def blob(text: str) -> bytes:
    """157 bytes that stand for a sealed vault."""
    return (hashlib.sha512(text.encode()).digest() * 3)[:157]


def vault(number: int, *, owner: int = 1000, name: str | None = None) -> VaultRecord:
    """Vault ``number``, just made."""
    return VaultRecord(
        handle=handle(number),
        name=name or f"phone {number}",
        owner_uid=owner,
        owner_gid=owner,
        params=b"\x04" + bytes(76) + handle(number),
        vault=blob(f"vault {number}"),
        knowledge_factor=PIN_FACTOR,
        created_at_ms=1_700_000_000_000,
        updated_at_ms=1_700_000_000_000,
    )


def sqlite_url(directory: Path) -> str:
    """The URL of a record database in ``directory``."""
    return f"sqlite:///{directory / 'records.db'}"


def node(text: str) -> tuple[bytes, bytes]:
    """A tree node of about 300 bytes under its digest."""
    content = text.encode().ljust(300, b".")
    return hashlib.sha256(content).digest(), content


def nodes(*texts: str) -> dict[bytes, bytes]:
    """Several nodes."""
    return dict(node(text) for text in texts)
