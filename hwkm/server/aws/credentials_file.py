"""The file of credentials: TOML, an array of tables ``[[credential]]``, mode 0600, written whole or not at all.

It holds secrets in clear (``docs/adr`` says why it must), so nothing here puts a value of it into a message.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import string
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from hwkm.core.pin_file import check_mode
from hwkm.errors import ConfigError
from hwkm.secret import SecretBytes
from hwkm.server.aws.credentials import Credential, CredentialBook
from hwkm.server.toml_file import TomlFile
from hwkm.store.private_file import replace_private

CREDENTIALS_MAX: Final = 10_000
NAME_PATTERN: Final = r"^[A-Za-z0-9._-]{1,64}$(?!\n)"
ACCOUNT_PATTERN: Final = r"^[0-9]{12}$(?!\n)"
SECRET_CHARACTERS: Final = 40  # as AWS's; 238 bits of letters and digits
ACCESS_KEY_ID_PREFIX: Final = "HWKM"
ACCESS_KEY_ID_CHARACTERS: Final = 20

_HEAD: Final = (
    "# Credentials of hwkmd's AWS front. Secrets in clear: keep it at mode 0600. Made by: hwkmd credential\n"
)
_WHAT: Final = "credentials file"
_ID_ALPHABET: Final = string.ascii_uppercase + "234567"
_SECRET_ALPHABET: Final = string.ascii_letters + string.digits

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Account = Annotated[str, Meta(pattern=ACCOUNT_PATTERN)]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One credential as it is written. ``created`` is for people."""

    name: Name
    account: Account
    access_key_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{4,128}$(?!\n)")]
    secret_access_key: Annotated[str, Meta(pattern=r"^[!-~]{16,128}$(?!\n)")]
    created: Annotated[str, Meta(max_length=64)] = ""

    def __repr__(self) -> str:
        return f"Entry({self.name!r})"


class NewCredential(NamedTuple):
    """What ``credential create`` shows once."""

    access_key_id: str
    secret_access_key: str


def load_credentials(path: Path) -> CredentialBook:
    """Read the credentials; a file that is absent holds none.

    Raises:
        ConfigError: others may use the file, or something in it is wrong; no message holds a value of it.
    """
    return CredentialBook(
        Credential(
            entry.name, entry.account, entry.access_key_id, SecretBytes(entry.secret_access_key.encode())
        )
        for entry in read_entries(path)
    )


def read_entries(path: Path) -> list[Entry]:
    """The entries of the file, in its order.

    Raises:
        ConfigError: as for :func:`load_credentials`.
    """
    try:
        check_mode(str(path), path.stat(), _WHAT)
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise ConfigError(f"{_WHAT} {path}: {exc.strerror}") from exc
    file = TomlFile(path)
    tables = file.tables.get("credential", [])
    for key in file.tables:
        if key != "credential":
            file.refuse(f"unknown key {key!r}; the file is a list of [[credential]] tables", key)
    if not isinstance(tables, list) or len(tables) > CREDENTIALS_MAX:
        file.refuse(f"at most {CREDENTIALS_MAX} tables: [[credential]]", "credential")
    entries = [file.section(Entry, table, "credential", number) for number, table in enumerate(tables)]
    for field in ("name", "access_key_id"):
        values = [getattr(entry, field) for entry in entries]
        for number, value in enumerate(values):
            if value in values[:number]:
                file.refuse(f"{field} is given twice", "credential", number, field)
    return entries


def create_credential(path: Path, name: str, account: str) -> NewCredential:
    """Make a credential and write it down.

    Raises:
        ConfigError: the name is taken or impossible, the account is, or the file cannot be written.
    """
    made = NewCredential(
        ACCESS_KEY_ID_PREFIX + _random(_ID_ALPHABET, ACCESS_KEY_ID_CHARACTERS - len(ACCESS_KEY_ID_PREFIX)),
        _random(_SECRET_ALPHABET, SECRET_CHARACTERS),
    )
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = {"name": name, "account": account, **made._asdict(), "created": created}
    try:
        entry = msgspec.convert(fields, Entry)
    except msgspec.ValidationError:
        raise ConfigError(
            "a name is 1 to 64 letters, digits, . _ and -; an account has exactly 12 digits"
        ) from None
    with _changing(path) as entries:
        if any(other.name == name for other in entries):
            raise ConfigError(f"{_WHAT} {path}: there is a credential {name!r} already")
        if len(entries) >= CREDENTIALS_MAX:
            raise ConfigError(f"{_WHAT} {path}: it holds {CREDENTIALS_MAX} credentials, no more are taken")
        entries.append(entry)
    return made


def revoke_credential(path: Path, name: str) -> Entry:
    """Take a credential out of the file.

    Raises:
        ConfigError: there is none of that name, or the file cannot be written.
    """
    with _changing(path) as entries:
        for entry in entries:
            if entry.name == name:
                entries.remove(entry)
                return entry
        raise ConfigError(f"{_WHAT} {path}: there is no credential {name!r}")


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[list[Entry]]:
    """Hold the entries while they are changed, then write them; one change at a time."""
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise ConfigError(f"{_WHAT} {path}: {exc.strerror}") from exc
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        entries = read_entries(path)
        yield entries
        try:
            replace_private(path, (_HEAD + "".join(map(_text, entries))).encode())
        except OSError as exc:
            raise ConfigError(f"{_WHAT} {path}: {exc.strerror}") from exc
    finally:
        os.close(directory)


def _text(entry: Entry) -> str:
    lines = (
        f"{key} = {msgspec.json.encode(value).decode()}"
        for key, value in msgspec.structs.asdict(entry).items()
    )
    return "\n[[credential]]\n" + "\n".join(lines) + "\n"


def _random(alphabet: str, count: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(count))
