"""A key of a cohort of several, made by ESAPI in a real TPM as docs/spec/evidence.md says: what is proved of it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_EO, TPM2_SE, TPMA_NV, TPMA_OBJECT
from tpm2_pytss.types import (
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_NV_PUBLIC,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE,
    TPM2B_SENSITIVE_CREATE,
    TPML_DIGEST,
    TPMS_NV_PUBLIC,
    TPMT_SENSITIVE,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from tpm2_pytss.utils import wrap

from hwkm.crypto.p256 import encode_point
from hwkm.errors import EvidenceRefused
from hwkm.fleet.evidence.cohort import verify_member
from hwkm.fleet.evidence.findings import Trust
from hwkm.formats.cohort_record import CohortRecord
from hwkm.formats.cohort_terms import COUNTER_ATTRIBUTES, CohortTerms
from hwkm.formats.evidence import Attestation, MemberEvidence, SharedKey, TpmModule, extra_data
from hwkm.formats.tpm_structures import parse_ecc_public, parse_signature
from hwkm.secret import Pin
from hwkm.tokens.tpm.authorisation import AUDIT, KeyServiceAuthorisations, authorisation_value
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.objects import Handles
from hwkm.tokens.tpm.templates import cohort_template, session_cipher
from hwkm.tokens.uri import TpmUri, parse_token_uri
from tests.contract.devices import SwtpmDevice, opened
from tests.vectors.make_evidence import MADE_AT, evidence

pytestmark = pytest.mark.needs("swtpm", "swtpm_setup", "softhsm2-util")

NULL = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
COUNTER = 0x01906860


class First:
    """A provisioned TPM as the first member of a cohort: its objects by ESAPI, and their Names."""

    def __init__(self, connection: Connection, device: SwtpmDevice) -> None:
        uri = parse_token_uri(device.uri)
        assert isinstance(uri, TpmUri)
        handles = Handles.of(uri)
        self.esapi: Any = connection.esapi
        with Pin(device.pin) as pin:
            self.storage = self._item(handles.storage, b"")
            self.audit = self._item(handles.audit, authorisation_value(pin, AUDIT).expose())
            authorisations = KeyServiceAuthorisations(pin)
            self.attestation = self._item(handles.attestation, authorisations.attestation_key().expose())
        self.counter = self._define_counter()

    def name(self, item: Any) -> bytes:
        return bytes(self.esapi.tr_get_name(item))

    def value(self) -> int:
        return int.from_bytes(bytes(self.esapi.nv_read(self.counter, 8)), "big")

    def public(self, item: Any) -> bytes:
        area: bytes = self.esapi.read_public(item)[0].publicArea.marshal()
        return area

    def template(self, terms: CohortTerms) -> TPM2B_PUBLIC:
        """The public area of a cohort key of several."""
        template = cohort_template()
        attributes = TPMA_OBJECT.SENSITIVEDATAORIGIN | TPMA_OBJECT.USERWITHAUTH | TPMA_OBJECT.NODA
        attributes |= TPMA_OBJECT.ENCRYPTEDDUPLICATION | TPMA_OBJECT.DECRYPT
        template.publicArea.objectAttributes = attributes
        template.publicArea.authPolicy = terms.policy_digest()
        return template

    def make_key(self, terms: CohortTerms) -> tuple[Any, CohortRecord]:
        """Make a cohort key under the terms; return it and its record."""
        made = self.esapi.create(self.storage, TPM2B_SENSITIVE_CREATE(), self.template(terms))
        private, public, creation, creation_hash, ticket = made
        key = self.esapi.load(self.storage, private, public)
        origin = hashlib.sha256(b"hwkm cohort origin v1").digest()
        said, signature = self.esapi.certify_creation(
            self.attestation, key, origin, creation_hash, NULL, ticket
        )
        return key, CohortRecord(
            terms,
            self.public(self.attestation),
            creation.creationData.marshal(),
            bytes(said),
            parse_signature(signature.marshal()),
            tuple(bytes(32) for _ in terms.parents),
        )

    @contextmanager
    def policy(self, terms: CohortTerms, key: Any, kind: TPM2_SE) -> Iterator[Any]:
        """Give a session in which the first branch was proved."""
        session = self.esapi.start_auth_session(
            ESYS_TR.NONE, ESYS_TR.NONE, kind, session_cipher(), TPM2_ALG.SHA256
        )
        try:
            self.esapi.policy_secret(self.audit, session, expiration=0)
            self.esapi.policy_nv(self.counter, self.counter, session, terms.operand(), TPM2_EO.UNSIGNED_LT)
            self.esapi.policy_duplication_select(session, self.name(key), terms.parents[0], False)
            if len(terms.parents) > 1:
                branches = [TPM2B_DIGEST(branch) for branch in terms.branches()]
                self.esapi.policy_or(session, TPML_DIGEST(branches))
            yield session
        finally:
            self.esapi.flush_context(session)

    def certified(self, answer: tuple[Any, Any]) -> Attestation:
        said, signature = answer
        return Attestation(attest=bytes(said).hex(), signature=signature.marshal().hex())

    def _item(self, handle: int, value: bytes) -> Any:
        item = self.esapi.tr_from_tpmpublic(handle)
        self.esapi.tr_set_auth(item, value)
        return item

    def _define_counter(self) -> Any:
        public = TPMS_NV_PUBLIC(
            nvIndex=COUNTER, nameAlg=TPM2_ALG.SHA256, attributes=TPMA_NV(COUNTER_ATTRIBUTES), dataSize=8
        )
        item = self.esapi.nv_define_space(b"", TPM2B_NV_PUBLIC(public))
        self.esapi.nv_increment(item)
        return item


@dataclass
class Member:
    """What the TPM alone says, to which what it has of a cohort is added."""

    evidence: MemberEvidence
    device: SwtpmDevice

    def signed(self, module: TpmModule, cohort_key: bytes, members: int) -> MemberEvidence:
        """The statement of the first member, signed by the audit key."""
        statement = msgspec.structs.replace(
            self.evidence.statement, module=module, cohort_key=cohort_key.hex(), members=members
        )
        with opened(self.device) as token:
            return MemberEvidence(
                signature=token.audit_key.sign(statement.signed_digest()).hex(), statement=statement
            )


@pytest.fixture
def member(swtpm: SwtpmDevice) -> Member:
    with opened(swtpm) as token:
        return Member(evidence(token), swtpm)


def parents(first: First, count: int) -> tuple[bytes, ...]:
    """Names of storage keys; the first is this TPM's own, so that a duplication can be tried."""
    others = (b"\0\x0b" + hashlib.sha256(bytes([number])).digest() for number in range(1, count))
    return (first.name(first.storage), *others)


