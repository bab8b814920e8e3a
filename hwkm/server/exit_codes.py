"""Exit codes of hwkmd.

systemd must not restart it after those that only a person can mend:
``RestartPreventExitStatus=76 77 78``.
"""

from __future__ import annotations

from typing import Final

from hwkm import errors
from hwkm.errors import HwkmError

EXIT_OK: Final = 0
EXIT_UNEXPECTED: Final = 1
EXIT_USAGE: Final = 2
EXIT_FAILED: Final = 70
"""Something else went wrong; the message says what."""
EXIT_TRY_AGAIN: Final = 75
"""Not now: token absent or busy, another hwkmd running, disk full."""
EXIT_NO_MATCH: Final = 76
"""The state does not match the token, or was tampered with. No vault is opened."""
EXIT_PIN: Final = 77
"""The token refused the PIN, or has locked it. Another try may lock it for good."""
EXIT_CONFIG: Final = 78
"""The configuration, a file's mode, or the provisioning is wrong."""

_CODES: Final[dict[type[HwkmError], int]] = {
    errors.ConfigError: EXIT_CONFIG,
    errors.FormatError: EXIT_CONFIG,
    errors.TokenNotProvisioned: EXIT_CONFIG,
    errors.TokenAlreadyProvisioned: EXIT_CONFIG,
    errors.KeyExposedError: EXIT_CONFIG,
    errors.CohortUnsealed: EXIT_CONFIG,
    errors.CohortSealed: EXIT_FAILED,
    errors.ExchangeRefused: EXIT_FAILED,
    errors.ExchangeUnsupported: EXIT_FAILED,
    errors.TokenPinIncorrect: EXIT_PIN,
    errors.TokenPinLocked: EXIT_PIN,
    errors.StorageMismatch: EXIT_NO_MATCH,
    errors.AnchorTampered: EXIT_NO_MATCH,
    errors.CodeChanged: EXIT_NO_MATCH,
    errors.AuditError: EXIT_NO_MATCH,
    errors.Unavailable: EXIT_TRY_AGAIN,
    errors.StorageUnavailable: EXIT_TRY_AGAIN,
    errors.TokenError: EXIT_TRY_AGAIN,
}


def exit_code_of(error: HwkmError) -> int:
    """The exit code of an error: that of the nearest class in the table."""
    return next((_CODES[cls] for cls in type(error).__mro__ if cls in _CODES), EXIT_FAILED)
