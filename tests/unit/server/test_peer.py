"""The kernel says who connected."""

from __future__ import annotations

import os
import socket

from hwkm.server.peer import peer_of


def test_our_own_credentials() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        peer = peer_of(ours)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert peer.groups == {os.getegid(), *os.getgroups()}
    assert peer.caller.uid == os.geteuid()
