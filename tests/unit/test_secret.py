"""Secrets do not print, copy, pickle or hash, compare by content, and are wiped."""

from __future__ import annotations

import contextlib
import copy
import pickle
from dataclasses import dataclass

import pytest

from hwkm.secret import Pin, SecretBytes

VALUE = b"031415"


@pytest.fixture(params=[SecretBytes, Pin])
def secret(request: pytest.FixtureRequest) -> SecretBytes:
    kind: type[SecretBytes] = request.param
    return kind(VALUE)


@dataclass
class Holder:
    secret: SecretBytes


def test_reading_takes_an_explicit_call(secret: SecretBytes) -> None:
    assert secret.expose() == VALUE
    assert not hasattr(secret, "__bytes__")
    assert not hasattr(secret, "__iter__")
    assert not hasattr(secret, "__getitem__")


def test_no_way_of_printing_shows_it(secret: SecretBytes) -> None:
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret:x}",
        format(secret, "s"),
        "%s %r" % (secret, secret),  # noqa: UP031
        repr(Holder(secret)),
        repr([secret]),
    ]
    for text in shown:
        assert "031415" not in text
        assert VALUE.hex() not in text
        assert "redacted" in text


@pytest.mark.parametrize("copy_it", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_cannot_be_copied_or_pickled(secret: SecretBytes, copy_it: object) -> None:
    assert callable(copy_it)
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        copy_it(secret)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_protocol_takes_it(secret: SecretBytes, protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Holder(secret), protocol)


def test_it_has_no_hash_and_no_dictionary(secret: SecretBytes) -> None:
    with pytest.raises(TypeError):
        hash(secret)
    with pytest.raises(TypeError):
        vars(secret)


def test_equality_is_by_content_and_only_with_a_secret() -> None:
    assert SecretBytes(VALUE) == SecretBytes(VALUE)
    assert SecretBytes(VALUE) != SecretBytes(b"031416")
    assert SecretBytes(VALUE) != SecretBytes(VALUE + b"0")
    assert SecretBytes(VALUE) != VALUE
    assert Pin(VALUE) == SecretBytes(VALUE)


def test_it_owns_its_bytes() -> None:
    given = bytearray(VALUE)
    secret = SecretBytes(given)
    given[0] = 0
    assert secret.expose() == VALUE
    secret.wipe()
    assert given[1:] == VALUE[1:]


def test_wiped_secret_is_empty_and_cannot_be_read(secret: SecretBytes) -> None:
    buffer = secret._buffer
    secret.wipe()
    secret.wipe()
    assert len(secret) == len(buffer) == 0
    with pytest.raises(ValueError, match="wiped"):
        secret.expose()


def test_wiping_overwrites_before_it_forgets(secret: SecretBytes) -> None:
    """An exported view pins the buffer: it cannot shrink, and shows the zeros."""
    with memoryview(secret._buffer) as view, pytest.raises(BufferError):
        secret.wipe()
    assert secret._buffer == bytes(len(VALUE))
    assert view is not None


def fails_within(secret: SecretBytes) -> bytes:
    seen = b""
    with contextlib.suppress(RuntimeError), secret as held:
        seen = held.expose()
        raise RuntimeError
    return seen


def test_leaving_a_with_block_wipes_even_on_the_way_of_an_exception(secret: SecretBytes) -> None:
    assert fails_within(secret) == VALUE
    assert len(secret) == 0


def test_empty_secret_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="empty"):
        SecretBytes(b"").expose()
