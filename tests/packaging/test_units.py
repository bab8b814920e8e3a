"""The systemd units: accepted by systemd itself, and as closed as they claim to be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "packaging" / "systemd"
INSTALLED = "/opt/hwkm/current"

# Tenths of systemd's exposure level (0 none, 100 all); each unit's comments say what is left open.
EXPOSURE_MAX = {"hwkmd.service": 12, "hwkm-swtpm.service": 20}


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as installed, with a program that exists on this machine in place of ours."""
    for unit in SYSTEMD.glob("hwkm*.s*"):
        text = unit.read_text().replace(f"{INSTALLED}/bin/hwkmd", "/bin/true")
        text = text.replace(f"{INSTALLED}/share/hwkm/swtpm-setup.sh", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    dropin = tmp_path / "hwkmd-with-tpm.service.d"
    dropin.mkdir()
    (dropin / "tpm.conf").write_bytes((SYSTEMD / "hwkmd-tpm.conf").read_bytes())
    (tmp_path / "hwkmd-with-tpm.service").write_bytes((tmp_path / "hwkmd.service").read_bytes())
    return tmp_path


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize(
    "unit", ["hwkmd.service", "hwkmd.socket", "hwkm-swtpm.service", "hwkmd-with-tpm.service"]
)
def test_systemd_accepts_the_unit_without_a_warning(units: Path, unit: str) -> None:
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(units / unit)],
        capture_output=True,
        text=True,
    )
    assert (verified.stderr, verified.returncode) == ("", 0)


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", EXPOSURE_MAX)
def test_the_service_is_closed_as_far_as_it_claims(units: Path, unit: str) -> None:
    threshold = f"--threshold={EXPOSURE_MAX[unit]}"
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", threshold, str(units / unit)]
    measured = subprocess.run(command, capture_output=True, text=True)
    assert measured.returncode == 0, measured.stdout + measured.stderr


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "User=hwkm",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "MemoryDenyWriteExecute=yes",
        "RestrictAddressFamilies=AF_UNIX",
        "CapabilityBoundingSet=",
        "LimitCORE=0",
        "LimitMEMLOCK=infinity",
        "MemorySwapMax=0",
        "UMask=0077",
    ],
)
def test_the_service_keeps_the_measures_that_the_threat_model_counts_on(line: str) -> None:
    assert line in (SYSTEMD / "hwkmd.service").read_text().splitlines()


def test_the_drop_in_for_the_aws_wire_opens_the_loopback_and_nothing_else() -> None:
    lines = (SYSTEMD / "hwkmd-aws.conf").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "[Service]",
        "RestrictAddressFamilies=AF_INET AF_INET6",
        "IPAddressAllow=localhost",
    ]
    assert "IPAddressDeny=any" in (SYSTEMD / "hwkmd.service").read_text().splitlines()


def test_the_pin_reaches_the_daemon_as_a_credential_only() -> None:
    """Not in argv, not in the environment, not in the configuration."""
    service = (SYSTEMD / "hwkmd.service").read_text().splitlines()
    settings = [line for line in service if "pin" in line.lower() and not line.startswith("#")]
    assert settings == ["LoadCredential=token-pin:/etc/hwkm/token.pin"]
    configuration = (ROOT / "packaging" / "hwkmd.toml.in").read_text()
    assert 'pin_file = "credential:token-pin"' in configuration


def test_unit_and_configuration_name_the_same_socket_and_group() -> None:
    socket_unit = (SYSTEMD / "hwkmd.socket").read_text().splitlines()
    configuration = (ROOT / "packaging" / "hwkmd.toml.in").read_text()
    assert "ListenStream=/run/hwkm/hwkmd.sock" in socket_unit
    assert 'socket = "/run/hwkm/hwkmd.sock"' in configuration
    assert "SocketGroup=hwkm-users" in socket_unit
    assert 'socket_group = "hwkm-users"' in configuration


def test_every_user_and_group_that_a_unit_names_is_made() -> None:
    made = {
        line.split()[1]
        for line in (SYSTEMD / "hwkm.sysusers").read_text().splitlines()
        if line.startswith(("u ", "g "))
    }
    named = {
        value
        for unit in SYSTEMD.glob("hwkm*.s*")
        for key, _, value in (line.partition("=") for line in unit.read_text().splitlines())
        if key in {"User", "Group", "SocketUser", "SocketGroup"}
    }
    assert named <= made


def test_the_service_does_not_take_the_socket_away_from_its_group() -> None:
    """systemd hands a RuntimeDirectory= and all in it to the service's user and group."""
    service = (SYSTEMD / "hwkmd.service").read_text().splitlines()
    assert not any(line.startswith("RuntimeDirectory=") for line in service)
