"""The anchor as one ordinary NV index of 73 bytes (``docs/spec/anchor.md``).

The index is read and written only by its own authorisation value in an HMAC session. An owner
can remove it and define one with the same Name and contents, but cannot give it that value
without knowing it: the first command on it fails, and so does the response's HMAC.
"""

from __future__ import annotations

from typing import Any

from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import TPM2_RC

from hwkm.errors import AnchorTampered, AnchorUncertain, FormatError, TokenError
from hwkm.formats.anchor import ANCHOR_BYTES, AnchorState
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import definitely_not_applied, refused_authorisation, translate

# What the TPM answers when the index is not there, was never written, or is smaller.
_NOT_OURS = frozenset({TPM2_RC.HANDLE, TPM2_RC.NV_UNINITIALIZED, TPM2_RC.NV_RANGE, TPM2_RC.NV_AUTHORIZATION})


class TpmAnchor:
    """One NV index; each advance is one NV write."""

    def __init__(self, connection: Connection, index: Any, session: Any) -> None:
        self._esapi = connection.esapi
        self._index = index
        self._session = session

    def read(self) -> AnchorState:
        try:
            data = bytes(self._esapi.nv_read(self._index, ANCHOR_BYTES, session1=self._session))
        except TSS2_Exception as exc:
            raise _read_failure(exc) from exc
        try:
            return AnchorState.parse(data)
        except FormatError as exc:
            raise AnchorTampered("the anchor's NV index does not hold an anchor of hwkm") from exc

    def advance(self, state: AnchorState) -> None:
        try:
            self._esapi.nv_write(self._index, state.encode(), session1=self._session)
        except TSS2_Exception as exc:
            raise _write_failure(exc) from exc


def _read_failure(error: TSS2_Exception) -> TokenError:
    if refused_authorisation(error) or error.error in _NOT_OURS:
        return AnchorTampered(f"the anchor's NV index is not the one hwkm made: {error}")
    return translate(error, "reading the anchor")


def _write_failure(error: TSS2_Exception) -> TokenError:
    if refused_authorisation(error):
        return AnchorTampered(f"the anchor's NV index is not the one hwkm made: {error}")
    definite = definitely_not_applied(error, "writing the anchor")
    return definite or AnchorUncertain(f"writing the anchor failed: {error}")
