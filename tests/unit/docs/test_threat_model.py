"""docs/threat-model.md names only tests and files that exist, and every attack."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_TEXT = (_ROOT / "docs" / "threat-model.md").read_text()
_TEST_FILES = [path for path in (_ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]


def test_every_test_named_in_the_threat_model_exists() -> None:
    named = set(re.findall(r"`(test_\w+|Test\w+)`", _TEXT))
    written = {
        name
        for path in _TEST_FILES
        for name in re.findall(r"(?:def|class) (test_\w+|Test\w+)\b", path.read_text())
    }
    assert len(named) > 50
    assert named - written == set()


def test_every_path_named_in_the_threat_model_exists() -> None:
    named = set(re.findall(r"`((?:hwkm|tests|packaging|docs)/[\w./-]+)`", _TEXT))
    assert len(named) > 5
    assert {path for path in named if not (_ROOT / path).exists()} == set()


def test_every_file_of_attacks_is_in_its_table() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", _TEXT))
    assert {path.name for path in (_ROOT / "tests" / "attack").glob("test_*.py")} == named


def test_every_number_that_a_row_refers_to_is_explained() -> None:
    explained = set(re.findall(r"^\| ([AMR]\d+) \|", _TEXT, re.MULTILINE))
    assert set(re.findall(r"\b([AMR]\d+)\b", _TEXT)) - explained == set()
