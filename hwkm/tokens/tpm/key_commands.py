"""The TPM commands that make, load, use and move customer master keys (TPM 2.0 part 3)."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hwkm.errors import TokenUnavailable
from hwkm.secret import SecretBytes
from hwkm.tokens.tpm.errors import CommandRefused
from hwkm.tokens.tpm.hmac_session import (
    DECRYPT,
    ENCRYPT,
    Entity,
    HmacSession,
    Transport,
    send_plain,
    sized,
    split_sized,
)
from hwkm.tokens.tpm.key_templates import DUPLICATE, POLICY_AUTH_VALUE, POLICY_COMMAND_CODE

HMAC: Final = 0x155
_HMAC_START: Final = 0x15B
_SEQUENCE_UPDATE: Final = 0x15C
_SEQUENCE_COMPLETE: Final = 0x13E
_CREATE: Final = 0x153
_LOAD: Final = 0x157
_LOAD_EXTERNAL: Final = 0x167
_IMPORT: Final = 0x156
_OBJECT_CHANGE_AUTH: Final = 0x150
_SIGN: Final = 0x15D
_ECDH_ZGEN: Final = 0x154
_CONTEXT_SAVE: Final = 0x162
_CONTEXT_LOAD: Final = 0x161
_FLUSH_CONTEXT: Final = 0x165

_RH_NULL: Final = 0x40000007
_ALG_NULL: Final = struct.pack(">H", 0x0010)
# Ticket TPM_ST_HASHCHECK of the null hierarchy: the digest was made outside.
_NO_TICKET: Final = struct.pack(">HIH", 0x8024, _RH_NULL, 0)
_NOT_CREATED_BY_PCR: Final = bytes(4)
INNER_KEY_BYTES: Final = 16
_INNER_CIPHER: Final = struct.pack(">HHH", 0x0006, 8 * INNER_KEY_BYTES, 0x0043)  # AES-128-CFB

_RSASSA: Final = 0x0014
_RSAPSS: Final = 0x0016
_ECDSA: Final = 0x0018


@dataclass(frozen=True, slots=True)
class ChildBlob:
    """A child as it is kept outside: TPM2B_PRIVATE's content and TPMT_PUBLIC."""

    private: bytes
    public: bytes


@dataclass(frozen=True, slots=True)
class Duplicated:
    """A child on its way to another parent: encrypted to it, and inside that under the inner key."""

    duplicate: bytes
    seed: bytes


def create(session: HmacSession, parent: Entity, authorisation: SecretBytes, template: bytes) -> ChildBlob:
    """Make a child of ``parent``; it is not loaded.

    Raises:
        CommandRefused: the TPM refused.
        TokenUnavailable: the TPM does not answer as it should.
    """
    sensitive = sized(authorisation.expose()) + sized(b"")
    rest = sized(template) + sized(b"") + _NOT_CREATED_BY_PCR
    answer = session.execute(_CREATE, (parent,), sensitive, rest, DECRYPT)
    private, answer = split_sized(answer)
    public, _ = split_sized(answer)
    return ChildBlob(private, public)


def load(session: HmacSession, parent: Entity, blob: ChildBlob) -> int:
    """Load a child and return its handle. Raises as :func:`create`."""
    handle, _ = session.execute_for_handle(_LOAD, (parent,), blob.private, sized(blob.public), 0)
    return handle


def load_public(transport: Transport, public: bytes) -> int:
    """Load another TPM's public key and return its handle. Raises as :func:`create`."""
    body = sized(b"") + sized(public) + struct.pack(">I", _RH_NULL)
    return int.from_bytes(send_plain(transport, _LOAD_EXTERNAL, body)[10:14], "big")


def context_save(transport: Transport, handle: int) -> bytes:
    """Return an object as the TPM lets it out: encrypted for itself until it is restarted. As :func:`create`."""
    return send_plain(transport, _CONTEXT_SAVE, struct.pack(">I", handle))[10:]


def context_load(transport: Transport, context: bytes) -> int:
    """Load a saved object and return its handle. Raises as :func:`create`."""
    return int.from_bytes(send_plain(transport, _CONTEXT_LOAD, context)[10:14], "big")


def flush(transport: Transport, handle: int) -> None:
    """Unload an object. Never raises: a TPM that does not answer says so at the next use."""
    with suppress(CommandRefused, TokenUnavailable):
        send_plain(transport, _FLUSH_CONTEXT, struct.pack(">I", handle))


