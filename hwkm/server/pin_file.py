"""Making the PIN file, where it is ours to make: a token whose PIN is set by ``hwkmd init``.

A TPM and the insecure token take whatever PIN their keys are made with. A PKCS#11 token has its
PIN already, and only its owner knows it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from hwkm.errors import ConfigError

PIN_RANDOM_BYTES: Final = 32
_OWN_PIN_SCHEMES: Final = ("tpm:", "insecure-memory:")


def ensure_pin_file(path: Path, token_uri: str) -> bool:
    """Make a random PIN if there is no file and the token allows it; return whether it was made.

    Raises:
        ConfigError: it is absent and cannot be made.
    """
    if path.exists():
        return False
    if not token_uri.startswith(_OWN_PIN_SCHEMES):
        raise ConfigError(f"PIN file {path} is absent; write the token's user PIN into it, mode 0600")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(PIN_RANDOM_BYTES))
            file.flush()
            os.fsync(descriptor)
    except OSError as exc:
        raise ConfigError(f"PIN file {path} cannot be made: {exc.strerror}") from exc
    return True
