"""A cohort key that a TPM lets be used by the recorded code only, against those who change code, PCRs, or both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG
from tpm2_pytss.types import TPM2B_ECC_POINT, TPML_DIGEST_VALUES, TPMT_HA, TPMU_HA

from hwkm.crypto.p256 import load_point
from hwkm.errors import (
    CodeChanged,
    ConfigError,
    TokenAlreadyProvisioned,
    TokenError,
    TokenNotProvisioned,
    TokenPinIncorrect,
)
from hwkm.fleet.evidence import tpm as rules
from hwkm.formats.anchor import EMPTY_ROOT
from hwkm.formats.code_record import CodeRecord, manifest_digest
from hwkm.formats.evidence import TpmModule
from hwkm.formats.key_kind import KeyKind
from hwkm.secret import Pin
from hwkm.tokens import registry
from hwkm.tokens.token import Token
from hwkm.tokens.tpm import templates
from hwkm.tokens.tpm.authorisation import COHORT
from hwkm.tokens.tpm.code_bound_key import CodeBoundCohortKey
from hwkm.tokens.tpm.commands import ecdh_zgen
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import CommandRefused, error_number
from hwkm.tokens.tpm.hmac_session import Entity, HmacSession, Prepared, send_plain, sized
from hwkm.tokens.tpm.opened import TpmToken
from hwkm.tokens.tpm.pcrs import read_pcrs
from hwkm.tokens.tpm.provisioning import esapi_session
from tests.contract.devices import Device, MemoryDevice, SwtpmDevice, inventory, open_token, opened, provision
from tests.contract.keys import domain_of, new_name
from tests.contract.test_tpm import PEER, POINT, handles, owner, value

pytestmark = pytest.mark.needs("swtpm")

CODE_PCR = 13
BOOT_PCRS = (0, 7)
MANIFEST = {
    "hwkm/core/life.py": "11" * 32,
    "hwkm/thm/opening.py": "22" * 32,
    "setting max_attempts_limit": "33" * 32,
}
CHANGED = MANIFEST | {"hwkm/thm/opening.py": "44" * 32}

POLICY_PCR = 0x17F
AUTH_UNAVAILABLE, POLICY_FAIL, LOCALITY = 0x12F, 0x09D, 0x907


@pytest.fixture
def blank() -> Iterator[SwtpmDevice]:
    device = SwtpmDevice()
    device.pin_file.write_bytes(b"a pin of thirty-two bytes length")
    try:
        yield device
    finally:
        device.stop()


@pytest.fixture
def record(blank: SwtpmDevice) -> CodeRecord:
    """The record of a key that was made in ``blank``."""
    return set_up(blank)


def recorded(device: Device, manifest: dict[str, str] = MANIFEST) -> CodeRecord:
    with Pin(device.pin) as pin:
        return registry.record_code(device.uri, pin, CODE_PCR, BOOT_PCRS, manifest)


def set_up(device: Device) -> CodeRecord:
    record = recorded(device)
    with Pin(device.pin) as pin:
        registry.provision_code_bound(device.uri, pin, record)
    return record


@contextmanager
def started(
    device: Device, record: CodeRecord, manifest: dict[str, str] = MANIFEST, pin: bytes | None = None
) -> Iterator[Token]:
    """Open the device as a core does that has this manifest."""
    with Pin(pin or device.pin) as secret:
        token = registry.open_code_bound(device.uri, secret, record, manifest)
    try:
        token.verify_key_policy()
        yield token
    finally:
        token.close()


@contextmanager
def unchecked(device: SwtpmDevice, record: CodeRecord) -> Iterator[TpmToken]:
    """Open the device as code does that has dropped every check of itself, and measures nothing."""
    connection = Connection(f"swtpm:path={device.socket_path}")
    try:
        with Pin(device.pin) as pin:
            token = TpmToken(connection, handles(device), pin, record)
        yield token
        token.close()
    finally:
        connection.close()


def extend(device: SwtpmDevice, pcr: int, digest: bytes) -> None:
    """Extend a PCR as anybody can who reaches the TPM."""
    with owner(device) as connection:
        extend_by(connection, pcr, digest)


def extend_by(connection: Connection, pcr: int, digest: bytes) -> None:
    values = TPML_DIGEST_VALUES([TPMT_HA(hashAlg=TPM2_ALG.SHA256, digest=TPMU_HA(sha256=digest))])
    connection.esapi.pcr_extend(ESYS_TR.PCR0 + pcr, values)


def pcr_of(device: SwtpmDevice) -> bytes:
    with owner(device) as connection:
        return read_pcrs(connection, [CODE_PCR])[CODE_PCR]


def agreed(token: Token, times: int = 1) -> None:
    """See that the cohort key agrees as it should."""
    expected = PEER.exchange(ec.ECDH(), load_point(token.cohort_key.public_key()))
    assert list(token.cohort_key.agree([POINT] * times)) == [expected] * times


def refused_start(
    device: Device, record: CodeRecord, match: str, manifest: dict[str, str] = MANIFEST
) -> None:
    """See that a core with this manifest does not start."""
    with pytest.raises(CodeChanged, match=match), started(device, record, manifest):
        pass


def refused_by_the_tpm(device: SwtpmDevice, record: CodeRecord) -> None:
    """See that the TPM lets code that has dropped every check not use the key either."""
    with (
        unchecked(device, record) as token,
        pytest.raises(CodeChanged, match="the TPM refuses the cohort key"),
    ):
        agreed(token)


# --- it works ---------------------------------------------------------------------------------


def test_it_opens_and_agrees(blank: SwtpmDevice, record: CodeRecord) -> None:
    with started(blank, record) as token:
        agreed(token)
        agreed(token, times=5)
        assert list(token.cohort_key.agree([])) == []
    assert len(inventory(blank)) == 5


def test_a_restart_in_the_same_boot_finds_the_measurement_and_adds_none(
    blank: SwtpmDevice, record: CodeRecord
) -> None:
    for _ in range(3):
        with started(blank, record) as token:
            agreed(token)
        assert pcr_of(blank) == record.measured_value()


def test_a_power_cycle_measures_again(blank: SwtpmDevice, record: CodeRecord) -> None:
    with started(blank, record) as token:
        token.anchor.advance(token.anchor.read().next(EMPTY_ROOT))
    blank.restart()
    assert pcr_of(blank) == bytes(32)
    with started(blank, record) as token:
        assert token.anchor.read().epoch == 1
        agreed(token)


def test_a_pcr_that_is_not_bound_may_be_extended_at_any_moment(
    blank: SwtpmDevice, record: CodeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [True, True, True]
    original = HmacSession.prepare

    def prepare(
        session: HmacSession,
        code: int,
        used: tuple[Entity, ...],
        first: bytes | None,
        rest: bytes,
        flags: int,
    ) -> Prepared:
        """Between the proof of the policy and its use; as Linux does for each program that it runs."""
        if left:
            left.pop()
            assert isinstance(session.transport, Connection)
            extend_by(session.transport, 10, bytes(32))
        return original(session, code, used, first, rest, flags)

    with started(blank, record) as token:
        monkeypatch.setattr(HmacSession, "prepare", prepare)
        agreed(token, times=3)
    assert left == []


def test_it_agrees_while_more_keys_are_loaded_than_the_tpm_has_room_for(
    blank: SwtpmDevice, record: CodeRecord
) -> None:
    with started(blank, record) as token:
        domain = domain_of(token)
        names = [new_name() for _ in range(4)]
        loaded = [
            domain.load(name, KeyKind.SYMMETRIC, domain.create(name, KeyKind.SYMMETRIC).wrapped)
            for name in names
        ]
        for key in loaded:
            before = list(key.hmac([b"message"]))
            agreed(token, times=2)
            assert list(key.hmac([b"message"])) == before


# --- changed code -----------------------------------------------------------------------------


def test_a_changed_file_is_named_and_nothing_is_measured(blank: SwtpmDevice, record: CodeRecord) -> None:
    refused_start(blank, record, r"hwkm/thm/opening\.py was changed$", CHANGED)
    assert pcr_of(blank) == bytes(32)
    with started(blank, record) as token:
        agreed(token)


def test_a_changed_file_is_named_after_the_recorded_code_ran(blank: SwtpmDevice, record: CodeRecord) -> None:
    with started(blank, record) as token:
        agreed(token)
    refused_start(blank, record, r"hwkm/thm/opening\.py was changed$", CHANGED)


def test_files_added_and_removed_are_named(blank: SwtpmDevice, record: CodeRecord) -> None:
    found = {name: digest for name, digest in MANIFEST.items() if name != "hwkm/core/life.py"}
    found["hwkm/evil.so"] = "55" * 32
    refused_start(blank, record, r"hwkm/evil\.so was added; hwkm/core/life\.py was removed$", found)


def test_changed_code_that_measures_itself_is_refused_by_the_tpm(
    blank: SwtpmDevice, record: CodeRecord
) -> None:
    extend(blank, CODE_PCR, manifest_digest(CHANGED))
    refused_by_the_tpm(blank, record)


def test_code_that_measures_nothing_is_refused_by_the_tpm(blank: SwtpmDevice, record: CodeRecord) -> None:
    refused_by_the_tpm(blank, record)


def test_a_record_made_to_fit_the_changed_code_is_refused_by_hwkm_and_by_the_tpm(
    blank: SwtpmDevice, record: CodeRecord
) -> None:
    forged = CodeRecord(boot_pcrs=record.boot_pcrs, code_pcr=CODE_PCR, manifest=CHANGED)
    refused_start(blank, forged, "not the one that the cohort key is bound to", CHANGED)
    extend(blank, CODE_PCR, manifest_digest(CHANGED))
    refused_by_the_tpm(blank, forged)


# --- PCRs extended by others ------------------------------------------------------------------


def test_somebody_extended_the_pcr_before_the_start(blank: SwtpmDevice, record: CodeRecord) -> None:
    extend(blank, CODE_PCR, b"somebody else's measurement.....")
    refused_start(blank, record, "PCR 13 is neither as after a boot nor as this code leaves it")
    blank.restart()
    with started(blank, record) as token:
        agreed(token)


def test_somebody_extended_the_pcr_while_the_core_runs(blank: SwtpmDevice, record: CodeRecord) -> None:
    with started(blank, record) as token:
        agreed(token)
        assert isinstance(token, TpmToken)
        extend_by(token._connection, CODE_PCR, bytes(32))
        with pytest.raises(CodeChanged, match="the TPM refuses the cohort key"):
            agreed(token)
    refused_start(blank, record, "PCR 13 is neither")


def test_a_machine_that_booted_otherwise_is_named_and_refused_by_the_tpm(
    blank: SwtpmDevice, record: CodeRecord
) -> None:
    extend(blank, 7, b"secure boot is switched off.....")
    refused_start(blank, record, "not booted as it was when the cohort key was made: PCR 7 differs")
    extend(blank, CODE_PCR, manifest_digest(MANIFEST))
    refused_by_the_tpm(blank, record)


def test_the_pcr_cannot_be_set_back(blank: SwtpmDevice, record: CodeRecord) -> None:
    with started(blank, record):
        pass
    with owner(blank) as connection, pytest.raises(TSS2_Exception) as refused:
        connection.esapi.pcr_reset(ESYS_TR.PCR0 + CODE_PCR)
    assert error_number(int(refused.value.rc)) == LOCALITY


# --- the TPM's own refusals, with the PIN in hand ----------------------------------------------


def test_the_authorisation_value_alone_does_not_let_the_key_be_used(
    blank: SwtpmDevice, record: CodeRecord
) -> None:
    with started(blank, record) as token:
        assert isinstance(token, TpmToken)
        with pytest.raises(CommandRefused) as refused:
            ecdh_zgen(token._session, token._cohort, POINT)
    assert refused.value.code == AUTH_UNAVAILABLE


def test_the_pcrs_alone_do_not_let_the_key_be_used(blank: SwtpmDevice, record: CodeRecord) -> None:
    with started(blank, record) as token:
        assert isinstance(token, TpmToken)
        with closing(HmacSession(token._connection, *token._salt, policy=True)) as session:
            condition = sized(record.pcr_digest()) + record.selection()
            send_plain(token._connection, POLICY_PCR, session.handle.to_bytes(4, "big") + condition)
            with pytest.raises(CommandRefused) as refused:
                ecdh_zgen(session, token._cohort, POINT)
    assert error_number(refused.value.code) == POLICY_FAIL


def test_a_policy_holds_for_one_use_only(blank: SwtpmDevice, record: CodeRecord) -> None:
    with started(blank, record) as token:
        assert isinstance(token, TpmToken)
        key = token.cohort_key
        assert isinstance(key, CodeBoundCohortKey)
        with closing(HmacSession(token._connection, *token._salt, policy=True)) as session:
            key._agree_once(session, POINT)
            with pytest.raises(CommandRefused) as refused:
                ecdh_zgen(session, token._cohort, POINT)
    assert error_number(refused.value.code) == POLICY_FAIL


def test_a_key_given_another_authorisation_value_has_the_same_policy(
    blank: SwtpmDevice, record: CodeRecord
) -> None:
    """TPM2_ObjectChangeAuth is the one thing that the value alone allows with the private part."""
    with owner(blank) as connection:
        esapi, own = connection.esapi, b"a value of the attacker's"
        storage = esapi.tr_from_tpmpublic(handles(blank).storage)
        cohort = esapi.tr_from_tpmpublic(handles(blank).cohort)
        esapi.tr_set_auth(cohort, value(blank, COHORT).expose())
        with esapi_session(connection, storage) as session:
            private = esapi.object_change_auth(cohort, storage, own, session1=session)
            public, *_ = esapi.read_public(cohort)
            assert bytes(public.publicArea.authPolicy) == record.policy_digest()
            copy = esapi.load(storage, private, public)
            esapi.tr_set_auth(copy, own)
            with pytest.raises(TSS2_Exception) as refused:
                esapi.ecdh_zgen(copy, TPM2B_ECC_POINT(public.publicArea.unique.ecc), session1=session)
            esapi.flush_context(copy)
    assert int(refused.value.rc) == AUTH_UNAVAILABLE


def test_a_wrong_pin_is_refused(blank: SwtpmDevice, record: CodeRecord) -> None:
    with pytest.raises(TokenPinIncorrect), started(blank, record, pin=b"another pin of some length"):
        pass


# --- set-up, and what it was not set up for ----------------------------------------------------


def test_set_up_refuses_a_pcr_into_which_something_was_measured(blank: SwtpmDevice) -> None:
    record = recorded(blank)
    extend(blank, CODE_PCR, bytes(32))
    with pytest.raises(CodeChanged, match="PCR 13 was extended since the machine was started"):
        recorded(blank)
    with Pin(blank.pin) as pin, pytest.raises(CodeChanged, match="PCR 13 was extended"):
        registry.provision_code_bound(blank.uri, pin, record)
    assert inventory(blank) == []


def test_set_up_refuses_a_tpm_that_holds_something(blank: SwtpmDevice, record: CodeRecord) -> None:
    before = inventory(blank)
    with pytest.raises(TokenAlreadyProvisioned):
        recorded(blank)
    with Pin(blank.pin) as pin, pytest.raises(TokenAlreadyProvisioned):
        registry.provision_code_bound(blank.uri, pin, record)
    assert inventory(blank) == before


def test_a_blank_tpm_does_not_start(blank: SwtpmDevice) -> None:
    with pytest.raises(TokenNotProvisioned), started(blank, recorded(blank)):
        pass
    assert pcr_of(blank) == bytes(32)


def test_a_bound_key_is_not_served_without_its_record(blank: SwtpmDevice, record: CodeRecord) -> None:
    with opened(blank) as token:
        assert len(token.cohort_key.public_key()) == 65
        with pytest.raises(ConfigError, match=r"is bound to code.*code_bound = true"):
            token.verify_key_policy()
        with pytest.raises(TokenError):
            agreed(token)


def test_a_key_that_is_not_bound_is_not_served_as_one(blank: SwtpmDevice) -> None:
    record = recorded(blank)
    provision(blank)
    with (
        pytest.raises(ConfigError, match=r"is not bound to code.*code_bound = false"),
        started(blank, record),
    ):
        pass
    open_token(blank).close()


def test_the_tpm_certifies_the_bound_key(blank: SwtpmDevice, record: CodeRecord) -> None:
    with started(blank, record) as token:
        module = token.evidence(bytes(32))
        assert isinstance(module, TpmModule)
        agreed(token)
    assert module.code == record
    assert module.pcrs[CODE_PCR] == record.measured_value().hex()


def test_evidence_and_tpm_agree_on_the_attributes() -> None:
    assert int(rules.CODE_BOUND_COHORT) == int(templates.CODE_BOUND_ATTRIBUTES)


def test_only_a_tpm_binds_keys_to_code() -> None:
    device = MemoryDevice()
    try:
        with pytest.raises(ConfigError, match="only a TPM"):
            recorded(device)
    finally:
        device.stop()
