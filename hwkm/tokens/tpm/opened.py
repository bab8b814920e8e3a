"""An opened TPM with the keys and the anchor that hwkm made in it."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

from msgspec.structs import replace
from tpm2_pytss.constants import TPM2_PT, TPM2_PT_FIRMWARE, TPM2_PT_HR, TPM2_PT_VENDOR, TPMA_OBJECT
from tpm2_pytss.types import TPM2B_PUBLIC

from hwkm.errors import (
    AnchorTampered,
    CodeChanged,
    ConfigError,
    TokenPinIncorrect,
    TokenUnavailable,
)
from hwkm.formats.anchor import AnchorState
from hwkm.formats.code_record import CodeRecord
from hwkm.formats.domain_token import ExchangeStatement
from hwkm.formats.evidence import Answer, Challenge, SharedKey, TpmModule
from hwkm.formats.wrapped_key import Backend
from hwkm.secret import Pin, SecretBytes
from hwkm.thm.ports import CohortKey, Domain
from hwkm.tokens.cohort import Stage
from hwkm.tokens.pairing import verify_cohort, verify_key_pairs
from hwkm.tokens.token import TokenDescription
from hwkm.tokens.tpm.anchor import TpmAnchor
from hwkm.tokens.tpm.authorisation import (
    ANCHOR,
    AUDIT,
    COHORT,
    COHORT_COUNTER,
    COHORT_RECORD,
    authorisation_value,
)
from hwkm.tokens.tpm.code_bound_key import CodeBoundCohortKey
from hwkm.tokens.tpm.cohort_indices import count_up_to, mark_invited, read_counter, read_record
from hwkm.tokens.tpm.commands import sign_sha256, vouched_handles
from hwkm.tokens.tpm.connection import LOADED_SESSION_FIRST, SAVED_SESSION_FIRST, Connection
from hwkm.tokens.tpm.domain_keys import DomainKeys
from hwkm.tokens.tpm.errors import CommandRefused, refused_authorisation, translated
from hwkm.tokens.tpm.evidence import Keys, Witness
from hwkm.tokens.tpm.history import History
from hwkm.tokens.tpm.hmac_session import Entity, HmacSession
from hwkm.tokens.tpm.keys import TpmAuditKey, TpmCohortKey
from hwkm.tokens.tpm.objects import Handles, existing, existing_domain, public_point
from hwkm.tokens.tpm.policy import verify_public_area
from hwkm.tokens.tpm.provisioning import esapi_session
from hwkm.tokens.tpm.templates import AUDIT_ATTRIBUTES, STORAGE_ATTRIBUTES

_RANDOM_BYTES_MAX: Final = 32  # what every TPM gives at a time


class TpmToken:
    """An opened TPM."""

    def __init__(
        self, connection: Connection, handles: Handles, pin: Pin, code: CodeRecord | None = None
    ) -> None:
        """Find hwkm's objects and check that they belong together; ``code`` is what the cohort key is bound to.

        Raises:
            TokenPinIncorrect: every object refused the authorisation that the PIN gives.
            AnchorTampered: keys and anchor do not belong together.
            TokenError: the hardware failed.
        """
        self._connection, self._code = connection, code
        with translated("finding hwkm's objects in the TPM"):
            self._load(connection, handles, pin)
        self.domain: Domain | None = self._domain_keys.domain(self.audit_key)
        state = self._read_anchor()
        verify_cohort(state, self.cohort_key.public_key())
        self.membership = state.membership
        with translated("reading what the TPM keeps about its cohort"):
            self._read_history()
        if not connection.has_resource_manager:
            with translated("counting the TPM's sessions"):
                self._verify_alone(handles.storage)

    def random(self, length: int) -> bytes:
        value = b""
        with translated("drawing random bytes"):
            while len(value) < length:
                wanted = min(length - len(value), _RANDOM_BYTES_MAX)
                value += bytes(self._connection.esapi.get_random(wanted))
        return value

    def verify_code_binding(self) -> None:
        """Check that the cohort key is bound to the code that it was opened for, and to none without one.

        Raises:
            ConfigError: it is bound and should not be, or the other way round.
            CodeChanged: it is bound to another record.
        """
        bound = not int(self._cohort_public.publicArea.objectAttributes) & TPMA_OBJECT.USERWITHAUTH
        if bound != (self._code is not None):
            is_not, value = ("is", "true") if bound else ("is not", "false")
            raise ConfigError(
                f"the cohort key {is_not} bound to code, and stays so: set [token] code_bound = {value}"
            )
        policy = bytes(self._cohort_public.publicArea.authPolicy)
        if self._code and self._code.policy_digest() != policy:
            raise CodeChanged("the record of the code is not the one that the cohort key is bound to")

    def verify_key_policy(self) -> None:
        self.verify_code_binding()
        for name, (public, attributes) in (self._public_areas | self._domain_keys.public_areas()).items():
            verify_public_area(name, public, attributes)
        self.history.verify(self.membership, self._cohort_public)
        verify_key_pairs(self.cohort_key, self.audit_key)
        self._domain_keys.verify_authorisations()

    def describe(self) -> TokenDescription:
        fixed = self._connection.properties(TPM2_PT.FIXED, 64)
        variable = self._connection.properties(TPM2_PT.VAR, 64)
        version = fixed.get(TPM2_PT_FIRMWARE.VERSION_1, 0)
        return TokenDescription(
            kind="tpm",
            manufacturer=_text([fixed.get(TPM2_PT.MANUFACTURER, 0)]),
            model=_text([fixed.get(TPM2_PT_VENDOR.STRING_1 + offset, 0) for offset in range(4)]),
            label="",
            serial="",
            firmware=f"{version >> 16}.{version & 0xFFFF}",
            persistent_keys_free=variable.get(TPM2_PT_HR.PERSISTENT_AVAIL),
        )

    def evidence(self, nonce: bytes, intermediates: tuple[bytes, ...] = ()) -> TpmModule:
        witness = self._witness()
        module = witness.module(nonce, _facts(self.describe()), intermediates)
        if self._code:
            return replace(module, code=self._code)
        return replace(module, shared=self._shared(witness, nonce)) if self.membership.members > 1 else module

    def answer(self, challenge: Challenge) -> Answer:
        return self._witness().answer(challenge)

    def close(self) -> None:
        self._domain_keys.close()
        self._session.close()
        self._second_session.close()
        self._connection.close()

    def _shared(self, witness: Witness, nonce: bytes) -> SharedKey:
        """Return what the TPM says of the way of a key that several have."""
        record = self.history.verified_record().encode().hex()
        if not self.membership.number:
            return SharedKey(
                record=record, counter_certified=witness.counter_certified(self._counter(), nonce)
            )
        # Its authorisation value is empty, and an HMAC key that is zeros is as one that is empty.
        storage = Entity(self._handles.storage, self._storage_name, SecretBytes(b"\0"))
        certified = witness.certified(storage, nonce)
        public = _marshalled(self._public_areas["storage primary"][0]).hex()
        return SharedKey(record=record, storage_certified=certified, storage_public=public)

    def _witness(self) -> Witness:
        publics = {
            self._cohort.handle: _marshalled(self._cohort_public),
            self._audit.handle: _marshalled(self._public_areas["audit key"][0]),
        }
        attestation = self._domain_keys.attestation()
        publics[attestation.handle] = self._domain_keys.attestation_public()
        keys = Keys(self._cohort, self._audit, attestation)
        sessions = (self._session, self._second_session)
        return Witness(self._connection, sessions, self._salt, keys, lambda key: publics[key.handle])

    def _load(self, connection: Connection, handles: Handles, pin: Pin) -> None:
        storage = connection.esapi.tr_from_tpmpublic(handles.storage)
        domain_handles = existing_domain(connection, handles)
        with esapi_session(connection, storage) as session:
            self._storage_name, storage_public = _find_key(connection, session, handles.storage)
            cohort_name, cohort_public = _find_key(connection, session, handles.cohort)
            audit_name, audit_public = _find_key(connection, session, handles.audit)
            anchor_name, anchor_size = _find_index(connection, session, handles.anchor)
            found = {handle: _find_key(connection, session, handle) for handle in domain_handles}
            taken = set(existing(connection, handles)) & set(handles.cohort_names())
            self._indices = {index: _find_index(connection, session, index) for index in taken}
        self._handles, self._cohort_public = handles, cohort_public
        # What a request by the attestation key that is here now would have as its fingerprint.
        self._attested = b""
        if handles.attestation in found:
            keys = _marshalled(storage_public), _marshalled(found[handles.attestation][1])
            self._attested = ExchangeStatement(Backend.TPM, *keys, b"", b"").fingerprint()
        self._counter_value = authorisation_value(pin, COHORT_COUNTER)
        self._record_value = authorisation_value(pin, COHORT_RECORD)
        self._public_areas: dict[str, tuple[TPM2B_PUBLIC, TPMA_OBJECT]] = {
            "storage primary": (storage_public, STORAGE_ATTRIBUTES),
            "audit key": (audit_public, AUDIT_ATTRIBUTES),
        }
        storage_point = public_point(storage_public)
        self._session = HmacSession(connection, handles.storage, storage_point)
        self._second_session = HmacSession(connection, handles.storage, storage_point)
        sessions = (self._session, self._second_session)
        self._salt = (handles.storage, storage_point)
        self._cohort = Entity(handles.cohort, cohort_name, authorisation_value(pin, COHORT))
        self._audit = Entity(handles.audit, audit_name, authorisation_value(pin, AUDIT))
        self._anchor = Entity(handles.anchor, anchor_name, authorisation_value(pin, ANCHOR))
        point = public_point(cohort_public)
        self.cohort_key: CohortKey = (
            CodeBoundCohortKey(connection, self._salt, self._cohort, point, self._code)
            if self._code
            else TpmCohortKey(connection, sessions, self._cohort, point)
        )
        self.audit_key = TpmAuditKey(self._session, self._audit, public_point(audit_public))
        self.anchor = TpmAnchor(self._session, self._anchor, anchor_size)
        self._domain_keys = DomainKeys(connection, handles, sessions, storage_point, pin, found)

    @property
    def stage(self) -> Stage:
        """How far the TPM is on its way into a cohort. Raises AnchorTampered: counter or record is missing."""
        if self.membership.members == 1:
            return Stage.ALONE
        if self.membership.number:
            asked_by = self.history.verified_record().fingerprints[self.membership.number - 1]
            return Stage.JOINING if asked_by == self._attested else Stage.JOINED
        return Stage.SEALED if self.history.is_sealed(self.membership) else Stage.UNSEALED

    def note_invited(self, number: int) -> None:
        """Note in the record that a member was invited. Raises TokenError."""
        with translated("noting an invitation"):
            mark_invited(self._session, self._record_index(), self.history.verified_record(), number)

    def seal_cohort(self) -> None:
        """Let the counter reach the limit: no policy session can allow a duplication any more. Raises TokenError."""
        with translated("sealing the cohort"):
            count_up_to(self._session, self._counter(), self.history.verified_record().terms.limit)

    def _counter(self) -> Entity:
        return Entity(self._handles.counter, self._indices[self._handles.counter][0], self._counter_value)

    def _record_index(self) -> Entity:
        return Entity(self._handles.record, self._indices[self._handles.record][0], self._record_value)

    def _read_history(self) -> None:
        record = counter = None
        if self._handles.record in self._indices and self.membership.members > 1:
            size = self._indices[self._handles.record][1]
            record = read_record(self._session, self._record_index(), size)
        if self._handles.counter in self._indices and self.membership.members > 1:
            counter = read_counter(self._session, self._counter())
        self.history = History(
            self._storage_name, self._audit.name, self._handles.counter, record, counter, self._code
        )

    def _verify_alone(self, storage: int) -> None:
        """Check that no session of an earlier life is left in the TPM, before anything is answered.

        A write of the anchor that somebody on the bus holds back stays good as long as its session
        lives. Flushing is not authenticated: he could answer it himself. So the TPM has to vouch
        that there are no sessions but ours; what is withheld in any other is void then. Behind a
        resource manager there may be others', and this cannot be known.

        Raises:
            TokenUnavailable: there is another one.
            CommandRefused: the TPM refused.
        """
        point = public_point(self._public_areas["storage primary"][0])
        with closing(HmacSession(self._connection, storage, point, bind=self._anchor)) as session:
            alive = vouched_handles(session, LOADED_SESSION_FIRST)
            alive |= vouched_handles(session, SAVED_SESSION_FIRST)
            others = alive - {session.handle, self._session.handle, self._second_session.handle}
        if others:
            raise TokenUnavailable(f"{len(others)} sessions are alive in the TPM although they were flushed")

    def _read_anchor(self) -> AnchorState:
        """Read the anchor; tell a wrong PIN (refused everywhere) from a foreign index."""
        try:
            return self.anchor.read()
        except AnchorTampered as exc:
            if self._audit_key_refuses():
                raise TokenPinIncorrect("the TPM refuses the PIN for every object") from exc
            raise

    def _audit_key_refuses(self) -> bool:
        try:
            sign_sha256(self._session, self._audit, bytes(32))
        except CommandRefused as exc:
            return refused_authorisation(exc.code)
        return False


def _find(connection: Connection, session: Any, handle: int) -> tuple[Any, bytes]:
    """Return ESAPI's object at a handle and its Name, read under the session's HMAC."""
    item = connection.esapi.tr_from_tpmpublic(handle, session1=session)
    return item, bytes(connection.esapi.tr_get_name(item))


def _find_key(connection: Connection, session: Any, handle: int) -> tuple[bytes, TPM2B_PUBLIC]:
    """Return the Name and the public area of a persistent key, read under the session's HMAC."""
    item, name = _find(connection, session, handle)
    public, *_ = connection.esapi.read_public(item, session1=session)
    return name, public


def _find_index(connection: Connection, session: Any, handle: int) -> tuple[bytes, int]:
    """Return the Name of an NV index and its size in bytes, read under the session's HMAC."""
    item, name = _find(connection, session, handle)
    public, _ = connection.esapi.nv_read_public(item, session1=session)
    return name, int(public.nvPublic.dataSize)


def _marshalled(public: TPM2B_PUBLIC) -> bytes:
    data: bytes = public.publicArea.marshal()
    return data


def _facts(description: TokenDescription) -> dict[str, str]:
    return {name: getattr(description, name) for name in ("manufacturer", "model", "firmware")}


def _text(words: list[int]) -> str:
    """Return what a TPM packs into 32-bit properties as text."""
    raw = b"".join(word.to_bytes(4, "big") for word in words)
    return raw.replace(b"\0", b"").decode("latin-1").strip()
