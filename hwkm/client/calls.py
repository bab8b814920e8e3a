"""Every call of the HTTP interface as data: what to send, and what an answer means. No I/O.

One description serves the synchronous and the asynchronous agent alike. A request is checked
against the same strict types as the daemon's before it leaves; an answer is either the typed
result or raised as the typed error that it describes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from hwkm.errors import FormatError, HwkmError, Unavailable
from hwkm.wire import api, operations
from hwkm.wire.operations import Operation
from hwkm.wire.problems import ProblemBody, error_of

ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
"""A full page of 500 vaults with 100 aliases each is about half of this."""

# msgspec lets the last two through for text that is not UTF-8 and for very deep nesting.
_NOT_AN_ANSWER: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_NOT_DECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, repr=False)
class Call(Generic[T]):
    """One request and the type of its answer."""

    operation: Operation
    response: type[T]
    target: str
    body: bytes

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.operation.method

    def read_answer(self, status: int, body: bytes) -> T:
        """Return the typed result.

        Raises:
            HwkmError: the error that the answer describes.
            FormatError: the answer is not what the interface says.
        """
        if not 200 <= status < 300:
            raise _error_in(status, body)
        try:
            return msgspec.json.decode(body or b"{}", type=self.response)
        except _NOT_AN_ANSWER as exc:
            raise FormatError(f"the daemon's answer to {self.operation.name} is not valid: {exc}") from exc


def _error_in(status: int, body: bytes) -> HwkmError:
    try:
        return error_of(msgspec.json.decode(body, type=ProblemBody).error)
    except _NOT_AN_ANSWER:
        text = f"the daemon answered with HTTP status {status} and no error of its own"
        return Unavailable(text) if status >= 500 else HwkmError(text)


def call_of(
    operation: Operation,
    response: type[T],
    body: msgspec.Struct | None = None,
    *,
    query: dict[str, str] | None = None,
    **path: str,
) -> Call[T]:
    """A call of an operation, its body checked.

    Raises:
        FormatError: a value is out of range; nothing is sent.
    """
    parts = {name: quote(value, safe="") for name, value in path.items()}
    target = operation.path.format(**parts) + (f"?{urlencode(query)}" if query else "")
    return Call(operation, response, target, _encoded(operation, body))


def _encoded(operation: Operation, body: msgspec.Struct | None) -> bytes:
    """Encode a body after checking it against its own type.

    Raises:
        FormatError: a value is out of range; nothing is sent.
    """
    if body is None:
        return b"{}" if operation.method in {"POST", "PUT"} else b""
    encoded = msgspec.json.encode(body)
    try:
        msgspec.json.decode(encoded, type=operation.request)
    except msgspec.ValidationError as exc:
        raise FormatError(f"{operation.name}: {exc}") from exc
    return encoded


def status() -> Call[api.Status]:
    """How the daemon is."""
    return call_of(operations.STATUS, api.Status)


def cohort() -> Call[api.CohortInfo]:
    """The cohort key that vaults are made for."""
    return call_of(operations.COHORT, api.CohortInfo)


def create_vault(body: api.CreateVault) -> Call[api.VaultInfo]:
    """Store a new sealed vault."""
    return call_of(operations.VAULT_CREATE, api.VaultInfo, body)


def list_vaults(
    *, name: str | None = None, after: str | None = None, limit: int | None = None
) -> Call[api.VaultList]:
    """A page of vaults."""
    given = {"name": name, "after": after, "limit": None if limit is None else str(limit)}
    query = {key: value for key, value in given.items() if value is not None}
    return call_of(operations.VAULT_LIST, api.VaultList, query=query)


def show_vault(handle: str) -> Call[api.VaultInfo]:
    """One vault."""
    return call_of(operations.VAULT_SHOW, api.VaultInfo, handle=handle)


def replace_vault(handle: str, body: api.ReplaceVault) -> Call[api.VaultInfo]:
    """Store a new snapshot."""
    return call_of(operations.VAULT_REPLACE, api.VaultInfo, body, handle=handle)


def delete_vault(handle: str) -> Call[api.Nothing]:
    """Delete a vault."""
    return call_of(operations.VAULT_DELETE, api.Nothing, handle=handle)


def challenge(handle: str) -> Call[api.ChallengeIssued]:
    """Ask for a challenge."""
    return call_of(operations.VAULT_CHALLENGE, api.ChallengeIssued, handle=handle)


def open_vault(handle: str, body: api.OpenVault) -> Call[api.VaultOpened]:
    """Present a claim."""
    return call_of(operations.VAULT_OPEN, api.VaultOpened, body, handle=handle)


def resume_vault(handle: str) -> Call[api.VaultInfo]:
    """Let a suspended vault be opened again."""
    return call_of(operations.VAULT_RESUME, api.VaultInfo, handle=handle)


def list_application_keys(handle: str) -> Call[api.ApplicationKeyList]:
    """The wrapped application keys of a vault."""
    return call_of(operations.APPLICATION_KEY_LIST, api.ApplicationKeyList, handle=handle)


def put_application_key(handle: str, alias: str, body: api.PutApplicationKey) -> Call[api.VaultInfo]:
    """Store a wrapped application key."""
    return call_of(operations.APPLICATION_KEY_PUT, api.VaultInfo, body, handle=handle, alias=alias)


def delete_application_key(handle: str, alias: str) -> Call[api.VaultInfo]:
    """Delete a wrapped application key."""
    return call_of(operations.APPLICATION_KEY_DELETE, api.VaultInfo, handle=handle, alias=alias)


def audit_checkpoint() -> Call[api.AuditCheckpoint]:
    """The audit log, signed as it is now."""
    return call_of(operations.AUDIT_CHECKPOINT, api.AuditCheckpoint)
