"""Byte strings to try a parser with: anything, and good ones with a stretch replaced."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def edited(draw: st.DrawFn, good: st.SearchStrategy[bytes]) -> bytes:
    """A good byte string with one stretch removed, inserted or replaced; sometimes untouched."""
    data = draw(good)
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 20)))
    return data[:start] + draw(st.binary(max_size=20)) + data[end:]


def near(good: st.SearchStrategy[bytes], bytes_max: int = 300) -> st.SearchStrategy[bytes]:
    """Anything at all, something good, or something nearly good."""
    return st.binary(max_size=bytes_max) | good | edited(good)
