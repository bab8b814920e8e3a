"""Credentials of the AWS front: an access key id names one, its secret signs, its account is the tenant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hwkm.secret import SecretBytes
from hwkm.server.aws import sigv4

SERVICE: Final = "kms"
_DAYS_KEPT: Final = 3  # a clock within the allowed skew is on one of two days


class Credential:
    """One credential. The secret is needed in clear to verify a signature: HMAC has no public half."""

    __slots__ = ("__weakref__", "_keys", "_secret", "access_key_id", "account", "name")

    def __init__(self, name: str, account: str, access_key_id: str, secret: SecretBytes) -> None:
        self.name = name
        self.account = account
        self.access_key_id = access_key_id
        self._secret = secret
        self._keys: dict[tuple[str, str], SecretBytes] = {}

    def signing_key(self, date: str, region: str) -> bytes:
        """The key that signs on a day (``YYYYMMDD``, UTC) in a region, for KMS; made once a day."""
        key = self._keys.get((date, region))
        if key is None:
            key = SecretBytes(sigv4.signing_key(self._secret.expose(), date, region, SERVICE))
            while len(self._keys) >= _DAYS_KEPT:
                del self._keys[next(iter(self._keys))]
            self._keys[date, region] = key
        return key.expose()

    def __repr__(self) -> str:
        return f"Credential({self.name!r})"


class CredentialBook:
    """All credentials, by access key id."""

    def __init__(self, credentials: Iterable[Credential] = ()) -> None:
        self._by_access_key_id = {credential.access_key_id: credential for credential in credentials}

    def find(self, access_key_id: str) -> Credential | None:
        """Return the credential of that id, if there is one."""
        return self._by_access_key_id.get(access_key_id)

    def __len__(self) -> int:
        return len(self._by_access_key_id)