def hmac_of_sequence(
    session: HmacSession, key: Entity, message: bytes, buffer_bytes: int, authorisation: SecretBytes
) -> bytes:
    """Return the HMAC of a message that is longer than the TPM takes at once.

    Everything is encrypted on the bus. The sequence has an authorisation value of its own.

    Raises:
        As :func:`create`; the sequence is removed then.
    """
    handle, _ = session.execute_for_handle(_HMAC_START, (key,), authorisation.expose(), _ALG_NULL, DECRYPT)
    sequence = Entity(handle, b"", authorisation)  # a sequence has an empty Name (part 1, clause 16)
    pieces = [message[at : at + buffer_bytes] for at in range(0, len(message), buffer_bytes)]
    try:
        for piece in pieces[:-1]:
            session.execute(_SEQUENCE_UPDATE, (sequence,), piece, b"", DECRYPT)
        flags = DECRYPT | ENCRYPT
        null = struct.pack(">I", _RH_NULL)
        result, _ = split_sized(session.execute(_SEQUENCE_COMPLETE, (sequence,), pieces[-1], null, flags))
    except CommandRefused:
        flush(session.transport, handle)
        raise
    return result


def sign(session: HmacSession, key: Entity, scheme: tuple[int, int], digest: bytes) -> list[int]:
    """Return the numbers of a signature: r and s, or one of RSA. ``scheme`` is algorithm and hash.

    Raises:
        As :func:`create`.
    """
    wanted = struct.pack(">HH", *scheme)
    answer = session.execute(_SIGN, (key,), digest, wanted + _NO_TICKET, DECRYPT)
    if not answer.startswith(wanted):
        raise TokenUnavailable("the TPM signed with another scheme than it was asked for")
    first, rest = split_sized(answer[len(wanted) :])
    if scheme[0] != _ECDSA:
        return [int.from_bytes(first, "big")]
    second, _ = split_sized(rest)
    return [int.from_bytes(first, "big"), int.from_bytes(second, "big")]


def zgen(session: HmacSession, key: Entity, point: bytes) -> bytes:
    """Return the x coordinate of private key times an uncompressed point of its curve.

    Raises:
        As :func:`create`.
    """
    size = len(point) // 2
    in_point = sized(point[1 : 1 + size]) + sized(point[1 + size :])
    out_point, _ = split_sized(session.execute(_ECDH_ZGEN, (key,), in_point, b"", ENCRYPT))
    x, _ = split_sized(out_point)
    return x.rjust(size, b"\0")


def duplicate(policy: HmacSession, key: Entity, new_parent: Entity, inner_key: bytes) -> Duplicated:
    """Wrap a loaded child to another parent, inside that under ``inner_key`` (16 bytes).

    ``policy`` is a policy session; it can be used again.

    Raises:
        As :func:`create`.
    """
    handle = struct.pack(">I", policy.handle)
    send_plain(policy.transport, POLICY_AUTH_VALUE, handle)
    send_plain(policy.transport, POLICY_COMMAND_CODE, handle + struct.pack(">I", DUPLICATE))
    answer = policy.execute(DUPLICATE, (key, new_parent), inner_key, _INNER_CIPHER, DECRYPT)
    _, answer = split_sized(answer)  # the key that the TPM would have chosen
    duplicated, answer = split_sized(answer)
    seed, _ = split_sized(answer)
    return Duplicated(duplicated, seed)


def import_child(
    session: HmacSession, parent: Entity, public: bytes, item: Duplicated, inner_key: bytes
) -> ChildBlob:
    """Take a duplicate in as a child of ``parent``; it is not loaded. Raises as :func:`create`."""
    rest = sized(public) + sized(item.duplicate) + sized(item.seed) + _INNER_CIPHER
    private, _ = split_sized(session.execute(_IMPORT, (parent,), inner_key, rest, DECRYPT))
    return ChildBlob(private, public)


def change_authorisation(
    session: HmacSession, key: Entity, parent: Entity, public: bytes, new: SecretBytes
) -> ChildBlob:
    """Return a loaded child with another authorisation value; what is loaded keeps its own. As :func:`create`."""
    answer = session.execute(_OBJECT_CHANGE_AUTH, (key, parent), new.expose(), b"", DECRYPT)
    private, _ = split_sized(answer)
    return ChildBlob(private, public)


def hmac_result(answer: bytes, size: int) -> bytes:
    """Return the HMAC in an answer's parameters.

    Raises:
        TokenUnavailable: it has another length.
    """
    result, _ = split_sized(answer)
    if len(result) != size:
        raise TokenUnavailable(f"the TPM's HMAC has {len(result)} bytes, not {size}")
    return result


def hmac_parameters(message: bytes) -> tuple[bytes, bytes]:
    """Return first and remaining parameters of TPM2_HMAC: the message, and the key's own hash."""
    return message, _ALG_NULL


def signing_scheme(algorithm: str, hash_algorithm: int) -> tuple[int, int]:
    """Return a TPM's number of AWS's name of a signing algorithm, with its hash."""
    if algorithm.startswith("ECDSA"):
        return _ECDSA, hash_algorithm
    return (_RSAPSS if algorithm.startswith("RSASSA_PSS") else _RSASSA), hash_algorithm
