"""Frames and messages of both interfaces: read, or refused with the documented error.

msgspec raises DecodeError (ValidationError is one) for what does not fit a type, and lets
UnicodeDecodeError and RecursionError through; at the edges of hwkm all become FormatError.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from hwkm.client.calls import Call
from hwkm.errors import FormatError, HwkmError
from hwkm.server.request_body import decode_body
from hwkm.wire import api, core_messages, key_messages
from hwkm.wire.core_messages import CoreStart, CoreStarted, ReplyFrame, RequestFrame
from hwkm.wire.framing import FRAME_BYTES_MAX, FrameReader, encode_frame
from hwkm.wire.operations import OPERATIONS, Operation
from hwkm.wire.problems import Problem, error_of
from tests.fuzz.byte_strings import near

REFUSALS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# --- values of any message type --------------------------------------------------------------


def values(described: inspect.Type) -> st.SearchStrategy[Any]:
    """Every value that a type, as msgspec sees it, allows."""
    match described:
        case inspect.StructType():
            fields = {field.name: values(field.type) for field in described.fields}
            return st.builds(described.cls, **fields)
        case inspect.Metadata():
            return values(described.type)
        case inspect.UnionType():
            return st.one_of([values(member) for member in described.types])
        case inspect.VarTupleType():
            low = described.min_length or 0
            return st.lists(values(described.item_type), min_size=low, max_size=low + 3).map(tuple)
        case inspect.FrozenSetType():
            return st.frozensets(values(described.item_type), max_size=3)
        case inspect.DictType():
            return st.dictionaries(values(described.key_type), values(described.value_type), max_size=3)
        case inspect.LiteralType():
            return st.sampled_from(described.values)
        case inspect.EnumType():
            return st.sampled_from(described.cls)
        case _:
            return scalars(described)


def scalars(described: inspect.Type) -> st.SearchStrategy[Any]:
    match described:
        case inspect.BytesType():
            low = described.min_length or 0
            high = low + 20 if described.max_length is None else described.max_length
            return st.binary(min_size=low, max_size=min(high, low + 200))
        case inspect.StrType():
            if described.pattern:
                return st.from_regex(described.pattern)
            low = described.min_length or 0
            high = low + 20 if described.max_length is None else described.max_length
            return st.text(min_size=low, max_size=min(high, low + 20))
        case inspect.IntType():
            low = 0 if described.ge is None else described.ge
            high = 2**63 - 1 if described.le is None else described.le
            return st.integers(low, high if described.lt is None else described.lt - 1)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case _:
            raise AssertionError(f"no strategy for {described}")


@cache
def of(message_type: Any) -> st.SearchStrategy[Any]:
    return values(inspect.type_info(message_type))


CORE_TYPES: dict[str, Any] = {
    "start": CoreStart,
    "started": CoreStarted,
    "request": RequestFrame,
    "reply": ReplyFrame,
}
API_TYPES = sorted(
    {t for operation in OPERATIONS for t in (operation.request, operation.response)},
    key=lambda message_type: message_type.__name__,
)
REQUESTS = [operation for operation in OPERATIONS if operation.request is not api.Nothing]
every_core_type = pytest.mark.parametrize("message_type", CORE_TYPES.values(), ids=CORE_TYPES)
every_api_type = pytest.mark.parametrize("message_type", API_TYPES, ids=lambda t: str(t.__name__))
every_request = pytest.mark.parametrize("operation", REQUESTS, ids=lambda operation: str(operation.name))


# --- frames ----------------------------------------------------------------------------------

bodies = st.lists(st.binary(max_size=50) | st.just(bytes(FRAME_BYTES_MAX)), max_size=4)


@given(bodies, st.lists(st.integers(1, 70_000), max_size=10))
def test_frames_come_back_however_the_stream_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(encode_frame, sent))
    reader = FrameReader()
    received: list[bytes] = []
    for size in [*cuts, len(stream)]:
        received += reader.feed(stream[:size])
        stream = stream[size:]
    assert received == sent


@given(st.binary(max_size=60), st.binary(min_size=1, max_size=60))
def test_one_byte_at_a_time_is_no_other_stream(head: bytes, body: bytes) -> None:
    stream = encode_frame(head) + encode_frame(body)
    reader = FrameReader()
    assert [frame for byte in stream for frame in reader.feed(bytes([byte]))] == [head, body]


@settings(max_examples=300)
@given(st.lists(near(st.binary(max_size=40).map(encode_frame)), max_size=5))
def test_any_stream_is_cut_or_refused(chunks: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for chunk in chunks:
            assert all(len(body) <= FRAME_BYTES_MAX for body in reader.feed(chunk))
    except FormatError:
        with pytest.raises(FormatError):
            list(reader.feed(b""))


@pytest.mark.parametrize("length", [FRAME_BYTES_MAX + 1, 2**31, 2**32 - 1])
def test_announced_length_over_the_limit_is_refused_before_its_bytes_arrive(length: int) -> None:
    with pytest.raises(FormatError):
        list(FrameReader().feed(struct.pack(">I", length)))


def test_frame_over_the_limit_is_not_sent() -> None:
    assert len(encode_frame(bytes(FRAME_BYTES_MAX))) == FRAME_BYTES_MAX + 4
    with pytest.raises(FormatError):
        encode_frame(bytes(FRAME_BYTES_MAX + 1))


# --- messages of the core --------------------------------------------------------------------


@every_core_type
@settings(max_examples=50)
@given(data=st.data())
def test_core_message_comes_back(message_type: Any, data: st.DataObject) -> None:
    message = data.draw(of(message_type))
    encoded = msgspec.msgpack.encode(message)
    assert msgspec.msgpack.decode(encoded, type=message_type) == message


@every_core_type
@settings(max_examples=200)
@given(data=st.data())
@example(data=None)
def test_any_bytes_are_a_core_message_or_refused(message_type: Any, data: st.DataObject | None) -> None:
    good = of(message_type).map(msgspec.msgpack.encode)
    given_bytes = b"\x91" * 100_000 if data is None else data.draw(near(good))
    try:
        message = msgspec.msgpack.decode(given_bytes, type=message_type)
    except REFUSALS:
        return
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=message_type) == message


def sizes_of_fields(message_type: type[msgspec.Struct]) -> dict[str, int]:
    fields = inspect.type_info(message_type)
    assert isinstance(fields, inspect.StructType)
    return {
        field.name: field.type.min_length
        for field in fields.fields
        if isinstance(field.type, inspect.BytesType) and field.type.min_length is not None
    }


@pytest.mark.parametrize(
    "message_type",
    [
        core_messages.IssueChallenge,
        core_messages.OpenVault,
        core_messages.ReadCounter,
        core_messages.ResumeVault,
    ],
)
@pytest.mark.parametrize("change", [-1, 1])
def test_box_of_another_length_does_not_reach_the_core(message_type: Any, change: int) -> None:
    sizes = sizes_of_fields(message_type)
    good = {name: bytes(size) for name, size in sizes.items()}
    tag = message_type.__struct_config__.tag
    decoder = msgspec.msgpack.Decoder(RequestFrame)
    decoder.decode(msgspec.msgpack.encode([1, {"type": tag, **good}]))
    for name, size in sizes.items():
        fields = {"type": tag, **good, name: bytes(size + change)}
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(msgspec.msgpack.encode([1, fields]))


@given(of(RequestFrame), st.text(min_size=1, max_size=8))
def test_unknown_field_of_a_request_is_refused(frame: RequestFrame, name: str) -> None:
    number, body = msgspec.msgpack.decode(msgspec.msgpack.encode(frame))
    if name in body:
        return
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode([number, {**body, name: 1}]), type=RequestFrame)


def test_more_than_a_number_and_a_body_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode([1, {"type": "stop"}, 2]), type=RequestFrame)


# --- messages of the HTTP interface ----------------------------------------------------------


@every_api_type
@settings(max_examples=30)
@given(data=st.data())
def test_api_message_comes_back(message_type: Any, data: st.DataObject) -> None:
    message = data.draw(of(message_type))
    assert msgspec.json.decode(msgspec.json.encode(message), type=message_type) == message


@every_request
@settings(max_examples=100)
@given(data=st.data())
@example(data=None)
def test_any_body_is_a_request_or_a_format_error(operation: Operation, data: st.DataObject | None) -> None:
    good = of(operation.request).map(msgspec.json.encode)
    body = b'{"challenge":' + b"[" * 100_000 if data is None else data.draw(near(good))
    try:
        request = decode_body(operation, body)
    except FormatError:
        return
    assert isinstance(request, operation.request)


@every_request
@settings(max_examples=30)
@given(data=st.data())
def test_unknown_field_of_a_body_is_refused(operation: Operation, data: st.DataObject) -> None:
    good = msgspec.json.decode(msgspec.json.encode(data.draw(of(operation.request))))
    with pytest.raises(FormatError):
        decode_body(operation, msgspec.json.encode({**good, "unknown": None}))


@pytest.mark.parametrize("kind", [api.Handle, api.Alias, api.Name], ids=["handle", "alias", "name"])
@pytest.mark.parametrize("text", ["0" * 34 + "\n", "\n" + "0" * 34, "", "a/b", "a\0b", "0" * 129])
def test_text_that_is_no_handle_alias_or_name_is_refused(kind: Any, text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(text), type=kind)


@every_api_type
@settings(max_examples=30)
@given(data=st.data())
def test_any_answer_is_read_by_the_client_or_raised_as_an_error_of_ours(
    message_type: Any, data: st.DataObject
) -> None:
    call: Call[Any] = Call(OPERATIONS[0], message_type, "/", b"")
    body = data.draw(near(of(message_type).map(msgspec.json.encode)))
    status = data.draw(st.sampled_from([200, 201, 204, 302, 400, 403, 404, 500, 503]))
    try:
        answer = call.read_answer(status, body)
    except HwkmError:
        return
    assert isinstance(answer, message_type)


@pytest.mark.parametrize("body", [b'"\xff"', b'{"error": {"code": "\xff"}}', b'{"x":' + b"[" * 100_000])
@pytest.mark.parametrize("status", [200, 500])
def test_answer_that_is_no_json_is_an_error_of_ours(body: bytes, status: int) -> None:
    call: Call[Any] = Call(OPERATIONS[0], api.Status, "/", b"")
    with pytest.raises(HwkmError):
        call.read_answer(status, body)


@given(of(Problem))
def test_any_problem_is_an_error_of_ours(problem: Problem) -> None:
    assert isinstance(error_of(problem), HwkmError)


# --- messages that hold plaintext ------------------------------------------------------------

SECRET = b"a plaintext that nobody may read"
HOLDING = [
    key_messages.EncryptItem(b"\0\0", SECRET),
    key_messages.DataKey(SECRET, b"c"),
    key_messages.DataKeys(items=(key_messages.DataKey(SECRET, b"c"),)),
    key_messages.DataKeyPair(public_key=b"p", private_key=SECRET, ciphertext=b"c"),
    key_messages.Plaintexts(items=(SECRET, None)),
    key_messages.Macs(items=(SECRET,)),
    key_messages.AgreedSecret(secret=SECRET),
    key_messages.RandomDrawn(random=SECRET),
]


@pytest.mark.parametrize("message", HOLDING, ids=lambda message: type(message).__name__)
def test_messages_that_hold_plaintext_do_not_print(message: object) -> None:
    for text in (repr(message), str(message), f"{message}", repr([message])):
        assert "plaintext that nobody" not in text
        assert text.strip("[]") == f"{type(message).__name__}(redacted)"
