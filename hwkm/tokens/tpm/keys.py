"""The cohort key and the audit key as persistent TPM objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hwkm.tokens.tpm.commands import ecdh_zgen, ecdh_zgen_all, sign_sha256
from hwkm.tokens.tpm.errors import TRY_AGAIN, CommandRefused, translate
from hwkm.tokens.tpm.hmac_session import Entity, HmacSession, SplitTransport


class TpmCohortKey:
    """ECDH inside the TPM."""

    def __init__(
        self,
        transport: SplitTransport,
        sessions: tuple[HmacSession, HmacSession],
        key: Entity,
        public_key: bytes,
    ) -> None:
        self._transport = transport
        self._sessions = sessions
        self._key = key
        self._public = public_key

    def public_key(self) -> bytes:
        return self._public

    def agree(self, points: Sequence[bytes]) -> Iterator[bytes]:
        try:
            yield from self._agree(points)
        except CommandRefused as exc:
            raise translate(exc.code, "agreeing with the cohort key") from exc

    def _agree(self, points: Sequence[bytes]) -> Iterator[bytes]:
        done = 0
        try:
            for agreed in ecdh_zgen_all(self._transport, self._sessions, self._key, points):
                done += 1
                yield agreed
        except CommandRefused as exc:
            if exc.code not in TRY_AGAIN:
                raise
        # If the TPM wants to be asked again: what is left one by one, with pauses.
        for point in points[done:]:
            yield ecdh_zgen(self._sessions[0], self._key, point)


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
