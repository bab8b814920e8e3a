"""A strict parser of what a TPM signs and what it signs about (TPM 2.0 library, part 2).

Only what hwkm's evidence needs: TPMT_PUBLIC of P-256 and RSA keys, TPMS_ATTEST of
TPM2_Certify, TPM2_CertifyCreation, TPM2_Quote and TPM2_NV_Certify, and TPMT_SIGNATURE of ECDSA with SHA-256. No TPM is needed
to read them. Everything else is a :class:`FormatError`, and so is a byte too many.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from hwkm.errors import FormatError

STRUCTURE_BYTES_MAX: Final = 4096

ALG_RSA: Final = 0x0001
ALG_AES: Final = 0x0006
ALG_SHA256: Final = 0x000B
ALG_NULL: Final = 0x0010
ALG_ECDSA: Final = 0x0018
ALG_ECDH: Final = 0x0019
ALG_ECC: Final = 0x0023
ALG_CFB: Final = 0x0043
ECC_NIST_P256: Final = 0x0003

_GENERATED: Final = 0xFF544347  # TPM_GENERATED_VALUE: the TPM itself says it
_SCHEMES_WITH_HASH: Final = frozenset({0x0014, 0x0016, 0x0017, ALG_ECDSA, ALG_ECDH, 0x001B, 0x001C})
_PCR_BYTES: Final = 3  # sizeofSelect of 24 PCRs
_SELECTIONS_MAX: Final = 16
_COORDINATE_BYTES: Final = 32


class ObjectAttributes(IntFlag):
    """TPMA_OBJECT."""

    FIXED_TPM = 1 << 1
    ST_CLEAR = 1 << 2
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    USER_WITH_AUTH = 1 << 6
    ADMIN_WITH_POLICY = 1 << 7
    NO_DA = 1 << 10
    ENCRYPTED_DUPLICATION = 1 << 11
    RESTRICTED = 1 << 16
    DECRYPT = 1 << 17
    SIGN = 1 << 18


class AttestType(IntEnum):
    """TPMI_ST_ATTEST, of the kinds known here."""

    NV = 0x8014
    CERTIFY = 0x8017
    QUOTE = 0x8018
    CREATION = 0x801A


@dataclass(frozen=True, slots=True)
class EccPublic:
    """TPMT_PUBLIC of a key on P-256; ``scheme`` is algorithm and hash, None where any may be chosen."""

    encoded: bytes
    attributes: ObjectAttributes
    auth_policy: bytes
    symmetric: tuple[int, int, int] | None
    scheme: tuple[int, int] | None
    point: bytes

    @property
    def name(self) -> bytes:
        """The Name: algorithm and digest of the public area."""
        return name_of(self.encoded)


@dataclass(frozen=True, slots=True)
class RsaPublic:
    """TPMT_PUBLIC of an RSA key with the exponent 65537; ``modulus`` in big endian."""

    encoded: bytes
    attributes: ObjectAttributes
    auth_policy: bytes
    symmetric: tuple[int, int, int] | None
    scheme: tuple[int, int] | None
    modulus: bytes

    @property
    def name(self) -> bytes:
        """The Name: algorithm and digest of the public area."""
        return name_of(self.encoded)


@dataclass(frozen=True, slots=True)
class Certified:
    """What TPM2_Certify says: an object with this Name is in the TPM."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Created:
    """What TPM2_CertifyCreation says: the TPM has made the object with this Name, with these data of its creation."""

    name: bytes
    creation_hash: bytes


