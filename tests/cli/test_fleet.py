"""``hwkm fleet verify-android``, the real command on published lists."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from hwkm.cli.exits import ExitCode
from tests.vectors.test_android_lists import PRODUCTION, production_files, root_of

AT = "2025-02-27T00:00:00Z"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, data in zip(("cert.xml", "cert.sig.xml"), production_files(), strict=True):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "root.der").write_bytes(base64.b64decode(PRODUCTION["root"]["der_base64"]))
    (tmp_path / "root.pem").write_bytes(root_of(PRODUCTION).public_bytes(Encoding.PEM))
    return tmp_path


def verify(
    files: Path, *options: str, root: str = "root.pem", at: str = AT
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hwkm.cli.main", "fleet", "verify-android", "cert.xml", "cert.sig.xml"]
    return subprocess.run(
        [*command, "--root", root, "--at", at, *options],
        cwd=files,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("root", ["root.pem", "root.der"])
def test_the_production_list_is_verified_for_people(files: Path, root: str) -> None:
    done = verify(files, root=root)
    assert done.returncode == ExitCode.OK, done.stderr
    assert "Verified: 3 cohort keys." in done.stdout
    for key in PRODUCTION["expected"]["endpoint_public_keys_hex"]:
        assert key in done.stdout


def test_and_for_programs_which_can_hand_in_what_they_saw(files: Path) -> None:
    first = verify(files, "--json")
    facts = json.loads(first.stdout)
    assert facts["serial"] == 10016
    assert [key["public_key"] for key in facts["cohort_keys"]] == PRODUCTION["expected"][
        "endpoint_public_keys_hex"
    ]
    again = verify(files, "--json", "--seen", facts["seen"])
    assert json.loads(again.stdout) == facts
    older = verify(files, "--json", "--seen", "10017:" + "0" * 64)
    assert older.returncode == ExitCode.NOT_TRUSTED
    assert json.loads(older.stdout)["error"]["code"] == "list_downgrade"


def test_damage_is_refused_with_its_own_exit_code(files: Path) -> None:
    cert_xml = (files / "cert.xml").read_bytes()
    (files / "cert.xml").write_bytes(cert_xml + b"\n")
    done = verify(files)
    assert done.returncode == ExitCode.NOT_TRUSTED
    assert "signature" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"at": "2100-01-01"}, ExitCode.NOT_TRUSTED),
        ({"at": "yesterday"}, ExitCode.USAGE),
        ({"root": "missing.pem"}, ExitCode.LOCAL_FILE),
        ({"root": "cert.xml"}, ExitCode.LOCAL_FILE),
    ],
)
def test_wrong_options_say_what_is_wrong(files: Path, options: dict[str, str], code: ExitCode) -> None:
    done = verify(files, **options)
    assert done.returncode == code
    assert done.stderr != ""
