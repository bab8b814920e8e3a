"""The connection to the TPM: TCTI, start-up, and clearing what a killed process left behind.

A TPM holds three transient objects and three loaded sessions. Behind a resource manager
(``/dev/tpmrm0``) each connection has its own; on a direct connection (swtpm, ``/dev/tpm0``) a
killed process's sessions stay, and after three kills nobody could open one. The core is the only
user of a direct connection, so it flushes all of them.
"""

from __future__ import annotations

import os
import struct
from typing import Any, Final

# Read by the TSS when it first logs. It would print each refused command to stderr; what matters
# is in the exceptions. An operator who sets it himself gets what he asks for.
os.environ.setdefault("TSS2_LOG", "all+NONE")

from tpm2_pytss import ESAPI, TSS2_Exception
from tpm2_pytss.constants import TPM2_CAP, TPM2_PT, TPM2_RC, TPM2_SU
from tpm2_pytss.TCTILdr import TCTILdr

from hwkm.errors import TokenUnavailable
from hwkm.tokens.tpm.errors import translated
from hwkm.tokens.tpm.wire import Wire

_TRANSIENT_FIRST: Final = 0x80000000
LOADED_SESSION_FIRST: Final = 0x02000000
SAVED_SESSION_FIRST: Final = 0x03000000
_HANDLES_MAX: Final = 254  # as many as one answer holds (MAX_CAP_HANDLES)
_FLUSH_CONTEXT: Final = 0x165


class Connection:
    """An open connection with an ESAPI context. One thread, one at a time."""

    def __init__(self, tcti: str, *, alone: bool = True) -> None:
        """Connect, start the TPM if nothing did, and flush left-overs.

        ``alone=False`` leaves them: they may be in use by a daemon that runs.

        Raises:
            TokenUnavailable: the TPM is not there.
            TokenError: the TPM refused.
        """
        self._out_of_step = False
        self.has_resource_manager = _has_resource_manager(tcti)
        name, _, configuration = tcti.partition(":")
        try:
            self._tcti: Any = TCTILdr(name, configuration)
        except TSS2_Exception as exc:
            raise TokenUnavailable(f"no TPM answers at {tcti}: {exc}") from exc
        self._wire = Wire(self._tcti)
        try:
            with translated(f"opening the TPM at {tcti}"):
                self.esapi: Any = ESAPI(self._tcti)
                self._start_up()
                if alone and not self.has_resource_manager:
                    self._flush_leftovers()
        except BaseException:
            self._tcti.close()
            raise

    def handles(self, first: int, count: int = _HANDLES_MAX) -> list[int]:
        """Return the handles that exist from ``first`` on, of the same kind, at most ``count``.

        Raises:
            TokenError: the hardware failed.
        """
        with translated("listing the TPM's handles"):
            _, data = self.esapi.get_capability(TPM2_CAP.HANDLES, first, count)
        return [int(handle) for handle in data.data.handles]

    def properties(self, first: int, count: int) -> dict[int, int]:
        """Return the TPM's properties from ``first`` on, at most ``count``.

        Raises:
            TokenError: the hardware failed.
        """
        with translated("reading the TPM's properties"):
            _, data = self.esapi.get_capability(TPM2_CAP.TPM_PROPERTIES, first, count)
        return {int(item.property): int(item.value) for item in data.data.tpmProperties}

    def transact(self, command: bytes) -> bytes:
        """Send a marshalled command and return the TPM's answer, beside ESAPI.

        Raises:
            TokenUnavailable: nothing is known of what the TPM did; this connection is of no use
                any more.
        """
        self.send(command)
        return self.receive()

    def send(self, command: bytes) -> None:
        """Send a marshalled command; its answer must be received before the next one is sent.

        Raises:
            TokenUnavailable: as :meth:`transact`.
        """
        if self._out_of_step:
            raise TokenUnavailable("the connection to the TPM broke in the middle of a command")
        # Stays set if anything interrupts us: the next answer would be that of another command.
        self._out_of_step = True
        self._wire.transmit(command)

    def receive(self) -> bytes:
        """Return the answer to the command sent last.

        Raises:
            TokenUnavailable: as :meth:`transact`.
        """
        answer = self._wire.receive()
        self._out_of_step = False
        return answer

    def close(self) -> None:
        """Let go of the TPM. May be called again."""
        if not self.esapi.is_closed():
            self.esapi.close()
            self._tcti.close()

    def _start_up(self) -> None:
        """Send TPM2_Startup where no firmware did, as on a bare swtpm."""
        try:
            self.esapi.get_capability(TPM2_CAP.TPM_PROPERTIES, TPM2_PT.MANUFACTURER, 1)
        except TSS2_Exception as exc:
            if exc.error != TPM2_RC.INITIALIZE:
                raise
            self.esapi.startup(TPM2_SU.CLEAR)

    def _flush_leftovers(self) -> None:
        for first in (_TRANSIENT_FIRST, LOADED_SESSION_FIRST, SAVED_SESSION_FIRST):
            for handle in self.handles(first):
                self._flush(handle)

    def _flush(self, handle: int) -> None:
        # ESAPI flushes only what it made or loaded itself.
        self.transact(struct.pack(">HIII", 0x8001, 14, _FLUSH_CONTEXT, handle))


def _has_resource_manager(tcti: str) -> bool:
    return tcti.startswith("device:") and "tpmrm" in tcti
