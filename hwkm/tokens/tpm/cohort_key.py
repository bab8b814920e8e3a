"""The cohort key of several TPMs: made in the first, and brought into the others (``docs/spec/cohort.md``).

It can be duplicated only to the storage keys of the members that were named when it was made, only by the
TPM in which the first member's audit key is, and only while that member's NV counter is below its limit. The TPM
enforces all three by the key's authPolicy, so nobody can change them, no owner and no thief of the PIN.

Made once, by ESAPI. What passes from one TPM to the other is protected as a customer master key in a domain
token: a credential for the receiver's attestation key and storage key tells a secret, from which the key's
passing authorisation value and the inner wrapping key are derived.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_EO, TPM2_RC, TPM2_SE, TPMA_SESSION
from tpm2_pytss.types import (
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_ID_OBJECT,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPML_DIGEST,
    TPMS_SENSITIVE_CREATE,
    TPMT_PUBLIC,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF_OBJECT,
    TPMU_SYM_KEY_BITS,
    TPMU_SYM_MODE,
)

from hwkm.crypto.labels import COHORT_ORIGIN
from hwkm.errors import CohortSealed
from hwkm.formats.cohort_terms import CohortTerms
from hwkm.secret import SecretBytes
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import error_number, translated
from hwkm.tokens.tpm.exchange import derived_secrets, make_credential
from hwkm.tokens.tpm.key_templates import name_of
from hwkm.tokens.tpm.provisioning import persist
from hwkm.tokens.tpm.templates import members_cohort_template, session_cipher

_SECRET_BYTES: Final = 32
_ORIGIN: Final = hashlib.sha256(COHORT_ORIGIN).digest()


@dataclass(frozen=True, slots=True)
class Origin:
    """The TPM's word that it made a key: creation data, TPM2_CertifyCreation, its signature (r, s)."""

    creation_data: bytes
    attest: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Travelling:
    """A cohort key on its way: TPMT_PUBLIC, and the contents of TPM2B_PRIVATE and TPM2B_ENCRYPTED_SECRET."""

    public: bytes
    duplicate: bytes
    seed: bytes


@dataclass(frozen=True, slots=True)
class Desk:
    """ESAPI's view of a TPM: the connection, its session, and the storage primary."""

    connection: Connection
    session: Any
    storage: Any

    @property
    def esapi(self) -> Any:
        """The ESAPI context."""
        return self.connection.esapi

    def item(self, handle: int, value: SecretBytes) -> Any:
        """Return what is at a handle, ready to be used with its authorisation value. Raises TSS2_Exception."""
        found = self.esapi.tr_from_tpmpublic(handle, session1=self.session)
        self.esapi.tr_set_auth(found, value.expose())
        return found

    @contextmanager
    def loaded(self, private: Any, public: TPM2B_PUBLIC, value: SecretBytes) -> Iterator[Any]:
        """Load a child of the storage primary for a moment. Raises TSS2_Exception."""
        item = self.esapi.load(self.storage, private, public, session1=self.session)
        try:
            self.esapi.tr_set_auth(item, value.expose())
            yield item
        finally:
            self.flush(item)

    def flush(self, item: Any) -> None:
        """Unload an object or session. A TPM that does not answer any more says so at its next use."""
        with suppress(TSS2_Exception):
            self.esapi.flush_context(item)


def make(
    desk: Desk, terms: CohortTerms, value: SecretBytes, attestation: Any, handle: int
) -> tuple[bytes, Origin]:
    """Make a cohort key under these terms, keep it at ``handle``; return its TPMT_PUBLIC and its origin.

    Raises:
        TokenFull: no room for another persistent object.
        TokenError: the hardware failed.
    """
    sensitive = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=value.expose()))
    with translated(f"making the cohort key at 0x{handle:08x}"):
        private, public, creation, creation_hash, ticket = desk.esapi.create(
            desk.storage, sensitive, members_cohort_template(terms.policy_digest()), session1=desk.session
        )
        transient = desk.esapi.load(desk.storage, private, public, session1=desk.session)
        try:
            scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
            attest, signature = desk.esapi.certify_creation(
                attestation, transient, _ORIGIN, creation_hash, scheme, ticket, session1=desk.session
            )
        except BaseException:
            desk.flush(transient)
            raise
        persist(desk.connection, transient, handle)
    origin = Origin(creation.creationData.marshal(), bytes(attest), ecdsa(signature))
    return public.publicArea.marshal(), origin


@dataclass(frozen=True, slots=True)
class Policy:
    """What satisfies the policy on the way to member ``number``: ESAPI's audit key and counter, and the terms."""

    audit: Any
    counter: Any
    terms: CohortTerms
    number: int


