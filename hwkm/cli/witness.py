"""``hwkm audit witness-key`` and ``cosign``: being a witness of somebody else's log."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from hwkm.audit.files import write_new
from hwkm.cli import audit_files as inputs
from hwkm.cli.audit_files import OutOption
from hwkm.cli.printing import count, print_line, say
from hwkm.cli.reporting import reporting
from hwkm.errors import ConfigError, FormatError
from hwkm.secret import SecretBytes
from hwkm.tlog.checkpoint import Checkpoint, verify_checkpoint
from hwkm.tlog.note_keys import KeyType, NoteKey, PrivateNoteKey
from hwkm.tlog.witness import WitnessRequest, check_request, cosign

_KeyFile = Annotated[Path, typer.Option("--key", metavar="FILE", help="The witness's private key.")]


@reporting
def witness_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the witness, such as witness.example/w1.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file for the private key.")],
) -> None:
    """Make a key to cosign with, and print its public half.

    Example: `hwkm audit witness-key witness.example/w1 ~/witness.key`
    """
    key = PrivateNoteKey(name, SecretBytes(secrets.token_bytes(32)))
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as opened:
            opened.write(key.insecure_text() + "\n")
    except OSError as exc:
        raise ConfigError(f"{file}: {exc.strerror}") from exc
    print_line(str(key.public(KeyType.COSIGNATURE)))


@reporting
def cosign_checkpoint(
    request: Annotated[
        Path, typer.Argument(metavar="REQUEST", help="What `hwkm audit consistency` has written.")
    ],
    key: _KeyFile,
    log_key: Annotated[str, typer.Option("--log-key", metavar="KEY|FILE", help="Public key of the log.")],
    state: Annotated[
        Path,
        typer.Option(
            "--state", metavar="FILE", help="Keeps the checkpoint cosigned last. It must not be lost."
        ),
    ],
    first: Annotated[
        bool, typer.Option("--first", help="There is no state yet: believe the log as it is now.")
    ] = False,
    out: OutOption = None,
) -> None:
    """Cosign a checkpoint as an outside witness.

    It is signed only after the proof that the log contains what was cosigned last. The new state is kept
    before the signature is written.

    Example: `hwkm audit cosign since-january --key ~/witness.key --log-key log-key --state ~/witness.state`
    """
    private, public = _private_key(key), inputs.log_key(log_key)
    asked = WitnessRequest.parse(inputs.read(request))
    last = None if first else _last(state, public)
    if first and state.exists():
        raise ConfigError(f"{state} is there already: this is not the first checkpoint of this log")
    if first and asked.old_size:
        # Nothing was cosigned before, so there is nothing that a proof could start from.
        asked = WitnessRequest(0, (), asked.note)
    checked = check_request(asked, public, last)
    cosignature = cosign(checked, private, int(time.time()))
    try:
        write_new(state, checked.note.encode())
    except OSError as exc:
        raise ConfigError(f"{state}: {exc.strerror}") from exc
    say(f"Cosigned: {checked.checkpoint.origin}, {count(checked.checkpoint.size, 'record')}.")
    inputs.write(out, checked.note.with_signatures([cosignature]).encode())


def _last(state: Path, log_key: NoteKey) -> Checkpoint:
    if not state.exists():
        raise ConfigError(f"{state} is missing: for the first checkpoint of a log, say --first")
    return verify_checkpoint(inputs.read(state), log_key).checkpoint


def _private_key(path: Path) -> PrivateNoteKey:
    """Read a private key that nobody else can read.

    Raises:
        ConfigError: it cannot be read, or others can read it.
        FormatError: it is none.
    """
    try:
        mode = path.stat().st_mode
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    if mode & 0o077:
        raise ConfigError(f"{path} can be read by others; run: chmod 600 {path}")
    try:
        return PrivateNoteKey.parse(inputs.read(path).decode("ascii").strip())
    except UnicodeDecodeError:
        raise FormatError(f"{path} holds no private key") from None
