"""Making hwkm's objects in a TPM, by ESAPI: done once, so its speed does not matter.

Authorisation values travel only in encrypted parameters of a salted session.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_SE, TPMA_SESSION
from tpm2_pytss.types import TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE, TPMS_SENSITIVE_CREATE

from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
from hwkm.secret import Pin, SecretBytes
from hwkm.tokens.pairing import cohort_digest
from hwkm.tokens.tpm.authorisation import ANCHOR, AUDIT, COHORT, KeyServiceAuthorisations, authorisation_value
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import translated
from hwkm.tokens.tpm.objects import Handles, public_point
from hwkm.tokens.tpm.templates import (
    anchor_template,
    audit_template,
    session_cipher,
    storage_template,
)


def make_all(connection: Connection, handles: Handles, pin: Pin, cohort_template: TPM2B_PUBLIC) -> None:
    """Make storage primary, audit key, cohort key (by its template), domain key 1 and, last, the anchor.

    Raises:
        TokenFull: no room for another object.
        TokenError: the hardware failed.
    """
    storage = make_storage_primary(connection, handles.storage)
    with esapi_session(connection, storage) as session:
        audit_value, cohort_value = authorisation_value(pin, AUDIT), authorisation_value(pin, COHORT)
        make_key(connection, storage, session, audit_template(), audit_value, handles.audit)
        cohort = make_key(connection, storage, session, cohort_template, cohort_value, handles.cohort)
        make_domain_key(connection, storage, session, handles, pin)
        state = AnchorState(0, EMPTY_ROOT, cohort_digest(cohort))
        make_anchor(connection, session, authorisation_value(pin, ANCHOR), handles.anchor, state)


def add_domain_key(connection: Connection, handles: Handles, pin: Pin) -> None:
    """Make domain key 1 beside what there is.

    Raises:
        TokenFull: no room for another object.
        TokenError: the hardware failed.
    """
    with translated("finding the storage primary"):
        storage = connection.esapi.tr_from_tpmpublic(handles.storage)
    with esapi_session(connection, storage) as session:
        make_domain_key(connection, storage, session, handles, pin)


def make_domain_key(connection: Connection, storage: Any, session: Any, handles: Handles, pin: Pin) -> None:
    """Make domain key 1. Raises as :func:`make_key`."""
    value = KeyServiceAuthorisations(pin).domain_key(1)
    make_key(connection, storage, session, storage_template(), value, handles.domain(1))


def remove(connection: Connection, handle: int) -> None:
    """Remove a persistent key as owner of the TPM.

    Raises:
        TokenError: the hardware failed.
    """
    esapi = connection.esapi
    with translated(f"removing 0x{handle:08x} as owner of the TPM"):
        esapi.evict_control(ESYS_TR.OWNER, esapi.tr_from_tpmpublic(handle), handle)


@contextmanager
def esapi_session(connection: Connection, storage_key: Any) -> Iterator[Any]:
    """Give an ESAPI session, salted with the storage primary, and flush it afterwards.

    Raises:
        TokenError: the hardware failed.
    """
    esapi = connection.esapi
    attributes = TPMA_SESSION.CONTINUESESSION | TPMA_SESSION.DECRYPT | TPMA_SESSION.ENCRYPT
    with translated("starting a session with the TPM"):
        session = esapi.start_auth_session(
            storage_key, ESYS_TR.NONE, TPM2_SE.HMAC, session_cipher(), TPM2_ALG.SHA256
        )
        esapi.trsess_set_attributes(session, attributes, 0xFF)
    try:
        yield session
    finally:
        # A TPM that does not answer any more says so at its next use.
        with suppress(TSS2_Exception):
            esapi.flush_context(session)


def make_key(
    connection: Connection,
    storage_key: Any,
    session: Any,
    template: TPM2B_PUBLIC,
    value: SecretBytes,
    handle: int,
) -> bytes:
    """Make a key under the storage primary, keep it at ``handle``, return its public point.

    Raises:
        TokenFull: no room for another persistent object.
        TokenError: the hardware failed.
    """
    esapi = connection.esapi
    sensitive = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=value.expose()))
    with translated(f"making the key at 0x{handle:08x}"):
        private, public, *_ = esapi.create(storage_key, sensitive, template, session1=session)
        transient = esapi.load(storage_key, private, public, session1=session)
        persist(connection, transient, handle)
    return public_point(public)


def make_anchor(
    connection: Connection, session: Any, value: SecretBytes, index: int, state: AnchorState
) -> None:
    """Define the anchor's NV index and write its first state.

    Raises:
        TokenFull: no room for another NV index.
        TokenError: the hardware failed.
    """
    esapi = connection.esapi
    with translated(f"defining the anchor at 0x{index:08x}"):
        contents = state.encode()
        template = anchor_template(index, len(contents))
        item = esapi.nv_define_space(value.expose(), template, session1=session)
        esapi.tr_set_auth(item, value.expose())
        esapi.nv_write(item, contents, session1=session)


def make_storage_primary(connection: Connection, handle: int) -> Any:
    """Make the storage primary, as owner of the TPM. Raises as :func:`make_key`."""
    with translated(f"making the storage primary at 0x{handle:08x} as owner of the TPM"):
        transient, *_ = connection.esapi.create_primary(None, storage_template())
        return persist(connection, transient, handle)


def persist(connection: Connection, transient: Any, handle: int) -> Any:
    """Keep a loaded object at a persistent handle, by the owner's authorisation, and unload it."""
    try:
        return connection.esapi.evict_control(ESYS_TR.OWNER, transient, handle)
    finally:
        with suppress(TSS2_Exception):
            connection.esapi.flush_context(transient)
