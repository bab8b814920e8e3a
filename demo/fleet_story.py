"""The story of the fleet: three machines with one key, two parties who sign for it, and a client that trusts neither alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.machine import Service
from demo.stage import Person, expect, heading, say
from demo.story import WRONG, write_pins

REFUSED: Final = 70  # of hwkmd
COHORT_MISMATCH, NOT_TRUSTED = 16, 19
FORGERY: Final = Path(__file__).with_name("publish_anyway.py")

ROOT: Final = """\
log = "log.key.pub"
witnesses = ["witness.key.pub"]
quorum = 1
root_threshold = 2
list_threshold = 2
days = 365
"""
KEY: Final = """
[[key]]
file = "{file}.pub"
{party}signs = "{signs}"
"""
KEYS: Final = (
    ("operator-root.pem", "operator", "roots"),
    ("auditor-root.pem", "auditor", "roots"),
    ("operator.pem", "operator", "lists"),
    ("auditor.pem", "auditor", "lists"),
    ("online.pem", "", "timestamps"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """One member: its daemon, and who types at its keyboard."""

    service: Service
    person: Person

    @property
    def configuration(self) -> str:
        """The option that names its configuration."""
        return f"--config ../{self.service.directory.name}/{self.service.config.name}"

    def types(self, command: str, *, status: int = 0, shows: Sequence[str] = ()) -> str:
        """Run a command of hwkmd here."""
        return self.person.types(f"hwkmd {command} {self.configuration}", status=status, shows=shows)


@dataclass(frozen=True, slots=True)
class FleetCast:
    """Who is on stage. ``rogue`` is a machine of the operator that belongs to no list."""

    directory: Path
    members: Sequence[Machine]
    rogue: Machine
    operator: Person
    auditor: Person
    witness: Person
    phone: Person
    new_phone: Person

    @property
    def public(self) -> Path:
        """What the operator serves to everybody."""
        return self.directory / "fleet" / "public"


def prepare(cast: FleetCast) -> None:
    """Give everybody the files that nobody types in view: passphrases and PINs."""
    for party in (cast.operator, cast.auditor):
        path = party.home / "passphrase"
        path.touch(mode=0o600)
        path.write_text("not for use elsewhere\n")
    for person in (cast.phone, cast.new_phone):
        write_pins(person)


def make_cohort(cast: FleetCast) -> None:
    """Create, request, invite, join, seal."""
    heading("Three machines become one cohort")
    say(
        "The cohort key is made in the first machine's hardware. It reaches the others only wrapped to keys inside their "
        "hardware; people compare two numbers over the telephone."
    )
    first, *others = cast.members
    prints = [
        _digest("fingerprint", member.types(f"cohort request --out ../request-{number}"))
        for number, member in enumerate(others, start=1)
    ]
    named = ""
    if first.service.uri.startswith("tpm:"):
        say("A TPM's key names the members that it may go to when it is made; nobody changes that.")
        named = "".join(
            f" --request ../request-{k} --expect {seen}" for k, seen in enumerate(prints, start=1)
        )
    first.types(f"cohort create --members {len(cast.members)}{named}", shows=["member 0"])
    for number, (member, fingerprint) in enumerate(zip(others, prints, strict=True), start=1):
        _invite(first, member, number, fingerprint)
    first.types("cohort seal", shows=["sealed"])
    shown = json.loads(first.person.quietly(f"hwkmd cohort show --json {first.configuration}"))
    late = f"cohort invite ../request-1 --expect {shown['invited']['1']} --member 1 --out late"
    first.types(late, status=REFUSED, shows=["sealed"])
    expect(True, "now the key can go to nobody any more, not even by the operator")


def _invite(first: Machine, member: Machine, number: int, fingerprint: str) -> None:
    invitation = f"../invitation-{number}"
    printed = first.types(
        f"cohort invite ../request-{number} --expect {fingerprint} --member {number} --out {invitation}"
    )
    sender = _digest("sender", printed)
    member.types(f"cohort join {invitation} --expect {sender}", shows=[f"member {number}"])


def _digest(name: str, printed: str) -> str:
    found = re.search(rf"^{name} ([0-9a-f]{{64}})$", printed, re.MULTILINE)
    expect(found, f"a {name} is printed, to be read out over the telephone")
    return found[1] if found else ""


def make_evidence(cast: FleetCast) -> None:
    """Every member says what its hardware says; all of it becomes one file."""
    heading("Each machine says where the key lives")
    files = []
    for number, member in enumerate(cast.members):
        files.append(f"../member-{number}.json")
        member.types(f"evidence {files[-1]}")
    cast.operator.types(f"hwkm fleet evidence combine ../alpha.evidence.json {' '.join(files)}")
    cast.auditor.types("hwkm fleet evidence show ../alpha.evidence.json")


def prepare_rogue(cast: FleetCast) -> None:
    """The operator's other machine, out of view."""
    person, option = cast.rogue.person, cast.rogue.configuration
    person.quietly(f"hwkmd init {option}")
    person.quietly(f"hwkmd evidence ../rogue.json {option}")
    cast.operator.quietly("hwkm fleet evidence combine ../beta.evidence.json ../rogue.json")


