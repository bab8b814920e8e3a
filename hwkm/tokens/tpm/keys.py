"""The cohort key and the audit key as persistent TPM objects."""

from __future__ import annotations

from hwkm.tokens.tpm.commands import ecdh_zgen, sign_sha256
from hwkm.tokens.tpm.errors import CommandRefused, translate
from hwkm.tokens.tpm.hmac_session import Entity, HmacSession


class TpmCohortKey:
    """ECDH inside the TPM."""

    def __init__(self, session: HmacSession, key: Entity, public_key: bytes) -> None:
        self._session = session
        self._key = key
        self._public = public_key

    def public_key(self) -> bytes:
        return self._public

    def agree(self, point: bytes) -> bytes:
        try:
            return ecdh_zgen(self._session, self._key, point)
        except CommandRefused as exc:
            raise translate(exc.code, "agreeing with the cohort key") from exc


class TpmAuditKey:
    """ECDSA inside the TPM, of a digest made outside."""

    def __init__(self, session: HmacSession, key: Entity, public_key: bytes) -> None:
        self._session = session
        self._key = key
        self._public = public_key

    def public_key(self) -> bytes:
        return self._public

    def sign(self, digest: bytes) -> bytes:
        try:
            return sign_sha256(self._session, self._key, digest)
        except CommandRefused as exc:
            raise translate(exc.code, "signing with the audit key") from exc
