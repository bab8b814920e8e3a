"""The file of credentials: private, strict, changed whole, and silent about its secrets."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from hwkm.errors import ConfigError
from hwkm.server.aws import credentials_file as files
from hwkm.server.aws.credentials import Credential

ACCOUNT = "000000000001"
SECRET = "SecretSecretSecretSecretSecretSecret9999"
TABLE = f"""
[[credential]]
name = "a"
account = "{ACCOUNT}"
access_key_id = "HWKMA"
secret_access_key = "{SECRET}"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "credentials.toml"


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def test_a_file_that_is_absent_holds_none(path: Path) -> None:
    assert len(files.load_credentials(path)) == 0


def test_what_is_created_is_found_and_what_is_revoked_is_not(path: Path) -> None:
    made = files.create_credential(path, "backup", ACCOUNT)
    assert re.fullmatch(r"HWKM[A-Z2-7]{16}", made.access_key_id)
    assert re.fullmatch(r"[A-Za-z0-9]{40}", made.secret_access_key)
    other = files.create_credential(path, "other", "000000000002")
    assert other.secret_access_key != made.secret_access_key
    found = files.load_credentials(path).find(made.access_key_id)
    assert isinstance(found, Credential)
    assert (found.name, found.account) == ("backup", ACCOUNT)
    assert files.revoke_credential(path, "backup").access_key_id == made.access_key_id
    book = files.load_credentials(path)
    assert book.find(made.access_key_id) is None
    assert book.find(other.access_key_id) is not None


def test_the_file_is_made_for_its_owner_only(path: Path) -> None:
    before = os.umask(0)
    try:
        files.create_credential(path, "a", ACCOUNT)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(path: Path, mode: int) -> None:
    write(path, TABLE)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=r"credentials file .* has mode"):
        files.load_credentials(path)


@pytest.mark.parametrize(
    "text",
    [
        "credential = 1",
        "[credential]\nname='a'",
        TABLE + "[other]\n",
        TABLE + TABLE,
        TABLE + TABLE.replace('"a"', '"b"'),
        TABLE.replace('"a"', '"a b"'),
        TABLE.replace(ACCOUNT, "1"),
        TABLE.replace("HWKMA", "HW/KM"),
        TABLE.replace(SECRET, "short\\u0000"),
        TABLE.replace(SECRET, SECRET + " "),
        TABLE + "extra = 1\n",
        TABLE.replace(f'"{SECRET}"', f'"{SECRET}'),
    ],
)
def test_what_is_wrong_is_refused_without_its_secret(path: Path, text: str) -> None:
    write(path, text)
    with pytest.raises(ConfigError) as caught:
        files.load_credentials(path)
    assert SECRET not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "account"), [("", ACCOUNT), ("a b", ACCOUNT), ("a" * 65, ACCOUNT), ("a", "12")]
)
def test_impossible_names_and_accounts_make_nothing(path: Path, name: str, account: str) -> None:
    with pytest.raises(ConfigError):
        files.create_credential(path, name, account)
    assert not path.exists()


def test_a_name_is_given_once_and_revoked_once(path: Path) -> None:
    files.create_credential(path, "a", ACCOUNT)
    with pytest.raises(ConfigError, match="there is a credential"):
        files.create_credential(path, "a", ACCOUNT)
    files.revoke_credential(path, "a")
    with pytest.raises(ConfigError, match="there is no credential"):
        files.revoke_credential(path, "a")


def test_changes_at_the_same_time_do_not_lose_one_another(path: Path) -> None:
    threads = [
        threading.Thread(target=files.create_credential, args=(path, f"name-{number}", ACCOUNT))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files.load_credentials(path)) == 8


def test_neither_a_credential_nor_an_entry_shows_its_secret(path: Path) -> None:
    write(path, TABLE)
    (entry,) = files.read_entries(path)
    found = files.load_credentials(path).find("HWKMA")
    for text in (repr(entry), str(entry), repr(found), f"{found}"):
        assert SECRET not in text


def test_signing_keys_are_made_once_a_day_and_few_are_kept(path: Path) -> None:
    write(path, TABLE)
    found = files.load_credentials(path).find("HWKMA")
    assert found is not None
    days = [f"202611{day:02}" for day in range(1, 10)]
    keys = [found.signing_key(day, "us-east-1") for day in days]
    assert len(set(keys)) == len(days)
    assert [found.signing_key(day, "us-east-1") for day in days] == keys
    assert len(found._keys) == 3