def send(desk: Desk, policy: Policy, cohort: Any, receiver: tuple[bytes, bytes]) -> tuple[bytes, Travelling]:
    """Wrap the cohort key to a member; return the transport and the key as it travels.

    ``receiver`` is TPMT_PUBLIC of that member's storage key and the Name of its attestation key.

    Raises:
        CohortSealed: the counter has reached the limit.
        TokenError: the hardware failed.
    """
    storage_key, attestation_name = receiver
    with SecretBytes(os.urandom(_SECRET_BYTES)) as secret, translated("wrapping the cohort key"):
        public, *_ = desk.esapi.read_public(cohort, session1=desk.session)
        marshalled = public.publicArea.marshal()
        transport = make_credential(point_of(storage_key), attestation_name, secret)
        passing, inner_key = derived_secrets(secret, name_of(marshalled))
        private = desk.esapi.object_change_auth(cohort, desk.storage, passing.expose(), session1=desk.session)
        with desk.loaded(private, public, passing) as item:
            parent = desk.esapi.load_external(TPM2B_PUBLIC(_public(storage_key)), None, ESYS_TR.NULL)
            try:
                with policy_session(desk, policy, name_of(marshalled)) as session:
                    _, duplicate, seed = desk.esapi.duplicate(
                        item, parent, TPM2B_DATA(inner_key.expose()), inner_cipher(), session1=session
                    )
            finally:
                desk.flush(parent)
    return transport, Travelling(marshalled, bytes(duplicate), bytes(seed))


def receive(
    desk: Desk,
    attestation: Any,
    transport: tuple[bytes, bytes],
    key: Travelling,
    value: SecretBytes,
    handle: int,
) -> None:
    """Take a key in that was wrapped to our storage key, and keep it at ``handle`` with a value of ours.

    ``transport`` is the contents of TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET.

    Raises:
        TSS2_Exception: it does not come in, or the TPM failed.
    """
    esapi, session = desk.esapi, desk.session
    credential = TPM2B_ID_OBJECT(transport[0]), TPM2B_ENCRYPTED_SECRET(transport[1])
    answer = esapi.activate_credential(
        attestation, desk.storage, *credential, session1=session, session2=ESYS_TR.PASSWORD
    )
    public = TPM2B_PUBLIC(_public(key.public))
    with SecretBytes(bytes(answer)) as secret:
        passing, inner_key = derived_secrets(secret, name_of(key.public))
    private = esapi.import_(
        desk.storage,
        TPM2B_DATA(inner_key.expose()),
        public,
        TPM2B_PRIVATE(key.duplicate),
        TPM2B_ENCRYPTED_SECRET(key.seed),
        inner_cipher(),
        session1=session,
    )
    with desk.loaded(private, public, passing) as item:
        ours = esapi.object_change_auth(item, desk.storage, value.expose(), session1=session)
    transient = esapi.load(desk.storage, ours, public, session1=session)
    persist(desk.connection, transient, handle)


@contextmanager
def policy_session(desk: Desk, policy: Policy, key_name: bytes) -> Iterator[Any]:
    """Give a policy session that authorises the duplication of the key with that Name.

    Raises:
        CohortSealed: the counter has reached the limit.
        TSS2_Exception: the TPM refused something else.
    """
    esapi, terms = desk.esapi, policy.terms
    attributes = TPMA_SESSION.CONTINUESESSION | TPMA_SESSION.DECRYPT | TPMA_SESSION.ENCRYPT
    session = esapi.start_auth_session(
        desk.storage, ESYS_TR.NONE, TPM2_SE.POLICY, session_cipher(), TPM2_ALG.SHA256
    )
    try:
        esapi.trsess_set_attributes(session, attributes, 0xFF)
        esapi.policy_secret(policy.audit, session, expiration=0, session1=desk.session)
        _policy_counter(desk, policy, session)
        esapi.policy_duplication_select(session, key_name, terms.parents[policy.number - 1], False)
        branches = terms.branches()
        if len(branches) > 1:
            esapi.policy_or(session, TPML_DIGEST([TPM2B_DIGEST(branch) for branch in branches]))
        yield session
    finally:
        desk.flush(session)


def _policy_counter(desk: Desk, policy: Policy, session: Any) -> None:
    counter, operand = policy.counter, policy.terms.operand()
    try:
        desk.esapi.policy_nv(
            counter, counter, session, operand, TPM2_EO.UNSIGNED_LT, 0, session1=desk.session
        )
    except TSS2_Exception as exc:
        if error_number(int(exc.rc)) == TPM2_RC.POLICY:
            raise CohortSealed("the cohort is sealed: its key cannot go to another member any more") from exc
        raise


def inner_cipher() -> TPMT_SYM_DEF_OBJECT:
    """Return AES-128-CFB, with which the key is wrapped inside the wrapping to the new parent."""
    return TPMT_SYM_DEF_OBJECT(
        algorithm=TPM2_ALG.AES, keyBits=TPMU_SYM_KEY_BITS(aes=128), mode=TPMU_SYM_MODE(aes=TPM2_ALG.CFB)
    )


def _public(marshalled: bytes) -> TPMT_PUBLIC:
    area, _ = TPMT_PUBLIC.unmarshal(marshalled)
    return area


def point_of(marshalled: bytes) -> bytes:
    """Return the point (65 bytes) of a P-256 key's TPMT_PUBLIC."""
    area = _public(marshalled)  # what follows lies in its memory
    unique = area.unique.ecc
    return b"\x04" + bytes(unique.x).rjust(32, b"\0") + bytes(unique.y).rjust(32, b"\0")


def ecdsa(signature: Any) -> bytes:
    """Return r and s of a TPMT_SIGNATURE, 32 bytes each."""
    numbers = signature.signature.ecdsa
    return bytes(numbers.signatureR).rjust(32, b"\0") + bytes(numbers.signatureS).rjust(32, b"\0")
