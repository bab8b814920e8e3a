"""Evidence of cohorts: challenge a TPM, put members together, sign for having been present, look at it."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from hwkm.cli.fleet.described import read_evidence
from hwkm.cli.fleet.keys import read_note_key, read_private_note_key, write_new
from hwkm.cli.printing import count, print_json, print_line
from hwkm.client.trust import fingerprint, replace_file
from hwkm.errors import ConfigError
from hwkm.fleet.evidence.challenge import Drawn, make_challenge
from hwkm.fleet.evidence.cohort import (
    CohortFindings,
    key_of,
    sign_presence,
    verify_cohort,
)
from hwkm.fleet.evidence.cohort import (
    combine as combine_members,
)
from hwkm.fleet.evidence.findings import Finding, Trust
from hwkm.formats.evidence import CohortEvidence, MemberEvidence
from hwkm.secret import SecretBytes

_SECRET_BYTES: Final = 32
_CERTIFICATES_BYTES_MAX: Final = 1024 * 1024


def combine(out: Path, members: Sequence[Path]) -> None:
    """Put the evidence of all members of a cohort together."""
    read = [MemberEvidence.parse(read_evidence(path)) for path in members]
    made = combine_members(read, int(time.time())).encode()
    write_new(out, made, 0o644)
    print_line(f"Evidence: {out}, {count(len(read), 'member')}, SHA-256 {hashlib.sha256(made).hexdigest()}")


def challenge(member: Path, out: Path, key: Path) -> None:
    """Challenge a member's TPM, as an outsider."""
    evidence = MemberEvidence.parse(read_evidence(member))
    with _random() as secret, _random() as seed:
        made = make_challenge(evidence, read_private_note_key(key), Drawn(secret, seed))
    write_new(out, made.encode(), 0o644)
    print_line(f"Challenge: {out}. Answered by: hwkmd evidence --challenge {out.name} FILE")


def sign(file: Path, key: Path) -> None:
    """Sign the evidence of a cohort, as somebody who was present."""
    evidence = CohortEvidence.parse(read_evidence(file))
    verify_cohort(evidence, Trust(int(time.time())))
    signed = sign_presence(evidence, read_private_note_key(key)).encode()
    _replace(file, signed)
    print_line(f"Signed by {count(len(CohortEvidence.parse(signed).present), 'person')}.")
    print_line(f"SHA-256 {hashlib.sha256(signed).hexdigest()}")


def show(file: Path, ek_roots: Sequence[Path], challengers: Sequence[Path], *, as_json: bool) -> None:
    """Check the evidence of a cohort, and say on what each thing rests."""
    data = read_evidence(file)
    evidence = CohortEvidence.parse(data)
    found = verify_cohort(evidence, trust_of(ek_roots, challengers))
    if as_json:
        print_json(_as_json(data, key_of(evidence), found))
        return
    print_line(f"Evidence, SHA-256 {hashlib.sha256(data).hexdigest()}", style="bold")
    print_line(f"of the cohort key {fingerprint(key_of(evidence))}")
    for number, findings in enumerate(found.members):
        print_line(f"Member {number}", style="bold")
        for one in findings:
            print_line(f"  {one.proof:<8}  {one.what}")
            print_line(f"            by {one.by}", style="dim")
    for person in found.present:
        print_line(f"present: {person.name}, key {person}")


def trust_of(ek_roots: Sequence[Path], challengers: Sequence[Path]) -> Trust:
    """Return whom a reader of evidence trusts, now.

    Raises:
        ConfigError: a file cannot be read, or holds no certificate.
        FormatError: a key is none.
    """
    roots = [certificate for path in ek_roots for certificate in _certificates(path)]
    people = tuple(read_note_key(path) for path in challengers)
    return Trust(int(time.time()), tuple(roots), people)


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        with path.open("rb") as file:
            return x509.load_pem_x509_certificates(file.read(_CERTIFICATES_BYTES_MAX))
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except ValueError:
        raise ConfigError(f"{path}: not certificates in PEM") from None


def _as_json(data: bytes, key: bytes, found: CohortFindings) -> dict[str, object]:
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "public_key": key.hex(),
        "in_hardware": found.in_hardware,
        "members": [[_finding_json(one) for one in findings] for findings in found.members],
        "present": [str(person) for person in found.present],
    }


def _finding_json(finding: Finding) -> dict[str, str]:
    return {"proof": str(finding.proof), "what": finding.what, "by": finding.by}


def _random() -> SecretBytes:
    return SecretBytes(secrets.token_bytes(_SECRET_BYTES))


def _replace(path: Path, data: bytes) -> None:
    try:
        replace_file(path, data, mode=0o644)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
