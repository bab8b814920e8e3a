"""The AWS wire in HTTP: the same front on the Unix socket and on the network socket."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, cast

from aiohttp import HttpVersion10, HttpVersion11, web

from hwkm.errors import HwkmError
from hwkm.server import answers
from hwkm.server.aws.authentication import Head
from hwkm.server.aws.front import CONTENT_TYPE, UNKNOWN, Answer, AwsFront, Known, error_body
from hwkm.server.aws.translation import aws_error
from hwkm.server.http_connection import HttpConnection
from hwkm.server.limits import RequestsInFlight
from hwkm.server.peer import NOBODY, Peer
from hwkm.server.request_body import RequestLimits, read_body

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
        limits: RequestLimits,
        observe: Observer,
    ) -> None:
        self.front = front
        self._in_flight = in_flight
        self._limits = replace(limits, body_bytes=min(limits.body_bytes, BODY_BYTES_MAX))
        self._observe = observe
        self._life = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def on_network(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request on the network socket, where there is nothing else and nobody is known."""
        if request.version not in (HttpVersion10, HttpVersion11):
            return answers.not_http()
        return await self.respond(request, None, f"aws-{self._life}-{next(self._numbers):x}")

    async def respond(self, request: web.BaseRequest, known: Known | None, request_id: str) -> web.Response:
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
        response.headers[REQUEST_ID_HEADER] = request_id
        return response

    async def _answer(self, request: web.BaseRequest, known: Known | None, request_id: str) -> Answer:
        head = Head.of(request.method, request.raw_path, request.raw_headers)
        if known is None and not head.is_signed:
            return await self.front.answer(head, b"", None, request_id)  # refused, so its body is not read
        body = await read_body(request, self._limits)
        cast(HttpConnection, request.protocol).request_received()
        return await self.front.answer(head, body, known, request_id)


def nobody(_socket: Any) -> Peer:
    """Who is on the other end of a network socket: the kernel does not know."""
    return NOBODY
