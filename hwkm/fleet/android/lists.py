"""The two files of a list, as typed values: ``cert.xml`` and ``cert.sig.xml``.

What AOSP's CertXml and SigXml accept, and stricter where that costs nothing: the base64 has one
form, document types and attributes are refused, and so are unknown elements in the signature file,
which nobody signs. Unknown elements of ``cert.xml`` are passed over: its signature covers them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from cryptography import x509

from hwkm.errors import FormatError
from hwkm.fleet.android.xml import (
    bytes_of,
    check_children,
    integer_of,
    only_child,
    optional_child,
    parse_document,
)

CERTIFICATES_MAX: Final = 500
HASH_BYTES: Final = 32

_LIST: Final = "cert.xml"
_SIGNATURE: Final = "cert.sig.xml"
_LIST_ROOTS: Final = frozenset({"certificate", "certificates"})


@dataclass(frozen=True, slots=True)
class Previous:
    """What a list says of the one before it: its serial, and a SHA-256 (32 bytes)."""

    serial: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class CertList:
    """``cert.xml``. Times are seconds since 1970; nothing in it is verified."""

    serial: int
    creation_time_s: int | None
    refresh_interval_s: int | None
    previous: Previous | None
    intermediates: tuple[x509.Certificate, ...]
    endpoints: tuple[x509.Certificate, ...]

    @classmethod
    def parse(cls, data: bytes) -> CertList:
        """Read the file.

        Raises:
            FormatError: it is not a list.
        """
        root = parse_document(data, _LIST_ROOTS, _LIST)
        metadata = only_child(root, "metadata", _LIST)
        endpoints = _certificates(only_child(root, "endpoints", _LIST), _LIST)
        if not endpoints:
            raise FormatError(f"{_LIST}: no endpoint")
        return cls(
            serial=integer_of(only_child(metadata, "serial", _LIST), _LIST),
            creation_time_s=_optional_integer(metadata, "creation-time"),
            refresh_interval_s=_optional_integer(metadata, "refresh-interval"),
            previous=_previous(metadata),
            intermediates=_certificates(optional_child(root, "intermediates", _LIST), _LIST),
            endpoints=endpoints,
        )


@dataclass(frozen=True, slots=True)
class SignatureFile:
    """``cert.sig.xml``: who signed, and what. Nothing in it is verified."""

    intermediates: tuple[x509.Certificate, ...]
    signer: x509.Certificate
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> SignatureFile:
        """Read the file.

        Raises:
            FormatError: it is not a signature file.
        """
        root = parse_document(data, frozenset({"signature"}), _SIGNATURE)
        check_children(root, frozenset({"intermediates", "certificate", "value"}), _SIGNATURE)
        return cls(
            intermediates=_certificates(optional_child(root, "intermediates", _SIGNATURE), _SIGNATURE),
            signer=_certificate(only_child(root, "certificate", _SIGNATURE), _SIGNATURE),
            signature=bytes_of(only_child(root, "value", _SIGNATURE), _SIGNATURE),
        )


def _previous(metadata: Element) -> Previous | None:
    element = optional_child(metadata, "previous", _LIST)
    if element is None:
        return None
    digest = bytes_of(only_child(element, "hash", _LIST), _LIST)
    if len(digest) != HASH_BYTES:
        raise FormatError(f"{_LIST}: the hash of the list before is not {HASH_BYTES} bytes")
    return Previous(integer_of(only_child(element, "serial", _LIST), _LIST), digest)


def _optional_integer(parent: Element, name: str) -> int | None:
    element = optional_child(parent, name, _LIST)
    return None if element is None else integer_of(element, _LIST)


def _certificates(parent: Element | None, what: str) -> tuple[x509.Certificate, ...]:
    if parent is None:
        return ()
    check_children(parent, frozenset({"cert"}), what)
    if len(parent) > CERTIFICATES_MAX:
        raise FormatError(f"{what}: more than {CERTIFICATES_MAX} certificates in <{parent.tag}>")
    return tuple(_certificate(child, what) for child in parent)


def _certificate(element: Element, what: str) -> x509.Certificate:
    """One bad certificate fails the whole file, as in Android."""
    try:
        return x509.load_der_x509_certificate(bytes_of(element, what))
    except (ValueError, x509.InvalidVersion):
        raise FormatError(f"{what}: <{element.tag}> is not an X.509 certificate") from None
