"""Requests and responses of HTTP/1.1 as the daemon sees them: whole, in memory, bounded before they got here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from hwkm.errors import FormatError, HwkmError

KEEP_ALIVE: Final = "keep-alive"
CLOSE: Final = "close"

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Request:
    """One request. ``target`` and ``headers`` are as they were received, the names in lower case.

    ``refusal`` is why the body was not taken, or not to its end; it says so when it is asked for.
    ``keep_alive`` is whether the connection outlives the answer.
    """

    method: str
    target: str
    headers: Headers
    is_http_1_0: bool = False
    keep_alive: bool = True
    refusal: HwkmError | None = None
    _body: bytes | bytearray = b""

    @property
    def path(self) -> str:
        """The path without its percent-encoding; one that is not UTF-8 stays encoded, and is nobody's."""
        path = _origin_form(self.target).partition("?")[0]
        if "%" not in path:
            return path
        try:
            return unquote(path, errors="strict")
        except UnicodeDecodeError:
            return path

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's names and values.

        Raises:
            FormatError: it is not UTF-8.
        """
        encoded = _origin_form(self.target).partition("?")[2]
        if not encoded:
            return []
        try:
            return parse_qsl(encoded, keep_blank_values=True, errors="strict")
        except UnicodeDecodeError:
            raise FormatError("the query is not UTF-8") from None

    @property
    def body(self) -> bytes:
        """The whole body.

        Raises:
            LimitExceeded: it is longer than allowed, or did not arrive in time.
            FormatError: it is compressed or broken.
        """
        if self.refusal is not None:
            raise self.refusal
        return bytes(self._body)

    @property
    def body_bytes(self) -> int:
        """How much of the body there is so far."""
        return len(self._body)

    def add(self, part: bytes) -> None:
        """Take in the next part of the body."""
        if not self._body:
            self._body = part
        elif isinstance(self._body, bytearray):
            self._body += part
        else:
            self._body = bytearray(self._body) + part

    def refuse(self, error: HwkmError) -> None:
        """Take no body; whatever of it still comes belongs to nothing, so the connection ends."""
        self._body = b""
        self.refusal, self.keep_alive = error, False


@dataclass(slots=True)
class Response:
    """An answer. ``close`` ends the connection after it."""

    status: int
    body: bytes
    content_type: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    close: bool = False

    def encode(self, *, connection: str = "", with_body: bool = True) -> bytes:
        """Return its bytes. Nothing on the way may keep it."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        if connection:
            lines += f"Connection: {connection}\r\n"
        head = (
            f"{_first_lines(self.status, self.content_type)}Content-Length: {len(self.body)}\r\n"
            f"Date: {_date(int(time.time()))}\r\n{lines}\r\n"
        )
        return head.encode("latin-1") + self.body if with_body else head.encode("latin-1")


@lru_cache(maxsize=256)
def _first_lines(status: int, content_type: str) -> str:
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n"
        "Cache-Control: no-store\r\nServer: hwkmd\r\n"
    )


@lru_cache(maxsize=1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)


def _origin_form(target: str) -> str:
    """Path and query; a target may also be a whole URL (RFC 9112, 3.2.2)."""
    if target.startswith("/") or "://" not in target:
        return target
    try:
        url = urlsplit(target)
    except ValueError:
        return target
    return f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
