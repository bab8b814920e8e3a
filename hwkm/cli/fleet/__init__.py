"""The commands of ``hwkm fleet``: their words and help; what they do is in the modules beside it.

Those are loaded by the command that needs them: python-tuf and its signers take longer to load
than every other command to run.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hwkm.cli.options import JsonOption
from hwkm.cli.reporting import reporting

app = typer.Typer(no_args_is_help=True, help="Lists of cohort keys, and who vouches for them.")


class KeyPurpose(StrEnum):
    """What a new key is for."""

    SIGNING = "signing"
    ONLINE = "online"
    LOG = "log"
    WITNESS = "witness"
    PERSON = "person"


FleetArgument = Annotated[
    Path, typer.Argument(metavar="FLEET", help="The fleet's directory: `staged` and `public` are in it.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show exactly what would be signed or published; change nothing.")
]
RootFileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="ROOT.TOML",
        help="Whose keys sign, how many of them, and which log: see docs/operations/ceremony.md.",
    ),
]
ListDays = Annotated[int, typer.Option("--days", min=1, max=3650, help="How long the list is valid.")]
KeyOption = Annotated[
    str,
    typer.Option(
        "--key",
        metavar="KEY",
        help="A private key file, or `hsm:KEYID?label=TOKEN` for a key in a PKCS#11 token.",
    ),
]
ModuleOption = Annotated[
    Path | None, typer.Option("--module", metavar="FILE", help="The PKCS#11 library of the token.")
]
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="Read the passphrase of the key, or the PIN of the token, from a file that only you can read.",
    ),
]
SourceArgument = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="Where the fleet is published: a directory or an https address."),
]
RootOption = Annotated[
    Path,
    typer.Option("--root", metavar="FILE", help="The first root (1.root.json), from a source you trust."),
]
StateOption = Annotated[
    Path,
    typer.Option(
        "--state", metavar="DIRECTORY", help="What was seen before; made at the first time, keep it."
    ),
]
EkRootOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--ek-root",
        metavar="FILE",
        help="Root certificates (PEM) of makers of TPMs that you trust; repeatable.",
    ),
]
ChallengerOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--challenger",
        metavar="FILE",
        help="Public key of somebody whose challenge to a TPM you believe; repeatable.",
    ),
]
PersonKeyOption = Annotated[
    Path, typer.Option("--key", metavar="FILE", help="Your key, by `hwkm fleet keygen --for person`.")
]
EvidenceFile = Annotated[Path, typer.Argument(metavar="FILE", help="The evidence of a cohort.")]

evidence_app = typer.Typer(no_args_is_help=True, help="Evidence of where a cohort's key lives.")
app.add_typer(evidence_app, name="evidence")


@app.command("keygen")
@reporting
def keygen(
    out: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the private key goes; FILE.pub is beside it.")
    ],
    purpose: Annotated[
        KeyPurpose,
        typer.Option("--for", help="What the key is for. Keys of signers get a passphrase, the others none."),
    ] = KeyPurpose.SIGNING,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Name of a log, witness or person, such as fleet.example.org/log."
        ),
    ] = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Make a key for a ceremony.

    Keys of signers and of the online role are Ed25519 in PEM; those of logs, witnesses and persons are in the form of signed notes and have a
    name. A person signs evidence, and challenges TPMs.

    Example: `hwkm fleet keygen auditor.pem`
    """
    from hwkm.cli.fleet import keys

    keys.keygen(out=out, purpose=purpose, name=name, passphrase_file=passphrase_file)


