"""``hwkm key`` against a real daemon."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.resident import Resident
from tests.core_process import MemoryToken
from tests.daemon import Daemon

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token"))) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def person(daemon: Daemon, tmp_path: Path) -> Resident:
    return Resident(tmp_path / "home", daemon.socket_path)


@pytest.fixture
def alias(person: Resident, tmp_path: Path) -> str:
    name = re.sub(r"\W", "-", tmp_path.name)
    person.run("key", "create", name, "--description", "letters", "--tag", "team=post")
    return name


def test_a_key_is_made_shown_and_listed_by_any_of_its_names(person: Resident, alias: str) -> None:
    shown = person.json("key", "show", alias)
    assert shown["aliases"] == [f"alias/{alias}"]
    assert (shown["kind"], shown["state"], shown["version"]) == ("symmetric", "enabled", 1)
    assert (shown["description"], shown["tags"]) == ("letters", {"team": "post"})
    for name in (f"alias/{alias}", shown["key_id"], shown["arn"]):
        assert person.json("key", "show", name) == shown
    assert shown["key_id"] in {key["key_id"] for key in person.json("key", "list")}
    text = person.run("key", "show", alias).stdout
    assert [line.split("  ")[0] for line in text.splitlines()] == [
        "key id", "ARN", "aliases", "description", "kind", "state", "version", "created", "rotation",
        "last use", "tags",
    ]  # fmt: skip
    assert f"alias/{alias}" in person.run("key", "list").stdout


def test_a_key_is_rotated_and_its_versions_listed(person: Resident, alias: str) -> None:
    assert person.run("key", "rotate", alias).stdout == f"alias/{alias} has version 2 now.\n"
    shown = person.json("key", "rotation", alias)
    assert [version["cause"] for version in shown["versions"]] == ["created", "on_demand"]
    assert "every 90 days" in person.run("key", "rotation", alias, "--every", "90").stdout
    assert person.run("key", "rotation", alias, "--off").stdout.startswith("Rotated on demand only.\n")
    assert "exclude" in person.run("key", "rotation", alias, "--off", "--every", "90", status=2).stderr
    refused = person.run("key", "rotation", alias, "--every", "89", status=3)
    assert "--every is 90 to 2,560 days, not 89" in refused.stderr


def test_states_and_what_to_do_about_them(person: Resident, alias: str) -> None:
    (person.home / "f").write_text("x")
    assert person.run("key", "disable", alias).stdout == f"alias/{alias} is disabled.\n"
    refused = person.run("encrypt", "f", "-k", alias, status=24)
    assert "is disabled" in refused.stderr
    assert "hwkm key enable" in refused.stderr
    assert not (person.home / "f.encrypted").exists()
    person.run("key", "enable", alias)
    person.run("encrypt", "f", "-k", alias)
    assert (
        "will be deleted on" in person.run("key", "schedule-deletion", alias, "--days", "7", "--yes").stdout
    )
    assert "pending deletion on" in person.run("key", "show", alias).stdout
    assert "hwkm key cancel-deletion" in person.run("decrypt", "f.encrypted", "-o", "g", status=24).stderr
    assert "kept, and disabled" in person.run("key", "cancel-deletion", alias).stdout
    refused = person.run("key", "schedule-deletion", alias, "--days", "6", "--yes", status=3)
    assert "--days is 7 to 30 days, not 6" in refused.stderr
    for arguments in (["two words"], ["x", "--account", "5"], ["x", "--rotate-every", "2561"]):
        assert "$" not in person.run("key", "create", *arguments, status=3).stderr


def test_deleting_asks_first(person: Resident, alias: str) -> None:
    shown = person.type_at("key", "schedule-deletion", alias, entries=["n"], status=1)
    assert "Whatever was encrypted under it is lost" in shown
    assert person.json("key", "show", alias)["state"] == "enabled"


def test_aliases_come_go_and_move(person: Resident, alias: str) -> None:
    other = person.json("key", "create")["key_id"]
    person.run("key", "alias", f"{alias}-2", other)
    assert person.run("key", "alias", f"{alias}-2", alias, status=15).stderr
    moved = person.json("key", "alias", f"{alias}-2", alias, "--move")
    assert moved["key_id"] == person.json("key", "show", alias)["key_id"]
    assert person.run("key", "unalias", f"{alias}-2").stdout == f"Removed alias/{alias}-2.\n"
    assert "is not found" in person.run("key", "show", f"{alias}-2", status=14).stderr


def test_tags_are_shown_changed_and_removed(person: Resident, alias: str) -> None:
    assert person.run("key", "tag", alias).stdout == "team=post\n"
    assert person.json("key", "tag", alias, "cost=7", "team=mail") == {"cost": "7", "team": "mail"}
    assert person.run("key", "tag", alias, "--remove", "team").stdout == "cost=7\n"
    assert "NAME=VALUE" in person.run("key", "tag", alias, "nonsense", status=2).stderr
    assert "twice" in person.run("key", "tag", alias, "a=1", "a=2", status=2).stderr
    person.run("key", "describe", alias, "mail")
    assert person.json("key", "show", alias)["description"] == "mail"


def test_a_public_key_is_printed_as_pem_that_openssl_reads(person: Resident, alias: str) -> None:
    person.run("key", "create", f"{alias}-sign", "--kind", "ecc_nist_p384_sign")
    pem = person.run("key", "public-key", f"{alias}-sign").stdout
    read = subprocess.run(
        ["openssl", "pkey", "-pubin", "-noout", "-text"], input=pem, capture_output=True, text=True
    )
    assert "secp384r1" in read.stdout, read.stderr
    person.run("key", "public-key", f"{alias}-sign", "-o", "key.pem")
    assert (person.home / "key.pem").read_text() == pem
    person.run("key", "public-key", f"{alias}-sign", "-o", "key.pem", status=4)
    person.run("key", "public-key", alias, status=24)


def test_recorded_data_keys_are_listed(person: Resident, alias: str) -> None:
    assert person.run("key", "recorded", alias).stdout == "No data key of it was recorded.\n"
    assert person.json("key", "recorded", alias) == []


def test_wrong_names_and_kinds_say_what_is_right(person: Resident) -> None:
    person.run("key", "show", "11111111-1111-4111-8111-111111111111", status=14)
    person.run("key", "show", "arn:aws:s3:::bucket", status=3)
    wrong = person.run("key", "create", "--kind", "aes", status=2).stderr
    assert "symmetric" in wrong
    person.run("key", "create", "white space", status=3)


def test_aliases_are_completed(person: Resident, alias: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "hwkm"],
        env={
            **person.environment,
            "_HWKM_COMPLETE": "complete_bash",
            "COMP_WORDS": f"hwkm key show alias/{alias[:-1]}",
            "COMP_CWORD": "3",
        },
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout.split() == [f"alias/{alias}"], done.stderr


def test_completion_without_a_daemon_offers_nothing_and_says_nothing(
    person: Resident, tmp_path: Path
) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "hwkm"],
        env={
            **person.environment,
            "HWKM_SOCKET": str(tmp_path / "none"),
            "_HWKM_COMPLETE": "complete_bash",
            "COMP_WORDS": "hwkm key show a",
            "COMP_CWORD": "3",
        },
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_no_daemon_is_said_with_what_to_do(person: Resident, tmp_path: Path) -> None:
    missing = person.run("key", "list", "-S", tmp_path / "none", status=20)
    assert "hwkm doctor" in missing.stderr
    assert not list(person.home.iterdir())
