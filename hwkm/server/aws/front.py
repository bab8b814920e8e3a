"""The front: from a request's head and body to the answer, whoever carried them.

It knows nothing of sockets. A request is proved genuine before anything else of it is read; then the
same key service does the work that serves the native interface, under the same policy, limits and
audit log.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hwkm.errors import FormatError, HwkmError
from hwkm.server.aws.authentication import Authenticator, Head
from hwkm.server.aws.credentials import Credential
from hwkm.server.aws.errors import AwsError, Unsupported
from hwkm.server.aws.operations.table import OPERATIONS, UNSUPPORTED, AwsOperation
from hwkm.server.aws.translation import aws_error
from hwkm.server.aws.validation import decode
from hwkm.server.keys.principal import KeyCall, Principal
from hwkm.server.keys.service import KeyService
from hwkm.server.logs import get_log

CONTENT_TYPE: Final = "application/x-amz-json-1.1"
TARGET_PREFIX: Final = "TrentService."
UNAUTHENTICATED: Final = "aws.unauthenticated"
UNKNOWN: Final = "aws.unknown"
"""Words for metrics and audit log where there is no native operation; ``aws.create_grant`` is one that is
known and not supported."""

_encode: Final = msgspec.json.Encoder().encode


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error on the wire. A message that is empty is left out, as AWS does."""

    type: str = msgspec.field(name="__type")
    message: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body. ``code`` is ok, or the word of the audit log for the error."""

    status: int
    body: bytes
    operation: str
    code: str = "ok"


PrincipalOf = Callable[[Credential], Principal]
"""Who signs with a credential, and what the policy in force grants him."""

Known = Callable[[], Principal]
"""Who is on the other end, where that is known without a signature."""

Recorder = Callable[[KeyCall, str, str, str], Awaitable[None]]
"""Makes durable what a call did: the call, its operation, its outcome, the request id.

Raises:
    HwkmError: it could not; the caller is answered that instead.
"""


class AwsFront:
    """Answers every request of the AWS wire."""

    def __init__(
        self,
        service: KeyService,
        authenticator: Authenticator,
        principal_of: PrincipalOf,
        record: Recorder,
        require_log: Callable[[], Awaitable[None]],
        on_unauthenticated: Callable[[], None],
    ) -> None:
        self.authenticator = authenticator
        self._service = service
        self._principal_of = principal_of
        self._record = record
        self._require_log = require_log
        self._on_unauthenticated = on_unauthenticated
        self._log = get_log()

    async def answer(self, head: Head, body: bytes, known: Known | None, request_id: str) -> Answer:
        """Answer one request; ``known`` says who is there if the kernel knows, None on a network socket."""
        try:
            principal = self._authenticate(head, body, known)
        except AwsError as exc:
            self._on_unauthenticated()
            return _refusal(exc, UNAUTHENTICATED)
        name = _target(head)
        operation = OPERATIONS.get(name)
        call = KeyCall(principal)
        result: msgspec.Struct | AwsError | None
        if operation is None:
            return await self._settle(call, _word(name), _not_an_operation(name), request_id)
        try:
            result = await self._do(operation, call, head, body)
        except AwsError as exc:
            result = exc
        except Exception as exc:  # noqa: BLE001  (whatever it is, it is answered, audited and logged)
            self._log.error("unexpected error", operation=name, request=request_id, exc_info=exc)
            result = aws_error(HwkmError("an unexpected error; the daemon's log says where"), name, None)
        return await self._settle(call, operation.audit_name, result, request_id)

    def _authenticate(self, head: Head, body: bytes, known: Known | None) -> Principal:
        if known is not None and not head.is_signed:
            return known()
        return self._principal_of(self.authenticator.authenticate(head, body, _target(head)))

    async def _do(
        self, operation: AwsOperation, call: KeyCall, head: Head, body: bytes
    ) -> msgspec.Struct | None:
        _check_head(head)
        request: Any = None
        try:
            await self._require_log()
            request = decode(operation.decoder, body)
            call.dry_run = bool(getattr(request, "dry_run", False))
            return await operation.handler(self._service, call, request)
        except HwkmError as exc:
            raise aws_error(exc, operation.name, request, operation.audit_name) from None

    async def _settle(
        self, call: KeyCall, operation: str, result: msgspec.Struct | AwsError | None, request_id: str
    ) -> Answer:
        """Record what happened, then answer."""
        code = result.code if isinstance(result, AwsError) else "ok"
        try:
            await self._record(call, operation, code, request_id)
        except HwkmError as exc:
            self._log.error("audit record not written", operation=operation, problem=str(exc))
            result = aws_error(exc, operation, None)
        if isinstance(result, AwsError):
            return _refusal(result, operation)
        return Answer(200, b"" if result is None else _encode(result), operation)


def error_body(error: AwsError) -> bytes:
    """The JSON of an error."""
    return _encode(ErrorBody(error.name, error.message))


def _refusal(error: AwsError, operation: str) -> Answer:
    return Answer(error.status, error_body(error), operation, error.code)


def _target(head: Head) -> str:
    """The operation that is asked for; empty if it is none of KMS."""
    target = (head.one(b"x-amz-target") or b"").decode("latin-1")
    return target.removeprefix(TARGET_PREFIX) if target.startswith(TARGET_PREFIX) else ""


def _word(name: str) -> str:
    if name not in UNSUPPORTED:
        return UNKNOWN
    return "aws." + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _not_an_operation(name: str) -> AwsError:
    if name in UNSUPPORTED:
        return Unsupported(f"{name} is not supported here.")
    return AwsError("UnknownOperationException", code=FormatError.code)


def _check_head(head: Head) -> None:
    if head.method != "POST" or head.path != "/" or head.query:
        raise AwsError("UnknownOperationException", "Requests are made by POST / without a query.")
    if (head.one(b"content-type") or b"").decode("latin-1").partition(";")[0].strip() != CONTENT_TYPE:
        raise AwsError("SerializationException", f"Content-Type must be {CONTENT_TYPE}.")
