"""One hwkm-thm per cohort key and machine.

Two cores on one token would each believe to be the only writer of the anchor. The kernel frees
an abstract Unix socket name the moment its process dies (``unix(7)``), so nothing is left stale.
"""

from __future__ import annotations

import errno
import socket

from hwkm.errors import TokenInUse, Unavailable


def hold_alone(cohort: bytes) -> socket.socket:
    """Claim the token of this cohort digest (32 bytes) until the socket is closed.

    Raises:
        TokenInUse: another hwkm-thm on this machine has it.
    """
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        holder.bind(b"\0hwkm-thm-" + cohort[:16].hex().encode())
    except OSError as exc:
        holder.close()
        if exc.errno == errno.EADDRINUSE:
            raise TokenInUse("another hwkm-thm on this machine holds this token; stop it first") from None
        raise Unavailable(f"cannot claim the token for this process: {exc.strerror}") from None
    return holder
