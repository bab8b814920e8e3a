"""On which line each key of a TOML document stands; :mod:`tomllib` does not tell.

The document was parsed by tomllib before, so this only has to find its way through valid TOML
(https://toml.io/en/v1.0.0): table headers, keys, and where each value ends.
"""

from __future__ import annotations

import tomllib
from typing import Final

Path = tuple[str | int, ...]

_BARE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_QUOTES: Final = ('"""', "'''", '"', "'")


class TomlLines:
    """The line of every key and table header; tables of an array are numbered from 0."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._table: Path = ()
        self._array_lengths: dict[Path, int] = {}
        self._lines: dict[Path, int] = {(): 1}
        while self._skip_blank():
            if self._text[self._at] == "[":
                self._read_header()
            else:
                self._read_pair()

    def of(self, *path: str | int) -> int:
        """The line of a key, or of the nearest table around it that is written out; from 1."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _skip_blank(self) -> bool:
        """Go to the next statement; False at the end."""
        while self._at < len(self._text):
            if self._text[self._at] == "#":
                self._skip_comment()
            elif self._text[self._at] in " \t\n":
                self._at += 1
            else:
                return True
        return False

    def _skip_comment(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _read_header(self) -> None:
        line = self._line()
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        name = self._resolved(self._read_key())
        self._at += 2 if is_array else 1
        if is_array:
            number = self._array_lengths.get(name, 0)
            self._array_lengths[name] = number + 1
            self._lines.setdefault(name, line)
            name = (*name, number)
        self._table = name
        self._lines.setdefault(name, line)

    def _resolved(self, key: tuple[str, ...]) -> Path:
        """A header inside a table of an array means the newest table of it."""
        path: Path = ()
        for part in key[:-1]:
            path = (*path, part)
            if path in self._array_lengths:
                path = (*path, self._array_lengths[path] - 1)
        return (*path, key[-1])

    def _read_pair(self) -> None:
        line = self._line()
        path = self._table
        for part in self._read_key():
            path = (*path, part)
            self._lines.setdefault(path, line)
        self._at += 1
        self._skip_value()

    def _read_key(self) -> tuple[str, ...]:
        """Read a dotted key; stop at the ``=`` or ``]`` after it."""
        parts: list[str] = []
        while self._text[self._at] not in "=]":
            if self._text[self._at] in " \t.":
                self._at += 1
            else:
                parts.append(self._read_key_part())
        return tuple(parts)

    def _read_key_part(self) -> str:
        start = self._at
        if self._text[start] in "\"'":
            self._skip_string()
            return str(tomllib.loads(f"key = {self._text[start : self._at]}")["key"])
        while self._text[self._at] in _BARE:
            self._at += 1
        return self._text[start : self._at]

    def _skip_value(self) -> None:
        """Go to the end of the line on which the value is complete."""
        depth = 0
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in "\"'":
                self._skip_string()
                continue
            if char == "#":
                self._skip_comment()
                continue
            if char == "\n" and depth == 0:
                return
            depth += (char in "[{") - (char in "]}")
            self._at += 1

    def _skip_string(self) -> None:
        quote = next(quote for quote in _QUOTES if self._text.startswith(quote, self._at))
        self._at += len(quote)
        while not self._text.startswith(quote, self._at):
            self._at += 2 if quote[0] == '"' and self._text[self._at] == "\\" else 1
        self._at += len(quote)
        # A multi-line string may end with one or two quotes of its own.
        while len(quote) == 3 and self._text.startswith(quote[0], self._at):
            self._at += 1
