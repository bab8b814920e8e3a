"""Options and markers of the test suite; fixtures live beside the tests that use them.

A test that needs a program names it: ``@pytest.mark.needs("swtpm", "softhsm2-util")``. Where the
program is missing the test is skipped with the way to install it; with ``--require-integration``
(which ``make test`` and CI give) it fails instead, so that no test is lost unnoticed.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

_INSTALL_HINT = "install it by: softhsm-config/provision.sh test, or make interop"
_INTEROP = Path(__file__).resolve().parent.parent / ".venv-interop" / "bin"

# Examples are never timed: a shared machine may stop for seconds. `make test` tries the same ones
# each time; `make hunt` tries other ones each time, and remembers those that failed.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("hunt", deadline=None, print_blob=True)
hypothesis.settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-integration",
        action="store_true",
        help="fail, instead of skipping, tests whose programs or devices are missing",
    )


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "needs(*programs): skipped (or failed, with --require-integration) where a program is missing",
        "slow: takes more than a few seconds; left out of `make check`",
        "attack: an attack on the attempt limit; run by `make attack` and `make test`",
    ):
        config.addinivalue_line("markers", line)


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [
        program
        for marker in item.iter_markers("needs")
        for program in marker.args
        if not _is_installed(program)
    ]
    if not missing:
        return
    reason = f"{', '.join(missing)} is missing; {_INSTALL_HINT}"
    if item.config.getoption("--require-integration"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _is_installed(program: str) -> bool:
    return shutil.which(program) is not None or shutil.which(program, path=str(_INTEROP)) is not None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases the tests enumerated that go through all of them (``record_property``)."""
    totals: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        totals.update({name: value for name, value in report.user_properties if isinstance(value, int)})
    for name, count in sorted(totals.items()):
        terminalreporter.write_line(f"{name.replace('_', ' ')}: {count}")
