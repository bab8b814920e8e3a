"""From method and path to an operation of the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hwkm.wire.operations import OPERATIONS, Operation

_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """The operations on one path, by method."""

    pattern: re.Pattern[str]
    by_method: Mapping[str, Operation]


@dataclass(frozen=True, slots=True)
class Found:
    """A path that is in the table, with the values of its placeholders."""

    by_method: Mapping[str, Operation]
    path: Mapping[str, str]


def _routes() -> tuple[Route, ...]:
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return tuple(Route(_pattern(path), by_method) for path, by_method in by_path.items())


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(_PLACEHOLDER.sub(r"(?P<\1>[^/]+)", re.sub(r"[.]", r"\\.", template)))


_ROUTES: Final = _routes()
# Most paths have no placeholder: they are found without a search.
_FIXED: Final = {
    operation.path: Found(route.by_method, {})
    for route in _ROUTES
    for operation in route.by_method.values()
    if "{" not in operation.path
}


def find_route(path: str) -> Found | None:
    """Return the operations on ``path``, or None for a path that is not in the table."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    for route in _ROUTES:
        match = route.pattern.fullmatch(path)
        if match is not None:
            return Found(route.by_method, match.groupdict())
    return None