@pytest.mark.parametrize("others", [1, 2, 8])
def test_what_is_proved_of_a_shared_key_holds_in_the_tpm(member: Member, others: int) -> None:
    connection = Connection(f"swtpm:path={member.device.socket_path}")
    try:
        first = First(connection, member.device)
        limit = first.value() + 1
        terms = CohortTerms(COUNTER, limit, first.name(first.audit), parents(first, others))
        assert terms.counter_name() == first.name(first.counter)
        key, record = first.make_key(terms)
        with first.policy(terms, key, TPM2_SE.TRIAL) as trial:
            assert bytes(first.esapi.policy_get_digest(trial)) == terms.policy_digest()
        duplicate(first, terms, key)
        early = certified_module(first, member, key, record)
        first.esapi.nv_increment(first.counter)
        with pytest.raises(TSS2_Exception):
            duplicate(first, terms, key)
        sealed = certified_module(first, member, key, record)
        public = first.public(key)
        first.esapi.flush_context(key)
    finally:
        connection.close()
    point = parse_ecc_public(public).point
    with pytest.raises(
        EvidenceRefused, match=f"not sealed: its counter is at {limit - 1}, and until {limit}"
    ):
        verify_member(member.signed(early, point, others + 1), Trust(MADE_AT))
    findings = verify_member(member.signed(sealed, point, others + 1), Trust(MADE_AT))
    assert f"can leave none any more: counter {limit}, limit {limit}" in findings[0].what


def test_a_key_that_was_brought_in_passes_for_none_that_a_tpm_made(member: Member) -> None:
    """Somebody who knows a key can bring it in with any public area, and the TPM certifies that; not its creation."""
    known = ec.derive_private_key(7, ec.SECP256R1())
    connection = Connection(f"swtpm:path={member.device.socket_path}")
    try:
        first = First(connection, member.device)
        terms = CohortTerms(COUNTER, first.value(), first.name(first.audit), parents(first, 2))
        made, record = first.make_key(terms)
        first.esapi.flush_context(made)
        key = brought_in(first, terms, known)
        module = certified_module(first, member, key, record)
        first.esapi.flush_context(key)
    finally:
        connection.close()
    with pytest.raises(EvidenceRefused, match="has made another object than the cohort key"):
        verify_member(member.signed(module, encode_point(known.public_key()), 3), Trust(MADE_AT))


def brought_in(first: First, terms: CohortTerms, known: ec.EllipticCurvePrivateKey) -> Any:
    """Import a private key that is known, as if it had been made here under the terms."""
    public, point = first.template(terms), encode_point(known.public_key())
    public.publicArea.unique.ecc.x, public.publicArea.unique.ecc.y = point[1:33], point[33:]
    scalar = known.private_numbers().private_value.to_bytes(32, "big")
    sensitive = TPM2B_SENSITIVE(TPMT_SENSITIVE(sensitiveType=TPM2_ALG.ECC))
    sensitive.sensitiveArea.sensitive.ecc = scalar
    storage = first.esapi.read_public(first.storage)[0]
    wrapped = wrap(storage.publicArea, public, sensitive, b"k" * 16, aes())
    inner, outer, seed = wrapped
    private = first.esapi.import_(first.storage, inner, public, outer, seed, aes())
    return first.esapi.load(first.storage, private, public)


def aes() -> TPMT_SYM_DEF_OBJECT:
    cipher = TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.AES)
    cipher.keyBits.aes, cipher.mode.aes = 128, TPM2_ALG.CFB
    return cipher


def duplicate(first: First, terms: CohortTerms, key: Any) -> None:
    """Duplicate to the first of the others; raises TSS2_Exception if the TPM refuses."""
    with first.policy(terms, key, TPM2_SE.POLICY) as session:
        first.esapi.duplicate(key, first.storage, TPM2B_DATA(b"k" * 16), aes(), session1=session)


def certified_module(first: First, member: Member, key: Any, record: CohortRecord) -> TpmModule:
    """The member's module with the key of a cohort of several."""
    statement = member.evidence.statement
    extra = extra_data(bytes.fromhex(statement.nonce))
    said = first.esapi.nv_certify(first.attestation, first.counter, extra, NULL, 8, auth_handle=first.counter)
    counted = first.certified(said)
    assert isinstance(statement.module, TpmModule)
    changed = msgspec.structs.replace(
        statement.module,
        cohort_public=first.public(key).hex(),
        cohort_certified=first.certified(first.esapi.certify(key, first.attestation, extra, NULL)),
        shared=SharedKey(record=record.encode().hex(), counter_certified=counted),
    )
    assert isinstance(changed, TpmModule)
    return changed
