"""Bytes to the TPM and back by the TCTI's own two functions.

tpm2-pytss looks each of them up by a regular expression and clears 4 KB for each answer, half of the
processor time that passing a command takes. ESAPI and this share one TCTI context, one after the other.
"""

from __future__ import annotations

from typing import Any, Final

from tpm2_pytss._libtpm2_pytss import ffi

from hwkm.errors import TokenUnavailable

_ANSWER_BYTES_MAX: Final = 4096  # TPM2_MAX_RESPONSE_SIZE
_NO_DEADLINE: Final = -1


class Wire:
    """The transmit and receive functions of a TCTI context."""

    def __init__(self, tcti: Any) -> None:
        self._tcti = tcti  # owns what the pointers lead to
        self._context = tcti._tcti_context
        common = ffi.cast("TSS2_TCTI_CONTEXT_COMMON_V1 *", self._context)
        self._transmit, self._receive = common.transmit, common.receive
        self._buffer = ffi.new("uint8_t[]", _ANSWER_BYTES_MAX)
        self._size = ffi.new("size_t *")
        self._view = ffi.buffer(self._buffer)

    def transmit(self, command: bytes) -> None:
        """Send a command.

        Raises:
            TokenUnavailable: nothing is known of what the TPM did.
        """
        failure = self._transmit(self._context, len(command), ffi.from_buffer("uint8_t[]", command))
        if failure:
            raise TokenUnavailable(f"the TPM does not answer: TSS code 0x{failure:x}")

    def receive(self) -> bytes:
        """Return the answer to the command sent last.

        Raises:
            TokenUnavailable: as :meth:`transmit`.
        """
        self._size[0] = _ANSWER_BYTES_MAX
        failure = self._receive(self._context, self._size, self._buffer, _NO_DEADLINE)
        if failure:
            raise TokenUnavailable(f"the TPM does not answer: TSS code 0x{failure:x}")
        return bytes(self._view[: self._size[0]])
