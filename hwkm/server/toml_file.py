"""A TOML file that is read strictly: whatever is wrong is refused with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeVar, get_args, get_origin

import msgspec

from hwkm.errors import ConfigError
from hwkm.server.duration import Duration
from hwkm.server.toml_lines import TomlLines

FILE_BYTES_MAX: Final = 1024 * 1024

Section = TypeVar("Section", bound=msgspec.Struct)
_SYNTAX_PLACE: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)


class TomlFile:
    """The tables of one file, and where everything in it stands."""

    def __init__(self, path: Path) -> None:
        """Read ``path``.

        Raises:
            ConfigError: it cannot be read or is not TOML.
        """
        self.path = path
        text = _read(path)
        try:
            self.tables: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            raise ConfigError(f"{path}:{_syntax_error(exc, text)}") from None
        self._lines = TomlLines(text)

    def refuse(self, problem: str, *place: str | int) -> NoReturn:
        """Raise a ConfigError that names the file and the line of a key.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self.path}:{self._lines.of(*place)}: {problem}")

    def section(self, struct: type[Section], values: object, *place: str | int) -> Section:
        """Check the values of one table, key by key, and make the struct of it.

        Raises:
            ConfigError: a key is unknown or missing, or a value is impossible.
        """
        if not isinstance(values, Mapping):
            self.refuse(f"{place[-1]} must be a table: [{place[-1]}]", *place)
        fields = {field.name: field for field in msgspec.structs.fields(struct)}
        checked = {
            key: self._value(fields[key].type, value, *place, key)
            if key in fields
            else self.refuse(f"unknown key {key!r}; known here: {', '.join(fields)}", *place, key)
            for key, value in values.items()
        }
        for name, field in fields.items():
            if field.required and name not in checked:
                self.refuse(f"{name!r} is missing", *place)
        return struct(**checked)

    def _value(self, kind: Any, value: object, *place: str | int) -> Any:
        try:
            return msgspec.convert(value, kind, dec_hook=_decode_special)
        except msgspec.ValidationError as exc:
            self.refuse(f"{place[-1]}: {exc}{_possible(kind)}", *place)


def _possible(kind: Any) -> str:
    """What a value may be, where that is a list of words."""
    if get_origin(kind) is not Literal:
        return ""
    return f"; possible are {', '.join(map(str, get_args(kind)))}"


def is_absent(path: Path) -> bool:
    """Whether there is certainly nothing of this name. What cannot be looked at may be there."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _decode_special(kind: type, value: object) -> object:
    if kind is Duration:
        if not isinstance(value, str):
            raise ValueError('expected a duration in quotes, such as "30s"')
        return Duration.parse(value)
    raise NotImplementedError(kind)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8") from None


def _syntax_error(exc: tomllib.TOMLDecodeError, text: str) -> str:
    """``line: what is wrong``. tomllib puts the place into its text and nowhere else before 3.14."""
    found = _SYNTAX_PLACE.fullmatch(str(exc))
    if found is None:
        return f"1: {exc}"
    return f"{found[2] or text.count(chr(10)) + 1}: {found[1]}"
