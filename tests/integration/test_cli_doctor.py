"""``hwkm doctor`` on machines where something is wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cli.person import Person
from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.devices import make_device
from tests.hardware import SoftHsm

PROBLEMS = 30


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    directory = tmp_path / "token"
    directory.mkdir()
    with Daemon(MemoryToken(directory)) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def person(daemon: Daemon, tmp_path: Path) -> Person:
    return Person(tmp_path / "home", daemon.socket_path)


def findings(person: Person, *arguments: str | Path, status: int = PROBLEMS) -> dict[str, Any]:
    """What doctor found, by check; of several with one name, the worst."""
    order = ["ok", "skipped", "warning", "problem"]
    found: dict[str, Any] = {}
    for finding in person.json("doctor", *arguments, status=status)["findings"]:
        known = found.get(finding["check"])
        if known is None or order.index(known["level"]) < order.index(finding["level"]):
            found[finding["check"]] = finding
    for finding in found.values():
        if finding["level"] in {"warning", "problem"}:
            assert finding["why"], finding
            assert finding["action"], finding
    return found


def test_a_machine_in_order_has_no_problem(daemon: Daemon, person: Person) -> None:
    found = findings(person, "--config", daemon.config_path, status=0)
    for check in ("libraries", "clock", "socket", "daemon", "cohort key", "configuration", "records", "disk"):
        assert found[check]["level"] == "ok", found[check]
    assert found["token"]["level"] == "warning"
    assert "any protection" in found["token"]["what"]
    assert "0 problems" in person.run("doctor", "--config", daemon.config_path).stdout


def test_no_socket_and_no_configuration(person: Person, tmp_path: Path) -> None:
    found = findings(person, "-S", tmp_path / "none")
    assert found["socket"]["level"] == "problem"
    assert "hwkmd" in found["socket"]["action"]
    assert "daemon" not in found


def test_a_stale_socket(daemon: Daemon, person: Person) -> None:
    daemon.kill()
    found = findings(person, "--config", daemon.config_path)
    assert "nobody listens" in found["socket"]["what"]
    assert found["records"]["level"] == "ok"
    assert found["keys"]["level"] == "ok", "without a daemon the token itself is looked at"


def test_something_that_is_no_socket(person: Person, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "not a socket" in findings(person, "-S", tmp_path / "file")["socket"]["what"]


def test_a_listener_that_is_no_daemon(person: Person, daemon: Daemon) -> None:
    path = daemon.directory / "other.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.shutdown(socket.SHUT_RD)
        found = findings(person, "-S", path)
    assert found["socket"]["level"] == "problem"


def test_a_socket_for_everybody(daemon: Daemon, person: Person) -> None:
    daemon.socket_path.chmod(0o666)
    assert findings(person, status=0)["socket mode"]["level"] == "warning"


def test_another_cohort_key_than_the_trusted_one(daemon: Daemon, person: Person) -> None:
    key = person.json("cohort", "show")["offered"]
    other = (
        key[:2]
        + "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        + ("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
    )
    known = person.home / ".config" / "hwkm" / "known_cohorts"
    known.parent.mkdir(parents=True)
    known.touch(mode=0o600)
    known.write_text(f"{other}  {daemon.socket_path}\n")
    assert findings(person)["cohort key"]["level"] == "problem"
    known.write_text("nonsense\n")
    assert findings(person)["cohort key"]["level"] == "problem"


def test_a_pin_file_that_others_can_read(daemon: Daemon, person: Person) -> None:
    daemon.device.pin_file.chmod(0o644)
    found = findings(person, "--config", daemon.config_path)
    assert "0644" in found["PIN file"]["what"]


def test_no_pin_file(daemon: Daemon, person: Person) -> None:
    daemon.device.pin_file.unlink()
    assert findings(person, "--config", daemon.config_path)["PIN file"]["level"] == "problem"


def test_a_configuration_that_cannot_be_read(person: Person, tmp_path: Path) -> None:
    config = tmp_path / "broken.toml"
    config.write_text("[token]\nuri = \n")
    assert "line 2" in findings(person, "--config", config)["configuration"]["what"]


def test_a_library_that_is_not_there(person: Person, tmp_path: Path) -> None:
    config = tmp_path / "missing.toml"
    config.write_text('[token]\nuri = "pkcs11:token=x?module-path=/nowhere/lib.so"\npin_file = "pin"\n')
    found = findings(person, "--config", config)
    assert "/nowhere/lib.so" in found["PKCS#11 module"]["what"]


def test_a_library_that_is_none(person: Person, tmp_path: Path) -> None:
    library = tmp_path / "lib.so"
    library.write_bytes(b"\x7fELF nonsense")
    config = tmp_path / "wrong.toml"
    config.write_text(f'[token]\nuri = "pkcs11:token=x?module-path={library}"\npin_file = "pin"\n')
    assert findings(person, "--config", config)["PKCS#11 module"]["level"] == "problem"


def test_a_tpm_that_is_not_there(person: Person, tmp_path: Path) -> None:
    config = tmp_path / "tpm.toml"
    config.write_text('[token]\nuri = "tpm:tcti=device:/nowhere/tpmrm0"\npin_file = "pin"\n')
    assert "/nowhere/tpmrm0" in findings(person, "--config", config)["TPM"]["what"]


def test_a_node_store_of_another_time(daemon: Daemon, person: Person) -> None:
    person.create("charged")
    person.run("vault", "open", "charged", pin="1", status=10)
    daemon.terminate()
    for path in daemon.state_directory.glob("nodes.db*"):
        path.unlink()
    found = findings(person, "--config", daemon.config_path)
    assert any("node store" in f["what"] or "node store" in f["action"] for f in found.values()), found


@pytest.mark.needs("softhsm2-util")
def test_a_token_that_is_gone(tmp_path: Path) -> None:
    with ExitStack() as stack:
        device = make_device("softhsm", tmp_path, stack)
        with Daemon(device) as daemon:
            person = Person(tmp_path / "home", daemon.socket_path)
            person.environment |= device.environment
            daemon.wait_until_ready()
            found = findings(person, "--config", daemon.config_path, status=0)
            assert found["PKCS#11 module"]["level"] == "ok"
            daemon.terminate()
            assert isinstance(device, SoftHsm)
            device.token_directory.rename(tmp_path / "elsewhere")
            device.token_directory.mkdir()
            found = findings(person, "--config", daemon.config_path)
            assert found["token"]["level"] == "problem"
