"""What is being signed, for people: names, owners, and the hashes to compare."""

from __future__ import annotations

from typing import Any

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root, Targets

from hwkm.cli.printing import count, print_facts, print_line, print_table
from hwkm.client.trust import fingerprint
from hwkm.fleet.ceremony import TwoPartyMetadata, signatures_of, signing_digest
from hwkm.fleet.cohort_list import CohortList
from hwkm.fleet.list_log import LogPolicy
from hwkm.fleet.root_rules import ONLINE_ROLES, TWO_PARTY_ROLES, role_keys
from hwkm.fleet.signing_keys import party_of

_NAMES = {Root.type: "roots", Targets.type: "lists"}


def show_root(staged: Metadata[Root], root: Root) -> None:
    """Show a root: who may sign what, and its log."""
    policy = LogPolicy.of(staged.signed)
    print_line(f"Root {staged.signed.version}", style="bold")
    print_facts(
        {
            "valid until": f"{staged.signed.expires:%Y-%m-%d}",
            "log": policy.log_key.name,
            "witnesses": f"{policy.quorum} of {len(policy.witnesses)} must have cosigned",
            "signed bytes": f"SHA-256 {signing_digest(staged)}",
        }
    )
    rows: list[tuple[str, str, str, str]] = []
    for role in TWO_PARTY_ROLES:
        needed = f"{root.roles[role].threshold} of {len(root.roles[role].keyids)}"
        rows += [(_NAMES[role], needed, str(party_of(key)), _kind(key)) for key in role_keys(root, role)]
    rows += [("timestamps", "1", "online", _kind(key)) for key in role_keys(root, ONLINE_ROLES[0])]
    print_table(("signs", "needs", "whose", "key"), rows)


def show_list(targets: Metadata[Targets], cohorts: CohortList, before: CohortList | None) -> None:
    """Show a list of cohorts, and what is new in it."""
    known = {cohort.name: cohort for cohort in before.cohorts} if before else {}
    print_line(f"List of epoch {cohorts.epoch}: {count(len(cohorts.cohorts), 'cohort')}", style="bold")
    print_facts(
        {
            "valid until": f"{targets.signed.expires:%Y-%m-%d}",
            "signed bytes": f"SHA-256 {signing_digest(targets)}",
        }
    )
    rows = []
    for cohort in cohorts.cohorts:
        old = known.get(cohort.name)
        news = "" if old == cohort else "new" if old is None else "CHANGED"
        rows.append((cohort.name, news, fingerprint(cohort.key), cohort.evidence))
    rows += [(name, "REMOVED", fingerprint(cohort.key), "") for name, cohort in known.items()
             if name not in {one.name for one in cohorts.cohorts}]  # fmt: skip
    print_table(("cohort", "", "SHA-256 of the key", "SHA-256 of the evidence"), rows)


def show_signatures(metadata: TwoPartyMetadata, root: Root) -> None:
    """Show who has signed, and how many are needed."""
    role = metadata.signed.type
    signed = signatures_of(metadata, root)
    print_line(f"{len(signed)} of {count(root.roles[role].threshold, 'signature')}:")
    for key in role_keys(root, role):
        print_line(f"  {party_of(key):<9} {_kind(key)}  {'signed' if key.keyid in signed else 'not yet'}")


def as_json(
    in_force: Root | None,
    root: Metadata[Root] | None,
    staged: tuple[Metadata[Targets], CohortList] | None,
    published: CohortList | None,
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "root": None if root is None else _signed_json(root, root.signed) | {"version": root.signed.version},
        "list": None
        if staged is None or in_force is None
        else _signed_json(staged[0], in_force) | {"epoch": staged[1].epoch, "cohorts": staged[1].cohorts},
        "published_epoch": published.epoch if published else None,
    }


def _signed_json(metadata: TwoPartyMetadata, root: Root) -> dict[str, Any]:
    role = metadata.signed.type
    return {
        "signed_bytes": signing_digest(metadata),
        "signatures": len(signatures_of(metadata, root)),
        "threshold": root.roles[role].threshold,
    }


def _kind(key: Key) -> str:
    return f"{key.scheme} {key.keyid[:16]}"
