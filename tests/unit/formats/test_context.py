"""Encryption context: one encoding for equal maps, in whatever order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.errors import FormatError
from hwkm.formats.context import (
    CONTEXT_BYTES_MAX,
    CONTEXT_PAIRS_MAX,
    EMPTY_CONTEXT,
    context_digest,
    encode_context,
    parse_context,
)

texts = st.text(max_size=40)
contexts = st.dictionaries(texts.filter(bool), texts, max_size=8)


@given(contexts)
def test_it_comes_back(context: dict[str, str]) -> None:
    assert parse_context(encode_context(context)) == context


@given(contexts, st.randoms())
def test_order_does_not_matter(context: dict[str, str], random: Any) -> None:
    pairs = list(context.items())
    random.shuffle(pairs)
    assert encode_context(dict(pairs)) == encode_context(context)


@given(contexts, contexts)
def test_other_maps_have_other_bytes(left: dict[str, str], right: dict[str, str]) -> None:
    assert (encode_context(left) == encode_context(right)) == (left == right)
    assert (context_digest(encode_context(left)) == context_digest(encode_context(right))) == (left == right)


def test_moving_a_boundary_is_another_context() -> None:
    assert encode_context({"ab": "c"}) != encode_context({"a": "bc"})
    assert encode_context({"a": "b", "c": "d"}) != encode_context({"a": "bcd"})


def test_limits_are_reached_and_not_passed() -> None:
    assert len(encode_context({f"{n}": "" for n in range(CONTEXT_PAIRS_MAX)})) > 64
    with pytest.raises(FormatError, match="65"):
        encode_context({f"{n}": "" for n in range(CONTEXT_PAIRS_MAX + 1)})
    assert len(encode_context({"k": "v" * (CONTEXT_BYTES_MAX - 7)})) == CONTEXT_BYTES_MAX
    with pytest.raises(FormatError, match=str(CONTEXT_BYTES_MAX)):
        encode_context({"k": "v" * (CONTEXT_BYTES_MAX - 6)})
    with pytest.raises(FormatError, match=str(CONTEXT_BYTES_MAX)):
        encode_context({"k": "v" * 70_000})


@pytest.mark.parametrize("context", [{"": "v"}, {"\ud800": "v"}, {"k": "\ud800"}])
def test_what_has_no_encoding_is_refused(context: dict[str, str]) -> None:
    with pytest.raises(FormatError):
        encode_context(context)


def test_longer_than_the_limit_is_refused_unread() -> None:
    with pytest.raises(FormatError, match=str(CONTEXT_BYTES_MAX)):
        parse_context(EMPTY_CONTEXT + bytes(CONTEXT_BYTES_MAX))
