"""Files of ``hwkm encrypt`` and those of the AWS Encryption SDKs: each opens the other's, with the keys of one daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.cli.resident import Resident
from tests.interop.service import KeyService

CONTEXT: Final = {"tenant": "one", "file": "letter.txt"}
LETTER: Final = b"Dear reader,\n" * 10_000


@pytest.fixture
def person(service: KeyService, tmp_path: Path) -> Resident:
    made = Resident(tmp_path / "home", service.daemon.socket_path)
    (made.home / "letter").write_bytes(LETTER)
    return made


def test_both_sdks_open_ours_before_and_after_it_was_rewrapped(service: KeyService, person: Resident) -> None:
    tenant = service.tenants[0]
    key = service.new_key(tenant)
    context = [option for name, value in CONTEXT.items() for option in ("-c", f"{name}={value}")]
    person.run("encrypt", "letter", "-k", key, *context)
    ours = person.home / "letter.encrypted"
    arguments = ("decrypt", key, json.dumps(CONTEXT))
    assert tenant.python("encryption_sdk.py", *arguments, stdin=ours.read_bytes()) == LETTER
    person.run("key", "rotate", key)
    assert person.json("rewrap", "letter.encrypted")["rewrapped"] == 1
    assert tenant.python("encryption_sdk.py", *arguments, stdin=ours.read_bytes()) == LETTER
    assert tenant.node("encryption_sdk.cjs", *arguments, stdin=ours.read_bytes()) == LETTER


def test_we_open_those_of_both_sdks_signature_and_all(service: KeyService, person: Resident) -> None:
    tenant = service.tenants[0]
    key = service.new_key(tenant)
    arguments = ("encrypt", key, json.dumps(CONTEXT))
    for name, run, program in (
        ("by-python", tenant.python, "encryption_sdk.py"),
        ("by-javascript", tenant.node, "encryption_sdk.cjs"),
    ):
        message = run(program, *arguments, stdin=LETTER)
        (person.home / f"{name}.encrypted").write_bytes(message)
        person.run("decrypt", f"{name}.encrypted", "-c", "tenant=one", "-k", key)
        assert (person.home / name).read_bytes() == LETTER
        person.run("key", "rotate", key)
        (failure,) = person.json("rewrap", f"{name}.encrypted", status=31)["failures"]
        assert failure["code"] == "file_signed"
        changed = bytearray(message)
        changed[-1] ^= 1
        (person.home / f"{name}.encrypted").write_bytes(changed)
        person.run("decrypt", f"{name}.encrypted", "-o", "copy", status=23)
        assert not (person.home / "copy").exists()
