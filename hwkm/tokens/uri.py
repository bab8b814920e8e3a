"""Token URIs: text from the configuration to one of three typed values.

======================  ======================================================================
``pkcs11:``             RFC 7512: ``pkcs11:token=LABEL;object=PREFIX?module-path=/lib.so``.
                        Path attributes token, serial, manufacturer, model, object; query
                        attribute module-path. A token label or a serial is required.
``tpm:``                ``tpm:tcti=device:/dev/tpmrm0`` or ``tpm:tcti=swtpm:path=/run/tpm.sock``,
                        then optional ``;keys=0x81006860`` (three persistent handles from here
                        on), ``;anchor=0x01806860`` (one NV index) and ``;domain=0x81406860`` (persistent
                        handles from here on: attestation key, then a domain key for each generation)
``insecure-memory:``    ``insecure-memory:path=/some/file``: no hardware, for tests only
======================  ======================================================================

PINs are never part of a URI: RFC 7512's pin-value and pin-source are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from hwkm.errors import FormatError

URI_BYTES_MAX: Final = 1024

# Persistent handles 0x81000000-0x817FFFFF and NV indices 0x01800000-0x01BFFFFF are the owner's
# (TCG, Registry of reserved TPM 2.0 handles and localities). 0x6860 has no meaning.
DEFAULT_KEYS_HANDLE: Final = 0x81006860
DEFAULT_ANCHOR_INDEX: Final = 0x01806860
DEFAULT_DOMAIN_HANDLE: Final = 0x81406860
KEY_HANDLES: Final = 3
DOMAIN_HANDLES: Final = 4096
_OWNER_KEYS: Final = range(0x81000000, 0x81800000 - KEY_HANDLES + 1)
_OWNER_DOMAIN: Final = range(0x81000000, 0x81800000 - DOMAIN_HANDLES + 1)
_OWNER_INDICES: Final = range(0x01800000, 0x01C00000)

_PIN_ATTRIBUTES: Final = frozenset({"pin-value", "pin-source"})
_PKCS11_PATH: Final = ("token", "serial", "manufacturer", "model", "object")
_PKCS11_QUERY: Final = ("module-path",)
_TPM_PARAMETERS: Final = ("tcti", "keys", "anchor", "domain")
_TCTI: Final = re.compile(r"(device|swtpm):[\x21-\x7e]+")
_HANDLE: Final = re.compile(r"0x[0-9a-fA-F]{8}")
_ESCAPE: Final = re.compile(rb"%([0-9a-fA-F]{2})")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """A PKCS#11 token; ``object`` is the prefix of the labels of hwkm's objects in it."""

    module_path: str
    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    object: str = "hwkm"


@dataclass(frozen=True, slots=True)
class TpmUri:
    """A TPM 2.0: how to reach it (TCTI name and configuration), and the handles hwkm uses."""

    tcti: str
    keys: int = DEFAULT_KEYS_HANDLE
    anchor: int = DEFAULT_ANCHOR_INDEX
    domain: int = DEFAULT_DOMAIN_HANDLE


@dataclass(frozen=True, slots=True)
class MemoryUri:
    """A file that plays the token, without any protection. For tests only."""

    path: str


TokenUri = Pkcs11Uri | TpmUri | MemoryUri


def parse_token_uri(text: str) -> TokenUri:
    """Read a token URI.

    Raises:
        FormatError: unknown scheme, unknown, doubled or missing attribute, bad escape or handle.
    """
    if len(text) > URI_BYTES_MAX:
        raise FormatError(f"token URI is longer than {URI_BYTES_MAX} characters")
    if not text.isascii() or not text.isprintable():
        raise FormatError("token URI has characters that must be percent-encoded")
    scheme, colon, rest = text.partition(":")
    parser = _PARSERS.get(scheme) if colon else None
    if parser is None:
        raise FormatError(f"token URI starts with none of {', '.join(s + ':' for s in _PARSERS)}")
    return parser(rest)


def _parse_pkcs11(rest: str) -> Pkcs11Uri:
    path, _, query = rest.partition("?")
    attributes = _attributes(path.split(";"), _PKCS11_PATH)
    options = _attributes(query.split("&"), _PKCS11_QUERY)
    if "module-path" not in options:
        raise FormatError("pkcs11: URI needs ?module-path=, the path of the token's PKCS#11 library")
    if "token" not in attributes and "serial" not in attributes:
        raise FormatError("pkcs11: URI needs token= or serial=, so that no other token is used by accident")
    return Pkcs11Uri(module_path=options["module-path"], **attributes)


def _parse_tpm(rest: str) -> TpmUri:
    parameters = _attributes(rest.split(";"), _TPM_PARAMETERS)
    tcti = parameters.get("tcti", "")
    if not _TCTI.fullmatch(tcti):
        raise FormatError("tpm: URI needs tcti=device:PATH or tcti=swtpm:path=SOCKET")
    keys = _handle(parameters, "keys", DEFAULT_KEYS_HANDLE, _OWNER_KEYS)
    domain = _handle(parameters, "domain", DEFAULT_DOMAIN_HANDLE, _OWNER_DOMAIN)
    if domain < keys + KEY_HANDLES and keys < domain + DOMAIN_HANDLES:
        raise FormatError(f"tpm: keys= and domain= overlap; domain= takes {DOMAIN_HANDLES} handles")
    anchor = _handle(parameters, "anchor", DEFAULT_ANCHOR_INDEX, _OWNER_INDICES)
    return TpmUri(tcti=tcti, keys=keys, anchor=anchor, domain=domain)


def _parse_memory(rest: str) -> MemoryUri:
    parameters = _attributes([rest], ("path",))
    if "path" not in parameters:
        raise FormatError("insecure-memory: URI needs path=FILE")
    return MemoryUri(parameters["path"])


_PARSERS: Final[dict[str, Callable[[str], TokenUri]]] = {
    "pkcs11": _parse_pkcs11,
    "tpm": _parse_tpm,
    "insecure-memory": _parse_memory,
}


def _attributes(parts: Iterable[str], known: tuple[str, ...]) -> dict[str, str]:
    """Return name=value pairs, percent-decoded; an empty part list is an empty dict."""
    found: dict[str, str] = {}
    for part in parts:
        if not part:
            continue
        name, equals, value = part.partition("=")
        if name in _PIN_ATTRIBUTES:
            raise FormatError(
                f"token URI attribute {name!r} is refused: the PIN comes from a file or a prompt"
            )
        if name not in known:
            raise FormatError(f"token URI attribute {name!r} is unknown here; known are {', '.join(known)}")
        if name in found:
            raise FormatError(f"token URI attribute {name!r} is given twice")
        if not equals or not value:
            raise FormatError(f"token URI attribute {name!r} has no value")
        found[name] = _percent_decode(name, value)
    return found


def _percent_decode(name: str, value: str) -> str:
    if _BAD_ESCAPE.search(value):
        raise FormatError(f"token URI attribute {name!r} has a % that is not followed by two hex digits")
    try:
        decoded = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), value.encode("ascii")).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise FormatError(f"token URI attribute {name!r} is not UTF-8") from exc
    if not decoded.isprintable():
        raise FormatError(f"token URI attribute {name!r} has a control character")
    return decoded


def _handle(parameters: dict[str, str], name: str, default: int, allowed: range) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not _HANDLE.fullmatch(text):
        raise FormatError(f"token URI attribute {name!r} is not 0x and eight hex digits")
    handle = int(text, 16)
    if handle not in allowed:
        raise FormatError(
            f"token URI attribute {name!r} is not from 0x{allowed[0]:08x} to 0x{allowed[-1]:08x}"
        )
    return handle
