"""Small XML documents from strangers: no DTD, no entities, bounded, one error.

defusedxml refuses what makes XML dangerous (document types, entities, references to the outside);
the limits here bound the rest.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from hwkm.errors import FormatError

DOCUMENT_BYTES_MAX: Final = 1024 * 1024
ELEMENTS_MAX: Final = 2_000
_VALUE_CHARACTERS_MAX: Final = 16 * 1024
_SPACE: Final = " \t\r\n"
_DROP_SPACE: Final = str.maketrans("", "", _SPACE)


def parse_document(data: bytes, root_names: frozenset[str], what: str) -> Element:
    """Return the root element of a document whose name is one of ``root_names``.

    Raises:
        FormatError: it is too large, not well-formed, has a document type, attributes or text
            between elements, or another root.
    """
    if len(data) > DOCUMENT_BYTES_MAX:
        raise FormatError(f"{what}: longer than {DOCUMENT_BYTES_MAX} bytes")
    try:
        root: Element = fromstring(data, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as exc:
        raise FormatError(f"{what}: not well-formed XML: {type(exc).__name__}") from None
    if root.tag not in root_names:
        raise FormatError(f"{what}: the root element is not <{'> or <'.join(sorted(root_names))}>")
    _check_shape(root, what)
    return root


def _check_shape(root: Element, what: str) -> None:
    """Elements hold either elements or text, and nothing has attributes."""
    for number, element in enumerate(root.iter()):
        if number >= ELEMENTS_MAX:
            raise FormatError(f"{what}: more than {ELEMENTS_MAX} elements")
        if element.attrib:
            raise FormatError(f"{what}: <{element.tag}> has attributes")
        stray = [child.tail for child in element] + ([element.text] if len(element) else [])
        if any(text and text.strip(_SPACE) for text in stray):
            raise FormatError(f"{what}: text between the elements of <{element.tag}>")


def only_child(parent: Element, name: str, what: str) -> Element:
    """Return the one child of that name.

    Raises:
        FormatError: there is none, or more than one.
    """
    found = parent.findall(name)
    if len(found) != 1:
        raise FormatError(f"{what}: {len(found)} elements <{name}> in <{parent.tag}>, not one")
    return found[0]


def optional_child(parent: Element, name: str, what: str) -> Element | None:
    """Return the child of that name, if there is one.

    Raises:
        FormatError: there is more than one.
    """
    return only_child(parent, name, what) if parent.findall(name) else None


def check_children(parent: Element, names: frozenset[str], what: str) -> None:
    """Refuse children of other names.

    Raises:
        FormatError: there is one.
    """
    for child in parent:
        if child.tag not in names:
            raise FormatError(f"{what}: unknown element <{child.tag}> in <{parent.tag}>")


def text_of(element: Element, what: str) -> str:
    """Return an element's text without any white space.

    Raises:
        FormatError: it has children, no text, or too much of it.
    """
    text = (element.text or "").translate(_DROP_SPACE)
    if len(element) or not text or len(text) > _VALUE_CHARACTERS_MAX:
        raise FormatError(f"{what}: <{element.tag}> does not hold 1 to {_VALUE_CHARACTERS_MAX} characters")
    return text


def integer_of(element: Element, what: str) -> int:
    """Return an element's text as a number from 0 to 2^63 - 1.

    Raises:
        FormatError: it is none.
    """
    text = text_of(element, what)
    if not (text.isascii() and text.isdigit() and len(text) <= 19) or int(text) >= 1 << 63:
        raise FormatError(f"{what}: <{element.tag}> is not a number from 0 to 2^63 - 1")
    return int(text)


def bytes_of(element: Element, what: str) -> bytes:
    """Return an element's text, in base64, as bytes; one encoding for each value.

    Raises:
        FormatError: it is not base64, or not the canonical one.
    """
    text = text_of(element, what)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise FormatError(f"{what}: <{element.tag}> is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise FormatError(f"{what}: <{element.tag}> is not canonical base64")
    return data
