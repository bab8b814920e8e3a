"""``hwkmd evidence``: what this member's hardware says of its keys, for others to check."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hwkm.errors import ConfigError
from hwkm.formats.evidence import MEMBER_BYTES_MAX
from hwkm.server.config import Config
from hwkm.server.moved_file import write_new
from hwkm.server.provisioning import note
from hwkm.server.refused_pin import pin_tried_once
from hwkm.server.state_directory import StateDirectory
from hwkm.server.supervisor import evidence

_CERTIFICATES_BYTES_MAX: Final = 64 * 1024


async def write_evidence(
    config: Config, out: Path, challenge: Path | None = None, intermediates: Path | None = None
) -> str:
    """Make evidence into a new file; return its SHA-256 in hex. No daemon may run meanwhile.

    Raises:
        EvidenceUnavailable: the module has none, or the challenge is not for it.
        HwkmError: another daemon runs, or token or file failed.
    """
    asked = _read(challenge, MEMBER_BYTES_MAX) if challenge else b""
    above = _certificates(intermediates) if intermediates else ()
    with StateDirectory.take(config.state_directory):
        with pin_tried_once(config.state_directory, config.pin_path):
            made = await evidence(config.core_settings(), asked, above, made_at=int(time.time()))
        note(config, "evidence.make")
    return write_new(out, [made])


def _certificates(path: Path) -> tuple[bytes, ...]:
    try:
        loaded = x509.load_pem_x509_certificates(_read(path, _CERTIFICATES_BYTES_MAX))
    except ValueError:
        raise ConfigError(f"{path}: not certificates in PEM") from None
    return tuple(one.public_bytes(Encoding.DER) for one in loaded)


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    if len(data) > most:
        raise ConfigError(f"{path} is larger than {most} bytes")
    return data
