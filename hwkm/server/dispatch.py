"""From an HTTP request to an operation and back: route, authorise, decode, do, audit, answer.

The audit record of an operation is durable before its answer leaves, whatever the outcome. If it
cannot be written the caller gets that error in place of the outcome, and until records can be written
again nothing more is done, with one exception: ``status`` answers all the same, since it is how an
operator learns of a full disk.
"""

from __future__ import annotations

import itertools
import secrets
import time
from typing import Any, Final

import msgspec

from hwkm.audit.record import AuditEntry
from hwkm.errors import AccessDenied, HwkmError
from hwkm.server import answers
from hwkm.server.aws import http as aws_http
from hwkm.server.aws.http import AwsHttp
from hwkm.server.handlers.call import Call, Desk, parse_handle
from hwkm.server.handlers.table import HANDLERS
from hwkm.server.http_connection import HttpConnection
from hwkm.server.http_messages import Request, Response
from hwkm.server.keys.audit import record_uses
from hwkm.server.keys.principal import KeyCall, Principal
from hwkm.server.limits import RequestsInFlight
from hwkm.server.logs import get_log
from hwkm.server.own_pages import OwnPages
from hwkm.server.peer import Peer
from hwkm.server.policy import KEY_OPERATIONS, Granted, Policy, Scope
from hwkm.server.request_body import decode_body, read_query
from hwkm.server.routes import Found, find_route
from hwkm.wire import operations
from hwkm.wire.operations import Operation

OK: Final = "ok"


class Dispatch:
    """Answers every request."""

    def __init__(
        self,
        desk: Desk,
        policy: Policy,
        pages: OwnPages,
        in_flight: RequestsInFlight,
        aws: AwsHttp,
    ) -> None:
        self.policy = policy
        self._desk = desk
        self._pages = pages
        self._in_flight = in_flight
        self._aws = aws
        self._life = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._log = get_log()

    async def __call__(self, request: Request, connection: HttpConnection) -> Response:
        """Answer one request."""
        request_id = f"{self._life}-{next(self._numbers):x}"
        try:
            response = await self._answer(request, connection, request_id)
        except HwkmError as exc:
            response = answers.problem(exc)
        response.headers.append((answers.REQUEST_ID_HEADER, request_id))
        return response

    async def _answer(self, request: Request, connection: HttpConnection, request_id: str) -> Response:
        path = request.path
        if path == aws_http.PATH and request.method == "POST":
            return await self._aws.respond(request, lambda: self._principal(connection), request_id)
        page = self._pages.find(path)
        if page is not None:
            return await page() if request.method == "GET" else answers.method_not_allowed(("GET",))
        found = find_route(path)
        if found is None:
            return answers.unmatched(404, "not_found", "no such path; see /v1/openapi.json")
        operation = found.by_method.get(request.method)
        if operation is None:
            return answers.method_not_allowed(found.by_method)
        with self._in_flight.place():
            return await self._operate(request, operation, found, connection, request_id)

    async def _operate(
        self,
        request: Request,
        operation: Operation,
        found: Found,
        connection: HttpConnection,
        request_id: str,
    ) -> Response:
        started = time.perf_counter()
        call: Call[Any] = Call(connection.peer, found.path)
        result: msgspec.Struct | HwkmError
        try:
            result = await self._do(request, operation, connection, call)
        except HwkmError as exc:
            result = exc
        except Exception as exc:  # noqa: BLE001  (whatever it is, it is answered, audited and logged)
            self._log.error("unexpected error", operation=operation.name, request=request_id, exc_info=exc)
            result = HwkmError("an unexpected error; the daemon's log says where")
        return await self._settle(operation, call, result, request_id, started)

    async def _do(
        self, request: Request, operation: Operation, connection: HttpConnection, call: Call[Any]
    ) -> msgspec.Struct:
        if operation is not operations.STATUS:
            await self._desk.audit.require()
        granted = self._granted(connection)
        call.scope = _authorise(granted, connection.peer, operation)
        if operation.name in KEY_OPERATIONS:
            call.key_call = KeyCall(granted.principal(connection.peer, self._desk.account))
        if "handle" in call.path:
            call.vault = parse_handle(call.path["handle"])
        call.query = read_query(operation, request)
        call.body = decode_body(operation, request.body)
        return await HANDLERS[operation](self._desk, call)

    def _granted(self, connection: HttpConnection) -> Granted:
        """What the policy in force grants the peer; found out once a connection."""
        granted = connection.granted
        if granted is None or granted.policy is not self.policy:
            granted = Granted(self.policy, self.policy.grants(connection.peer))
            connection.granted = granted
        return granted

    def _principal(self, connection: HttpConnection) -> Principal:
        """The peer as the key service sees him; if the policy contradicts itself about him, without grants."""
        try:
            return self._granted(connection).principal(connection.peer, self._desk.account)
        except AccessDenied:
            peer = connection.peer
            return Principal(self._desk.account, f"uid {peer.uid}", peer.caller, {})

    async def _settle(
        self,
        operation: Operation,
        call: Call[Any],
        result: msgspec.Struct | HwkmError,
        request_id: str,
        started: float,
    ) -> Response:
        """Record what happened, then answer."""
        code = result.code if isinstance(result, HwkmError) else OK
        try:
            await self._record(operation, call, code, request_id)
        except HwkmError as exc:
            self._log.error("audit record not written", operation=operation.name, problem=str(exc))
            if operation is not operations.STATUS:
                code, result = exc.code, exc
        self._log.debug(
            "answered", operation=operation.name, request=request_id, code=code, uid=call.peer.uid
        )
        self._desk.metrics.answered(operation.name, code, time.perf_counter() - started)
        return answers.problem(result) if isinstance(result, HwkmError) else answers.success(result)

    async def _record(self, operation: Operation, call: Call[Any], code: str, request_id: str) -> None:
        """Make the audit records of a request durable: one, or one for each different use of a key."""
        keys = call.key_call
        if keys is None:
            entry = AuditEntry(call.peer.caller, operation.name, code, request_id, call.vault)
            await self._desk.audit.append(entry)
            return
        await record_uses(self._desk.audit, keys, operation.name, code, request_id)


def _authorise(granted: Granted, peer: Peer, operation: Operation) -> Scope:
    scope = granted.scopes.get(operation.name)
    if scope is None:
        raise AccessDenied(f"the policy does not allow uid {peer.uid} to do {operation.name}")
    return scope
