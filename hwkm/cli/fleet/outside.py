"""Looking at a fleet from outside: as a client, and as a witness of its log."""

from __future__ import annotations

import time
from pathlib import Path

from hwkm.cli.fleet.keys import read_note_key, read_private_note_key
from hwkm.cli.printing import count, print_json, print_line, print_table
from hwkm.client.fleet import Fleet, ListKind, PinnedFleet, VerifiedFleet
from hwkm.client.fleet.publication import FleetDirectory
from hwkm.client.fleet.witness import Witness
from hwkm.client.trust import fingerprint
from hwkm.errors import ConfigError
from hwkm.fleet.ceremony import METADATA_BYTES_MAX


def verify(source: str, root: Path, state: Path, *, as_json: bool) -> None:
    """Verify a fleet's newest list as a client does, and remember what was seen."""
    verified = Fleet(read_root(root), source, state).refresh()
    if as_json:
        cohorts = [
            {"name": one.name, "public_key": one.public_key.hex(), "evidence": one.evidence.hex()}
            for one in verified.cohorts
        ]
        print_json({"epoch": verified.epoch, "sha256": verified.digest.hex(), "cohorts": cohorts})
        return
    print_line(f"Verified: epoch {verified.epoch}, {count(len(verified.cohorts), 'cohort')}.", style="green")
    rows = [(one.name, fingerprint(one.public_key), one.evidence.hex()) for one in verified.cohorts]
    print_table(("cohort", "SHA-256 of the key", "SHA-256 of the evidence"), rows)


def trust(source: str, root: Path) -> None:
    """Trust exactly the cohorts of this fleet from now on."""
    _trusted(PinnedFleet().pin(read_root(root), source))


def trust_android(source: str, root: Path) -> None:
    """Trust exactly the cohorts of Android's lists from now on."""
    _trusted(PinnedFleet().pin(read_root(root), source, ListKind.ANDROID))


def _trusted(verified: VerifiedFleet) -> None:
    print_line(f"Trusted: {count(len(verified.cohorts), 'cohort')} of epoch {verified.epoch}.", style="green")
    for cohort in verified.cohorts:
        print_line(f"  {cohort.name}  {fingerprint(cohort.public_key)}")


def witness(source: str, log: Path, key: Path, state: Path) -> None:
    """Cosign the fleet's newest checkpoint, as an outside witness."""
    print_line(
        Witness(read_note_key(log), source, state).cosign(read_private_note_key(key), int(time.time()))
    )


def add_cosignature(fleet: Path, line: str) -> None:
    """Add a witness's cosignature to the checkpoint that waits for it."""
    FleetDirectory(fleet).add_cosignature(line)
    print_line("Added. Run `hwkm fleet publish` again.")


def read_root(path: Path) -> bytes:
    """Read a root's file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(METADATA_BYTES_MAX + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
