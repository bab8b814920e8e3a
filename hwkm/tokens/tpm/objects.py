"""hwkm's objects in a TPM: their handles, and how they are listed and identified.

===================== =======================================================================
handle                object
===================== =======================================================================
``keys`` + 0          storage primary, P-256: parent of the two keys and salt of the sessions
``keys`` + 1          cohort key, P-256, ECDH
``keys`` + 2          audit key, P-256, ECDSA
``anchor``            NV index, 73 or 75 bytes of the anchor format
``anchor`` ^ 0x100000 NV counter of a cohort of several, in its first member
``anchor`` ^ 0x200000 NV index: what the TPM keeps about the key of a cohort of several
``domain`` + 0        attestation key, P-256, restricted: signs what the TPM itself says; made when
                      keys are first exchanged with another module
``domain`` + n        domain key of generation n, P-256: parent of customer master keys
===================== =======================================================================
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tpm2_pytss.types import TPM2B_PUBLIC

from hwkm.errors import TokenFull
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import translated
from hwkm.tokens.uri import DOMAIN_HANDLES, KEY_HANDLES, TpmUri


@dataclass(frozen=True, slots=True)
class Handles:
    """The handles of one URI."""

    storage: int
    cohort: int
    audit: int
    anchor: int
    attestation: int

    @classmethod
    def of(cls, uri: TpmUri) -> Handles:
        """Return the handles that the URI names."""
        return cls(uri.keys, uri.keys + 1, uri.keys + 2, uri.anchor, uri.domain)

    def domain(self, generation: int) -> int:
        """Return the handle of a domain key.

        Raises:
            TokenFull: there is none so high.
        """
        if generation >= DOMAIN_HANDLES:
            raise TokenFull(f"a TPM's domain keys are numbered up to {DOMAIN_HANDLES - 1}")
        return self.attestation + generation

    def generation(self, handle: int) -> int:
        """Return the generation of a domain key's handle; 0 is the attestation key."""
        return handle - self.attestation

    def name(self, handle: int) -> str:
        """Return what a handle is."""
        fixed = (self.names() | self.cohort_names()).get(handle)
        if fixed:
            return fixed
        generation = self.generation(handle)
        return f"domain key of generation {generation}" if generation else "attestation key"

    def names(self) -> dict[int, str]:
        """Return the handles that are always there and what each is, the anchor first."""
        return {
            self.anchor: "anchor NV index",
            self.cohort: "cohort key",
            self.audit: "audit key",
            self.storage: "storage primary",
        }

    @property
    def counter(self) -> int:
        """The NV counter of a cohort of several. Far from the anchor, beside which another hwkm's may lie."""
        return self.anchor ^ 0x00100000

    @property
    def record(self) -> int:
        """The NV index of a cohort's record."""
        return self.anchor ^ 0x00200000

    def cohort_names(self) -> dict[int, str]:
        """Return the handles that only a cohort of several has, and what each is."""
        return {self.counter: "cohort counter", self.record: "cohort record"}


def existing(connection: Connection, handles: Handles) -> list[int]:
    """Return which of hwkm's handles are taken, the anchor first.

    Raises:
        TokenError: the hardware failed.
    """
    taken = set(connection.handles(handles.storage, KEY_HANDLES))
    for index in (handles.anchor, handles.counter, handles.record):
        taken |= set(connection.handles(index, 1))
    domain = existing_domain(connection, handles)
    return [handle for handle in (*handles.names(), *handles.cohort_names()) if handle in taken] + domain


def existing_domain(connection: Connection, handles: Handles) -> list[int]:
    """Return which handles of domain keys are taken, the attestation key's among them.

    Raises:
        TokenError: the hardware failed.
    """
    end = handles.attestation + DOMAIN_HANDLES
    return [handle for handle in connection.handles(handles.attestation) if handle < end]


def describe(connection: Connection, handles: Handles, handle: int) -> str:
    """Return one line that says what is at the handle, with the TPM's own digest of it (its Name).

    Raises:
        TokenError: the hardware failed.
    """
    with translated(f"reading 0x{handle:08x}"):
        item = connection.esapi.tr_from_tpmpublic(handle)
        name = bytes(connection.esapi.tr_get_name(item))
        connection.esapi.tr_close(item)
    return f"{handles.name(handle)} at 0x{handle:08x} (Name {name.hex()})"


def public_point(public: TPM2B_PUBLIC) -> bytes:
    """Return the point of a P-256 public area, 65 bytes uncompressed."""
    unique = public.publicArea.unique.ecc
    # Some TPMs leave out leading zeros of a coordinate.
    return b"\x04" + bytes(unique.x).rjust(32, b"\0") + bytes(unique.y).rjust(32, b"\0")


def waits_for_invitation(handles: Handles, taken: Collection[int]) -> bool:
    """Whether these handles are those of a TPM that asked to become a member and has no anchor yet.

    The attestation key is the last that a request makes; only the first member has a counter.
    """
    made = {handles.storage, handles.audit, handles.attestation, handles.domain(1)}
    return made <= set(taken) and handles.anchor not in taken and handles.counter not in taken
