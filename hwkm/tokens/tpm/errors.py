"""TPM and TSS response codes to hwkm's errors. No other exception leaves this package.

A code below 0x10000 is the TPM's own answer: it read the command and refused it. Anything above
comes from a layer of the TSS (TCTI, ESAPI, resource manager), and then nobody knows whether the
TPM carried the command out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import TPM2_RC

from hwkm.errors import AnchorTampered, TokenBusy, TokenError, TokenFull, TokenUnavailable

# Answers to a command that the TPM did not start (TPM 2.0 part 2, 6.6.3, "RC_WARN").
TRY_AGAIN: Final = frozenset({int(TPM2_RC.RETRY), int(TPM2_RC.YIELDED), int(TPM2_RC.TESTING)})
_BUSY: Final[Mapping[int, str]] = MappingProxyType(
    {
        int(TPM2_RC.RETRY): "it could not start the command",
        int(TPM2_RC.YIELDED): "it suspended the command",
        int(TPM2_RC.TESTING): "it is testing itself",
        int(TPM2_RC.NV_RATE): "it limits the rate of NV writes, to spare its memory",
        int(TPM2_RC.NV_UNAVAILABLE): "its NV memory is not accessible for now",
        int(TPM2_RC.LOCKOUT): "it is in dictionary attack lockout",
        int(TPM2_RC.OBJECT_MEMORY): "it has no room to load another object",
        int(TPM2_RC.SESSION_MEMORY): "it has no room for another session",
        int(TPM2_RC.OBJECT_HANDLES): "it has no object handles left",
        int(TPM2_RC.SESSION_HANDLES): "it has no session handles left",
        int(TPM2_RC.MEMORY): "it is out of working memory",
    }
)
_FULL: Final[Mapping[int, str]] = MappingProxyType({int(TPM2_RC.NV_SPACE): "it has no NV memory left"})
_AUTHORISATION: Final = frozenset({int(TPM2_RC.BAD_AUTH), int(TPM2_RC.AUTH_FAIL)})

# The TPM does not know a handle or session of ours: it was restarted, and everything loaded is gone.
_FORGOTTEN: Final = range(int(TPM2_RC.REFERENCE_H0), int(TPM2_RC.REFERENCE_S6) + 1)

_TPM_LAYER_END: Final = 0x10000
_FORMAT_ONE: Final = 0x080
_FORMAT_ONE_ERROR: Final = 0x0BF
_PARAMETER: Final = 0x040


class CommandRefused(Exception):
    """The TPM answered with a response code that is not success. Inside this package only."""

    def __init__(self, code: int) -> None:
        super().__init__(f"response code 0x{code:03x}")
        self.code = code


def error_number(code: int) -> int:
    """Return a response code without the numbers of handle, parameter and session (part 2, 6.6.2)."""
    from_tpm = code < _TPM_LAYER_END
    return code & _FORMAT_ONE_ERROR if from_tpm and code & _FORMAT_ONE else code


def refused_authorisation(code: int) -> bool:
    """Whether the TPM answered that an authorisation value is wrong."""
    return error_number(code) in _AUTHORISATION


def refused_parameter(code: int) -> bool:
    """Whether the TPM answered that a parameter of the command is wrong (part 2, 6.6.2)."""
    return code < _TPM_LAYER_END and bool(code & _FORMAT_ONE and code & _PARAMETER)


def definitely_not_applied(code: int, doing: str) -> TokenError | None:
    """Return the error for a command that the TPM certainly did not carry out, or None."""
    number = error_number(code)
    if number in _FULL:
        return TokenFull(f"{doing}: the TPM refused, {_FULL[number]}")
    if number in _BUSY:
        return TokenBusy(f"{doing}: the TPM refused, {_BUSY[number]}")
    return None


def translate(code: int, doing: str) -> TokenError:
    """Return the error for a failed command that changes nothing."""
    definite = definitely_not_applied(code, doing)
    if definite is not None:
        return definite
    if refused_authorisation(code):
        return AnchorTampered(f"{doing}: this is not the object that hwkm made, it refuses our authorisation")
    if code in _FORGOTTEN or code == TPM2_RC.INITIALIZE:
        return TokenUnavailable(f"{doing}: the TPM was restarted, response code 0x{code:03x}")
    if code < _TPM_LAYER_END and code != TPM2_RC.FAILURE:
        return TokenError(f"{doing}: the TPM refused, response code 0x{code:03x}")
    return TokenUnavailable(f"{doing}: the TPM does not work, response code 0x{code:x}")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise hwkm's errors for refused commands. ``doing`` says what was attempted."""
    try:
        yield
    except TSS2_Exception as exc:
        raise translate(int(exc.rc), doing) from exc
    except CommandRefused as exc:
        raise translate(exc.code, doing) from exc