@dataclass(frozen=True, slots=True)
class Quoted:
    """What TPM2_Quote says: the digest of these PCRs, by bank (algorithm of the hash)."""

    selection: tuple[tuple[int, frozenset[int]], ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class NvCertified:
    """What TPM2_NV_Certify says: the contents of the index with this Name, from ``offset``."""

    name: bytes
    offset: int
    contents: bytes


@dataclass(frozen=True, slots=True)
class Attest:
    """TPMS_ATTEST. ``boot`` is what changes with a restart: reset count, restart count, firmware version.

    For a key of the owner's hierarchy the TPM disguises those three numbers, always in the same way.
    """

    extra_data: bytes
    boot: tuple[int, int, int]
    attested: Certified | Created | Quoted | NvCertified


def name_of(public: bytes) -> bytes:
    """Return the Name of an entity whose name algorithm is SHA-256."""
    return struct.pack(">H", ALG_SHA256) + hashlib.sha256(public).digest()


def parse_ecc_public(data: bytes) -> EccPublic:
    """Read the TPMT_PUBLIC of a key on P-256 that is named by SHA-256.

    Raises:
        FormatError: it is not one.
    """
    reader, attributes, policy = _public_head(data, ALG_ECC)
    symmetric, scheme = reader.symmetric(), reader.scheme()
    reader.expect(2, ECC_NIST_P256, "its curve is not P-256")
    reader.expect(2, ALG_NULL, "it has a key derivation scheme")
    x, y = reader.coordinate(), reader.coordinate()
    reader.end()
    return EccPublic(data, attributes, policy, symmetric, scheme, b"\x04" + x + y)


def parse_rsa_public(data: bytes) -> RsaPublic:
    """Read the TPMT_PUBLIC of an RSA key that is named by SHA-256.

    Raises:
        FormatError: it is not one.
    """
    reader, attributes, policy = _public_head(data, ALG_RSA)
    symmetric, scheme = reader.symmetric(), reader.scheme()
    bits, exponent = reader.number(2), reader.number(4)
    modulus = reader.sized(512)
    reader.end()
    if exponent not in (0, 65537) or 8 * len(modulus) != bits:
        raise FormatError("an RSA key of a TPM: exponent or length is not what it says")
    return RsaPublic(data, attributes, policy, symmetric, scheme, modulus)


def parse_attest(data: bytes) -> Attest:
    """Read a TPMS_ATTEST of TPM2_Certify, TPM2_CertifyCreation, TPM2_Quote or TPM2_NV_Certify.

    Raises:
        FormatError: it is not one.
    """
    reader = _Reader(data, "a TPM's statement")
    reader.expect(4, _GENERATED, "no TPM made it")
    kind = reader.number(2)
    reader.sized(34 + 32)  # Qualified Name of the signer, which depends on its parents
    extra_data = reader.sized(64)
    reader.number(8)  # clock
    resets, restarts = reader.number(4), reader.number(4)
    if reader.number(1) > 1:
        raise FormatError("a TPM's statement: a flag is neither set nor clear")
    firmware = reader.number(8)
    attested = _attested(reader, kind)
    reader.end()
    return Attest(extra_data, (resets, restarts, firmware), attested)


def parse_signature(data: bytes) -> bytes:
    """Read a TPMT_SIGNATURE of ECDSA with SHA-256; return r and s, 32 bytes each.

    Raises:
        FormatError: it is not one.
    """
    reader = _Reader(data, "a TPM's signature")
    reader.expect(2, ALG_ECDSA, "it is not ECDSA")
    reader.expect(2, ALG_SHA256, "its hash is not SHA-256")
    r, s = reader.coordinate(), reader.coordinate()
    reader.end()
    return r + s


def encode_signature(raw: bytes) -> bytes:
    """Return the TPMT_SIGNATURE of r and s."""
    parts = (struct.pack(">H", 32) + part for part in (raw[:32], raw[32:]))
    return struct.pack(">HH", ALG_ECDSA, ALG_SHA256) + b"".join(parts)


def _public_head(data: bytes, kind: int) -> tuple[_Reader, ObjectAttributes, bytes]:
    reader = _Reader(data, "a public area")
    reader.expect(2, kind, "it is of another kind of key")
    reader.expect(2, ALG_SHA256, "it is not named by SHA-256")
    attributes = ObjectAttributes(reader.number(4))
    return reader, attributes, reader.policy()


def _attested(reader: _Reader, kind: int) -> Certified | Created | Quoted | NvCertified:
    match kind:
        case AttestType.CERTIFY:
            name = reader.name()
            reader.name()  # Qualified Name
            return Certified(name)
        case AttestType.CREATION:
            return Created(reader.name(), reader.sized(32))
        case AttestType.QUOTE:
            return Quoted(reader.selection(), reader.sized(32))
        case AttestType.NV:
            return NvCertified(reader.name(), reader.number(2), reader.sized(2048))
        case _:
            raise FormatError(f"a TPM's statement of the kind 0x{kind:04x} is not known here")


class _Reader:
    """Takes fields from the front."""

    def __init__(self, data: bytes, what: str) -> None:
        if len(data) > STRUCTURE_BYTES_MAX:
            raise FormatError(f"{what} has at most {STRUCTURE_BYTES_MAX} bytes")
        self._data, self._at, self._what = data, 0, what

    def take(self, count: int) -> bytes:
        value = self._data[self._at : self._at + count]
        if len(value) != count:
            raise FormatError(f"{self._what} is cut short")
        self._at += count
        return value

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def expect(self, size: int, value: int, otherwise: str) -> None:
        if self.number(size) != value:
            raise FormatError(f"{self._what}: {otherwise}")

    def sized(self, most: int) -> bytes:
        size = self.number(2)
        if size > most:
            raise FormatError(f"{self._what}: a field of {size} bytes where {most} are the most")
        return self.take(size)

    def name(self) -> bytes:
        value = self.sized(34)
        if len(value) != 34 or not value.startswith(struct.pack(">H", ALG_SHA256)):
            raise FormatError(f"{self._what}: a Name that is not made by SHA-256")
        return value

    def policy(self) -> bytes:
        value = self.sized(32)
        if len(value) not in (0, 32):
            raise FormatError(f"{self._what}: a policy that is no SHA-256")
        return value

    def coordinate(self) -> bytes:
        """A number of P-256; some TPMs leave out leading zeros."""
        return self.sized(_COORDINATE_BYTES).rjust(_COORDINATE_BYTES, b"\0")

    def symmetric(self) -> tuple[int, int, int] | None:
        algorithm = self.number(2)
        return None if algorithm == ALG_NULL else (algorithm, self.number(2), self.number(2))

    def scheme(self) -> tuple[int, int] | None:
        algorithm = self.number(2)
        if algorithm == ALG_NULL:
            return None
        if algorithm not in _SCHEMES_WITH_HASH:
            raise FormatError(f"{self._what}: scheme 0x{algorithm:04x} is not known here")
        return algorithm, self.number(2)

    def selection(self) -> tuple[tuple[int, frozenset[int]], ...]:
        count = self.number(4)
        if count > _SELECTIONS_MAX:
            raise FormatError(f"{self._what}: too many banks of PCRs")
        return tuple(self._bank() for _ in range(count))

    def _bank(self) -> tuple[int, frozenset[int]]:
        algorithm = self.number(2)
        self.expect(1, _PCR_BYTES, "a selection of other than 24 PCRs")
        chosen = int.from_bytes(self.take(_PCR_BYTES), "little")
        return algorithm, frozenset(number for number in range(24) if chosen >> number & 1)

    def end(self) -> None:
        if self._at != len(self._data):
            raise FormatError(f"{self._what} goes on after its end")
