"""Markers: where a list goes on. Opaque to clients, and taken only by the operation that gave them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final, TypeVar

from hwkm.errors import MarkerInvalid
from hwkm.server.aws.errors import AwsError

PlaceT = TypeVar("PlaceT")

_VERSION_MAX: Final = 2**32 - 1


def marker(operation: str, after: str | int | None) -> str | None:
    """The marker for the page after ``after``; None after the last page."""
    if after is None:
        return None
    return base64.urlsafe_b64encode(f"{operation}:{after}".encode()).decode().rstrip("=")


def place(operation: str, given: str | None, kind: Callable[[str], PlaceT]) -> PlaceT | None:
    """What a marker stands for; None for the first page.

    Raises:
        AwsError: InvalidMarkerException.
    """
    if given is None:
        return None
    try:
        text = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True).decode()
        name, _, after = text.partition(":")
        if name != operation:
            raise ValueError
        return kind(after)
    except (binascii.Error, ValueError):
        raise invalid_marker() from None


def version(text: str) -> int:
    """The version that a marker stands for.

    Raises:
        ValueError: it is none that a key can have.
    """
    number = int(text)
    if not 1 <= number <= _VERSION_MAX:
        raise ValueError
    return number


def invalid_marker() -> AwsError:
    """A marker that no list has given."""
    return AwsError("InvalidMarkerException", "The marker is not valid.", code=MarkerInvalid.code)
