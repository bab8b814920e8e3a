"""Headers of encrypted files: refused with FormatError, or the one encoding of their value."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from hwkm.client.files.errors import FileDamaged, NotEncrypted
from hwkm.client.files.header_swap import HeaderSwap, encode_journal, parse_journal
from hwkm.client.files.message import SealedMessage, seal
from hwkm.errors import FormatError
from hwkm.formats.message import (
    DATA_KEYS_MAX,
    FRAME_BYTES_MAX,
    HEADER_BYTES_MAX,
    MessageHeader,
    Suite,
    WrappedDataKey,
)
from hwkm.secret import SecretBytes
from tests.fuzz.byte_strings import edited, near

KEY = SecretBytes(bytes(range(32)))
WRAPPED = WrappedDataKey(b"aws-kms", b"arn", b"wrapped")

id_bytes = st.binary(min_size=32, max_size=32)
parts = st.binary(max_size=40)
headers = st.builds(
    MessageHeader,
    st.sampled_from(Suite),
    id_bytes,
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=9),
        st.text(st.characters(codec="utf-8"), max_size=9),
        max_size=4,
    ),
    st.lists(st.builds(WrappedDataKey, parts, parts, parts), min_size=1, max_size=DATA_KEYS_MAX).map(tuple),
    st.integers(1, FRAME_BYTES_MAX),
    id_bytes,
)


@given(headers, st.binary(max_size=40))
def test_every_header_comes_back_from_its_bytes(header: MessageHeader, rest: bytes) -> None:
    encoded = header.encode()
    assert MessageHeader.parse(encoded + rest) == (header, len(encoded))


@settings(max_examples=400)
@given(near(headers.map(MessageHeader.encode)))
def test_bytes_are_refused_or_are_the_one_encoding(data: bytes) -> None:
    try:
        header, length = MessageHeader.parse(data)
    except FormatError:
        return
    assert header.encode() == data[:length]
    assert length <= HEADER_BYTES_MAX


def whole_message() -> bytes:
    sink = io.BytesIO()
    seal(io.BytesIO(bytes(250)), sink, KEY, WRAPPED, {"tenant": "a"}, frame_bytes=100)
    return sink.getvalue()


MESSAGE = whole_message()


@settings(max_examples=400)
@given(edited(st.just(MESSAGE)) | st.binary(max_size=300))
def test_a_changed_file_is_refused(data: bytes) -> None:
    try:
        plaintext = b"".join(SealedMessage.read(io.BytesIO(data)).frames(KEY))
    except (NotEncrypted, FileDamaged):
        return
    assert (data, plaintext) == (MESSAGE, bytes(250))


journals = st.lists(
    st.integers(1, 60).flatmap(
        lambda length: st.builds(
            HeaderSwap,
            st.binary(min_size=1, max_size=20).filter(
                lambda name: name.strip(b".") and not {0, 47} & {*name}
            ),
            st.binary(min_size=length, max_size=length),
            st.binary(min_size=length, max_size=length),
        )
    ),
    max_size=4,
)


@given(journals)
def test_a_journal_comes_back_from_its_bytes(swaps: list[HeaderSwap]) -> None:
    assert parse_journal(encode_journal(swaps)) == swaps


@settings(max_examples=300)
@given(st.data())
def test_a_journal_with_anything_changed_is_refused(data: st.DataObject) -> None:
    whole = encode_journal(data.draw(journals))
    changed = data.draw(st.binary(max_size=300) | edited(st.just(whole)))
    try:
        parse_journal(changed)
    except FormatError:
        return
    assert changed == whole


@given(
    st.sampled_from([b"a/b", b"/etc/x", b"..", b".", b"a\0b", b""]),
    st.binary(min_size=1, max_size=9),
)
def test_a_journal_leads_to_no_other_directory(name: bytes, header: bytes) -> None:
    try:
        parse_journal(encode_journal([HeaderSwap(name, header, header)]))
    except FormatError:
        return
    raise AssertionError(name)


@given(st.binary(min_size=1, max_size=9), st.binary(min_size=10, max_size=20))
def test_a_journal_moves_no_body(old: bytes, new: bytes) -> None:
    try:
        parse_journal(encode_journal([HeaderSwap(b"file", old, new)]))
    except FormatError:
        return
    raise AssertionError("two lengths")
