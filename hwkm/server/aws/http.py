"""The AWS wire in HTTP: the same front on the Unix socket and on the network socket."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from hwkm.errors import HwkmError, LimitExceeded
from hwkm.server import answers
from hwkm.server.aws.authentication import Head
from hwkm.server.aws.front import CONTENT_TYPE, UNKNOWN, Answer, AwsFront, Known, error_body
from hwkm.server.aws.translation import aws_error
from hwkm.server.http_connection import HttpConnection
from hwkm.server.http_messages import Request, Response
from hwkm.server.limits import RequestsInFlight
from hwkm.server.peer import NOBODY, Peer

PATH: Final = "/"
BODY_BYTES_MAX: Final = 256 * 1024
"""The longest request, one with a key policy, is shorter; so many bytes are read before a signature can be checked."""
REQUEST_ID_HEADER: Final = "x-amzn-RequestId"

Observer = Callable[[str, str, float], None]
"""Told of every answer: operation, ok or code of the error, seconds."""


class AwsHttp:
    """Reads a request, lets the front answer it, writes the answer."""

    def __init__(
        self,
        front: AwsFront,
        in_flight: RequestsInFlight,
        observe: Observer,
    ) -> None:
        self.front = front
        self._in_flight = in_flight
        self._observe = observe
        self._life = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def on_network(self, request: Request, _connection: HttpConnection) -> Response:
        """Answer a request on the network socket, where there is nothing else and nobody is known."""
        return await self.respond(request, None, f"aws-{self._life}-{next(self._numbers):x}")

    async def respond(self, request: Request, known: Known | None, request_id: str) -> Response:
        """Answer a request; ``known`` says who is there if the kernel knows."""
        started = time.perf_counter()
        try:
            with self._in_flight.place():
                answer = await self._answer(request, known, request_id)
        except HwkmError as exc:  # too many at once, or a body over its limits
            error = aws_error(exc, "", None)
            answer = Answer(error.status, error_body(error), UNKNOWN, error.code)
        self._observe(answer.operation, answer.code, time.perf_counter() - started)
        response = answers.answer(answer.status, answer.body, CONTENT_TYPE)
        response.headers.append((REQUEST_ID_HEADER, request_id))
        return response

    async def _answer(self, request: Request, known: Known | None, request_id: str) -> Answer:
        head = Head.of(request.method, request.target, request.headers)
        if known is None and not head.is_signed:
            return await self.front.answer(head, b"", None, request_id)  # refused, so its body was not read
        body = request.body
        if len(body) > BODY_BYTES_MAX:
            raise LimitExceeded(f"a request's body has at most {BODY_BYTES_MAX} bytes")
        return await self.front.answer(head, body, known, request_id)


def is_worth_reading(request: Request) -> bool:
    """Whether the body of a request on the network socket is read: not without a signature."""
    return Head.of(request.method, request.target, request.headers).is_signed


def nobody(_socket: Any) -> Peer:
    """Who is on the other end of a network socket: the kernel does not know."""
    return NOBODY