@app.command("public-key")
@reporting
def public_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="`hsm:KEYID?label=TOKEN`.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the public key goes, PEM.")],
    module: ModuleOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Export the public key of a signing key in a PKCS#11 token.

    Example: `hwkm fleet public-key 'hsm:2?label=auditor' --module /usr/lib/libykcs11.so --out auditor.pub`
    """
    from hwkm.cli.fleet import keys

    keys.public_key(key=key, out=out, module=module, passphrase_file=passphrase_file)


@app.command("init-root")
@reporting
def init_root(fleet: FleetArgument, root_file: RootFileArgument, dry_run: DryRunOption = False) -> None:
    """Stage the first root of a fleet: whose keys answer for it, and which log makes it public.

    In both roles the threshold must be higher than the number of keys of either party, so that neither can act alone. Then both parties sign:
    `hwkm fleet sign` and `hwkm fleet countersign`.
    """
    from hwkm.cli.fleet import ceremony

    ceremony.init_root(fleet=fleet, root_file=root_file, dry_run=dry_run)


@app.command("rotate-root")
@reporting
def rotate_root(fleet: FleetArgument, root_file: RootFileArgument, dry_run: DryRunOption = False) -> None:
    """Stage the next root: other keys, other thresholds, or a longer life.

    The file names all keys again. It needs the signatures of the old root's keys and of the new one's. Clients follow over the air.
    """
    from hwkm.cli.fleet import ceremony

    ceremony.rotate_root(fleet=fleet, root_file=root_file, dry_run=dry_run)


@app.command("propose")
@reporting
def propose(
    fleet: FleetArgument,
    cohorts: Annotated[
        Path,
        typer.Argument(
            metavar="COHORTS.TOML",
            help="A table `[[cohort]]` for each: `name`, `evidence` (a file); `public_key` is checked if it is given.",
        ),
    ],
    days: ListDays = 90,
    dry_run: DryRunOption = False,
) -> None:
    """Stage the next list of cohorts, for both parties to sign.

    The whole list is given each time; its epoch is the last one plus one. Evidence that does not show what it should is refused.
    """
    from hwkm.cli.fleet import ceremony

    ceremony.propose(fleet=fleet, cohorts=cohorts, days=days, dry_run=dry_run)


@app.command("show")
@reporting
def show(fleet: FleetArgument, as_json: JsonOption = False) -> None:
    """Show what is staged, who has signed it, and what is published."""
    from hwkm.cli.fleet import ceremony

    ceremony.show(fleet=fleet, as_json=as_json)


@app.command("sign")
@reporting
def sign(
    fleet: FleetArgument,
    key: KeyOption,
    module: ModuleOption = None,
    passphrase_file: PassphraseFileOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Sign what is staged, as the operator.

    Shows what is signed and its SHA-256 first: compare it with the auditor's.
    """
    from hwkm.cli.fleet import ceremony

    ceremony.sign(fleet=fleet, key=key, module=module, passphrase_file=passphrase_file, dry_run=dry_run)


