"""Decoding requests, and saying in AWS's words what is wrong with one.

A request that is right is decoded by msgspec in one step. Only one that is not is taken apart again,
here, to name each member that is at fault. Values are quoted as AWS does, except where a member holds
bytes: those may be secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn, TypeVar

import msgspec
from msgspec import Raw, inspect

from hwkm.server.aws.errors import AwsError, Validation

QUOTED_CHARACTERS_MAX: Final = 256

RequestT = TypeVar("RequestT", bound=msgspec.Struct)


def serialization_error(message: str) -> AwsError:
    """The body is not JSON, or a member of it is of the wrong type."""
    return AwsError("SerializationException", message)


def decode(decoder: msgspec.json.Decoder[RequestT], body: bytes) -> RequestT:
    """Decode a request.

    Raises:
        AwsError: SerializationException or ValidationException; the message names the members.
    """
    try:
        return decoder.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _explain(decoder.type, body)


def context_of(raw: Raw, member: str) -> dict[str, str]:
    """The encryption context: a flat map of strings, no key twice.

    Raises:
        AwsError: it is anything else.
    """
    if not raw:
        return {}
    text = bytes(raw)
    try:
        context = _CONTEXT.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _context_by_pairs(text, member)
    if b"\\" not in text and text.count(b'"') == 4 * len(context):
        return context  # without escapes, four quotes are one pair: none is there twice
    return _context_by_pairs(text, member)


def _context_by_pairs(text: bytes, member: str) -> dict[str, str]:
    try:
        pairs = _PAIRS.decode(text.decode())
    except (ValueError, RecursionError):
        raise serialization_error(f"{member} is not JSON") from None
    if pairs is None:
        return {}
    if not isinstance(pairs, _Pairs):
        raise serialization_error(f"{member} must be a map of strings")
    context: dict[str, str] = {}
    for key, value in pairs:
        if not isinstance(value, str) or not (_is_text(key) and _is_text(value)):
            raise serialization_error(f"{member} must be a map of strings")
        if key in context:
            raise Validation(f"{member} has a key twice.")
        context[key] = value
    return context


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: JSON can also spell halves of a character."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


class _Pairs(list[tuple[str, Any]]):
    """What a JSON object is decoded to when its keys have to be counted."""


_CONTEXT: Final = msgspec.json.Decoder(dict[str, str])
_PAIRS: Final = json.JSONDecoder(object_pairs_hook=_Pairs)


def _explain(struct: Any, body: bytes) -> NoReturn:
    try:
        values = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise serialization_error("The request is not JSON in UTF-8.") from None
    if not isinstance(values, dict):
        raise serialization_error("The request must be a JSON object.")
    found = list(_of_struct(inspect.type_info(struct), values, ""))
    if not found:
        raise serialization_error("The request is not of the form that this operation takes.")
    plural = "" if len(found) == 1 else "s"
    raise Validation(f"{len(found)} validation error{plural} detected: {'; '.join(found)}")


def _of_struct(kind: Any, values: Mapping[str, Any], place: str) -> Iterator[str]:
    assert isinstance(kind, inspect.StructType)
    members = {field.encode_name: field for field in kind.fields}
    for name in values:
        if name not in members:
            shown = name if re.fullmatch(r"[A-Za-z]{1,40}", name) else "with such a name"
            raise Validation(f"This operation has no member {shown}.")
    for name, field in members.items():
        value = values.get(name)
        path = f"{place}{name[0].lower()}{name[1:]}"
        if value is not None:
            yield from _of_value(field.type, value, path)
        elif field.required:
            yield f"Value null at '{path}' failed to satisfy constraint: Member must not be null"


def _of_value(kind: Any, value: Any, path: str) -> Iterator[str]:
    match kind:
        case inspect.UnionType():
            kinds = [other for other in kind.types if not isinstance(other, inspect.NoneType)]
            yield from _of_value(kinds[0], value, path)
        case inspect.StructType():
            yield from _of_struct(kind, _typed(value, dict, path), f"{path}.")
        case inspect.ListType():
            yield from _of_list(kind, _typed(value, list, path), path)
        case inspect.StrType():
            yield from _of_text(kind, _typed(value, str, path), path)
        case inspect.LiteralType():
            if _typed(value, str, path) not in kind.values:
                yield _problem(path, value, f"satisfy enum value set: [{', '.join(map(str, kind.values))}]")
        case inspect.BytesType():
            yield from _of_bytes(kind, _typed(value, str, path), path)
        case inspect.IntType():
            yield from _of_number(kind, _typed(value, int, path), path)
        case inspect.BoolType():
            _typed(value, bool, path)
        case _:  # a Raw member has a reader of its own
            pass


def _typed(value: Any, expected: type, path: str) -> Any:
    if isinstance(value, expected) and not (expected is int and isinstance(value, bool)):
        return value
    names = {dict: "a structure", list: "a list", str: "a string", int: "an integer", bool: "true or false"}
    raise serialization_error(f"{path} must be {names[expected]}")


def _of_list(kind: inspect.ListType, values: list[Any], path: str) -> Iterator[str]:
    yield from _of_length(path, None, len(values), kind.min_length, kind.max_length)
    for number, value in enumerate(values, 1):
        if value is None:
            raise serialization_error(f"{path} must not hold null")
        yield from _of_value(kind.item_type, value, f"{path}.{number}.member")


def _of_text(kind: inspect.StrType, value: str, path: str) -> Iterator[str]:
    yield from _of_length(path, value, len(value), kind.min_length, kind.max_length)
    if kind.pattern and not re.search(kind.pattern, value):
        yield _problem(path, value, f"satisfy regular expression pattern: {kind.pattern}")


def _of_bytes(kind: inspect.BytesType, value: str, path: str) -> Iterator[str]:
    try:
        length = len(msgspec.convert(value, bytes))
    except msgspec.ValidationError:
        raise serialization_error(f"{path} must be base64") from None
    yield from _of_length(path, None, length, kind.min_length, kind.max_length)


def _of_number(kind: inspect.IntType, value: int, path: str) -> Iterator[str]:
    if kind.ge is not None and value < kind.ge:
        yield _problem(path, value, f"have value greater than or equal to {kind.ge}")
    if kind.le is not None and value > kind.le:
        yield _problem(path, value, f"have value less than or equal to {kind.le}")


def _of_length(
    path: str, value: str | None, length: int, least: int | None, most: int | None
) -> Iterator[str]:
    if least is not None and length < least:
        yield _problem(path, value, f"have length greater than or equal to {least}")
    if most is not None and length > most:
        yield _problem(path, value, f"have length less than or equal to {most}")


def _problem(path: str, value: object, constraint: str) -> str:
    shown = "" if value is None or len(str(value)) > QUOTED_CHARACTERS_MAX else f" '{value}'"
    return f"Value{shown} at '{path}' failed to satisfy constraint: Member must {constraint}"
