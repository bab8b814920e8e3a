"""Requests signed by botocore's own signer, at a second of one's choice. Needs no pytest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from unittest import mock

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from hwkm.secret import SecretBytes
from hwkm.server.aws.authentication import Head
from hwkm.server.aws.credentials import Credential, CredentialBook

NOW: Final = 1_795_000_000
BODY: Final = b'{"KeyId":"alias/files","KeySpec":"AES_256"}'
HOST: Final = "127.0.0.1:8443"


@dataclass(frozen=True)
class Signer:
    """What a client is set up with, and how it sends a request."""

    access_key_id: str = "HWKMTESTTESTTESTTEST"
    secret: str = "an example of forty characters, ungueessed"
    token: str | None = None
    region: str = "us-east-1"
    service: str = "kms"
    host: str = HOST

    def book(self) -> CredentialBook:
        """The credentials of a server that knows this one."""
        secret = SecretBytes(self.secret.encode())
        return CredentialBook([Credential("backup", "000000000002", self.access_key_id, secret)])

    def headers(
        self,
        body: bytes = BODY,
        *,
        at: int | None = None,
        operation: str = "GenerateDataKey",
        more: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """The headers of a signed request; ``at`` is the second it is dated, now by default."""
        request = AWSRequest(
            "POST",
            f"http://{self.host}/",
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": f"TrentService.{operation}",
                **(more or {}),
            },
            data=body,
        )
        time = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
        with mock.patch.object(botocore.auth, "get_current_datetime", return_value=time):
            signer = botocore.auth.SigV4Auth(
                Credentials(self.access_key_id, self.secret, self.token), self.service, self.region
            )
            signer.add_auth(request)
        return {"Host": self.host, **dict(request.headers.items())}


def head_of(headers: Mapping[str, str], *, method: str = "POST", target: str = "/") -> Head:
    """A request's head as the server reads it."""
    return Head.of(method, target, [(name.encode(), value.encode()) for name, value in headers.items()])
