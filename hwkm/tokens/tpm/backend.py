"""Open, set up, list and clear a TPM; see :mod:`hwkm.tokens.registry`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import ESYS_TR, TPM2_PT, TPM2_PT_FIRMWARE, TPM2_PT_HR, TPM2_PT_VENDOR

from hwkm.errors import (
    AnchorTampered,
    TokenAlreadyProvisioned,
    TokenError,
    TokenNotProvisioned,
    TokenPinIncorrect,
)
from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
from hwkm.secret import Pin
from hwkm.tokens.pairing import cohort_digest, verify_cohort, verify_key_pairs
from hwkm.tokens.token import TokenDescription
from hwkm.tokens.tpm.anchor import TpmAnchor
from hwkm.tokens.tpm.authorisation import ANCHOR, AUDIT, COHORT, authorisation_value, verify_pin_length
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import refused_authorisation, translated
from hwkm.tokens.tpm.keys import TpmAuditKey, TpmCohortKey, make_persistent_key, persist, public_point
from hwkm.tokens.tpm.objects import Handles, describe, existing
from hwkm.tokens.tpm.policy import verify_public_area
from hwkm.tokens.tpm.session import start_session
from hwkm.tokens.tpm.templates import (
    AUDIT_ATTRIBUTES,
    COHORT_ATTRIBUTES,
    STORAGE_ATTRIBUTES,
    anchor_template,
    audit_template,
    cohort_template,
    storage_template,
)
from hwkm.tokens.uri import TpmUri


class TpmToken:
    """An opened TPM."""

    def __init__(self, connection: Connection, handles: Handles, pin: Pin) -> None:
        self._connection = connection
        esapi = connection.esapi
        with translated("finding hwkm's objects in the TPM"):
            storage = esapi.tr_from_tpmpublic(handles.storage)
            session = start_session(connection, storage)
            cohort = esapi.tr_from_tpmpublic(handles.cohort, session1=session)
            audit = esapi.tr_from_tpmpublic(handles.audit, session1=session)
            index = esapi.tr_from_tpmpublic(handles.anchor, session1=session)
            for item, name in ((cohort, COHORT), (audit, AUDIT), (index, ANCHOR)):
                esapi.tr_set_auth(item, authorisation_value(pin, name).expose())
            self._public_areas = {
                "storage primary": (esapi.read_public(storage, session1=session)[0], STORAGE_ATTRIBUTES),
                "cohort key": (esapi.read_public(cohort, session1=session)[0], COHORT_ATTRIBUTES),
                "audit key": (esapi.read_public(audit, session1=session)[0], AUDIT_ATTRIBUTES),
            }
        cohort_public = public_point(self._public_areas["cohort key"][0])
        self.cohort_key = TpmCohortKey(connection, cohort, session, cohort_public)
        audit_public = public_point(self._public_areas["audit key"][0])
        self.audit_key = TpmAuditKey(connection, audit, session, audit_public)
        self.anchor = TpmAnchor(connection, index, session)

    def random(self, length: int) -> bytes:
        value = b""
        with translated("drawing random bytes"):
            while len(value) < length:  # a TPM gives at most 32 to 64 bytes at a time
                value += bytes(self._connection.esapi.get_random(min(length - len(value), 32)))
        return value

    def verify_key_policy(self) -> None:
        for name, (public, attributes) in self._public_areas.items():
            verify_public_area(name, public, attributes)
        verify_key_pairs(self.cohort_key, self.audit_key)

    def describe(self) -> TokenDescription:
        return _describe(self._connection)

    def close(self) -> None:
        self._connection.close()


def open_token(uri: TpmUri, pin: Pin) -> TpmToken:
    """See :func:`hwkm.tokens.registry.open_token`."""
    connection = Connection(uri.tcti)
    try:
        handles = Handles.of(uri)
        _verify_complete(connection, handles)
        token = TpmToken(connection, handles, pin)
        verify_cohort(_read_anchor(token), token.cohort_key.public_key())
        return token
    except BaseException:
        connection.close()
        raise


def provision(uri: TpmUri, pin: Pin) -> None:
    """See :func:`hwkm.tokens.registry.provision`."""
    verify_pin_length(pin)
    handles = Handles.of(uri)
    with _connection(uri) as connection:
        taken = [describe(connection, handles, handle) for handle in existing(connection, handles)]
        if taken:
            raise TokenAlreadyProvisioned("the TPM already holds: " + "; ".join(taken))
        storage = _make_storage_primary(connection, handles.storage)
        session = start_session(connection, storage)
        audit_value, cohort_value = authorisation_value(pin, AUDIT), authorisation_value(pin, COHORT)
        make_persistent_key(connection, storage, session, audit_template(), audit_value, handles.audit)
        public_key = make_persistent_key(
            connection, storage, session, cohort_template(), cohort_value, handles.cohort
        )
        _make_anchor(connection, session, pin, handles.anchor, public_key)


def inventory(uri: TpmUri, pin: Pin) -> list[str]:
    """See :func:`hwkm.tokens.registry.inventory`. A TPM tells it without the PIN."""
    handles = Handles.of(uri)
    with _connection(uri) as connection:
        return [describe(connection, handles, handle) for handle in existing(connection, handles)]


def destroy(uri: TpmUri, pin: Pin) -> None:
    """See :func:`hwkm.tokens.registry.destroy`. The owner may do it without the PIN."""
    handles = Handles.of(uri)
    with _connection(uri) as connection:
        for handle in existing(connection, handles):
            with translated(f"removing 0x{handle:08x}"):
                item = connection.esapi.tr_from_tpmpublic(handle)
                if handle == handles.anchor:
                    connection.esapi.nv_undefine_space(item)
                else:
                    connection.esapi.evict_control(ESYS_TR.OWNER, item, handle)


@contextmanager
def _connection(uri: TpmUri) -> Iterator[Connection]:
    connection = Connection(uri.tcti)
    try:
        yield connection
    finally:
        connection.close()


def _verify_complete(connection: Connection, handles: Handles) -> None:
    taken = existing(connection, handles)
    if not taken:
        raise TokenNotProvisioned("the TPM holds no keys of hwkm; hwkmd init makes them")
    missing = [f"{name} at 0x{handle:08x}" for handle, name in handles.names().items() if handle not in taken]
    if missing:
        raise AnchorTampered(
            f"the TPM lacks the {', the '.join(missing)}: set-up was interrupted, or someone removed it"
        )


def _read_anchor(token: TpmToken) -> AnchorState:
    """Read the anchor; tell a wrong PIN (refused everywhere) from a foreign index (refused here)."""
    try:
        return token.anchor.read()
    except AnchorTampered as tampered:
        try:
            token.audit_key.sign(bytes(32))
        except TokenError as refused:
            if isinstance(refused.__cause__, TSS2_Exception) and refused_authorisation(refused.__cause__):
                raise TokenPinIncorrect("the TPM refused the PIN for every object") from tampered
        raise


def _make_storage_primary(connection: Connection, handle: int) -> Any:
    esapi = connection.esapi
    with translated(f"making the storage primary at 0x{handle:08x} as owner of the TPM"):
        transient, *_ = esapi.create_primary(None, storage_template())
        try:
            return persist(connection, transient, handle)
        finally:
            esapi.flush_context(transient)


def _make_anchor(connection: Connection, session: Any, pin: Pin, index: int, public_key: bytes) -> None:
    esapi = connection.esapi
    value = authorisation_value(pin, ANCHOR).expose()
    with translated(f"defining the anchor at 0x{index:08x}"):
        item = esapi.nv_define_space(value, anchor_template(index), session1=session)
        esapi.tr_set_auth(item, value)
    TpmAnchor(connection, item, session).advance(AnchorState(0, EMPTY_ROOT, cohort_digest(public_key)))


def _describe(connection: Connection) -> TokenDescription:
    fixed = connection.properties(TPM2_PT.FIXED, 64)
    vendor = [fixed.get(TPM2_PT_VENDOR.STRING_1 + offset, 0) for offset in range(4)]
    version = fixed.get(TPM2_PT_FIRMWARE.VERSION_1, 0)
    return TokenDescription(
        kind="tpm",
        manufacturer=_text([fixed.get(TPM2_PT.MANUFACTURER, 0)]),
        model=_text(vendor),
        label="",
        serial="",
        firmware=f"{version >> 16}.{version & 0xFFFF}",
        persistent_keys_free=connection.properties(TPM2_PT_HR.PERSISTENT_AVAIL, 1).get(
            TPM2_PT_HR.PERSISTENT_AVAIL
        ),
    )


def _text(words: list[int]) -> str:
    """Return what a TPM packs into 32-bit properties as text."""
    raw = b"".join(word.to_bytes(4, "big") for word in words)
    return raw.replace(b"\0", b"").decode("latin-1").strip()
