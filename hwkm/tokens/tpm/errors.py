"""TPM and TSS response codes to hwkm's errors. No other exception leaves this package.

A code below 0x10000 is the TPM's own answer: it read the command and refused it. Anything above
comes from a layer between (TCTI, ESAPI, resource manager), and then nobody knows whether the TPM
carried the command out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import TPM2_RC

from hwkm.errors import TokenBusy, TokenError, TokenFull, TokenUnavailable

# Warnings: the TPM did not start the command (TPM 2.0 part 2, 6.6.3, "RC_WARN").
_BUSY: Final = {
    TPM2_RC.NV_RATE: "it limits the rate of NV writes to spare its memory",
    TPM2_RC.NV_UNAVAILABLE: "its NV memory is not accessible for now",
    TPM2_RC.LOCKOUT: "it is in dictionary attack lockout",
    TPM2_RC.RETRY: "it could not start the command",
    TPM2_RC.YIELDED: "it suspended the command before it began",
    TPM2_RC.TESTING: "it is testing itself",
    TPM2_RC.OBJECT_MEMORY: "it has no room for another loaded object",
    TPM2_RC.SESSION_MEMORY: "it has no room for another loaded session",
    TPM2_RC.SESSION_HANDLES: "it has no session handles left",
    TPM2_RC.OBJECT_HANDLES: "it has no object handles left",
    TPM2_RC.MEMORY: "it is out of working memory",
}
_FULL: Final = {TPM2_RC.NV_SPACE: "it has no NV memory left"}
_REFUSED_AUTHORISATION: Final = frozenset({TPM2_RC.BAD_AUTH, TPM2_RC.AUTH_FAIL})
_TPM_LAYER_END: Final = 0x10000


def refused_authorisation(error: TSS2_Exception) -> bool:
    """Whether the TPM answered that the authorisation value is wrong."""
    return _from_tpm(error) and error.error in _REFUSED_AUTHORISATION


def definitely_not_applied(error: TSS2_Exception, doing: str) -> TokenError | None:
    """Return the error for a command that the TPM certainly did not carry out, or None."""
    if not _from_tpm(error):
        return None
    if error.error in _FULL:
        return TokenFull(f"{doing}: {_FULL[error.error]}")
    if error.error in _BUSY:
        return TokenBusy(f"{doing}: {_BUSY[error.error]}")
    return None


def translate(error: TSS2_Exception, doing: str) -> TokenError:
    """Return the error for a failed command that changes nothing."""
    definite = definitely_not_applied(error, doing)
    if definite is not None:
        return definite
    if _from_tpm(error) and error.error != TPM2_RC.FAILURE:
        return TokenError(f"{doing}: the TPM answered 0x{int(error.rc):x} {error}")
    return TokenUnavailable(f"{doing}: the TPM does not answer as it should: 0x{int(error.rc):x} {error}")


def _from_tpm(error: TSS2_Exception) -> bool:
    return bool(error.rc < _TPM_LAYER_END)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise hwkm's errors instead of tpm2-pytss's. ``doing`` says what was attempted."""
    try:
        yield
    except TSS2_Exception as exc:
        raise translate(exc, doing) from exc
