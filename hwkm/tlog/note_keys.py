"""Keys of signed notes: public ones as *vkey* text, and private Ed25519 ones.

Three signature types of C2SP signed-note are known here:

====  ==============================================================  ===========================
type  what is signed                                                  public key
====  ==============================================================  ===========================
0x01  the text, Ed25519                                               32 bytes
0x02  the text, ECDSA on P-256 with SHA-256, DER                      SubjectPublicKeyInfo, DER
0x04  ``cosignature/v1``, a time and the text, Ed25519 (witnesses)    32 bytes
====  ==============================================================  ===========================
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final, Self

from hwkm.crypto import signatures
from hwkm.errors import FormatError, InvalidKeyError, NoteUnverified
from hwkm.secret import SecretBytes
from hwkm.tlog.base64_lines import decode_base64, encode_base64

KEY_ID_BYTES: Final = 4
NAME_BYTES_MAX: Final = 255
KEY_TEXT_BYTES_MAX: Final = 1024
TIME_MAX: Final = 2**63 - 1

_KEY_ID: Final = re.compile(r"[0-9a-f]{8}")
_TIMESTAMP: Final = struct.Struct(">Q")
_PRIVATE: Final = "PRIVATE+KEY+"


class KeyType(IntEnum):
    """The signature type identifier byte."""

    ED25519 = 0x01
    ECDSA = 0x02
    COSIGNATURE = 0x04


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key with its name and its one purpose. ``public_key``: see the table above."""

    name: str
    type: KeyType
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.type is KeyType.ECDSA:
            _point(self.public_key)
        elif len(self.public_key) != signatures.ED25519_KEY_BYTES:
            raise FormatError("an Ed25519 public key is 32 bytes")

    @classmethod
    def of_point(cls, name: str, point: bytes) -> Self:
        """Return the ECDSA key of a P-256 point (65 bytes).

        Raises:
            FormatError: the name is none.
            InvalidKeyError: the point is not on P-256.
        """
        return cls(name, KeyType.ECDSA, signatures.encode_spki(point))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a vkey: name, ``+``, key id in hex, ``+``, base64 of the type byte and the key.

        Raises:
            FormatError: it is none, of another type, or its key id is not that of its key.
        """
        name, key_id, data = _split_key(text)
        try:
            key = cls(name, KeyType(data[0]), data[1:])
        except ValueError:
            raise FormatError(f"a verifier key of type {data[0]:#04x} is not known here") from None
        if key.key_id != key_id:
            raise FormatError("a verifier key whose key id is not that of its key")
        return key

    def __str__(self) -> str:
        """Return the vkey."""
        encoded = encode_base64(bytes([self.type]) + self.public_key)
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @property
    def key_id(self) -> bytes:
        """The four bytes that precede a signature by this key.

        Of an ECDSA key it is a hash of the key alone: so says C2SP signed-note.
        """
        if self.type is KeyType.ECDSA:
            return sha256(self.public_key).digest()[:KEY_ID_BYTES]
        return _key_id(self.name, self.type, self.public_key)

    def verify(self, text: str, signature: bytes) -> None:
        """Check a signature of this key under a text.

        Raises:
            NoteUnverified: it is wrong.
        """
        if not self._verifies(text, signature):
            raise NoteUnverified(f"the signature by {self.name} is wrong")

    def _verifies(self, text: str, signature: bytes) -> bool:
        match self.type:
            case KeyType.ED25519:
                return signatures.ed25519_verifies(self.public_key, text.encode(), signature)
            case KeyType.ECDSA:
                return signatures.ecdsa_verifies(_point(self.public_key), text.encode(), signature)
            case KeyType.COSIGNATURE:
                message = cosigned_message(cosignature_time(signature), text)
                return signatures.ed25519_verifies(self.public_key, message, signature[_TIMESTAMP.size :])


class PrivateNoteKey:
    """A private Ed25519 key with its name: signs notes as 0x01, or checkpoints of others as 0x04."""

    def __init__(self, name: str, seed: SecretBytes) -> None:
        """Take up a key.

        Raises:
            FormatError: the name is none, or the seed is not 32 bytes.
        """
        check_name(name)
        if len(seed) != signatures.ED25519_KEY_BYTES:
            raise FormatError("an Ed25519 private key is 32 bytes")
        self._name, self._seed = name, seed

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a private key as Go's sumdb/note writes it: ``PRIVATE+KEY+``, then as a vkey.

        Raises:
            FormatError: it is none, or its key id is wrong. No part of it is in the message.
        """
        if not text.startswith(_PRIVATE):
            raise FormatError(f"a private key of notes starts with {_PRIVATE}")
        name, key_id, data = _split_key(text.removeprefix(_PRIVATE))
        if data[0] != KeyType.ED25519:
            raise FormatError("a private key of notes is an Ed25519 key")
        key = cls(name, SecretBytes(data[1:]))
        if key.public(KeyType.ED25519).key_id != key_id:
            raise FormatError("a private key of notes whose key id is not that of its key")
        return key

    def insecure_text(self) -> str:
        """Return the private key as text, to be written to a file of mode 0600."""
        key_id = self.public(KeyType.ED25519).key_id.hex()
        encoded = encode_base64(bytes([KeyType.ED25519]) + self._seed.expose())
        return f"{_PRIVATE}{self._name}+{key_id}+{encoded}"

    def public(self, kind: KeyType) -> NoteKey:
        """Return the public key for one purpose."""
        return NoteKey(self._name, kind, signatures.ed25519_public_key(self._seed.expose()))

    def sign(self, text: str) -> bytes:
        """Return the signature (64 bytes) of type 0x01 under a text."""
        return signatures.ed25519_sign(self._seed.expose(), text.encode())

    def cosign(self, text: str, time_s: int) -> bytes:
        """Return the signature (72 bytes) of type 0x04 under the text of a checkpoint.

        ``time_s`` is the time of now, in seconds since 1970.

        Raises:
            FormatError: it is out of range.
        """
        if not 0 <= time_s <= TIME_MAX:
            raise FormatError("the time of a cosignature is out of range")
        signed = signatures.ed25519_sign(self._seed.expose(), cosigned_message(time_s, text))
        return _TIMESTAMP.pack(time_s) + signed


