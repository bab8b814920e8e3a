"""Putting the AWS front together: credentials, policy, key service, audit log."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from hwkm.audit.record import Caller
from hwkm.server.audit_writer import AuditWriter
from hwkm.server.aws.authentication import Authenticator
from hwkm.server.aws.credentials import Credential, CredentialBook
from hwkm.server.aws.front import AwsFront
from hwkm.server.aws.http import AwsHttp
from hwkm.server.keys.audit import record_uses
from hwkm.server.keys.principal import KeyCall, Principal
from hwkm.server.keys.service import KeyService
from hwkm.server.limits import RequestsInFlight
from hwkm.server.metrics import Metrics
from hwkm.server.policy import Policy


class SigningPrincipals:
    """Who signs with a credential, by the policy in force; found out once for each credential and policy.

    A credential that was revoked is not kept here: nothing else holds its secret then.
    """

    def __init__(self, policy: Callable[[], Policy]) -> None:
        self._policy = policy
        self._made_by: Policy | None = None
        self._made: WeakKeyDictionary[Credential, Principal] = WeakKeyDictionary()

    def __call__(self, credential: Credential) -> Principal:
        policy = self._policy()
        if policy is not self._made_by:
            self._made_by, self._made = policy, WeakKeyDictionary()
        principal = self._made.get(credential)
        if principal is None:
            principal = policy.principal_of_credential(
                credential.name, credential.account, caller_of(credential)
            )
            self._made[credential] = principal
        return principal


def caller_of(credential: Credential) -> Caller:
    """The holder of a credential as the audit log names him."""
    return Caller(access_key=credential.access_key_id, account=credential.account)


def aws_http(
    service: KeyService,
    audit: AuditWriter,
    metrics: Metrics,
    in_flight: RequestsInFlight,
    *,
    book: CredentialBook,
    region: str,
    policy: Callable[[], Policy],
) -> AwsHttp:
    """The AWS wire over a key service."""

    async def record(call: KeyCall, operation: str, code: str, request_id: str) -> None:
        await record_uses(audit, call, operation, code, request_id)

    front = AwsFront(
        service,
        Authenticator(book, region),
        SigningPrincipals(policy),
        record,
        audit.require,
        on_unauthenticated=metrics.aws_unauthenticated.inc,
    )
    return AwsHttp(front, in_flight, metrics.answered)
