"""Entry point of the trusted core: ``hwkm-thm --channel FD``, started by hwkmd only."""

from __future__ import annotations

import signal
import socket
import sys
import traceback
from types import TracebackType
from typing import Final

from hwkm.core.channel import Channel
from hwkm.core.life import live

EXIT_USAGE: Final = 64
EXIT_FAULT: Final = 70


def run() -> None:
    """Live one life on the inherited socket. A crash prints where, never what."""
    try:
        channel = Channel(_inherited_socket(sys.argv[1:]))
    except (ValueError, OSError):
        sys.exit("hwkm-thm is started by hwkmd: hwkm-thm --channel FD")
    # hwkmd decides when the core ends, by closing the channel; a terminal's Ctrl-C must not.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.excepthook = _print_place_only
    sys.exit(live(channel))


def _inherited_socket(arguments: list[str]) -> socket.socket:
    flag, number = arguments
    if flag != "--channel":
        raise ValueError(flag)
    return socket.socket(fileno=int(number))


def _print_place_only(kind: type[BaseException], _value: BaseException, trace: TracebackType | None) -> None:
    """An exception's text may quote what it failed on, so only its type and place are shown."""
    places = [f"{frame.f_globals.get('__name__')}:{line}" for frame, line in traceback.walk_tb(trace)]
    sys.stderr.write(f"hwkm-thm: {kind.__name__} at {' > '.join(places)}\n")


if __name__ == "__main__":
    run()
