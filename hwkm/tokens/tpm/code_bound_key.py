"""The cohort key that the TPM uses only while its PCRs say that the recorded code was measured.

Each use is authorised by a policy session in which TPM2_PolicyPCR and TPM2_PolicyAuthValue were run. The TPM
forgets both with each use, and refuses if a PCR that counts was extended in between, whichever it was: then
they are run again. ADR 24 has what that costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final

from hwkm.errors import CodeChanged, TokenError
from hwkm.formats.code_record import CodeRecord
from hwkm.tokens.tpm.commands import ecdh_zgen
from hwkm.tokens.tpm.errors import CommandRefused, error_number, translate
from hwkm.tokens.tpm.hmac_session import Entity, HmacSession, SplitTransport, send_plain, sized

_POLICY_AUTH_VALUE: Final = 0x16B
_POLICY_PCR: Final = 0x17F
_POLICY_RESTART: Final = 0x180

_RC_VALUE: Final = 0x084  # TPM2_PolicyPCR: the PCRs have another digest
_RC_POLICY_FAIL: Final = 0x09D  # the key has another authPolicy
_RC_PCR_CHANGED: Final = 0x128
_TRIES: Final = 32  # Linux extends PCR 10 for each new file that it runs, if it was told to


class CodeBoundCohortKey:
    """ECDH inside the TPM, under the policy of a record."""

    def __init__(
        self,
        transport: SplitTransport,
        salt: tuple[int, bytes],
        key: Entity,
        public_key: bytes,
        record: CodeRecord,
    ) -> None:
        self._transport = transport
        self._salt = salt
        self._key = key
        self._public = public_key
        self._condition = sized(record.pcr_digest()) + record.selection()

    def public_key(self) -> bytes:
        return self._public

    def agree(self, points: Sequence[bytes]) -> Iterator[bytes]:
        """As :meth:`hwkm.thm.ports.CohortKey.agree`, and raises CodeChanged: the TPM refuses the code."""
        if not points:
            return
        try:
            with closing(HmacSession(self._transport, *self._salt, policy=True)) as session:
                for point in points:
                    yield self._agree(session, point)
        except CommandRefused as exc:
            raise _translated(exc.code) from exc

    def _agree(self, session: HmacSession, point: bytes) -> bytes:
        for _ in range(_TRIES - 1):
            try:
                return self._agree_once(session, point)
            except CommandRefused as exc:
                if exc.code != _RC_PCR_CHANGED:
                    raise
            send_plain(self._transport, _POLICY_RESTART, _handle(session))
        return self._agree_once(session, point)

    def _agree_once(self, session: HmacSession, point: bytes) -> bytes:
        send_plain(self._transport, _POLICY_PCR, _handle(session) + self._condition)
        send_plain(self._transport, _POLICY_AUTH_VALUE, _handle(session))
        return ecdh_zgen(session, self._key, point)


def _handle(session: HmacSession) -> bytes:
    return session.handle.to_bytes(4, "big")


def _translated(code: int) -> TokenError:
    if error_number(code) in (_RC_VALUE, _RC_POLICY_FAIL):
        return CodeChanged(
            "the TPM refuses the cohort key: its PCRs are not those of the code that the key is bound to"
        )
    return translate(code, "agreeing with the code-bound cohort key")
