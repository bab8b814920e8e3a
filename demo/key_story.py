"""The story of the keys: a tenant's file, rotations that do not touch it, and a stranger."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo import audit_log
from demo.machine import Service
from demo.stage import Person, expect, heading, say

LETTER: Final = "Dear reader,\n" * 20_000
TENANTS: Final = {"owner": "000000000001", "stranger": "000000000002"}
SDK_PROGRAM: Final = Path(__file__).with_name("sdk_decrypt.py")


@dataclass(frozen=True, slots=True)
class KeyCast:
    """Who is on stage."""

    service: Service
    operator: Person
    owner: Person
    stranger: Person


def provision(cast: KeyCast) -> None:
    """Make the keys in the token, and credentials for AWS clients."""
    heading("The operator provisions a token and gives two tenants a credential")
    say(
        "A domain key is made in the token and never leaves it. All other keys are made in the token too, and kept "
        "outside of it only wrapped under the domain key."
    )
    cast.operator.types(f"hwkmd init --config {cast.service.config}", shows=["domain"])
    for person in (cast.owner, cast.stranger):
        account = TENANTS[person.name]
        say(f"(hwkmd credential create {person.name} --account {account}, its secret not shown)")
        create = f"hwkmd credential create {person.name} --account {account} --json"
        made = cast.operator.quietly(f"{create} --config {cast.service.config}")
        _set_up_aws(person, json.loads(made.splitlines()[0]), cast.service.aws_port)


def _set_up_aws(person: Person, credential: dict[str, str], port: int) -> None:
    """Write what every AWS SDK reads."""
    directory = person.home / ".aws"
    directory.mkdir(mode=0o700)
    config = directory / "config"
    config.touch(mode=0o600)
    lines = {
        "region": "us-east-1",
        "endpoint_url": f"http://127.0.0.1:{port}",
        "aws_access_key_id": credential["access_key_id"],
        "aws_secret_access_key": credential["secret_access_key"],
    }
    config.write_text("[default]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items()))
    shutil.copy(SDK_PROGRAM, person.home)


def encrypt(cast: KeyCast) -> str:
    """Make a key and encrypt a file under it; return the key's ARN."""
    heading("A tenant encrypts a file")
    cast.owner.types('hwkm key create documents --description "letters"', shows=["documents"])
    (cast.owner.home / "letter").write_text(LETTER)
    cast.owner.types("hwkm encrypt letter --key documents --context tenant=owner")
    (cast.owner.home / "letter").unlink()
    expect(b"Dear reader" not in _encrypted(cast), "nothing of the letter is in the encrypted file")
    arn: str = json.loads(cast.owner.quietly("hwkm key show documents --json"))["arn"]
    return arn


def rotate(cast: KeyCast) -> None:
    """Rotate the key and the domain key, and wrap the file's data key anew."""
    heading("Rotations touch no data")
    before = _encrypted(cast)
    cast.owner.types("hwkm key rotate documents")
    cast.owner.types("hwkm decrypt letter.encrypted --output old-version", shows=[])
    expect(_is_the_letter(cast, "old-version"), "what the old version encrypted, the rotated key still opens")
    cast.owner.types("hwkm rewrap . --dry-run")
    cast.owner.types("hwkm rewrap .")
    after = _encrypted(cast)
    expect(
        after != before and after[-len(LETTER) :] == before[-len(LETTER) :],
        "the data key is wrapped under the new version; the contents are as they were, byte for byte",
    )
    cast.operator.types(f"hwkmd domain rotate --config {cast.service.config}")
    cast.operator.types(f"hwkmd domain status --config {cast.service.config}")
    expect(_encrypted(cast) == after, "a new domain key in the token changes nothing outside of the daemon")
    cast.owner.types("hwkm decrypt letter.encrypted --context tenant=owner --output opened")
    expect(_is_the_letter(cast, "opened"), "the file opens")


def open_with_other_software(cast: KeyCast, arn: str) -> None:
    """Open the file by the AWS Encryption SDK, as the owner and as a stranger."""
    heading("Software that speaks AWS KMS opens it too, for its tenant")
    say(f"{SDK_PROGRAM.name} is a few lines around the AWS Encryption SDK for Python.")
    open_it = f"python {SDK_PROGRAM.name} letter.encrypted {arn}"
    cast.owner.types(open_it, shows=["Dear reader", "'tenant': 'owner'"])
    shutil.copy(cast.owner.home / "letter.encrypted", cast.stranger.home)
    cast.stranger.types(open_it, status=1, shows=["refused"])
    expect(True, "another tenant, with the file and a credential of its own, is refused")


def verify_audit(cast: KeyCast) -> None:
    """With the daemon stopped."""
    say("The daemon is stopped, and the token is not asked: the log is verified by its public key alone.")
    audit_log.verify_audit(
        cast.operator,
        cast.service.audit,
        "--operation key.decrypt",
        "access_denied",
        "a copy in which the stranger's refusal was made to look like a success is refused",
    )


def _encrypted(cast: KeyCast) -> bytes:
    return (cast.owner.home / "letter.encrypted").read_bytes()


def _is_the_letter(cast: KeyCast, name: str) -> bool:
    return (cast.owner.home / name).read_text() == LETTER
