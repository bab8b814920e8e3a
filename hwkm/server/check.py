"""``hwkmd check``: look at everything that could keep the daemon from serving, and say what to do.

It changes nothing. While a daemon runs, the token and the state are that daemon's, so it is asked;
otherwise the trusted core is started, which checks keys, anchor and node store as it always does,
and stopped again.
"""

from __future__ import annotations

import asyncio
import grp
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from hwkm.audit.published import Published
from hwkm.audit.tail import find_tail
from hwkm.core.pin_file import check_mode
from hwkm.errors import ConfigError, HwkmError, StorageUnavailable, TokenNotProvisioned
from hwkm.server.aws.credentials_file import load_credentials
from hwkm.server.aws.listening import tls_context
from hwkm.server.config import Config, load_config
from hwkm.server.exit_codes import EXIT_OK, exit_code_of
from hwkm.server.listener import is_listening
from hwkm.server.own_client import ask_daemon
from hwkm.server.policy_file import load_policy
from hwkm.server.privileges import become_owner_of
from hwkm.server.provisioning import sqlite_path
from hwkm.server.refused_pin import pin_tried_once
from hwkm.server.state_directory import check_directory
from hwkm.server.supervisor import CoreSupervisor
from hwkm.server.toml_file import is_absent
from hwkm.store.database import Database
from hwkm.store.engine import open_engine
from hwkm.store.records import Records
from hwkm.wire import operations
from hwkm.wire.api import Status
from hwkm.wire.core_messages import Ready

NV_BYTES_LOW: Final = 256
ASK_TIMEOUT_S: Final = 10.0

