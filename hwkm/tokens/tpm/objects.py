"""hwkm's objects in a TPM: their handles, and how they are listed and identified.

====================  =======================================================================
handle                object
====================  =======================================================================
``keys`` + 0          storage primary, P-256: parent of the two keys and salt of the sessions
``keys`` + 1          cohort key, P-256, ECDH
``keys`` + 2          audit key, P-256, ECDSA
``anchor``            NV index, 73 bytes of the anchor format
====================  =======================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from tpm2_pytss.types import TPM2B_PUBLIC

from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import translated
from hwkm.tokens.uri import KEY_HANDLES, TpmUri


@dataclass(frozen=True, slots=True)
class Handles:
    """The four handles of one URI."""

    storage: int
    cohort: int
    audit: int
    anchor: int

    @classmethod
    def of(cls, uri: TpmUri) -> Handles:
        """Return the handles that the URI names."""
        return cls(uri.keys, uri.keys + 1, uri.keys + 2, uri.anchor)

    def names(self) -> dict[int, str]:
        """Return what each handle is, the anchor first."""
        return {
            self.anchor: "anchor NV index",
            self.cohort: "cohort key",
            self.audit: "audit key",
            self.storage: "storage primary",
        }


def existing(connection: Connection, handles: Handles) -> list[int]:
    """Return which of hwkm's handles are taken, the anchor first.

    Raises:
        TokenError: the hardware failed.
    """
    taken = set(connection.handles(handles.storage, KEY_HANDLES)) | set(connection.handles(handles.anchor, 1))
    return [handle for handle in handles.names() if handle in taken]


def describe(connection: Connection, handles: Handles, handle: int) -> str:
    """Return one line that says what is at the handle, with the TPM's own digest of it (its Name).

    Raises:
        TokenError: the hardware failed.
    """
    with translated(f"reading 0x{handle:08x}"):
        item = connection.esapi.tr_from_tpmpublic(handle)
        name = bytes(connection.esapi.tr_get_name(item))
        connection.esapi.tr_close(item)
    return f"{handles.names()[handle]} at 0x{handle:08x} (Name {name.hex()})"


def public_point(public: TPM2B_PUBLIC) -> bytes:
    """Return the point of a P-256 public area, 65 bytes uncompressed."""
    unique = public.publicArea.unique.ecc
    # Some TPMs leave out leading zeros of a coordinate.
    return b"\x04" + bytes(unique.x).rjust(32, b"\0") + bytes(unique.y).rjust(32, b"\0")
