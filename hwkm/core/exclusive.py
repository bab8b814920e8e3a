"""One hwkm-thm per token and machine.

Two cores on one token would each believe to be the only writer of the anchor. A token is named by
its URI before it is opened (a simulator's socket would let a second client wait for ever), and by
its audit key afterwards (two URIs may lead to one token; the cohort key is that of all members). The
kernel frees an abstract Unix socket name the moment its process dies (``unix(7)``), so nothing is left
stale.
"""

from __future__ import annotations

import errno
import hashlib
import socket

from hwkm.errors import TokenInUse, Unavailable


def hold_alone(name: bytes) -> socket.socket:
    """Claim what ``name`` (any bytes) stands for until the socket is closed.

    Raises:
        TokenInUse: another hwkm-thm on this machine has it.
    """
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        holder.bind(b"\0hwkm-thm-" + hashlib.sha256(name).hexdigest()[:32].encode())
    except OSError as exc:
        holder.close()
        if exc.errno == errno.EADDRINUSE:
            raise TokenInUse("another hwkm-thm on this machine holds this token; stop it first") from None
        raise Unavailable(f"cannot claim the token for this process: {exc.strerror}") from None
    return holder
