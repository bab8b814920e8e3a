"""``hwkm fleet verify-android``: Android's lists. Reads files only; asks no daemon."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer

from hwkm.cli.printing import count, print_facts, print_json, print_line
from hwkm.client.fleet.android import parse_root
from hwkm.client.trust import fingerprint
from hwkm.errors import ConfigError
from hwkm.fleet.android import SeenList, VerifiedList, verify_list
from hwkm.fleet.android.xml import DOCUMENT_BYTES_MAX

_SEEN: Final = re.compile(r"(\d{1,19}):([0-9a-f]{64})")


def verify_android(
    cert_xml: Path, sig_xml: Path, root: Path, at: str | None, seen: str | None, *, as_json: bool
) -> None:
    """Verify a list in the form that Google publishes for Android's recoverable key store."""
    verified = verify_list(
        _read(cert_xml), _read(sig_xml), parse_root(_read(root), str(root)), _time_of(at), seen=_seen_of(seen)
    )
    if as_json:
        print_json(_as_json(verified))
        return
    print_line(f"Verified: {count(len(verified.endpoint_keys), 'cohort key')}.", style="green")
    print_facts(
        {
            "serial": verified.serial,
            "made": _day(verified.creation_time_s),
            "list before": verified.previous_serial,
            "seen": f"{verified.serial}:{verified.digest.hex()}",
        }
    )
    for key in verified.endpoint_keys:
        print_line(f"{fingerprint(key)}  {key.hex()}")


def _as_json(verified: VerifiedList) -> dict[str, object]:
    return {
        "serial": verified.serial,
        "seen": f"{verified.serial}:{verified.digest.hex()}",
        "creation_time": verified.creation_time_s,
        "refresh_interval": verified.refresh_interval_s,
        "previous_serial": verified.previous_serial,
        "cohort_keys": [
            {"fingerprint": fingerprint(key), "public_key": key.hex()} for key in verified.endpoint_keys
        ],
    }


def _read(path: Path) -> bytes:
    """Read a file, one byte more than a document may have at most."""
    try:
        with path.open("rb") as file:
            return file.read(DOCUMENT_BYTES_MAX + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc


def _time_of(text: str | None) -> int:
    if text is None:
        return int(time.time())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("not a time such as 2025-02-27T12:00:00Z", param_hint="--at") from None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def _seen_of(text: str | None) -> SeenList | None:
    if text is None:
        return None
    match = _SEEN.fullmatch(text)
    if match is None:
        raise typer.BadParameter("a list is given as SERIAL:HASH, 64 hex digits", param_hint="--seen")
    return SeenList(int(match[1]), bytes.fromhex(match[2]))


def _day(seconds: int | None) -> str:
    return "not said" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
