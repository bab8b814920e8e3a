"""The ceremony: stage, sign, countersign, publish. Each step can be shown before it is done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tuf.api.metadata import Metadata, Root

from hwkm.cli.fleet import describe
from hwkm.cli.fleet.described import read_cohorts_file, read_root_file
from hwkm.cli.fleet.keys import (
    load_online_signer,
    load_signer,
    read_private_note_key,
)
from hwkm.cli.printing import print_json, print_line
from hwkm.client.fleet.publication import FleetDirectory, OnlineKeys
from hwkm.errors import ConfigError
from hwkm.fleet import ceremony
from hwkm.fleet.cohort_list import CohortList
from hwkm.fleet.root_rules import ONLINE_ROLES, TWO_PARTY_ROLES, role_keys
from hwkm.fleet.signing_keys import Party


def init_root(fleet: Path, root_file: Path, *, dry_run: bool) -> None:
    """Stage the first root of a fleet: whose keys answer for it, and which log makes it public."""
    directory = FleetDirectory(fleet)
    if directory.root() is not None:
        raise ConfigError(f"{fleet} has a root already; the next one is made by `hwkm fleet rotate-root`")
    _stage_root(directory, 1, root_file, dry_run=dry_run)


def rotate_root(fleet: Path, root_file: Path, *, dry_run: bool) -> None:
    """Stage the next root: other keys, other thresholds, or a longer life."""
    directory = FleetDirectory(fleet)
    published = directory.root()
    if published is None:
        raise ConfigError(f"{fleet} has no root yet; the first one is made by `hwkm fleet init-root`")
    _stage_root(directory, published.signed.version + 1, root_file, dry_run=dry_run)


def propose(fleet: Path, cohorts: Path, days: int, *, dry_run: bool) -> None:
    """Stage the next list of cohorts, for both parties to sign."""
    directory = FleetDirectory(fleet)
    directory.root_in_force()
    before = directory.cohorts()
    listed, evidence = read_cohorts_file(cohorts)
    proposed = CohortList(tuple(listed), before.epoch + 1 if before else 1)
    proposed.check()
    expires = _in_days(days)
    describe.show_list(ceremony.new_targets(proposed, expires), proposed, before)
    if not dry_run:
        directory.stage_list(proposed, expires, evidence)
        print_line("Staged. Next: the operator signs (`hwkm fleet sign`), then the auditor countersigns.")


def show(fleet: Path, *, as_json: bool) -> None:
    """Show what is staged, who has signed it, and what is published."""
    directory = FleetDirectory(fleet)
    if as_json:
        root, staged = directory.staged_root(), directory.staged_targets()
        in_force = directory.root() or root
        print_json(describe.as_json(in_force.signed if in_force else None, root, staged, directory.cohorts()))
        return
    _show_staged(directory)


def sign(fleet: Path, key: str, module: Path | None, passphrase_file: Path | None, *, dry_run: bool) -> None:
    """Sign what is staged, as the operator."""
    directory = FleetDirectory(fleet)
    if dry_run:
        _show_staged(directory)
    else:
        _sign(directory, Party.OPERATOR, key, module, passphrase_file)


def countersign(
    fleet: Path, key: str, module: Path | None, passphrase_file: Path | None, *, dry_run: bool
) -> None:
    """Sign what is staged, as the auditor, after the operator."""
    directory = FleetDirectory(fleet)
    if dry_run:
        _show_staged(directory)
    else:
        _sign(directory, Party.AUDITOR, key, module, passphrase_file)


def publish(fleet: Path, online_key: Path, log_key: Path, days: int, *, dry_run: bool) -> None:
    """Publish what both parties have signed; with nothing staged, renew the timestamp."""
    directory = FleetDirectory(fleet)
    root = (directory.staged_root() or directory.root() or Metadata(directory.root_in_force())).signed
    candidates = [key for role in ONLINE_ROLES for key in role_keys(root, role)]
    keys = OnlineKeys(load_online_signer(online_key, candidates), read_private_note_key(log_key))
    for line in directory.publish(keys, _in_days(days), dry_run=dry_run):
        print_line(line)


# --- steps -----------------------------------------------------------------------------------


def _stage_root(directory: FleetDirectory, version: int, root_file: Path, *, dry_run: bool) -> None:
    described = read_root_file(root_file)
    staged = ceremony.new_root(
        version,
        _in_days(described.days),
        described.role("roots", described.root_threshold),
        described.role("lists", described.list_threshold),
        described.online_keys(),
        described.log_policy(),
    )
    describe.show_root(staged, staged.signed)
    if not dry_run:
        directory.stage_root(staged)
        print_line("Staged. Next: the operator signs (`hwkm fleet sign`), then the auditor countersigns.")


def _show_staged(directory: FleetDirectory) -> None:
    root, staged = directory.staged_root(), directory.staged_targets()
    if root is not None:
        describe.show_root(root, root.signed)
        describe.show_signatures(root, root.signed)
    if staged is not None:
        describe.show_list(*staged, directory.cohorts())
        describe.show_signatures(staged[0], directory.root_in_force())
    if root is None and staged is None:
        print_line("Nothing is staged; see `hwkm fleet propose`.")


def _sign(
    directory: FleetDirectory, party: Party, key: str, module: Path | None, passphrase_file: Path | None
) -> None:
    """Sign the staged root if this is a key for roots, otherwise the staged list."""
    root, staged = directory.staged_root(), directory.staged_targets()
    published = directory.root()
    roots = [one.signed for one in (root, published) if one is not None]
    candidates = [known for one in roots for role in TWO_PARTY_ROLES for known in role_keys(one, role)]
    signer = load_signer(key, candidates, module, passphrase_file)
    # A new root is signed by keys of the old one too.
    names_it = [one for one in roots if signer.public_key.keyid in one.roles[Root.type].keyids]
    if root is not None and names_it:
        ceremony.add_signature(root, signer, names_it[0], party)
        directory.stage_root(root)
    elif staged is not None:
        ceremony.add_signature(staged[0], signer, directory.root_in_force(), party)
        directory.save_signed_targets(staged[0])
    else:
        raise ConfigError("nothing is staged that this key signs; see `hwkm fleet show`")
    _show_staged(directory)


def _in_days(days: int) -> datetime:
    """Return midnight so many days ahead, so that a dry run shows the very bytes that are signed later."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=days + 1)