@app.command("countersign")
@reporting
def countersign(
    fleet: FleetArgument,
    key: KeyOption,
    module: ModuleOption = None,
    passphrase_file: PassphraseFileOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Sign what is staged, as the auditor, after the operator.

    Look at the evidence of every new cohort first. What is signed is shown with its SHA-256; without `--dry-run` the key is used.
    """
    from hwkm.cli.fleet import ceremony

    ceremony.countersign(
        fleet=fleet, key=key, module=module, passphrase_file=passphrase_file, dry_run=dry_run
    )


@app.command("publish")
@reporting
def publish(
    fleet: FleetArgument,
    online_key: Annotated[
        Path, typer.Option("--online-key", metavar="FILE", help="Private key of the online role.")
    ],
    log_key: Annotated[Path, typer.Option("--log-key", metavar="FILE", help="Private key of the log.")],
    days: Annotated[
        int,
        typer.Option(
            "--days", min=1, max=365, help="After how many days clients must have seen a newer timestamp."
        ),
    ] = 7,
    dry_run: DryRunOption = False,
) -> None:
    """Publish what both parties have signed; with nothing staged, renew the timestamp.

    Run it at least once within `--days`, or clients take the fleet for frozen. Where witnesses must cosign, it stops until enough of them have
    (`hwkm fleet add-cosignature`), then run it again. `FLEET/public` is what a web server serves.
    """
    from hwkm.cli.fleet import ceremony

    ceremony.publish(fleet=fleet, online_key=online_key, log_key=log_key, days=days, dry_run=dry_run)


@app.command("verify")
@reporting
def verify(source: SourceArgument, root: RootOption, state: StateOption, as_json: JsonOption = False) -> None:
    """Verify a fleet's newest list as a client does, and remember what was seen.

    Signatures of both parties, expiry, no older version, presence in the public log, which must contain all that was seen of it before. It
    exits with 0 only if everything holds; otherwise nothing is remembered.

    Example: `hwkm fleet verify https://fleet.example.org --root 1.root.json --state ~/.config/hwkm/fleet`
    """
    from hwkm.cli.fleet import outside

    outside.verify(source=source, root=root, state=state, as_json=as_json)


@app.command("trust")
@reporting
def trust(source: SourceArgument, root: RootOption) -> None:
    """Trust exactly the cohorts of this fleet from now on, for all vaults.

    Before a vault is made or opened, `hwkm` fetches the fleet's newest list, verifies it as `hwkm fleet verify` does, and goes on only if the
    daemon's cohort key is in it. It replaces the key that was offered first, and a fleet that was trusted before.

    Example: `hwkm fleet trust https://fleet.example.org --root 1.root.json`
    """
    from hwkm.cli.fleet import outside

    outside.trust(source=source, root=root)


@app.command("trust-android")
@reporting
def trust_android(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Where cert.xml and cert.sig.xml lie: a directory or an https address."
        ),
    ],
    root: Annotated[
        Path, typer.Option("--root", metavar="FILE", help="The trusted root certificate, PEM or DER.")
    ],
) -> None:
    """Trust exactly the cohorts of Android's lists from now on, for all vaults.

    As `hwkm fleet trust`, with lists in the form that Google publishes: the word of one party, and no public log. A list with a lower serial
    than one that was accepted here is refused.

    Example: `hwkm fleet trust-android https://www.gstatic.com/cryptauthvault/v0 --root root.pem`
    """
    from hwkm.cli.fleet import outside

    outside.trust_android(source=source, root=root)


@app.command("witness")
@reporting
def witness(
    source: SourceArgument,
    log: Annotated[Path, typer.Option("--log", metavar="FILE", help="Public key of the fleet's log.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The witness's private key.")],
    state: Annotated[
        Path,
        typer.Option("--state", metavar="FILE", help="What this witness saw last; made at the first time."),
    ],
) -> None:
    """Cosign the fleet's newest checkpoint, as an outside witness.

    The log is followed from what this witness saw last: it must contain all of that, and announce nothing twice. The cosignature is printed, one line,
    for the operator to add by `hwkm fleet add-cosignature`.
    """
    from hwkm.cli.fleet import outside

    outside.witness(source=source, log=log, key=key, state=state)


@app.command("add-cosignature")
@reporting
def add_cosignature(
    fleet: FleetArgument,
    line: Annotated[str, typer.Argument(metavar="LINE", help="What the witness printed.")],
) -> None:
    """Add a witness's cosignature to the checkpoint that waits for it."""
    from hwkm.cli.fleet import outside

    outside.add_cosignature(fleet=fleet, line=line)


@app.command("audit")
@reporting
def audit(
    source: SourceArgument,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", metavar="FILE", help="The first root (1.root.json), if you have it from elsewhere."
        ),
    ] = None,
    ek_root: EkRootOption = None,
    challenger: ChallengerOption = None,
    require_hardware: Annotated[
        bool,
        typer.Option("--require-hardware", help="Fail unless hardware proves where every cohort's key is."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check everything again that a fleet's public files prove, for somebody who trusts neither party.

    Roots from the first one, the signatures of both parties, expiry, the log from its first entry with its witnesses, every list ever
    announced, and the evidence of every cohort. Each line says on what it rests: what anybody computes from the files (`checked`), what
    hardware proves (`hardware`), or only somebody's word (`operator`). It asks no daemon, remembers nothing, and exits with 19 if anything fails.

    Example: `hwkm fleet audit https://fleet.example.org --root 1.root.json --ek-root maker.pem --challenger auditor.pub`
    """
    from hwkm.cli.fleet import audited

    audited.audit(
        source=source, root=root, ek_roots=ek_root or [], challengers=challenger or [],
        require_hardware=require_hardware, as_json=as_json,
    )  # fmt: skip


@evidence_app.command("combine")
@reporting
def evidence_combine(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The evidence of the cohort; a new file.")],
    members: Annotated[
        list[Path], typer.Argument(metavar="MEMBER...", help="What `hwkmd evidence` wrote, of every member.")
    ],
) -> None:
    """Put the evidence of all members of a cohort together.

    Refused if one is missing or wrong, or they do not agree on key, numbers or how many they are.
    """
    from hwkm.cli.fleet import evidence

    evidence.combine(out=out, members=members)


@evidence_app.command("challenge")
@reporting
def evidence_challenge(
    member: Annotated[
        Path, typer.Argument(metavar="MEMBER", help="A first evidence of the member, by `hwkmd evidence`.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The challenge; a new file.")],
    key: PersonKeyOption,
) -> None:
    """Challenge a member's TPM, as an outsider: `hwkmd evidence --challenge` answers.

    Only the TPM whose maker certified its endorsement key can answer, and only if the attestation key is in it too. It proves that to
    who challenges; others believe it as far as they believe you.
    """
    from hwkm.cli.fleet import evidence

    evidence.challenge(member=member, out=out, key=key)


@evidence_app.command("sign")
@reporting
def evidence_sign(file: EvidenceFile, key: PersonKeyOption) -> None:
    """Sign the evidence of a cohort, as somebody who was present when it was made."""
    from hwkm.cli.fleet import evidence

    evidence.sign(file=file, key=key)


@evidence_app.command("show")
@reporting
def evidence_show(
    file: EvidenceFile,
    ek_root: EkRootOption = None,
    challenger: ChallengerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the evidence of a cohort, and say line by line what hardware proves and what is the operator's word.

    Example: `hwkm fleet evidence show alpha.evidence.json --ek-root maker.pem --challenger auditor.pub`
    """
    from hwkm.cli.fleet import evidence

    evidence.show(file=file, ek_roots=ek_root or [], challengers=challenger or [], as_json=as_json)


@app.command("verify-android")
@reporting
def verify_android(
    cert_xml: Annotated[Path, typer.Argument(metavar="CERT.XML", help="The list.")],
    sig_xml: Annotated[Path, typer.Argument(metavar="CERT.SIG.XML", help="Its signature file.")],
    root: Annotated[
        Path, typer.Option("--root", metavar="FILE", help="The trusted root certificate, PEM or DER.")
    ],
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TIME", help="When certificates must be valid, ISO 8601; now if left out."
        ),
    ] = None,
    seen: Annotated[
        str | None,
        typer.Option(
            "--seen",
            metavar="SERIAL:HASH",
            help="A list accepted before, as this command printed it: older ones are refused.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a list in the form that Google publishes for Android's recoverable key store.

    Checks the form of both files, the signer's certificate path, the signature over every byte of the list, its serial against the one
    seen before, and the path of every endpoint. It exits with 0 only if everything holds, and prints the cohort keys.

    Example: `hwkm fleet verify-android cert.xml cert.sig.xml --root root.pem --at 2025-02-27`
    """
    from hwkm.cli.fleet import android

    android.verify_android(cert_xml=cert_xml, sig_xml=sig_xml, root=root, at=at, seen=seen, as_json=as_json)
