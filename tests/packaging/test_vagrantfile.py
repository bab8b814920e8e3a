"""The Vagrantfile: valid for Vagrant, and set up by the same scripts as everything else."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def vagrant_is_packaged() -> bool:
    policy = subprocess.run(["apt-cache", "policy", "vagrant"], capture_output=True, text=True)
    return "Candidate: " in policy.stdout and "Candidate: (none)" not in policy.stdout


def test_vagrant_finds_the_file_valid(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if shutil.which("vagrant") is None:
        if request.config.getoption("--require-integration") and vagrant_is_packaged():
            pytest.fail("vagrant is missing; install it by: softhsm-config/provision.sh test")
        pytest.skip("this release has no package of vagrant")
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    environment = os.environ | {"VAGRANT_HOME": str(tmp_path / "home"), "VAGRANT_CHECKPOINT_DISABLE": "1"}
    command = ["vagrant", "validate", "--ignore-provider"]
    validated = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert validated.returncode == 0, validated.stdout + validated.stderr


def test_the_machine_is_set_up_by_the_scripts_of_make_and_install() -> None:
    text = (ROOT / "Vagrantfile").read_text()
    assert "/hwkm/softhsm-config/provision.sh test" in text
    assert "/hwkm/packaging/install.sh" in text
    makefile = (ROOT / "Makefile").read_text()
    assert "softhsm-config/provision.sh" in makefile


def test_ci_runs_make_test_and_nothing_else() -> None:
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in script if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == ["exec make test"]
