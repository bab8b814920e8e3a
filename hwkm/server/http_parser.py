"""From the bytes of one connection to whole requests, by llhttp (httptools), within limits.

llhttp frames strictly: an ambiguous length, a bare line feed, a space before a colon end the
connection. What it leaves open has a bound here: lines, their number, the body. A body that is
refused still makes a request, which carries the reason, so that it is authorised, audited and
answered like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from hwkm.errors import FormatError, HwkmError, LimitExceeded
from hwkm.server import answers
from hwkm.server.http_messages import Request, Response

HEADERS_MAX: Final = 64
HEAD_FIELDS_REFUSED: Final = 431

_VERSIONS: Final = ("1.1", "1.0")


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """In bytes: one line of the head (name and value), and a body."""

    header_bytes: int
    body_bytes: int


TakesBody = Callable[[Request], bool]
"""Whether a body is to be read, by the head of its request."""


class _Enough(Exception):
    """Stops the parser: nothing that follows is read."""


class RequestParser:
    """Takes bytes in and gives requests out, in their order.

    ``broken`` is the answer to what cannot be read as a request. It comes after the requests before
    it, and nothing comes after it. ``is_over`` says that no more bytes are to be fed: after that, or
    after a request whose connection ends with its answer.
    """

    def __init__(self, limits: SizeLimits, takes_body: TakesBody) -> None:
        self._limits = limits
        self._takes_body = takes_body
        self._parser = HttpRequestParser(self)
        self._whole: list[Request] = []
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._fields = 0
        self._events = 0
        self._silent_bytes = 0
        self.receiving: Request | None = None
        """The request whose head is whole and whose body is not."""
        self.wants_leave = False
        """Whether that request waits for leave to send its body (RFC 9110, 10.1.1)."""
        self.broken: Response | None = None
        self.is_over = False
        self.is_whole = True
        """Whether nothing is left unread of what was begun; false after a refusal."""

    def feed(self, data: bytes) -> list[Request]:
        """Take in bytes; return the requests that are whole now, or refused."""
        before = self._events
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._break(answers.not_http())
        except HttpParserError:
            # Also for what the callbacks raised: they have said why before.
            self._break(answers.not_http())
        else:
            # A line, or the frame around a part of a body, that has no end.
            self._silent_bytes = 0 if self._events != before else self._silent_bytes + len(data)
            if self._silent_bytes > self._limits.header_bytes:
                self._break(self._line_too_long())
        whole, self._whole = self._whole, []
        return whole

    def refuse_body(self, error: HwkmError) -> list[Request]:
        """Give up on the body that is being received; return its request."""
        request = self.receiving
        if request is None:
            return []
        request.refuse(error)
        self.receiving, self.wants_leave, self.is_over = None, False, True
        self.is_whole = False
        return [request]

    def _break(self, answer: Response) -> None:
        """End it with an answer of HTTP, or with that of the request whose body broke off."""
        if self.is_over:
            return
        if self.receiving is not None:
            self._whole += self.refuse_body(FormatError("the body is not what the head of the request says"))
            return
        answer.close = True
        self.broken, self.is_over, self.is_whole = answer, True, False

    def _line_too_long(self) -> Response:
        limit = self._limits.header_bytes
        too_long = LimitExceeded(f"a line of the request's head is longer than {limit} bytes")
        return answers.problem(too_long, HEAD_FIELDS_REFUSED)

    # --- callbacks of httptools --------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._target, self._headers, self._fields = b"", [], 0

    def on_url(self, part: bytes) -> None:
        self._events += 1
        self._target += part
        if len(self._target) > self._limits.header_bytes:
            self._stop(self._line_too_long())

    def on_header(self, name: bytes, value: bytes | None) -> None:
        self._events += 1
        self._fields += 1
        if self._fields > HEADERS_MAX:
            too_many = LimitExceeded(f"a request has at most {HEADERS_MAX} header fields")
            self._stop(answers.problem(too_many, HEAD_FIELDS_REFUSED))
        value = value or b""
        if len(name) + len(value) > self._limits.header_bytes:
            self._stop(self._line_too_long())
        if self.receiving is None:  # a trailer is counted and left out
            self._headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._events += 1
        parser = self._parser
        version = parser.get_http_version()
        if version not in _VERSIONS or parser.should_upgrade():
            self._stop(answers.not_http())
        self.receiving = request = Request(
            method=parser.get_method().decode("ascii"),
            target=self._target.decode("latin-1"),
            headers=self._headers,
            is_http_1_0=version == "1.0",
            keep_alive=parser.should_keep_alive(),
        )
        error = _refusal(self._headers, self._limits.body_bytes)
        if error is None and _announces_body(self._headers) and not self._takes_body(request):
            error = FormatError("the body of such a request is not read")
        if error is not None:
            self._refuse_now(error)
        self.wants_leave = any(n == b"expect" and v.lower() == b"100-continue" for n, v in self._headers)

    def on_body(self, part: bytes) -> None:
        self._events += 1
        request = self.receiving
        assert request is not None, "a body comes after its head"
        request.add(part)
        self.wants_leave = False
        if request.body_bytes > self._limits.body_bytes:
            self._refuse_now(_too_long(self._limits.body_bytes))

    def on_message_complete(self) -> None:
        request = self.receiving
        assert request is not None, "a request ends after its head"
        self.receiving, self.wants_leave = None, False
        self._whole.append(request)
        if not request.keep_alive:
            self.is_over = True
            raise _Enough

    def _refuse_now(self, error: HwkmError) -> None:
        self._whole += self.refuse_body(error)
        raise _Enough

    def _stop(self, answer: Response) -> None:
        self._break(answer)
        raise _Enough


def _refusal(headers: Iterable[tuple[bytes, bytes]], body_bytes_max: int) -> HwkmError | None:
    """Why the body that a head announces is not taken, if it is not."""
    for name, value in headers:
        if name == b"content-encoding":
            # It is not unpacked: it could become a thousand times larger.
            return FormatError("compressed bodies are not taken")
        if name == b"content-length" and int(value) > body_bytes_max:  # llhttp lets digits pass only
            return _too_long(body_bytes_max)
    return None


def _announces_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)


def _too_long(bytes_max: int) -> LimitExceeded:
    return LimitExceeded(f"a request's body has at most {bytes_max} bytes")
