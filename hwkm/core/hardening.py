"""What the core takes away from itself before it touches the PIN or the token.

Each measure says whether it holds; ``hwkm status`` shows the list. None of them stops a live
root (``docs/threat-model.md``); they stop the accidents and the other users.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
from collections.abc import Callable
from typing import Final

import pyseccomp

from hwkm.errors import ConfigError

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4

_FORBIDDEN_CALLS: Final = ("execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev")

_libc: Final = ctypes.CDLL(None, use_errno=True)


def harden(*, require_all: bool) -> tuple[str, ...]:
    """Apply every measure; return the names of those that hold.

    Raises:
        ConfigError: a measure failed and ``require_all`` is set.
    """
    held = tuple(name for name, measure in _MEASURES.items() if measure())
    missing = [name for name in _MEASURES if name not in held]
    if missing and require_all:
        raise ConfigError(f"hardening that does not hold here: {', '.join(missing)}")
    return held


def _no_core_dumps() -> bool:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return True


def _not_dumpable() -> bool:
    """Other processes of the same user cannot attach or read our memory."""
    return bool(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)


def _no_new_privileges() -> bool:
    return bool(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def _memory_locked() -> bool:
    """Nothing is swapped out. Only where no limit can turn a later allocation into a crash."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and os.geteuid() != 0:
        return False
    return bool(_libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)


def _system_calls_filtered() -> bool:
    """No socket but local ones (a TPM simulator's), no new program, no look into other processes."""
    try:
        calls = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
        denied = pyseccomp.ERRNO(errno.EACCES)
        calls.add_rule(denied, "socket", pyseccomp.Arg(0, pyseccomp.NE, int(socket.AF_UNIX)))
        for name in _FORBIDDEN_CALLS:
            calls.add_rule(denied, name)
        calls.load()
    except (OSError, RuntimeError, ValueError):
        return False
    return True


_MEASURES: Final[dict[str, Callable[[], bool]]] = {
    "no-core-dumps": _no_core_dumps,
    "not-dumpable": _not_dumpable,
    "no-new-privileges": _no_new_privileges,
    "memory-locked": _memory_locked,
    "system-calls-filtered": _system_calls_filtered,
}
