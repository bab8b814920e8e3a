"""docs/stores.md names only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).parents[3]


def test_every_test_named_in_the_document_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (_ROOT / "docs" / "stores.md").read_text()))
    written = {
        name
        for path in (_ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text())
    }
    assert len(named) > 50
    assert named - written == set()


def test_every_link_in_the_document_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)", (_ROOT / "docs" / "stores.md").read_text())
    assert [target for target in targets if not (_ROOT / "docs" / target).exists()] == []
