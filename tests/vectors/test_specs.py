"""The specifications quote the vectors, name their files, and are all there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.vectors.files import DIRECTORY, load
from tests.vectors.independent import DOCUMENTS

REPOSITORY = DIRECTORY.parent.parent
SPECS = sorted((REPOSITORY / "docs" / "spec").glob("*.md"))
SPEC_OF = {name: REPOSITORY / load(name)["spec"] for name in DOCUMENTS}
OURS = [spec for spec in SPEC_OF.values() if spec in SPECS]
QUOTED = re.compile(r"\b(?:[0-9a-f]{2}){12,}\b")
VECTOR_FILE = re.compile(r"tests/vectors/\w+\.json")
CODE_FILE = re.compile(r"`(hwkm/[\w/]+\.py)`")


def all_vectors() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in DIRECTORY.glob("*.json"))


@pytest.mark.parametrize("spec", OURS, ids=lambda spec: str(spec.name))
def test_every_value_a_specification_quotes_is_in_a_vector(spec: Path) -> None:
    vectors = all_vectors()
    assert [value for value in QUOTED.findall(spec.read_text(encoding="utf-8")) if value not in vectors] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_vector_file_is_named_by_a_specification(name: str) -> None:
    assert any(f"tests/vectors/{name}" in spec.read_text(encoding="utf-8") for spec in SPECS)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: str(spec.name))
def test_every_file_that_a_specification_names_exists(spec: Path) -> None:
    text = spec.read_text(encoding="utf-8")
    named = [REPOSITORY / path for path in (*VECTOR_FILE.findall(text), *CODE_FILE.findall(text))]
    assert [path for path in named if not path.exists()] == []


def test_every_specification_is_in_the_list() -> None:
    listed = (REPOSITORY / "docs" / "spec" / "README.md").read_text(encoding="utf-8")
    assert [spec.name for spec in SPECS if spec.name != "README.md" and f"({spec.name})" not in listed] == []
