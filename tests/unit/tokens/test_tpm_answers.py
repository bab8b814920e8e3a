"""Whatever bytes come back from the bus: refused with a typed error, never believed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.crypto.p256 import encode_point, load_scalar
from hwkm.errors import TokenUnavailable
from hwkm.secret import SecretBytes
from hwkm.tokens.tpm.commands import ecdh_zgen, nv_read, nv_write, sign_sha256
from hwkm.tokens.tpm.errors import CommandRefused
from hwkm.tokens.tpm.hmac_session import Entity, HmacSession, execute_together, sized, split_sized
from hwkm.tokens.tpm.key_commands import (
    ChildBlob,
    Duplicated,
    change_authorisation,
    create,
    hmac_of_sequence,
    import_child,
    load,
    sign,
    zgen,
)

POINT = encode_point(load_scalar(bytes(31) + b"\x07").public_key())
KEY = Entity(0x81006861, b"\0\x0b" + bytes(32), SecretBytes(b"value"))
SESSION_STARTED = b"\x02\0\0\0" + sized(bytes(32))

COMMANDS = [
    lambda session: ecdh_zgen(session, KEY, POINT),
    lambda session: sign_sha256(session, KEY, bytes(32)),
    lambda session: nv_read(session, KEY, 73),
    lambda session: nv_write(session, KEY, bytes(73)),
    lambda session: create(session, KEY, KEY.authorisation, b"template"),
    lambda session: load(session, KEY, ChildBlob(b"private", b"public")),
    lambda session: sign(session, KEY, (0x18, 0x0B), bytes(32)),
    lambda session: zgen(session, KEY, POINT),
    lambda session: hmac_of_sequence(session, KEY, bytes(3000), 1024, KEY.authorisation),
    lambda session: import_child(session, KEY, b"public", Duplicated(b"duplicate", b"seed"), bytes(16)),
    lambda session: change_authorisation(session, KEY, KEY, b"public", KEY.authorisation),
    lambda session: execute_together((session, session), 0x148, (KEY, KEY), b""),
]


def framed(body: bytes, tag: int = 0x8002, code: int = 0) -> bytes:
    return struct.pack(">HII", tag, 10 + len(body), code) + body


class Scripted:
    """A bus that starts a session and then says what it was told to say."""

    def __init__(self, answer: bytes) -> None:
        self.answers = [framed(SESSION_STARTED, tag=0x8001), answer]

    def transact(self, command: bytes) -> bytes:
        assert int.from_bytes(command[2:6], "big") == len(command)
        return self.answers.pop(0)


@pytest.mark.parametrize("command", COMMANDS)
@given(body=st.binary(max_size=200))
def test_an_answer_without_a_right_hmac_is_never_believed(command, body: bytes) -> None:  # type: ignore[no-untyped-def]
    session = HmacSession(Scripted(framed(body)), 0x81006860, POINT)
    with pytest.raises(TokenUnavailable):
        command(session)


@given(answer=st.binary(max_size=64))
def test_any_bytes_at_all_are_refused(answer: bytes) -> None:
    session = HmacSession(Scripted(answer), 0x81006860, POINT)
    with pytest.raises((TokenUnavailable, CommandRefused)):
        ecdh_zgen(session, KEY, POINT)


@given(body=st.binary(max_size=64))
def test_any_start_of_a_session_is_taken_or_refused(body: bytes) -> None:
    class OneAnswer:
        def transact(self, command: bytes) -> bytes:
            return framed(body, tag=0x8001)

    try:
        HmacSession(OneAnswer(), 0x81006860, POINT)
    except TokenUnavailable:
        return


@given(content=st.binary(max_size=80), rest=st.binary(max_size=20))
def test_a_sized_buffer_is_split_where_it_ends(content: bytes, rest: bytes) -> None:
    assert split_sized(sized(content) + rest) == (content, rest)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\x02a"])
def test_a_sized_buffer_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(TokenUnavailable):
        split_sized(data)