def sign_root(cast: FleetCast) -> None:
    """Both parties make keys and sign the first root."""
    heading("Two parties answer for the list: the operator and an auditor")
    for person, names in (
        (cast.operator, ("operator-root.pem", "operator.pem")),
        (cast.auditor, ("auditor-root.pem", "auditor.pem")),
    ):
        for name in names:
            person.types(f"hwkm fleet keygen {name} --passphrase-file passphrase")
    cast.operator.quietly("hwkm fleet keygen online.pem --for online")
    cast.operator.quietly("hwkm fleet keygen log.key --for log --name fleet.example.org/log")
    cast.witness.quietly("hwkm fleet keygen witness.key --for witness --name witness.example.net")
    _collect_public_keys(cast)
    root = ROOT + "".join(
        KEY.format(file=name, party=f'party = "{party}"\n' if party else "", signs=signs)
        for name, party, signs in KEYS
    )
    (cast.directory / "root.toml").write_text(root)
    cast.operator.types("hwkm fleet init-root ../fleet ../root.toml")
    _sign(cast, "-root")


def _collect_public_keys(cast: FleetCast) -> None:
    """Public keys travel to whoever writes the root."""
    for person in (cast.operator, cast.auditor, cast.witness):
        for path in person.home.glob("*.pub"):
            shutil.copy(path, cast.directory)


def _sign(cast: FleetCast, suffix: str = "") -> None:
    cast.operator.types(f"hwkm fleet sign ../fleet --key operator{suffix}.pem --passphrase-file passphrase")
    cast.auditor.types(
        f"hwkm fleet countersign ../fleet --key auditor{suffix}.pem --passphrase-file passphrase"
    )


_AUDIT: Final = "hwkm fleet audit ../fleet/public --root ../phone/root.json"
_ONLINE_KEYS: Final = "--online-key online.pem --log-key log.key"
_PUBLISH: Final = f"hwkm fleet publish ../fleet {_ONLINE_KEYS}"


def publish_list(cast: FleetCast) -> None:
    """The list needs both signatures, the log, and a witness."""
    heading("The list of cohorts is signed by both, and made public in a log")
    _propose(cast, "alpha", dry_run=True)
    cast.operator.types("hwkm fleet sign ../fleet --key operator.pem --passphrase-file passphrase")
    cast.operator.types(_PUBLISH, status=NOT_TRUSTED)
    expect(
        not cast.public.joinpath("metadata", "1.targets.json").exists(), "of one party alone there is no list"
    )
    cast.auditor.types("hwkm fleet countersign ../fleet --key auditor.pem --passphrase-file passphrase")
    _publish(cast)


def _propose(cast: FleetCast, name: str, *, dry_run: bool = False) -> None:
    description = cast.directory / f"{name}.toml"
    description.write_text(f'[[cohort]]\nname = "{name}"\nevidence = "{name}.evidence.json"\n')
    if dry_run:
        cast.operator.types(f"hwkm fleet propose ../fleet ../{description.name} --dry-run")
    cast.operator.types(f"hwkm fleet propose ../fleet ../{description.name}")


