"""Base64 (RFC 4648, section 4) and decimal numbers in lines of text, each in its one form."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from hwkm.errors import FormatError
from hwkm.tlog.merkle import HASH_BYTES, SIZE_MAX

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")


def encode_base64(data: bytes) -> str:
    """Return the base64 of bytes, padded."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Read base64.

    Raises:
        FormatError: it is not base64, or not in its one form (padding, unused bits).
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise FormatError("not base64") from None
    if encode_base64(data) != text:
        raise FormatError("base64 that is not in its one form")
    return data


def decode_hash(text: str) -> bytes:
    """Read the base64 of a SHA-256 hash.

    Raises:
        FormatError: it is not that.
    """
    data = decode_base64(text)
    if len(data) != HASH_BYTES:
        raise FormatError(f"a hash is {HASH_BYTES} bytes, not {len(data)}")
    return data


def parse_decimal(text: str) -> int:
    """Read a number of leaves or an index: ASCII digits, no leading zero, below 2**63.

    Raises:
        FormatError: it is not that.
    """
    if not _DECIMAL.fullmatch(text) or int(text) > SIZE_MAX:
        raise FormatError("not a number of leaves in decimal digits, or 2**63 or more")
    return int(text)
