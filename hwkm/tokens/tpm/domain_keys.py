"""The persistent keys of the key service in a TPM: domain keys, and the attestation key."""

from __future__ import annotations

import os
from typing import Any, Final

from tpm2_pytss.constants import TPMA_OBJECT
from tpm2_pytss.types import TPM2B_PUBLIC

from hwkm.formats.key_kind import KeyKind
from hwkm.secret import Pin, SecretBytes
from hwkm.tokens.token import AuditKey
from hwkm.tokens.tpm.authorisation import KeyServiceAuthorisations
from hwkm.tokens.tpm.capabilities import read_capabilities
from hwkm.tokens.tpm.children import Nursery
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.customer_keys import Engine
from hwkm.tokens.tpm.domain import TpmDomain
from hwkm.tokens.tpm.errors import translated
from hwkm.tokens.tpm.exchange import Exchange
from hwkm.tokens.tpm.hmac_session import Entity, HmacSession
from hwkm.tokens.tpm.objects import Handles
from hwkm.tokens.tpm.provisioning import esapi_session, make_key, remove
from hwkm.tokens.tpm.slots import Slots
from hwkm.tokens.tpm.templates import (
    ATTESTATION_ATTRIBUTES,
    STORAGE_ATTRIBUTES,
    attestation_template,
    storage_template,
)

_PROBE_BYTES: Final = 16

_Found = tuple[bytes, TPM2B_PUBLIC]


class DomainKeys:
    """Finds, makes and removes them. ``found`` is what is at their handles: Name and public area."""

    def __init__(
        self,
        connection: Connection,
        handles: Handles,
        sessions: tuple[HmacSession, HmacSession],
        storage_point: bytes,
        pin: Pin,
        found: dict[int, _Found],
    ) -> None:
        self._connection = connection
        self._handles = handles
        self._sessions = sessions
        self._salt = (handles.storage, storage_point)
        self._slots = Slots(connection)
        self._nursery = Nursery(sessions[0], self._slots, self._salt)
        self._authorisations = KeyServiceAuthorisations(pin)
        self._found = dict(found)

    def domain(self, audit_key: AuditKey) -> TpmDomain | None:
        """Return the domain, or None if the TPM holds no domain key.

        Raises:
            TokenError: the hardware failed.
        """
        if not self.parents():
            return None
        capabilities = read_capabilities(self._connection)
        return TpmDomain(
            Engine(self._connection, self._sessions, self._slots, capabilities.buffer_bytes),
            self._nursery,
            capabilities,
            self,
            self._authorisations,
            Exchange(self._sessions, self._nursery, self._public_of, self._attestation),
            audit_key,
        )

    def verify_authorisations(self) -> None:
        """Check that every domain key takes the value that hwkm gave it, by a child made and thrown away.

        Raises:
            AnchorTampered: one does not: it is not the one that hwkm made.
            TokenError: the hardware failed.
        """
        for generation, parent in self.parents().items():
            with translated(f"using the domain key of generation {generation}"):
                self._nursery.make(parent, KeyKind.SYMMETRIC, SecretBytes(os.urandom(_PROBE_BYTES)))

    def parents(self) -> dict[int, Entity]:
        numbers = [self._handles.generation(handle) for handle in self._found]
        return {number: self._parent(number) for number in numbers if number}

    def make(self, generation: int) -> Entity:
        value = self._authorisations.domain_key(generation)
        self._make_persistent(self._handles.domain(generation), storage_template(), value)
        return self._parent(generation)

    def remove(self, generation: int) -> None:
        handle = self._handles.domain(generation)
        remove(self._connection, handle)
        del self._found[handle]

    def public_areas(self) -> dict[str, tuple[TPM2B_PUBLIC, TPMA_OBJECT]]:
        """Return the public area of each key and what its attributes must be, by its description."""
        return {
            self._handles.name(handle): (
                public,
                STORAGE_ATTRIBUTES if self._handles.generation(handle) else ATTESTATION_ATTRIBUTES,
            )
            for handle, (_, public) in self._found.items()
        }

    def attestation(self) -> Entity:
        """Return the attestation key, made if there is none.

        Raises:
            TokenFull: there is no room for it.
            TokenError: the hardware failed.
        """
        return self._attestation()

    def attestation_public(self) -> bytes:
        """Return the TPMT_PUBLIC of the attestation key. Raises as :meth:`attestation`."""
        return self._public_of(self._attestation())

    def close(self) -> None:
        """Forget the authorisation values. May be called again."""
        self._authorisations.wipe()

    def _parent(self, generation: int) -> Entity:
        return self._entity(self._handles.domain(generation), self._authorisations.domain_key(generation))

    def _attestation(self) -> Entity:
        """Return the attestation key, made if there is none."""
        handle = self._handles.attestation
        if handle not in self._found:
            self._make_persistent(handle, attestation_template(), self._authorisations.attestation_key())
        return self._entity(handle, self._authorisations.attestation_key())

    def _entity(self, handle: int, value: SecretBytes) -> Entity:
        return Entity(handle, self._found[handle][0], value)

    def _public_of(self, entity: Entity) -> bytes:
        marshalled: bytes = self._found[entity.handle][1].publicArea.marshal()
        return marshalled

    def _make_persistent(self, handle: int, template: TPM2B_PUBLIC, value: SecretBytes) -> None:
        """Make a key at a handle, and look at it under the session's HMAC."""
        esapi: Any = self._connection.esapi
        with translated(f"making a key at 0x{handle:08x}"):
            storage = esapi.tr_from_tpmpublic(self._handles.storage)
            with esapi_session(self._connection, storage) as session:
                make_key(self._connection, storage, session, template, value, handle)
                item = esapi.tr_from_tpmpublic(handle, session1=session)
                public, *_ = esapi.read_public(item, session1=session)
                name = bytes(esapi.tr_get_name(item))
        self._found[handle] = name, public
