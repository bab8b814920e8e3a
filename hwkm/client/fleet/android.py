"""Android's own lists as a source of cohorts: fetched, verified, and no older than what was seen.

``cert.xml`` and ``cert.sig.xml`` lie side by side at the source. What a list is worth is the word of who
holds the keys below its root: there is no second party and no log (``docs/spec/android-list.md``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cryptography import x509
from msgspec import Meta

from hwkm.client.cohort import VerifiedFleet, by_android_list
from hwkm.client.fleet.fetching import FleetFiles, reading_a_list
from hwkm.client.fleet.state import FleetState
from hwkm.client.trust import fingerprint
from hwkm.errors import ConfigError, FormatError
from hwkm.fleet.android import SeenList, VerifiedList, verify_list
from hwkm.fleet.android.xml import DOCUMENT_BYTES_MAX

LIST: Final = "cert.xml"
SIGNATURE: Final = "cert.sig.xml"

_SEEN: Final = "seen.json"
_PEM: Final = b"-----BEGIN CERTIFICATE-----"


def parse_root(data: bytes, source: str) -> x509.Certificate:
    """Read the trusted root certificate, PEM or DER.

    Raises:
        ConfigError: it is neither.
    """
    try:
        if data.lstrip().startswith(_PEM):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError:
        raise ConfigError(f"{source}: not an X.509 certificate in PEM or DER") from None


class _Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    serial: Annotated[int, Meta(ge=0)]
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class AndroidFleet:
    """One publisher of Android's lists, as a client knows it: a pinned root, a source, what was seen."""

    def __init__(
        self,
        root: x509.Certificate,
        source: str | FleetFiles,
        state: Path,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take the pinned root, a directory, address or files, and a private directory.

        Raises:
            ConfigError: the source is neither.
        """
        self._root = root
        self._files = FleetFiles(source) if isinstance(source, str) else source
        self._state = FleetState(state)
        self._now = now

    def refresh(self) -> VerifiedFleet:
        """Fetch and verify the newest list; its serial is remembered durably on return.

        A cohort's name is ``android-`` and 16 digits of its key's fingerprint: endpoints have none.

        Raises:
            CertificateInvalid, ListSignatureInvalid, ListDowngrade, ListConflict, ListMalformed, ListTooLarge: it is
                not to be trusted; nothing is remembered.
            ListUnavailable: it could not be fetched.
            ConfigError: the state cannot be read or written.
        """
        with self._state.change() as draft, reading_a_list():
            seen = _read_seen(draft / _SEEN)
            cert_xml = self._files.fetch(LIST, DOCUMENT_BYTES_MAX)
            sig_xml = self._files.fetch(SIGNATURE, DOCUMENT_BYTES_MAX)
            verified = verify_list(cert_xml, sig_xml, self._root, int(self._now()), seen)
            cohorts = _cohorts_of(verified)
            written = _Seen(verified.serial, verified.digest.hex())
            (draft / _SEEN).write_bytes(msgspec.json.encode(written) + b"\n")
        return cohorts


def _cohorts_of(verified: VerifiedList) -> VerifiedFleet:
    keys = verified.endpoint_keys
    if len(set(keys)) != len(keys):
        raise FormatError("two endpoints of the list share a key")
    return VerifiedFleet(
        epoch=verified.serial,
        digest=verified.digest,
        cohorts=tuple(
            by_android_list(key, f"android-{fingerprint(key)[:16]}", verified.serial) for key in keys
        ),
    )


def _read_seen(path: Path) -> SeenList | None:
    try:
        seen = msgspec.json.decode(path.read_bytes(), type=_Seen)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    return SeenList(seen.serial, bytes.fromhex(seen.digest))
