"""What the daemon's configuration needs of this machine: the token's library or device, disk, limits.

What is in the configuration, and whether state and token belong together, is the daemon's own
business: ``hwkmd check`` is asked (:mod:`hwkm.cli.diagnosis.hwkmd_check`).
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from hwkm.cli.diagnosis.environment import import_error
from hwkm.cli.diagnosis.finding import Finding, ok, problem, skipped, warning
from hwkm.cli.diagnosis.hwkmd_check import check_by_hwkmd

DEFAULT_CONFIG: Final = Path("/etc/hwkm/hwkmd.toml")
DEFAULT_STATE: Final = "/var/lib/hwkm"
DISK_FREE_LOW_BYTES: Final = 64 * 1024 * 1024

_MODULE_PATH: Final = re.compile(r"[?&]module-path=([^&]+)")
_TCTI_PATH: Final = re.compile(r"tcti=(?:device|swtpm):(?:path=)?([^;]+)")
_LOAD_DEADLINE_S: Final = 30


def check_configuration(path: Path, *, daemon_listens: bool) -> list[Finding]:
    """Look at the configuration and at what it names."""
    try:
        settings = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return [_no_configuration(path, daemon_listens=daemon_listens)]
    except PermissionError:
        return [skipped("configuration", f"you may not read {path}; run hwkm doctor as root to check it too")]
    except (OSError, ValueError) as exc:
        what = f"{path}: {exc}"
        action = "mend it; `hwkmd config example` prints one"
        return [problem("configuration", what, "hwkmd does not start", action)]
    state_directory = path.absolute().parent / (_text(settings, "daemon", "state_directory") or DEFAULT_STATE)
    return [
        ok("configuration", f"{path} can be read"),
        *_check_token_uri(_text(settings, "token", "uri")),
        *_check_disk_of(state_directory),
        check_memory_lock(),
        *check_by_hwkmd(path, state_directory, daemon_listens=daemon_listens),
    ]


def _no_configuration(path: Path, *, daemon_listens: bool) -> Finding:
    if daemon_listens or path != DEFAULT_CONFIG:
        return skipped("configuration", f"there is no {path}; name the daemon's by --config")
    return problem(
        "configuration",
        f"there is no {path}",
        "hwkmd does not start without one",
        "hwkmd config example > FILE, edit it, then hwkmd init; or name another by --config",
    )


def _text(settings: dict[str, Any], section: str, key: str) -> str:
    value = settings.get(section, {})
    found = value.get(key, "") if isinstance(value, dict) else ""
    return found if isinstance(found, str) else ""


# --- token -----------------------------------------------------------------------------------


def _check_token_uri(uri: str) -> list[Finding]:
    scheme = uri.partition(":")[0]
    match scheme:
        case "pkcs11":
            return [_check_package("pkcs11", "python-pkcs11"), _check_module(uri)]
        case "tpm":
            return [_check_package("tpm2_pytss", "tpm2-pytss"), _check_tpm(uri)]
        case "insecure-memory":
            return [
                warning(
                    "token",
                    "the token is a file without any protection",
                    "whoever can read the file has every key",
                    "use this for tests only",
                )
            ]
        case _:
            return [
                problem(
                    "token",
                    f"[token] uri is {uri!r}",
                    "hwkmd does not know where its keys are",
                    'set it: uri = "pkcs11:token=…?module-path=…" or uri = "tpm:tcti=device:/dev/tpmrm0"',
                )
            ]


def _check_package(module: str, package: str) -> Finding:
    reason = import_error(module)
    if not reason:
        return ok("token library", f"{package} can be loaded")
    action = f"install {package} and the system libraries it needs (softhsm-config/provision.sh run)"
    return problem("token library", f"{package}: {reason}", "hwkmd cannot talk to the token", action)


def _check_module(uri: str) -> Finding:
    found = _MODULE_PATH.search(uri)
    path = Path(unquote(found[1])) if found else None
    why = "it is the library that talks to the token"
    if path is None or not path.exists():
        what = f"there is no {path}" if path else "[token] uri has no module-path"
        action = "install it (SoftHSM: apt-get install softhsm2), or set module-path in [token] uri"
        return problem("PKCS#11 module", what, why, action)
    reason = _load_error(path)
    if reason:
        action = "install a PKCS#11 library for this machine's architecture, with what it needs"
        return problem("PKCS#11 module", f"{path}: {reason}", why, action)
    return ok("PKCS#11 module", f"{path} can be loaded")


def _load_error(path: Path) -> str:
    """Why a PKCS#11 library cannot be loaded, or nothing. In a process of its own: some crash."""
    script = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).C_GetFunctionList"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=_LOAD_DEADLINE_S,
        check=False,
    )
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else lines[-1] if lines else f"it ended with {done.returncode}"


def _check_tpm(uri: str) -> Finding:
    found = _TCTI_PATH.search(uri)
    path = Path(found[1]) if found else None
    why = "it is the way to the TPM"
    if path is None or not path.exists():
        what = f"there is no {path}" if path else "[token] uri has no tcti"
        action = "enable the TPM in the firmware and load its driver, or set tcti in [token] uri"
        return problem("TPM", what, why, action)
    if not os.access(path, os.R_OK | os.W_OK):
        return skipped("TPM", f"you may not use {path}; the daemon's user must (group tss)")
    return ok("TPM", f"{path} is there")


# --- the machine -----------------------------------------------------------------------------


def _check_disk_of(path: Path) -> list[Finding]:
    try:
        return [check_disk(path, shutil.disk_usage(path).free)]
    except OSError:
        return []  # hwkmd check says what is wrong with it


def check_disk(path: Path, free_bytes: int) -> Finding:
    """See whether there is room to write."""
    if free_bytes >= DISK_FREE_LOW_BYTES:
        return ok("disk", f"{free_bytes // 2**20} MiB free in {path}")
    return problem(
        "disk",
        f"{free_bytes // 2**20} MiB free in {path}",
        "when the disk is full no attempt can be charged, and so no vault opened",
        "make room",
    )


def check_memory_lock() -> Finding:
    """See whether a daemon started by this user could lock its memory."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY or os.geteuid() == 0:
        return ok("memory lock", "a daemon of this user can lock its memory")
    return warning(
        "memory lock",
        f"this user may lock only {soft // 1024} KiB of memory",
        "a daemon started by this user runs with memory that can be swapped out",
        "start it by systemd with LimitMEMLOCK=infinity, or raise `ulimit -l`",
    )
