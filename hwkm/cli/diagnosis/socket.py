"""The daemon's socket: there, alive, and for us."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from pathlib import Path
from typing import Final

from hwkm.cli.diagnosis.finding import Finding, ok, problem, warning

_WHY: Final = "every command talks to hwkmd over this socket, but those that only read a file or an audit log"
_START: Final = "start the daemon: systemctl start hwkmd, or hwkmd serve --config FILE"
_CONNECT_TIMEOUT_S: Final = 5.0


def check_socket(path: Path) -> list[Finding]:
    """Look at the socket and try to connect."""
    try:
        facts = path.stat()
    except PermissionError:
        return [_not_for_us(path, None)]
    except OSError as exc:
        return [problem("socket", f"{path}: {exc.strerror}", _WHY, f"{_START}; or name its socket by -S")]
    if not stat.S_ISSOCK(facts.st_mode):
        return [problem("socket", f"{path} is not a socket", _WHY, "name the daemon's socket by -S")]
    findings = [_try_to_connect(path, facts)]
    if facts.st_mode & stat.S_IWOTH:
        findings.append(
            warning(
                "socket mode",
                f"everybody on this machine may use {path}",
                "anybody who may open a vault may also spend its attempts",
                "set socket_mode = 0o660 and socket_group in the [daemon] section of hwkmd.toml",
            )
        )
    return findings


def _try_to_connect(path: Path, facts: os.stat_result) -> Finding:
    number = _connect_errno(path)
    match number:
        case 0:
            return ok("socket", f"somebody listens on {path}")
        case errno.EACCES | errno.EPERM:
            return _not_for_us(path, facts)
        case errno.ECONNREFUSED:
            what = f"{path} is there, but nobody listens: the daemon ended, or was killed"
            return problem("socket", what, _WHY, f"{_START}; it replaces the stale socket by itself")
        case _:
            return problem("socket", f"{path}: {os.strerror(number)}", _WHY, _START)


def _connect_errno(path: Path) -> int:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_TIMEOUT_S)
        try:
            return probe.connect_ex(os.fsencode(path))
        except TimeoutError:
            return errno.ETIMEDOUT
        except OSError:
            return errno.ENAMETOOLONG  # the only thing left that Python itself refuses


def _not_for_us(path: Path, facts: os.stat_result | None) -> Finding:
    group = _group_name(facts.st_gid) if facts else "hwkm"
    return problem(
        "socket",
        f"you may not use {path}",
        _WHY,
        f"ask the operator to add you to the group: usermod -aG {group} USER, then log in anew",
    )


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"of number {gid}"