_HARDENING: Final = frozenset(
    {"no-core-dumps", "not-dumpable", "no-new-privileges", "memory-locked", "system-calls-filtered"}
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found."""

    check: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    advice: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All findings, and the exit code that ``serve`` would give for the worst."""

    ok: bool
    exit_code: int
    findings: tuple[Finding, ...]


class _Findings:
    """Collects findings; the first failure decides the exit code."""

    def __init__(self) -> None:
        self.all: list[Finding] = []
        self.exit_code = EXIT_OK

    def ok(self, check: str, detail: str) -> None:
        self.all.append(Finding(check=check, state="ok", detail=detail))

    def warning(self, check: str, detail: str, advice: str) -> None:
        self.all.append(Finding(check=check, state="warning", detail=detail, advice=advice))

    def failed(self, check: str, error: HwkmError) -> None:
        self.all.append(
            Finding(check=check, state="failed", detail=str(error), advice=_ADVICE.get(error.code, ""))
        )
        self.exit_code = self.exit_code or exit_code_of(error)

    def attempt(self, check: str, work: Callable[[], str]) -> None:
        """Run a check that returns its detail, or raises what is wrong."""
        try:
            self.ok(check, work())
        except HwkmError as exc:
            self.failed(check, exc)
        except OSError as exc:
            self.failed(check, ConfigError(f"{exc.filename}: {exc.strerror}"))

    def report(self) -> Report:
        return Report(ok=self.exit_code == EXIT_OK, exit_code=self.exit_code, findings=tuple(self.all))


_ADVICE: Final = {
    "bad_config": "correct the file that the message names",
    "token_unavailable": "see that the device is plugged in, its library or TPM service is there, and the uri is right",
    "token_pin_incorrect": "correct the PIN file before anything else; every further try may lock the token",
    "token_pin_locked": "unlock the user PIN by the token's own tool, with its SO PIN",
    "token_not_provisioned": "run: hwkmd init, with the same --config",
    "token_in_use": "another hwkmd holds the token; stop it, or ask that one",
    "token_full": "free NV memory of the token",
    "token_key_exposed": "the key can leave the hardware; provision another token",
    "code_changed": "bring back the code, settings and boot of the set-up, or see docs/operations/code-bound.md",
    "anchor_tampered": "somebody has changed the token; do not provision it anew before you know who and why",
    "storage_mismatch": "bring back the node store that belongs to this token; an older one is never accepted",
    "storage_unavailable": "see that the disk is not full and the file may be read and written",
    "audit_damaged": "keep the log as it is for whoever investigates; hwkm audit verify says more",
}


async def check(path: Path) -> Report:
    """Look at everything, as the daemon's user if we are root; never raises an HwkmError."""
    findings = _Findings()
    try:
        config = load_config(path)
    except HwkmError as exc:
        findings.failed("configuration", exc)
        return findings.report()
    findings.ok("configuration", str(path))
    become_owner_of(config.state_directory)
    _check_pin_file(config, findings)
    findings.attempt("policy", lambda: _policy(config))
    if is_absent(config.state_directory):
        absent = TokenNotProvisioned(f"{config.state_directory} does not exist: nothing was set up here yet")
        findings.failed("state directory", absent)
    else:
        findings.attempt("state directory", lambda: _state_directory(config))
        findings.attempt("records", lambda: _records(config))
        findings.attempt("audit log", lambda: _audit(config))
    findings.attempt("AWS wire", lambda: _aws(config))
    await _check_service(config, findings)
    return findings.report()


def _state_directory(config: Config) -> str:
    check_directory(config.state_directory)
    return str(config.state_directory)


def _check_pin_file(config: Config, findings: _Findings) -> None:
    if config.has_pin_here:
        findings.attempt("PIN file", lambda: _pin_file(config.pin_path))
    else:
        findings.ok("PIN file", f"{config.token.pin_file}: systemd passes it to the service only")


def _pin_file(path: Path) -> str:
    check_mode(str(path), path.stat())
    return str(path)


def _policy(config: Config) -> str:
    rules = len(load_policy(config.policy_path).rules)
    return f"{config.policy_path}: {rules} rules" if config.policy_path else "the default policy"


def _records(config: Config) -> str:
    path = sqlite_path(config)
    if path is not None and not path.exists():
        return f"{path} will be made"
    with Records(Database(open_engine(config.records_url))) as records:
        return f"{records.count()} vaults"


def _audit(config: Config) -> str:
    signed = Published(config.audit_directory).state().size
    tail = find_tail(config.audit_directory, signed)
    return f"{tail.size} records in {config.audit_directory}, {signed} of them signed for"


def _aws(config: Config) -> str:
    section = config.aws
    count = len(load_credentials(config.credentials_path))
    if section.tls_key:
        tls_context(Path(section.tls_certificate), Path(section.tls_key))
    where = section.listen or "on the Unix socket only"
    return f"{where}{', TLS' if section.tls_key else ''}; {count} credentials in {config.credentials_path}"


# --- socket, daemon, token -------------------------------------------------------------------


async def _check_service(config: Config, findings: _Findings) -> None:
    running = False
    try:
        running = is_listening(config.socket_path)
    except OSError as exc:
        findings.failed("socket", ConfigError(f"{config.socket_path}: {exc.strerror}"))
    if running:
        findings.ok("socket", f"a daemon listens at {config.socket_path}")
        _ask_daemon(config, findings)
        return
    findings.attempt("socket", lambda: _socket(config))
    if not config.has_pin_here:
        findings.warning(
            "token",
            "not looked at: the PIN is a credential that only the service gets",
            "start the service and check again; if it does not start: journalctl -u hwkmd",
        )
        return
    try:
        facts = await _start_core(config)
    except HwkmError as exc:
        findings.failed("token", exc)
        return
    findings.ok("token", f"{facts.token.kind}, {facts.token.model}, label {facts.token.label}")
    findings.ok("keys", "protected, and they belong to the anchor and the node store")
    _hardening(facts.hardening, findings)
    _nv_room(facts.token.nv_bytes_free, findings)


def _socket(config: Config) -> str:
    if config.daemon.socket_group:
        try:
            grp.getgrnam(config.daemon.socket_group)
        except KeyError:
            raise ConfigError(
                f"socket_group: this system has no group {config.daemon.socket_group!r}"
            ) from None
    if config.socket_path.exists():
        return f"{config.socket_path} is left over from a daemon that is gone; the next start replaces it"
    return f"no daemon listens at {config.socket_path}"


async def _start_core(config: Config) -> Ready:
    with pin_tried_once(config.state_directory, config.pin_path):
        supervisor = CoreSupervisor(config.core_settings(), on_event=lambda _event: None)
        try:
            return await supervisor.start()
        finally:
            await supervisor.stop()


def _ask_daemon(config: Config, findings: _Findings) -> None:
    try:
        status = ask_daemon(config.socket_path, operations.STATUS, timeout_s=ASK_TIMEOUT_S)
        assert isinstance(status, Status)
    except HwkmError as exc:
        findings.failed("daemon", StorageUnavailable(f"the daemon does not answer ({type(exc).__name__})"))
        return
    if status.state != "ready":
        findings.failed("daemon", StorageUnavailable(f"the daemon is {status.state}: {status.detail}"))
        return
    findings.ok("daemon", f"ready; core restarts: {status.core_restarts}; vaults: {status.vaults}")
    _hardening(status.hardening, findings)
    _nv_room(status.token.nv_bytes_free if status.token else None, findings)


def _hardening(held: tuple[str, ...], findings: _Findings) -> None:
    missing = sorted(_HARDENING - set(held))
    if missing:
        findings.warning(
            "hardening",
            f"does not hold: {', '.join(missing)}",
            "run hwkmd as the packaged systemd unit does (LimitMEMLOCK=infinity)",
        )
    else:
        findings.ok("hardening", ", ".join(sorted(held)))


def _nv_room(bytes_free: int | None, findings: _Findings) -> None:
    if bytes_free is not None and bytes_free < NV_BYTES_LOW:
        findings.warning(
            "NV memory", f"{bytes_free} bytes are free", "undefine NV indices that nobody uses any more"
        )
    elif bytes_free is not None:
        findings.ok("NV memory", f"{bytes_free} bytes are free")


def text_of(report: Report) -> Iterator[str]:
    """The report for people, one line a finding, and one more for what to do."""
    for finding in report.findings:
        yield f"{finding.state:8}{finding.check}: {finding.detail}"
        if finding.advice:
            yield f"        -> {finding.advice}"


def json_of(report: Report) -> str:
    """The report for programs."""
    return json.dumps(msgspec.to_builtins(report), indent=1)


def run_check(path: Path) -> Report:
    """Run :func:`check` on an event loop of its own."""
    return asyncio.run(check(path))
