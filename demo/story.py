"""The story: a phone is lost, its owner is not."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo import audit_log
from demo.audit_log import DAMAGED
from demo.machine import Service
from demo.stage import Person, expect, heading, say

RIGHT_PIN: Final = "0417"
WRONG_PIN: Final = "1234"

WRONG, LOCKED, TOO_SOON = 10, 11, 12


@dataclass(frozen=True, slots=True)
class Cast:
    """Who is on stage."""

    service: Service
    operator: Person
    phone: Person
    new_phone: Person


def write_pins(person: Person) -> None:
    """Give somebody the right PIN and a wrong one, in files that only they can read."""
    for name, pin in (("pin", RIGHT_PIN), ("wrong-pin", WRONG_PIN)):
        path = person.home / name
        path.touch(mode=0o600)
        path.write_text(f"{pin}\n")


def provision(cast: Cast) -> None:
    """Make the keys in the token."""
    heading("The operator provisions a token and starts the daemon")
    say(
        "The cohort key is made in the token and never leaves it. The attempt counters of all vaults "
        "hang on one small anchor in the token's non-volatile memory."
    )
    cast.operator.types(f"hwkmd init --config {cast.service.config}", shows=["cohort"])


def look(cast: Cast) -> None:
    """See that the daemon is up."""
    cast.operator.types("hwkm status", shows=["ready"])


def make_vault(cast: Cast) -> None:
    """Create a vault and a backup."""
    heading("A phone puts its recovery key into a vault")
    say(
        f"PINs are read from private files here because nobody is at the keyboard; `pin` holds {RIGHT_PIN}, "
        f"`wrong-pin` holds {WRONG_PIN}. Without --pin-file, hwkm asks."
    )
    cast.phone.types('hwkm vault create "phone backup" --pin-file pin --out recovery-key.hex')
    photos = cast.phone.home / "photos" / "2026"
    photos.mkdir(parents=True)
    (photos / "beach.jpg").write_bytes(bytes(range(256)) * 8192)
    (photos / "note.txt").write_text("the sea was warm\n")
    cast.phone.types('hwkm backup encrypt photos --vault "phone backup" --pin-file pin -o photos.hwkm')


def open_on_new_device(cast: Cast) -> None:
    """Recover the key elsewhere."""
    heading("The phone is lost. A new one has nothing but the PIN")
    cast.new_phone.types(
        'hwkm vault open "phone backup" --pin-file wrong-pin', status=WRONG, shows=["attempts remaining: 9"]
    )
    cast.new_phone.types(
        'hwkm vault open "phone backup" --pin-file pin --out recovery-key.hex',
        shows=["the recovery key came back", "10 attempts remaining"],
    )
    keys = [(person.home / "recovery-key.hex").read_text() for person in (cast.phone, cast.new_phone)]
    expect(keys[0] == keys[1], "it is the same recovery key, and the right PIN gave the attempt back")


def restore(cast: Cast) -> None:
    """Restore the backup on the new device."""
    heading("The photos come back too")
    shutil.copy(cast.phone.home / "photos.hwkm", cast.new_phone.home)
    shutil.rmtree(cast.phone.home)
    cast.new_phone.types("hwkm backup restore photos.hwkm -o restored --pin-file pin")
    restored = cast.new_phone.home / "restored" / "photos" / "2026"
    expect(
        (restored / "beach.jpg").read_bytes() == bytes(range(256)) * 8192
        and (restored / "note.txt").read_text() == "the sea was warm\n",
        "every byte is back",
    )
    backup = cast.new_phone.home / "photos.hwkm"
    flip_a_bit(backup, backup.stat().st_size // 2)
    cast.new_phone.types("hwkm backup restore photos.hwkm -o again --pin-file pin", status=DAMAGED)
    expect(not (cast.new_phone.home / "again").exists(), "one changed bit is found, and nothing is restored")


def lock_out(cast: Cast) -> None:
    """Use up the attempts."""
    heading("A thief tries PINs")
    say("This vault allows three attempts (ten is the default).")
    cast.new_phone.types('hwkm vault create "wallet" --max-attempts 3 --pin-file pin')
    guess = "hwkm vault open wallet --pin-file wrong-pin"
    cast.new_phone.types(guess, status=WRONG, shows=["attempts remaining: 2"])
    cast.new_phone.types(guess, status=WRONG, shows=["attempts remaining: 1", "next attempt is possible in"])
    cast.new_phone.types(guess, status=TOO_SOON, shows=["nothing was charged"])
    wait_until_allowed(cast.new_phone, "wallet")
    cast.new_phone.types(guess, status=WRONG, shows=["attempts remaining: 0", "gone for good"])
    cast.new_phone.types("hwkm vault open wallet --pin-file pin", status=LOCKED)
    expect(True, "now the right PIN does not help either, nor does the operator")


def still_locked(cast: Cast) -> None:
    """A restarted daemon has forgotten nothing."""
    heading("The daemon is killed and started again")
    cast.new_phone.types("hwkm vault open wallet --pin-file pin", status=LOCKED)
    cast.new_phone.types(
        'hwkm vault open "phone backup" --pin-file pin', shows=["the recovery key came back"]
    )
    cast.operator.types("hwkm vault list", shows=["locked", "phone backup"])


def verify_audit(cast: Cast) -> None:
    """Check the audit log, and a forged copy of it."""
    audit_log.verify_audit(
        cast.operator,
        cast.service.audit,
        "--operation vault.open --outcome wrong_knowledge_factor",
        "wrong_knowledge_factor",
        "a copy in which one wrong PIN was made to look right is refused",
    )


def flip_a_bit(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def wait_until_allowed(person: Person, vault: str) -> None:
    """Wait as long as the daemon says one has to."""
    shown = json.loads(person.quietly(f"hwkm vault show {vault} --json"))
    time.sleep(shown["retry_after_ms"] / 1000)
