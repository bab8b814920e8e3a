"""``hwkm doctor``: find out what is wrong, say why it matters and what to do about it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from hwkm.cli.diagnosis.configuration import DEFAULT_CONFIG, check_configuration
from hwkm.cli.diagnosis.daemon import check_daemon
from hwkm.cli.diagnosis.environment import check_environment
from hwkm.cli.diagnosis.finding import Finding, Level
from hwkm.cli.diagnosis.socket import check_socket
from hwkm.cli.exits import ExitCode
from hwkm.cli.options import SOCKET_DEFAULT, JsonOption, SocketOption
from hwkm.cli.printing import count, print_json, print_line

_STYLES: Final = {
    Level.OK: "green",
    Level.SKIPPED: "dim",
    Level.WARNING: "yellow",
    Level.PROBLEM: "bold red",
}


def doctor(
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", metavar="FILE", help="The daemon's configuration, if you may read it."
        ),
    ] = DEFAULT_CONFIG,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Find out what is wrong, and what to do.

    Looks at socket, daemon, token, PIN file, state, libraries and limits. Changes nothing. On the daemon's machine, run it as the daemon's user or root to have
    configuration, token and stores looked at too. Exits with 30 if there is a problem.

    Example: `sudo hwkm doctor --config /etc/hwkm/hwkmd.toml`
    """
    findings = _examine(config, socket)
    worst = {finding.level for finding in findings}
    if as_json:
        print_json({"problems": Level.PROBLEM in worst, "findings": [_as_dict(f) for f in findings]})
    else:
        _print(findings)
    raise typer.Exit(ExitCode.PROBLEMS_FOUND if Level.PROBLEM in worst else ExitCode.OK)


def _examine(config: Path, socket: Path) -> list[Finding]:
    findings = check_environment() + check_socket(socket)
    listens = all(finding.level is not Level.PROBLEM for finding in findings if finding.check == "socket")
    if listens:
        findings += check_daemon(socket)
    return findings + check_configuration(config, daemon_listens=listens)


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        print_line(f"{finding.level.value:8} {finding.check}: {finding.what}", style=_STYLES[finding.level])
        if finding.why:
            print_line(f"         why it matters: {finding.why}")
        if finding.action:
            print_line(f"         what to do:     {finding.action}")
    levels = Counter(finding.level for finding in findings)
    print_line("")
    print_line(f"{count(levels[Level.PROBLEM], 'problem')}, {count(levels[Level.WARNING], 'warning')}")


def _as_dict(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "what": finding.what,
        "why": finding.why,
        "action": finding.action,
    }
