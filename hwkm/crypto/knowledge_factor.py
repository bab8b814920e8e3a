"""Hashing of the knowledge factor (PIN, password or pattern).

``kf_hash`` is the stretched hash that only the framework sees; ``thm_kf_hash`` is the only form
that reaches the trusted core. Algorithms and cost are recorded beside the vault
(``docs/spec/knowledge-factor.md``). scrypt and salted SHA-256 are Android's (AOSP
``KeySyncTask.java``); Argon2id (RFC 9106) is the default of our own clients.
"""

from __future__ import annotations

import hashlib
import struct
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hwkm.crypto import labels
from hwkm.errors import FormatError
from hwkm.secret import SecretBytes

KF_HASH_BYTES: Final = 32
SALT_BYTES: Final = 16
CREDENTIAL_BYTES_MAX: Final = 1024


class KfAlgorithm(StrEnum):
    """How the knowledge factor is stretched."""

    ARGON2ID = "argon2id"
    SCRYPT = "scrypt"
    SHA256 = "sha256"


class KfType(StrEnum):
    """Which dialog to show; it also says how the credential becomes bytes."""

    PIN = "pin"
    PASSWORD = "password"  # noqa: S105  (a kind of credential, not one)
    PATTERN = "pattern"


@dataclass(frozen=True, slots=True)
class KfParams:
    """Algorithm, salt (16 bytes) and cost.

    ``memory`` is KiB for Argon2id and N for scrypt; ``iterations`` is t for Argon2id and r for
    scrypt; ``lanes`` is p for both. All three are 0 for salted SHA-256.
    """

    algorithm: KfAlgorithm
    salt: bytes
    memory: int
    iterations: int
    lanes: int

    def __post_init__(self) -> None:
        if len(self.salt) != SALT_BYTES:
            raise FormatError(f"a knowledge-factor salt is {SALT_BYTES} bytes")
        _COST_RULES[self.algorithm](self)


def argon2id_params(salt: bytes) -> KfParams:
    """RFC 9106 section 4, second recommended: 64 MiB, 3 passes, 4 lanes."""
    return KfParams(KfAlgorithm.ARGON2ID, salt, memory=64 * 1024, iterations=3, lanes=4)


def scrypt_params(salt: bytes) -> KfParams:
    """Android's cost: N=4096, r=8, p=1."""
    return KfParams(KfAlgorithm.SCRYPT, salt, memory=4096, iterations=8, lanes=1)


def sha256_params(salt: bytes) -> KfParams:
    """Android's form for patterns: one salted SHA-256."""
    return KfParams(KfAlgorithm.SHA256, salt, memory=0, iterations=0, lanes=0)


def encode_credential(text: str) -> SecretBytes:
    """Turn what a person typed into bytes: Unicode NFC, UTF-8, nothing trimmed.

    Leading zeros are kept. NFC makes the same letters typed on two keyboards the same bytes.

    Raises:
        FormatError: empty, longer than 1,024 bytes, not encodable (lone surrogates), or with a
            NUL: scrypt keys an HMAC with it, which takes ``12`` and ``12`` NUL for the same.
    """
    try:
        data = unicodedata.normalize("NFC", text).encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("the PIN, password or pattern is not valid Unicode") from None
    if not data:
        raise FormatError("the PIN, password or pattern is empty")
    if b"\0" in data:
        raise FormatError("the PIN, password or pattern holds a NUL character")
    if len(data) > CREDENTIAL_BYTES_MAX:
        raise FormatError(f"the PIN, password or pattern is longer than {CREDENTIAL_BYTES_MAX} bytes")
    return SecretBytes(data)


def hash_credential(credential: SecretBytes, params: KfParams) -> SecretBytes:
    """Return ``kf_hash``, 32 bytes. Slow on purpose (about 0.1 s with the defaults)."""
    return SecretBytes(_STRETCH[params.algorithm](credential.expose(), params))


def thm_kf_hash(kf_hash: bytes) -> bytes:
    """Return SHA-256(``THM_KF_hash`` + kf_hash), 32 bytes: the only form that the THM sees."""
    return hashlib.sha256(labels.THM_KF_HASH + kf_hash).digest()


def _argon2id(credential: bytes, params: KfParams) -> bytes:
    return hash_secret_raw(
        credential,
        params.salt,
        time_cost=params.iterations,
        memory_cost=params.memory,
        parallelism=params.lanes,
        hash_len=KF_HASH_BYTES,
        type=Type.ID,
    )


def _scrypt(credential: bytes, params: KfParams) -> bytes:
    kdf = Scrypt(params.salt, KF_HASH_BYTES, n=params.memory, r=params.iterations, p=params.lanes)
    return kdf.derive(credential)


def _salted_sha256(credential: bytes, params: KfParams) -> bytes:
    return hashlib.sha256(_length_prefixed(params.salt, credential)).digest()


def _length_prefixed(salt: bytes, credential: bytes) -> bytes:
    """Lengths as u32 LE keep salt ``123`` + ``4567`` apart from ``1234`` + ``567``."""
    return b"".join(struct.pack("<I", len(part)) + part for part in (salt, credential))


def _check_argon2id(params: KfParams) -> None:
    """At least RFC 9106's minimum; at most what a phone has, so a server cannot exhaust a client."""
    lanes_ok = 1 <= params.lanes <= 16
    if not (lanes_ok and 1 <= params.iterations <= 32 and 8 * params.lanes <= params.memory <= 2**21):
        raise FormatError("argon2id cost is out of range (memory up to 2 GiB, 1-32 passes, 1-16 lanes)")


def _check_scrypt(params: KfParams) -> None:
    """N below 2^(16 r) (RFC 7914 section 6), and 128 N r bytes within the same 2 GiB."""
    n, r, p = params.memory, params.iterations, params.lanes
    power_of_two = 2 <= n <= 2**20 and n & (n - 1) == 0
    if not (power_of_two and 1 <= r <= 32 and 1 <= p <= 16):
        raise FormatError("scrypt cost is out of range (N a power of two up to 2^20, r 1-32, p 1-16)")
    if n >= 2 ** (16 * r) or 128 * n * r > 2**31:
        raise FormatError("scrypt cost is out of range (N below 2^(16 r), 128 N r up to 2 GiB)")


def _check_sha256(params: KfParams) -> None:
    if (params.memory, params.iterations, params.lanes) != (0, 0, 0):
        raise FormatError("salted sha256 has no cost parameters")


_COST_RULES: Final = {
    KfAlgorithm.ARGON2ID: _check_argon2id,
    KfAlgorithm.SCRYPT: _check_scrypt,
    KfAlgorithm.SHA256: _check_sha256,
}

_STRETCH: Final = {
    KfAlgorithm.ARGON2ID: _argon2id,
    KfAlgorithm.SCRYPT: _scrypt,
    KfAlgorithm.SHA256: _salted_sha256,
}
