"""Encrypted files as streams: ours, and those of the AWS Encryption SDK, either way."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwkm.client.files.errors import FileDamaged, NotEncrypted
from hwkm.client.files.frames import FRAME_BYTES
from hwkm.client.files.message import SealedMessage, seal
from hwkm.formats.message import FRAME_BYTES_MAX, HEADER_BYTES_MAX, Suite, WrappedDataKey
from hwkm.secret import SecretBytes
from tests.encryption_sdk import COMMITTED, COMMITTED_SIGNED, UNCOMMITTED, EncryptionSdk

ARN = "arn:aws:kms:us-east-1:000000000001:key/2f1ed1c0-7a0e-4a1e-8a55-8b9a5cbd3f10"
DATA_KEY = bytes(range(32))
WRAPPED = WrappedDataKey(b"aws-kms", ARN.encode(), b"w" * 85)
SDK = EncryptionSdk(ARN, DATA_KEY, WRAPPED.wrapped)


def sealed(data: bytes, *, frame_bytes: int = FRAME_BYTES, context: dict[str, str] | None = None) -> bytes:
    sink = io.BytesIO()
    key = SecretBytes(DATA_KEY)
    size = seal(io.BytesIO(data), sink, key, WRAPPED, context or {}, frame_bytes=frame_bytes)
    assert size == len(data)
    return sink.getvalue()


def opened(message: bytes, data_key: bytes = DATA_KEY) -> bytes:
    return b"".join(SealedMessage.read(io.BytesIO(message)).frames(SecretBytes(data_key)))


sizes = st.integers(0, 300) | st.sampled_from([4095, 4096, 4097, 8192, 20_000])
frame_sizes = st.sampled_from([1, 7, 100, 4096, FRAME_BYTES])
frame_sizes_of_sdk = st.sampled_from([128, 1024, 4096, FRAME_BYTES])
contexts = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    st.text(st.characters(codec="utf-8"), max_size=8),
    max_size=4,
)


@given(size=st.integers(0, 200_000) | sizes, frame_bytes=st.sampled_from([1000, 4096, FRAME_BYTES]))
@example(size=0, frame_bytes=FRAME_BYTES)
@example(size=FRAME_BYTES, frame_bytes=FRAME_BYTES)
@example(size=2 * FRAME_BYTES + 1, frame_bytes=FRAME_BYTES)
def test_what_was_sealed_opens(size: int, frame_bytes: int) -> None:
    data = os.urandom(size)
    assert opened(sealed(data, frame_bytes=frame_bytes)) == data


@settings(deadline=None)
@given(size=sizes, frame_bytes=frame_sizes, context=contexts)
def test_the_encryption_sdk_opens_ours(size: int, frame_bytes: int, context: dict[str, str]) -> None:
    data = os.urandom(size)
    plaintext, read = SDK.decrypt(sealed(data, frame_bytes=frame_bytes, context=context))
    assert (plaintext, read) == (data, context)


@settings(deadline=None)
@given(
    size=sizes,
    frame_bytes=frame_sizes_of_sdk,
    context=contexts,
    suite=st.sampled_from([COMMITTED, COMMITTED_SIGNED]),
)
def test_we_open_those_of_the_encryption_sdk(
    size: int, frame_bytes: int, context: dict[str, str], suite: object
) -> None:
    data = os.urandom(size)
    message = SDK.encrypt(data, context, suite=suite, frame_bytes=frame_bytes)
    assert opened(message) == data
    header = SealedMessage.read(io.BytesIO(message)).header
    assert header.context.items() >= context.items()
    assert header.data_keys == (WRAPPED,)
    assert header.encode() == message[: len(header.encode())]


def test_a_file_without_key_commitment_is_not_read() -> None:
    with pytest.raises(NotEncrypted, match="version or suite"):
        opened(SDK.encrypt(b"x", {}, suite=UNCOMMITTED))


def test_a_file_that_is_not_framed_is_not_read() -> None:
    with pytest.raises(NotEncrypted, match="not framed"):
        opened(SDK.encrypt(b"x", {}, frame_bytes=0))


def test_frames_too_large_to_hold_are_not_read() -> None:
    with pytest.raises(NotEncrypted, match="frames are of 1 to"):
        opened(SDK.encrypt(b"x", {}, frame_bytes=FRAME_BYTES_MAX + 128))


def test_another_data_key_is_found_by_the_commitment() -> None:
    with pytest.raises(FileDamaged, match="data key"):
        opened(sealed(b"x"), bytes(32))
    with pytest.raises(FileDamaged, match="32 bytes"):
        opened(sealed(b"x"), bytes(16))


@pytest.mark.parametrize("suite", [COMMITTED, COMMITTED_SIGNED], ids=str)
def test_every_changed_byte_is_found(suite: object) -> None:
    message = SDK.encrypt(os.urandom(300), {"tenant": "a"}, suite=suite, frame_bytes=128)
    assert len(opened(message)) == 300
    for at in range(len(message)):
        changed = bytearray(message)
        changed[at] ^= 1
        with pytest.raises((FileDamaged, NotEncrypted)):
            opened(bytes(changed))


@pytest.mark.parametrize("suite", [COMMITTED, COMMITTED_SIGNED], ids=str)
def test_every_cut_and_every_addition_is_found(suite: object) -> None:
    message = SDK.encrypt(os.urandom(300), {}, suite=suite, frame_bytes=128)
    for length in range(len(message)):
        with pytest.raises((FileDamaged, NotEncrypted)):
            opened(message[:length])
    with pytest.raises(FileDamaged, match="added"):
        opened(message + b"\0")


def test_frames_in_another_order_are_found() -> None:
    message = sealed(bytes(50), frame_bytes=10)
    start = len(message) - (8 + 12 + 4 + 10 + 16) - 4 * 42
    first, second = message[start : start + 42], message[start + 42 : start + 84]
    with pytest.raises(FileDamaged, match="not the next one"):
        opened(message[:start] + second + first + message[start + 84 :])


def test_nothing_is_given_before_the_header_is_verified() -> None:
    message = bytearray(sealed(b"secret"))
    header = SealedMessage.read(io.BytesIO(bytes(message))).encoded
    message[len(header)] ^= 1  # the tag
    with pytest.raises(FileDamaged, match="header was changed"):
        next(SealedMessage.read(io.BytesIO(bytes(message))).frames(SecretBytes(DATA_KEY)))


def test_no_two_files_have_an_id_in_common() -> None:
    ids = {SealedMessage.read(io.BytesIO(sealed(b""))).header.message_id for _ in range(50)}
    assert len(ids) == 50


def test_the_suite_is_that_without_a_signature_so_that_keys_can_be_exchanged() -> None:
    assert SealedMessage.read(io.BytesIO(sealed(b""))).header.suite is Suite.COMMITTED


def test_a_header_is_longer_than_any_context_and_key_of_ours() -> None:
    context = {f"{number:02}": "x" * 120 for number in range(64)}
    header = SealedMessage.read(io.BytesIO(sealed(b"", context=context))).encoded
    assert 8_000 < len(header) < HEADER_BYTES_MAX / 5
