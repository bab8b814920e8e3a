"""softhsm-config/provision.sh: what it calls on a machine that has everything, and on one that has not.

The script runs for real; only the package manager's programs are replaced, by ones that note how
they were called, so that a test run never installs anything.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROVISION = ROOT / "softhsm-config" / "provision.sh"
NOTING = '#!/bin/sh\necho "$(basename "$0") $*" >>"$CALLS"\n'


@dataclass
class Machine:
    """Replaced programs in front of the real ones, and a note of each call of them."""

    programs: Path
    calls_file: Path

    def replace(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(script)
        path.chmod(0o755)

    def packages(self, *, absent: str = "none", offered: str = "") -> None:
        """Say which packages are absent (a shell pattern), and which of those apt offers."""
        self.replace(
            "dpkg-query",
            f"#!/bin/sh\nfor name; do :; done\ncase $name in {absent}) exit 1 ;; esac\nprintf installed\n",
        )
        self.replace(
            "apt-cache",
            "#!/bin/sh\nfor name; do :; done\n"
            f'case $name in {offered or absent}|dpkg) echo "  Candidate: 1.0" ;; *softhsm2*) echo softhsm2 ;; '
            '*) echo "  Candidate: (none)" ;; esac\n',
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.programs}:{os.environ['PATH']}"
        environment = {"PATH": path, "CALLS": str(self.calls_file)}
        return subprocess.run(
            [PROVISION, *arguments], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "bin", tmp_path / "calls")
    machine.programs.mkdir()
    machine.replace("apt-get", NOTING)
    machine.replace("id", "#!/bin/sh\necho 0\n")
    machine.replace("sudo", NOTING)
    return machine


def as_ordinary_user(machine: Machine, *, sudo_allowed: bool) -> None:
    machine.replace("id", "#!/bin/sh\necho 1000\n")
    refuse = "" if sudo_allowed else "exit 1\n"
    machine.replace("sudo", NOTING + refuse + '[ "$1" = -n ] && shift\nexec "$@"\n')


@pytest.mark.parametrize("profile", ["run", "test"])
def test_this_machine_lacks_nothing(profile: str, request: pytest.FixtureRequest) -> None:
    """The real thing: nothing replaced. `make test` has provisioned, so nothing may be missing."""
    check = subprocess.run([PROVISION, "--check", profile], capture_output=True, text=True)
    if check.returncode != 0 and not request.config.getoption("--require-integration"):
        pytest.skip(f"missing: {check.stdout.split()}; run softhsm-config/provision.sh test")
    assert (check.returncode, check.stdout) == (0, "")


@pytest.mark.parametrize("profile", ["run", "test"])
def test_a_second_run_makes_no_call_of_apt_and_needs_no_root(machine: Machine, profile: str) -> None:
    machine.packages()
    done = machine.run(profile)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.calls == []


def test_what_is_missing_is_installed_after_one_update(machine: Machine) -> None:
    machine.packages(absent="swtpm|pkg-config")
    assert machine.run("run").returncode == 0
    update, install = machine.calls
    assert update.endswith(" update")
    assert install.endswith(" install --yes --no-install-recommends pkg-config swtpm")


@pytest.mark.parametrize("offered", ["libtss2-tcti-swtpm0", "libtss2-tcti-swtpm0t64"])
def test_the_name_that_this_release_uses_is_chosen(machine: Machine, offered: str) -> None:
    machine.packages(absent="libtss2-tcti-swtpm*", offered=offered)
    assert machine.run("--check").stdout.split() == [offered]
    machine.run("run")
    assert machine.calls[-1].endswith(f" --no-install-recommends {offered}")


def test_a_release_without_vagrant_is_complete_without_it(machine: Machine) -> None:
    machine.packages(absent="vagrant", offered="nothing")
    assert machine.run("test").returncode == 0
    assert machine.run("--check", "test").stdout == ""
    assert machine.calls == []


def test_check_installs_nothing_and_names_what_is_missing(machine: Machine) -> None:
    machine.packages(absent="swtpm|spin")
    check = machine.run("--check", "test")
    assert (check.returncode, check.stdout.split()) == (1, ["swtpm", "spin"])
    assert machine.calls == []


def test_check_names_packages_where_apt_has_no_lists_yet(machine: Machine) -> None:
    machine.packages(absent="libtss2-tcti-swtpm*|vagrant")
    machine.replace("apt-cache", "#!/bin/sh\n")
    assert machine.run("--check", "test").stdout.split() == ["libtss2-tcti-swtpm0", "vagrant"]


def test_an_ordinary_user_installs_by_sudo(machine: Machine) -> None:
    machine.packages(absent="swtpm")
    as_ordinary_user(machine, sudo_allowed=True)
    assert machine.run("run").returncode == 0
    assert any(call.startswith("sudo -n env DEBIAN_FRONTEND=noninteractive") for call in machine.calls)
    assert machine.calls[-1].endswith(" swtpm")


def test_without_root_and_sudo_it_says_what_to_type(machine: Machine) -> None:
    machine.packages(absent="swtpm|softhsm2")
    as_ordinary_user(machine, sudo_allowed=False)
    done = machine.run("run")
    assert done.returncode == 1
    assert "apt-get install --no-install-recommends softhsm2 swtpm" in done.stderr
    assert not any(call.startswith("apt-get") for call in machine.calls)


def test_a_wrong_argument_is_refused(machine: Machine) -> None:
    done = machine.run("everything")
    assert done.returncode == 2
    assert "usage" in done.stderr
