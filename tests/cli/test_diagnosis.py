"""What doctor makes of facts that a test cannot bring about for real."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import msgspec
import pytest

import hwkm
from hwkm.cli.diagnosis import configuration, daemon, environment, hwkmd_check
from hwkm.cli.diagnosis.finding import Level
from hwkm.wire.api import Status, TokenInfo

TOKEN = TokenInfo(
    kind="tpm", manufacturer="ACME", model="T1000", label="", serial="1", firmware="1", nv_bytes_free=5000
)
STATUS = Status(
    version=hwkm.__version__,
    state="ready",
    detail="",
    cohort=None,
    audit_public_key=bytes(65),
    epoch=1,
    token=TOKEN,
    core_restarts=0,
    core_pid=2,
    hardening=("memory-locked",),
    vaults=0,
    keys=0,
)


def test_a_clock_before_hwkm_existed_is_wrong() -> None:
    assert environment.check_clock(0).level is Level.PROBLEM
    assert environment.check_clock(environment.EARLIEST_TIME_S).level is Level.OK


def test_a_missing_library_is_named_with_its_reason() -> None:
    found = environment.check_libraries(("msgspec", "no_such_library_anywhere"))
    assert found.level is Level.PROBLEM
    assert "No module named 'no_such_library_anywhere'" in found.what
    assert "msgspec" not in found.what.split(":")[0]


def test_a_daemon_in_order_has_nothing_to_report() -> None:
    assert daemon._check_state(STATUS).level is Level.OK
    assert daemon._check_version(STATUS) == []
    assert daemon._check_core(STATUS) == []
    assert [finding.level for finding in daemon._check_token(TOKEN)] == [Level.OK]


def test_a_halted_daemon_is_a_problem_and_says_why() -> None:
    halted = msgspec.structs.replace(STATUS, state="halted", detail="node store of another token")
    found = daemon._check_state(halted)
    assert found.level is Level.PROBLEM
    assert "node store of another token" in found.what


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"core_restarts": 3}, "core"),
        ({"hardening": ("no-core-dumps",)}, "memory"),
    ],
)
def test_warnings_of_the_core(changes: dict[str, object], check: str) -> None:
    found = daemon._check_core(msgspec.structs.replace(STATUS, **changes))
    assert [(finding.check, finding.level) for finding in found] == [(check, Level.WARNING)]


def test_another_version_is_a_warning() -> None:
    assert daemon._check_version(msgspec.structs.replace(STATUS, version="9.9"))[0].level is Level.WARNING


def test_a_token_that_is_nearly_full_is_a_warning() -> None:
    found = daemon._check_token(msgspec.structs.replace(TOKEN, nv_bytes_free=100))
    assert (found[0].check, found[0].level) == ("token memory", Level.WARNING)


def test_a_full_disk_is_a_problem(tmp_path: Path) -> None:
    assert configuration.check_disk(tmp_path, 1024).level is Level.PROBLEM
    assert configuration.check_disk(tmp_path, 2**40).level is Level.OK


def test_little_lockable_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8 * 2**20, 8 * 2**20))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = configuration.check_memory_lock()
    assert found.level is Level.WARNING
    assert "8192 KiB" in found.what
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert configuration.check_memory_lock().level is Level.OK


def test_another_users_state_is_left_to_that_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    found = hwkmd_check.check_by_hwkmd(tmp_path / "c.toml", tmp_path, daemon_listens=False)
    assert [finding.level for finding in found] == [Level.SKIPPED]


@pytest.mark.parametrize(
    "text", ["", "uri = 5", "[token]\nuri = 5", "token = 5", '[token]\nuri = "smartcard:1"']
)
def test_a_configuration_without_a_usable_token_is_a_problem(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    found = configuration.check_configuration(path, daemon_listens=False)
    assert any(finding.check == "token" and finding.level is Level.PROBLEM for finding in found)
