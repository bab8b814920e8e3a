"""The four TPM commands that run all day, and one that must not be lied about (TPM 2.0 part 3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from typing import Final

from hwkm.errors import TokenUnavailable
from hwkm.tokens.tpm.errors import CommandRefused
from hwkm.tokens.tpm.hmac_session import (
    AUDIT,
    DECRYPT,
    ENCRYPT,
    Entity,
    HmacSession,
    Prepared,
    SplitTransport,
    sized,
    split_sized,
)

_ECDH_ZGEN: Final = 0x154
_SIGN: Final = 0x15D
_NV_READ: Final = 0x14E
_NV_WRITE: Final = 0x137
_NV_INCREMENT: Final = 0x134
_GET_CAPABILITY: Final = 0x17A

_COORDINATE_BYTES: Final = 32
_ALG_NULL: Final = 0x0010
_ECDSA_SHA256: Final = struct.pack(">HH", 0x0018, 0x000B)
# Scheme: the key's own. Ticket TPM_ST_HASHCHECK of the null hierarchy: the digest was made outside,
# which an unrestricted key accepts.
_SIGN_OPTIONS: Final = struct.pack(">HHIH", _ALG_NULL, 0x8024, 0x40000007, 0)
_OFFSET_ZERO: Final = b"\0\0"
_CAP_HANDLES: Final = 1
_HANDLES_MAX: Final = 254  # as many as one answer holds (MAX_CAP_HANDLES)
_HANDLES_AT: Final = 9  # after moreData (1), capability (4) and count (4)


def ecdh_zgen(session: HmacSession, key: Entity, point: bytes) -> bytes:
    """Return the x coordinate (32 bytes) of private key times ``point`` (65 bytes).

    Raises:
        CommandRefused: the TPM refused.
        TokenUnavailable: the TPM does not answer as it should.
    """
    return _x_of(session.execute(_ECDH_ZGEN, (key,), _in_point(point), b"", ENCRYPT))


def ecdh_zgen_all(
    transport: SplitTransport, sessions: tuple[HmacSession, HmacSession], key: Entity, points: Sequence[bytes]
) -> Iterator[bytes]:
    """Yield the x coordinates for all points, as :func:`execute_all`.

    Raises:
        As :func:`ecdh_zgen`.
    """
    parameters = [(_in_point(point), b"") for point in points]
    answers = execute_all(transport, sessions, _ECDH_ZGEN, key, parameters, ENCRYPT)
    return map(_x_of, answers)


def execute_all(
    transport: SplitTransport,
    sessions: tuple[HmacSession, HmacSession],
    code: int,
    entity: Entity,
    parameters: Sequence[tuple[bytes, bytes]],
    flags: int,
) -> Iterator[bytes]:
    """Run one command many times, each with its first and remaining parameters; yield the answers' parameters.

    The TPM works on one while we make the next ready, and while the caller uses what was yielded. The
    sessions take turns, since the nonces of one are known only with its last answer.

    Raises:
        CommandRefused, TokenUnavailable: as :meth:`HmacSession.finish`.
    """
    ahead: tuple[HmacSession, Prepared] | None = None
    for (first, rest), session in zip(parameters, cycle(sessions), strict=False):
        prepared = session.prepare(code, (entity,), first, rest, flags)
        answer = transport.receive() if ahead else b""
        transport.send(prepared.command)
        if ahead:
            yield _finished(transport, *ahead, answer, (session, prepared))
        ahead = session, prepared
    if ahead:
        session, prepared = ahead
        yield session.finish(prepared, transport.receive())


def _finished(
    transport: SplitTransport,
    session: HmacSession,
    prepared: Prepared,
    answer: bytes,
    under_way: tuple[HmacSession, Prepared],
) -> bytes:
    """Finish a command while the next one is under way.

    If it was refused, the next one's answer is taken and dropped: its session lives on.
    """
    try:
        return session.finish(prepared, answer)
    except CommandRefused:
        next_session, next_prepared = under_way
        with suppress(CommandRefused):
            next_session.finish(next_prepared, transport.receive())
        raise


def _in_point(point: bytes) -> bytes:
    """A TPMS_ECC_POINT. It came from outside and is no secret; what comes back is."""
    return sized(point[1:33]) + sized(point[33:])


def _x_of(answer: bytes) -> bytes:
    out_point, _ = split_sized(answer)
    x, _ = split_sized(out_point)
    return _padded(x)


def sign_sha256(session: HmacSession, key: Entity, digest: bytes) -> bytes:
    """Return the ECDSA signature of a SHA-256 digest: r and s, 32 bytes each.

    Raises:
        CommandRefused: the TPM refused.
        TokenUnavailable: the TPM does not answer as it should.
    """
    answer = session.execute(_SIGN, (key,), digest, _SIGN_OPTIONS, DECRYPT)
    if not answer.startswith(_ECDSA_SHA256):
        raise TokenUnavailable("the TPM signed with another scheme than ECDSA with SHA-256")
    r, rest = split_sized(answer[len(_ECDSA_SHA256) :])
    s, _ = split_sized(rest)
    return _padded(r) + _padded(s)


def nv_read(session: HmacSession, index: Entity, size: int, offset: int = 0) -> bytes:
    """Return ``size`` bytes of an NV index from ``offset`` on, authorised by the index itself.

    Raises:
        CommandRefused: the TPM refused.
        TokenUnavailable: the TPM does not answer as it should.
    """
    parameters = struct.pack(">HH", size, offset)
    data, _ = split_sized(session.execute(_NV_READ, (index, index), None, parameters, ENCRYPT))
    return data


def nv_write(session: HmacSession, index: Entity, data: bytes) -> None:
    """Write an NV index from its beginning, authorised by the index itself. Durable on return.

    Raises:
        CommandRefused: the TPM refused.
        TokenUnavailable: written or not, unknown.
    """
    session.execute(_NV_WRITE, (index, index), data, _OFFSET_ZERO, DECRYPT)


def nv_increment(session: HmacSession, counter: Entity) -> None:
    """Let an NV counter count one further, authorised by the index itself. Durable on return.

    Raises:
        CommandRefused: the TPM refused.
        TokenUnavailable: counted or not, unknown.
    """
    session.execute(_NV_INCREMENT, (counter, counter), None, b"", 0)


def vouched_handles(session: HmacSession, first: int) -> set[int]:
    """Return the handles that exist from ``first`` on, of the same kind; nobody can forge the answer.

    Raises:
        CommandRefused: the TPM refused.
        TokenUnavailable: the TPM does not answer as it should.
    """
    parameters = struct.pack(">III", _CAP_HANDLES, first, _HANDLES_MAX)
    answer = session.execute(_GET_CAPABILITY, (), None, parameters, AUDIT)
    return {handle for (handle,) in struct.iter_unpack(">I", answer[_HANDLES_AT:])}


def _padded(coordinate: bytes) -> bytes:
    """Return a TPM's big number as 32 bytes; some TPMs leave out leading zeros."""
    if len(coordinate) > _COORDINATE_BYTES:
        raise TokenUnavailable("the TPM answered with a number that is not of P-256")
    return coordinate.rjust(_COORDINATE_BYTES, b"\0")
