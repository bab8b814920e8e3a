"""Reads the vector files of this directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Vector = dict[str, Any]

DIRECTORY = Path(__file__).parent


def load(name: str) -> Vector:
    """The content of one vector file."""
    document: Vector = json.loads((DIRECTORY / name).read_text(encoding="utf-8"))
    return document


def unhex(vector: Vector, name: str) -> bytes:
    """One byte string of a vector."""
    return bytes.fromhex(vector[name])


def label(vector: Vector) -> str:
    """What pytest calls a vector."""
    return str(vector.get("name") or vector.get("why") or vector.get("source"))
