"""Which cohort key is trusted."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.client.trust import (
    FixedCohort,
    KnownCohort,
    fingerprint,
    known_cohorts_path,
    read_cohort_key_file,
)
from hwkm.crypto import p256
from hwkm.errors import CohortMismatch, ConfigError


def new_key() -> bytes:
    return p256.encode_point(ec.generate_private_key(ec.SECP256R1()).public_key())


KEY, OTHER = new_key(), new_key()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "hwkm" / "known_cohorts"


def test_the_first_key_is_remembered_and_no_other_is_taken(file: Path) -> None:
    assert KnownCohort("/run/a.sock", file).known() is None
    assert KnownCohort("/run/a.sock", file).verify(KEY).public_key == KEY
    again = KnownCohort("/run/a.sock", file)
    assert again.known() == KEY
    assert again.verify(KEY).public_key == KEY
    with pytest.raises(CohortMismatch, match=fingerprint(OTHER)[:16]):
        again.verify(OTHER)
    assert again.known() == KEY


def test_every_socket_has_its_own_key(file: Path) -> None:
    KnownCohort("/run/a.sock", file).verify(KEY)
    KnownCohort("/run/b with  spaces.sock", file).verify(OTHER)
    assert KnownCohort("/run/a.sock", file).known() == KEY
    assert KnownCohort("/run/b with  spaces.sock", file).known() == OTHER


def test_a_relative_path_names_the_same_socket(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KnownCohort(file.parent.parent / "a.sock", file).verify(KEY)
    monkeypatch.chdir(file.parent.parent)
    assert KnownCohort("a.sock", file).known() == KEY


def test_another_key_is_trusted_only_when_told(file: Path) -> None:
    KnownCohort("/run/a.sock", file).verify(KEY)
    KnownCohort("/run/b.sock", file).verify(KEY)
    KnownCohort("/run/a.sock", file).replace(OTHER)
    assert KnownCohort("/run/a.sock", file).known() == OTHER
    assert KnownCohort("/run/b.sock", file).known() == KEY


def test_the_file_is_private(file: Path) -> None:
    KnownCohort("/run/a.sock", file).verify(KEY)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_others_can_write_is_refused(file: Path) -> None:
    KnownCohort("/run/a.sock", file).verify(KEY)
    file.chmod(0o620)
    with pytest.raises(ConfigError, match="chmod 600"):
        KnownCohort("/run/a.sock", file).known()


@pytest.mark.parametrize(
    "text", ["nonsense", f"{KEY.hex()} /run/a.sock", f"{KEY.hex()}  ", "00  /run/a.sock"]
)
def test_a_damaged_file_is_refused_and_not_overwritten(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError):
        KnownCohort("/run/a.sock", file).verify(KEY)
    assert file.read_text() == text


def test_a_socket_path_cannot_add_lines(file: Path) -> None:
    with pytest.raises(ConfigError):
        KnownCohort(f"/run/a\n{OTHER.hex()}  /run/b.sock", file).verify(KEY)


def test_a_fixed_key_is_the_only_one() -> None:
    trusted = FixedCohort(KEY).trusted()
    assert trusted is not None
    assert trusted.public_key == FixedCohort(KEY).verify(KEY).public_key == KEY
    with pytest.raises(CohortMismatch):
        FixedCohort(KEY).verify(OTHER)


def test_a_key_file_holds_one_key(tmp_path: Path) -> None:
    path = tmp_path / "cohort"
    path.write_text(f"{KEY.hex()}\n")
    assert read_cohort_key_file(path) == KEY
    path.write_text(KEY.hex()[:-2] + "00")
    with pytest.raises(ConfigError):
        read_cohort_key_file(path)
    with pytest.raises(ConfigError):
        read_cohort_key_file(tmp_path / "absent")


def test_it_lies_where_configuration_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/xdg")
    assert known_cohorts_path() == Path("/xdg/hwkm/known_cohorts")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert known_cohorts_path() == Path("/home/me/.config/hwkm/known_cohorts")
