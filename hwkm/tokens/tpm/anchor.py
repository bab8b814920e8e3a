"""The anchor as one ordinary NV index of 73 or 75 bytes (``docs/spec/anchor.md``).

The index is read and written only by its own authorisation value in an HMAC session. An owner
can remove it and define one with the same Name and contents, but cannot give it that value
without knowing it: the first command on it is refused.
"""

from __future__ import annotations

from typing import Final

from tpm2_pytss.constants import TPM2_RC

from hwkm.errors import AnchorTampered, AnchorUncertain, FormatError, TokenError, TokenUnavailable
from hwkm.formats.anchor import AnchorState
from hwkm.tokens.tpm.commands import nv_read, nv_write
from hwkm.tokens.tpm.errors import (
    CommandRefused,
    definitely_not_applied,
    error_number,
    refused_authorisation,
    translate,
)
from hwkm.tokens.tpm.hmac_session import Entity, HmacSession

# The index is not there, was never written, is smaller, or may not be used in this way.
_NOT_OURS: Final = frozenset(
    {
        int(TPM2_RC.HANDLE),
        int(TPM2_RC.NV_UNINITIALIZED),
        int(TPM2_RC.NV_RANGE),
        int(TPM2_RC.NV_AUTHORIZATION),
        int(TPM2_RC.NV_LOCKED),
        int(TPM2_RC.AUTH_TYPE),
        int(TPM2_RC.AUTH_UNAVAILABLE),
        int(TPM2_RC.ATTRIBUTES),
    }
)


class TpmAnchor:
    """One NV index; each advance is one NV write."""

    def __init__(self, session: HmacSession, index: Entity, size: int) -> None:
        """``size`` is that of the index in bytes; its Name vouches for it."""
        self._session = session
        self._index = index
        self._size = size

    def read(self) -> AnchorState:
        try:
            data = nv_read(self._session, self._index, self._size)
        except CommandRefused as exc:
            raise _foreign(exc) or translate(exc.code, "reading the anchor") from exc
        try:
            return AnchorState.parse(data)
        except FormatError as exc:
            raise AnchorTampered("the anchor's NV index does not hold an anchor of hwkm") from exc

    def advance(self, state: AnchorState) -> None:
        try:
            nv_write(self._session, self._index, state.encode())
        except CommandRefused as exc:
            raise _foreign(exc) or self._unapplied(exc, state) from exc
        except TokenUnavailable as exc:
            raise AnchorUncertain(f"writing the anchor: {exc}") from exc

    def _unapplied(self, refusal: CommandRefused, state: AnchorState) -> TokenError:
        """Return the error for a refused write. A refusal is not authenticated; what is read is.

        The reading also makes a write that somebody held back on the bus void: its session nonce
        is used up.
        """
        definite = definitely_not_applied(refusal.code, "writing the anchor")
        if definite is None:
            return AnchorUncertain(f"writing the anchor failed: {refusal}")
        try:
            written = self.read().epoch >= state.epoch
        except TokenError as exc:
            return AnchorUncertain(f"{definite}; and the anchor cannot be read back: {exc}")
        return AnchorUncertain(f"{definite}, and wrote the anchor all the same") if written else definite


def _foreign(refusal: CommandRefused) -> TokenError | None:
    if refused_authorisation(refusal.code) or error_number(refusal.code) in _NOT_OURS:
        return AnchorTampered(f"the anchor's NV index is not the one hwkm made: {refusal}")
    return None
