"""Who is on the other end of a connection, as the kernel tells: never as the caller claims."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import Final, Protocol

from hwkm.audit.record import Caller

_UCRED: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)
# Linux 4.13, <asm-generic/socket.h>; Python has no name for it.
_SO_PEERGROUPS: Final = 59
_GROUPS_BYTES: Final = 1024  # the most that socket.getsockopt can be asked for: 256 groups


class _Socket(Protocol):
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Peer:
    """A caller: the process that connected, with the user and groups it had then."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int]

    @property
    def caller(self) -> Caller:
        """The form in which the audit log names a caller."""
        return Caller(gid=self.gid, pid=max(self.pid, 0), uid=self.uid)


NOBODY: Final = Peer(0, 2**32 - 2, 2**32 - 2, frozenset())
"""Stands where no peer is known yet; no rule names it but one about anyone."""


def our_own_caller() -> Caller:
    """This process, for what the daemon does by itself."""
    return Caller(gid=os.getegid(), pid=os.getpid(), uid=os.geteuid())


def peer_of(connection: _Socket) -> Peer:
    """Identify the peer of a connected Unix socket.

    Raises:
        OSError: it is not a Unix socket.
    """
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(data)
    return Peer(pid, uid, gid, frozenset({gid, *_groups(connection, uid, gid)}))


def _groups(connection: _Socket, uid: int, gid: int) -> list[int]:
    """Supplementary groups of the process; of the user's entry where the kernel does not tell."""
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        return _groups_of_user(uid, gid)
    return [group for (group,) in struct.iter_unpack("=I", data)]


def _groups_of_user(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except (KeyError, OSError):
        return []
