"""What systemd and the daemon tell each other: sockets handed in, state reported.

sd_listen_fds(3) and sd_notify(3) are a handful of environment variables and one datagram, so no
library is needed. Outside systemd everything here does nothing.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from hwkm.errors import ConfigError

_FIRST_FD: Final = 3


def inherited_socket() -> socket.socket | None:
    """Return the listening Unix socket that systemd handed in, or None if it handed in none.

    Raises:
        ConfigError: it handed in several, or one that is not a listening Unix stream socket.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = int(os.environ.get("LISTEN_FDS", "0"))
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)  # not for the children
    if count == 0:
        return None
    if count != 1:
        raise ConfigError(f"systemd handed in {count} sockets; hwkmd takes one")
    return _listening(_FIRST_FD)


def _listening(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError as exc:
        raise ConfigError("systemd handed in something that is no socket") from exc
    kind = (listener.family, listener.type, listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    if kind != (socket.AF_UNIX, socket.SOCK_STREAM, 1):
        raise ConfigError("systemd handed in a socket that is not a listening Unix stream socket")
    return listener


def notify(**states: str) -> None:
    """Tell systemd, for example ``notify(READY="1", STATUS="serving")``. Failures do not matter."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    message = "\n".join(f"{name}={value}" for name, value in states.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect(address)
            channel.sendall(message.encode())
        except OSError:
            return  # systemd notices by its own time limit


def watchdog_interval_s() -> float | None:
    """How often systemd wants a sign of life (half of its time limit), or None."""
    limit_us = os.environ.get("WATCHDOG_USEC", "")
    if not limit_us.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(limit_us) / 2_000_000