def _publish(cast: FleetCast, publish: str = _PUBLISH) -> None:
    """Publish up to the log, have the log witnessed, and publish the rest."""
    cast.operator.types(publish)
    witnessing = "hwkm fleet witness ../fleet/public --log ../log.key.pub --key witness.key --state seen"
    cosignature = cast.witness.types(witnessing).strip()
    cast.operator.types(f'hwkm fleet add-cosignature ../fleet "{cosignature}"')
    cast.operator.types(publish, shows=["published"])


def trust_and_use(cast: FleetCast) -> None:
    """A client takes the list, makes a vault at a member drawn by chance, and finds it again."""
    heading("A phone that trusts the list makes a vault")
    say(
        "The first root is what a phone has from its maker; a file says where the members are. All else it checks by "
        "itself, before every vault."
    )
    for person in (cast.phone, cast.new_phone):
        _write_places(cast, person)
        shutil.copy(cast.public / "metadata" / "1.root.json", person.home / "root.json")
        person.types("hwkm fleet trust ../fleet/public --root root.json", shows=["1 cohort"])
    cast.phone.types('hwkm vault create "phone backup" --pin-file pin --out key.hex')
    opening = 'hwkm vault open "phone backup" --pin-file'
    cast.new_phone.types(f"{opening} wrong-pin", status=WRONG)
    cast.new_phone.types(f"{opening} pin --out key.hex", shows=["the recovery key came back"])
    expect(
        (cast.new_phone.home / "key.hex").read_text() == (cast.phone.home / "key.hex").read_text(),
        "it is the same recovery key",
    )
    _only_one_member_has_it(cast)


def _write_places(cast: FleetCast, person: Person) -> None:
    """Tell a phone where the members are."""
    path = person.home / ".config" / "hwkm" / "daemons.toml"
    path.parent.mkdir(parents=True)
    sockets = json.dumps([str(member.service.socket) for member in cast.members])
    path.write_text(f'[[cohort]]\nname = "alpha"\nsockets = {sockets}\n')


def _only_one_member_has_it(cast: FleetCast) -> None:
    say("Members share the key, not the attempts, so each vault belongs to one of them:")
    listed = [cast.operator.types(f"hwkm vault list --socket {_socket(member)}") for member in cast.members]
    expect(
        sum("phone backup" in text for text in listed) == 1,
        "three members never mean three times the attempts",
    )


def _socket(machine: Machine) -> str:
    return f"../{machine.service.directory.name}/{machine.service.socket.name}"


def slip_in_a_key(cast: FleetCast) -> None:
    """The operator tries to give the phone a key of his own."""
    heading("The operator slips in a key")
    say(
        "Another machine of the operator, with a key of which nobody else knows where it lives, answers the phone."
    )
    rogue = _socket(cast.rogue)
    make = f'hwkm vault create "second" --pin-file pin --socket {rogue}'
    cast.phone.types(make, status=COHORT_MISMATCH)
    expect(True, "a key that is in no list gets no vault")
    say("So the operator puts it into a list, with evidence of its own, and signs.")
    _propose(cast, "beta")
    cast.operator.types("hwkm fleet sign ../fleet --key operator.pem --passphrase-file passphrase")
    cast.operator.types(_PUBLISH, status=NOT_TRUSTED)
    say(f"The program refuses. He changes it ({FORGERY.name}), and even finds a witness for the log.")
    shutil.copy(FORGERY, cast.operator.home)
    _publish(cast, f"python {FORGERY.name} ../fleet {_ONLINE_KEYS}")
    cast.phone.types(make, status=NOT_TRUSTED)
    expect(True, "without the auditor's signature the phone takes no list, and makes no vault")
    cast.witness.types(_AUDIT, status=NOT_TRUSTED)
    expect(True, "and everybody can see what he did")


def audit(cast: FleetCast) -> None:
    """A stranger checks everything from the public files."""
    heading("A stranger checks all of it, with public files only")
    cast.witness.types(_AUDIT)
