"""Cores that start at once: a process that has imported everything forks one for each life.

What runs is :mod:`hwkm.core` from its first message on; only the interpreter's start and the
imports (0.2 s of processor time) are shared. Thousands of crashes need thousands of lives.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from hwkm.wire.framing import FrameReader
from tests.core_process import ANSWER_DEADLINE_S, CoreProcess

_REPOSITORY: Final = Path(__file__).parents[2]
_PID: Final = struct.Struct("<i")
_STATUS: Final = struct.Struct("<i")
_BIRTH: Final = b"b"
_REAP: Final = b"r"


class Nursery:
    """Forks cores in one environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair()
        self._control.settimeout(ANSWER_DEADLINE_S)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.harness.nursery", str(theirs.fileno())],
                cwd=_REPOSITORY,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )

    def core(self) -> CoreProcess:
        """Begin a life of the core, which waits for its first message."""
        return _ForkedCore(self)

    def birth(self, channel: socket.socket) -> ForkedProcess:
        """Fork a core on this end of a channel."""
        socket.send_fds(self._control, [_BIRTH], [channel.fileno()])
        (pid,) = _PID.unpack(_exactly(self._control, _PID.size))
        return ForkedProcess(self, pid)

    def reap(self, pid: int) -> int:
        """Return the exit code of a core that has ended; negative for a signal."""
        self._control.sendall(_REAP + _PID.pack(pid))
        (status,) = _STATUS.unpack(_exactly(self._control, _STATUS.size))
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """End it."""
        self._control.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ForkedProcess:
    """As much of :class:`subprocess.Popen` as a core's user needs."""

    stderr = None

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery
        self._descriptor = os.pidfd_open(pid)

    def send_signal(self, number: int) -> None:
        """Nothing, once it has ended and was waited for."""
        if self.returncode is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its exit code."""
        if self.returncode is None:
            if not select.select([self._descriptor], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"core {self.pid}", timeout or 0)
            os.close(self._descriptor)
            self.returncode = self._nursery.reap(self.pid)
        return self.returncode


class _ForkedCore(CoreProcess):
    """A core from a nursery."""

    def __init__(self, nursery: Nursery) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(ANSWER_DEADLINE_S)
        with theirs:
            self.process = nursery.birth(theirs)  # type: ignore[assignment]
        self._socket = ours
        self._reader = FrameReader()
        self._bodies = []
        self._replies = {}
        self._number = 0
        self.ready = None


def _exactly(end: socket.socket, length: int) -> bytes:
    data = end.recv(length, socket.MSG_WAITALL)
    if len(data) != length:
        raise RuntimeError("the nursery has ended")
    return data


# --- the process ---------------------------------------------------------------------------------


def _serve(control: socket.socket) -> None:
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if request == _BIRTH:
            _birth(control, descriptors[0])
        elif request == _REAP:
            (pid,) = _PID.unpack(_exactly(control, _PID.size))
            _, status = os.waitpid(pid, 0)
            _answer(control, _STATUS.pack(status))
        else:
            return


def _birth(control: socket.socket, channel: int) -> None:
    pid = os.fork()
    if pid == 0:
        control.close()
        sys.argv[1:] = ["--channel", str(channel)]
        _live()
    os.close(channel)
    _answer(control, _PID.pack(pid))


def _answer(control: socket.socket, data: bytes) -> None:
    """Not by send(2), which instruments take for a reply of a core."""
    os.write(control.fileno(), data)


def _live() -> None:
    """Be a core, and end as a process of its own would."""
    from hwkm.core.__main__ import run

    code = 70
    try:
        run()
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 64
    except BaseException as exc:  # noqa: BLE001 what it would print at the end of a process
        sys.excepthook(type(exc), exc, exc.__traceback__)
        code = 1
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    import hwkm.core.__main__
    import hwkm.tokens.memory
    import hwkm.tokens.pkcs11.backend
    import hwkm.tokens.tpm.backend  # noqa: F401
    from tests.harness.seeded_bugs import BUGS, VARIABLE

    if VARIABLE in os.environ:
        BUGS[os.environ[VARIABLE]]()
    _serve(socket.socket(fileno=int(sys.argv[1])))
