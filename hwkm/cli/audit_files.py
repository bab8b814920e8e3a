"""What the commands on the audit log share: options, keys and checkpoints in files, how a record is shown."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from hwkm.audit.files import read_at_most
from hwkm.audit.published import KEY_BYTES_MAX, Published
from hwkm.audit.reader import AuditFilter
from hwkm.audit.record import AuditRecord, Caller
from hwkm.cli.printing import say
from hwkm.errors import ConfigError, FormatError
from hwkm.tlog.note import SignedNote
from hwkm.tlog.note_keys import NoteKey
from hwkm.tlog.proof_file import PROOF_BYTES_MAX

DIRECTORY_DEFAULT: Final = Path("/var/lib/hwkm/audit")

DirectoryOption = Annotated[
    Path, typer.Option("--directory", "-d", metavar="DIRECTORY", help="Where the log is.")
]
LogKeyOption = Annotated[
    str | None,
    typer.Option(
        "--log-key",
        metavar="KEY|FILE",
        help="Public key of the log, as `hwkm audit key` prints it. Without it, the one that lies beside "
        "the log: good enough against damage, not against who can write there.",
    ),
]
WitnessOption = Annotated[
    list[str] | None,
    typer.Option("--witness", metavar="KEY|FILE", help="Public key of a witness to be believed."),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it to a file instead of the screen.")
]
SinceOption = Annotated[datetime | None, typer.Option("--since", help="At or after this time, UTC.")]
UntilOption = Annotated[datetime | None, typer.Option("--until", help="Before this time, UTC.")]
VaultOption = Annotated[
    str | None, typer.Option("--vault", metavar="HANDLE", help="Of this vault, by its handle.")
]
KeyOption = Annotated[
    str | None, typer.Option("--key", metavar="KEY", help="Of this customer master key: ARN or key id.")
]
OperationOption = Annotated[str | None, typer.Option("--operation", help="Such as vault.open.")]
OutcomeOption = Annotated[
    str | None,
    typer.Option("--outcome", help="ok, or the code of an error, such as wrong_knowledge_factor."),
]
CallerOption = Annotated[str | None, typer.Option("--caller", help="Of this uid, access key or account.")]
ContextOption = Annotated[
    list[str] | None,
    typer.Option("--context", metavar="NAME=VALUE", help="With this pair in the encryption context."),
]
FromOption = Annotated[int, typer.Option("--from", metavar="INDEX", help="From this record on.")]


def wanted(  # noqa: PLR0913, PLR0917  (the options of a command)
    since: datetime | None,
    until: datetime | None,
    vault: str | None,
    key: str | None,
    operation: str | None,
    outcome: str | None,
    caller: str | None,
    context: list[str] | None,
    start: int,
) -> AuditFilter:
    """Make a filter of options."""
    return AuditFilter(
        caller=caller,
        operation=operation,
        outcome=outcome,
        vault=_parse_handle(vault),
        key=key,
        context=dict(_pair(text) for text in context or ()),
        since_ms=_ms(since),
        until_ms=_ms(until),
        start=start,
    )


def caller_text(caller: Caller) -> str:
    """Who called, in a few words."""
    if caller.uid is None:
        return f"{caller.access_key} ({caller.account})"
    return f"uid {caller.uid} pid {caller.pid}"


def subject_text(record: AuditRecord) -> str:
    """What a record is about: a vault, or a key with its version."""
    if record.key is None:
        return record.vault or "-"
    return record.key if record.key_version is None else f"{record.key} v{record.key_version}"


def read(path: Path) -> bytes:
    """Return what a small file holds.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return read_at_most(path, PROOF_BYTES_MAX)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc


def write(path: Path | None, data: bytes) -> None:
    """Write to a file, or to standard output.

    Raises:
        ConfigError: it cannot be written.
    """
    if path is None:
        sys.stdout.buffer.write(data)
        return
    try:
        path.write_bytes(data)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc


def note(path: Path) -> SignedNote:
    """Read a signed checkpoint; it is not believed yet.

    Raises:
        ConfigError: it cannot be read; FormatError: it is none.
    """
    return SignedNote.parse(read(path))


def log_key(text: str | None, directory: Path | None = None) -> NoteKey:
    """Return the public key of a log: as given, from a file, or from beside the log.

    Raises:
        ConfigError: the file cannot be read; FormatError: it holds no key.
        AuditError: none lies beside the log.
    """
    if text is not None:
        return _key(text)
    assert directory is not None
    say("The log's key was not given; the one that lies beside the log is used.")
    return NoteKey.parse(Published(directory).log_key())


def witnesses(texts: list[str] | None) -> list[NoteKey]:
    """Return the public keys of witnesses, each as given or from a file.

    Raises:
        ConfigError: a file cannot be read; FormatError: it holds no key.
    """
    return [_key(text) for text in texts or ()]


def _key(text: str) -> NoteKey:
    if text.count("+") >= 2:
        return NoteKey.parse(text.strip())
    data = read(Path(text))
    if len(data) > KEY_BYTES_MAX:
        raise FormatError(f"{text} holds no key")
    return NoteKey.parse(data.decode("utf-8", "replace").strip())


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter("a pair is NAME=VALUE", param_hint="--context")
    return name, value


def _parse_handle(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise typer.BadParameter("a handle is 34 hex digits", param_hint="--vault") from None


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1000)