def cosigned_message(time_s: int, text: str) -> bytes:
    """Return what a witness signs: the text of the checkpoint, and when it was seen."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosignature_time(signature: bytes) -> int:
    """Return the time, in seconds since 1970, in a signature of type 0x04; -1 if it is none."""
    if len(signature) != _TIMESTAMP.size + signatures.ED25519_SIGNATURE_BYTES:
        return -1
    time_s: int = _TIMESTAMP.unpack_from(signature)[0]
    return time_s if time_s <= TIME_MAX else -1


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a key.

    Raises:
        FormatError: it is empty or long, or holds a space, a plus or a control character.
    """
    if not 1 <= len(name.encode("utf-8", "replace")) <= NAME_BYTES_MAX:
        raise FormatError(f"the name of a key is 1 to {NAME_BYTES_MAX} bytes")
    if any(character.isspace() or character == "+" or character < " " for character in name):
        raise FormatError("the name of a key holds no space, no plus and no control character")


def _split_key(text: str) -> tuple[str, bytes, bytes]:
    """Return name, key id, and the type byte with the key."""
    parts = text.split("+", 2)
    if len(text) > KEY_TEXT_BYTES_MAX or len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):
        raise FormatError("a key of notes is NAME+ID+BASE64")
    data = decode_base64(parts[2])
    if not data:
        raise FormatError("a key of notes without a key")
    check_name(parts[0])
    return parts[0], bytes.fromhex(parts[1]), data


def _key_id(name: str, kind: KeyType, public_key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + public_key).digest()[:KEY_ID_BYTES]


def _point(der: bytes) -> bytes:
    try:
        return signatures.parse_spki(der)
    except InvalidKeyError as exc:
        raise FormatError(str(exc)) from None
