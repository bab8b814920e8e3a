"""Exit codes: complete, documented, and by the nearest class."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from hwkm import errors
from hwkm.cli.exits import CODE_OF, MEANING, ExitCode, exit_code_of
from hwkm.cli.pin import PinFileRefused
from hwkm.client.backup import errors as backup_errors
from hwkm.client.files import errors as file_errors
from hwkm.client.files.header_swap import FileBusy
from hwkm.errors import HwkmError

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations" / "exit-codes.md"


def error_classes() -> list[type[HwkmError]]:
    found: set[type[HwkmError]] = {FileBusy, PinFileRefused}
    for module in (errors, backup_errors, file_errors):
        found |= {c for _, c in inspect.getmembers(module, inspect.isclass) if issubclass(c, HwkmError)}
    return sorted(found, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", error_classes())
def test_every_error_has_a_code(cls: type[HwkmError]) -> None:
    error = cls.__new__(cls)
    code = exit_code_of(error)
    assert code is not ExitCode.OK
    if not issubclass(cls, (errors.TokenError, errors.FleetError, errors.LogError)) and cls is not HwkmError:
        assert cls in CODE_OF, "only the errors of tokens, lists and logs share the code of their base"


def test_every_code_has_its_meaning_in_the_document() -> None:
    text = DOCUMENT.read_text()
    assert set(MEANING) == set(ExitCode)
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert rows == [f"| {code.value} | {code.name} | {MEANING[code]} |" for code in ExitCode]


def test_wrong_pin_locked_and_too_soon_are_told_apart() -> None:
    codes = {
        exit_code_of(error)
        for error in (errors.WrongKnowledgeFactor(3), errors.VaultLocked(""), errors.RateLimited("", 1))
    }
    assert codes == {10, 11, 12}


def test_codes_of_errors_are_unique() -> None:
    codes = [cls.code for cls in error_classes()]
    assert len(codes) == len(set(codes))
