"""``hwkm encrypt`` and ``hwkm decrypt``: files, each under a data key of its own."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from hwkm.cli.key_options import ContextOption, complete_key, key_name, pairs
from hwkm.cli.options import SOCKET_DEFAULT, JsonOption, SocketOption
from hwkm.cli.printing import print_json, print_line, size
from hwkm.cli.progress import bytes_bar
from hwkm.cli.reporting import reporting
from hwkm.client import KeyClient, files
from hwkm.client.backup.errors import SourceUnreadable
from hwkm.client.backup.output import refuse_existing
from hwkm.client.files.source import size_of
from hwkm.errors import HwkmError, Unavailable

SUFFIX: Final = ".encrypted"
"""That of the AWS Encryption SDK's own command."""

STANDARD: Final = "-"

FilesArgument = Annotated[list[str], typer.Argument(metavar="FILE...", help="Files; `-` is standard input.")]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="A new file, if there is one FILE; `-` is standard output."
    ),
]


@dataclass(frozen=True, slots=True)
class _Job:
    """From where to where. None is standard input, or output."""

    source: Path | None
    target: Path | None


@reporting
def encrypt(
    names: FilesArgument,
    key: Annotated[
        str,
        typer.Option(
            "--key",
            "-k",
            metavar="KEY",
            help="Key id, key ARN or alias (with or without `alias/`).",
            autocompletion=complete_key,
        ),
    ],
    context: ContextOption = None,
    output: OutputOption = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Encrypt files under a key, each with a data key of its own.

    Writes FILE.encrypted beside each, whole or not at all, and leaves FILE as it is. The format is that of the AWS Encryption SDK. The
    context is in the file and has to be allowed by the policy; it says what the file is, and decrypting can insist on it.

    Example: `hwkm encrypt letter.pdf --key documents --context tenant=a`
    """
    bound = pairs(context or [], "the pair of the context")
    jobs = [_Job(_source(name), _target(name, output, names)) for name in names]
    _check(jobs, as_json=as_json)
    done: list[dict[str, Any]] = []
    with KeyClient(socket) as client:
        for job in jobs:
            made = _encrypt_one(client, job, key_name(key), bound)
            done.append(
                {**_names(job), "content_bytes": made.content_bytes, "key": made.key, "version": made.version}
            )
            if not as_json and job.target:
                print_line(f"Encrypted {_said(job.source)} ({size(made.content_bytes)}) into {job.target}.")
    if as_json:
        print_json(done)


@reporting
def decrypt(
    names: FilesArgument,
    output: OutputOption = None,
    context: ContextOption = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            "-k",
            metavar="KEY",
            help="Refuse files that are under another key than this.",
            autocompletion=complete_key,
        ),
    ] = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Decrypt files that `hwkm encrypt` or an AWS Encryption SDK made.

    Writes FILE without its `.encrypted`. A file appears when all of it was verified. With `--context`, a file that has not these pairs is
    refused. To standard output each part is written when it is verified: what comes out is whole only if the exit code is 0.

    Example: `hwkm decrypt letter.pdf.encrypted --context tenant=a`
    """
    wanted = pairs(context or [], "the pair of the context")
    jobs = [_Job(_source(name), _plain_target(name, output, names)) for name in names]
    _check(jobs, as_json=as_json)
    done: list[dict[str, Any]] = []
    with KeyClient(socket) as client:
        for job in jobs:
            got = _decrypt_one(client, job, key_name(key) if key else None, wanted)
            done.append(
                {**_names(job), "content_bytes": got.content_bytes, "context": dict(got.header.context)}
            )
            if not as_json and job.target:
                print_line(f"Decrypted {_said(job.source)} into {job.target} ({size(got.content_bytes)}).")
    if as_json:
        print_json(done)


def _encrypt_one(client: KeyClient, job: _Job, key: str, context: dict[str, str]) -> files.Encrypted:
    with (
        _named(job),
        bytes_bar("encrypting", _total(job)) as progress,
        files.opened(job.source, _stdin()) as source,
        files.made(job.target, _stdout()) as sink,
    ):
        return files.encrypt_stream(client, source, sink, key, context, progress)


def _decrypt_one(client: KeyClient, job: _Job, key: str | None, context: dict[str, str]) -> files.Decrypted:
    with (
        _named(job),
        bytes_bar("decrypting", _total(job)) as progress,
        files.opened(job.source, _stdin()) as source,
        files.made(job.target, _stdout()) as sink,
    ):
        return files.decrypt_stream(
            client,
            source,
            sink,
            key=key,
            context=context,
            progress=progress,
            to_the_end=job.target is not None,
        )


@contextmanager
def _named(job: _Job) -> Iterator[None]:
    """Have what goes wrong with a file say with which."""
    try:
        yield
    except Unavailable:
        raise
    except HwkmError as exc:
        name = _said(job.source)
        if name not in str(exc):
            exc.args = (f"{name}: {exc}", *exc.args[1:])
        raise


# --- names -----------------------------------------------------------------------------------


def _source(name: str) -> Path | None:
    if name == STANDARD:
        return None
    path = Path(name)
    try:
        mode = path.stat().st_mode
    except OSError as exc:
        raise SourceUnreadable(f"{name}: {exc.strerror}") from None
    if stat.S_ISDIR(mode):
        raise typer.BadParameter(f"{name} is a directory: give its files, or an archive of it")
    return path


def _target(name: str, output: str | None, names: Sequence[str]) -> Path | None:
    if output is not None:
        return _given(output, names)
    return None if name == STANDARD else Path(name + SUFFIX)


def _plain_target(name: str, output: str | None, names: Sequence[str]) -> Path | None:
    if output is not None:
        return _given(output, names)
    if name == STANDARD:
        return None
    if not name.endswith(SUFFIX) or Path(name).name == SUFFIX:
        raise typer.BadParameter(f"{name} does not end with {SUFFIX}: say by -o where to write")
    return Path(name.removesuffix(SUFFIX))


def _given(output: str, names: Sequence[str]) -> Path | None:
    if len(names) > 1:
        raise typer.BadParameter("-o is for one FILE")
    return None if output == STANDARD else Path(output)


def _check(jobs: Sequence[_Job], *, as_json: bool) -> None:
    """Refuse what cannot end well before anything is done."""
    for job in jobs:
        if job.target:
            refuse_existing(job.target)
        elif as_json:
            raise typer.BadParameter("--json and the data cannot both go to standard output: use -o FILE")
        elif sys.stdout.isatty():
            raise typer.BadParameter("the data is not written to a terminal: use -o FILE, or a pipe")


def _names(job: _Job) -> dict[str, Any]:
    return {"file": str(job.source or STANDARD), "output": str(job.target or STANDARD)}


def _said(source: Path | None) -> str:
    return str(source) if source else "standard input"


def _total(job: _Job) -> int | None:
    return size_of(job.source) if job.source else None


def _stdin() -> BinaryIO:
    return sys.stdin.buffer


def _stdout() -> BinaryIO:
    return sys.stdout.buffer
