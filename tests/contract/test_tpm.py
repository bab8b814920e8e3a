"""What only TPMs do: an owner who removes and defines again, listeners on the bus, response codes."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import ESYS_TR, TPM2_PT, TPMA_OBJECT
from tpm2_pytss.types import TPM2B_PUBLIC, TPMT_SYM_DEF_OBJECT

from hwkm.crypto.p256 import encode_point, load_point
from hwkm.errors import (
    AnchorTampered,
    AnchorUncertain,
    ConfigError,
    KeyExposedError,
    TokenAlreadyProvisioned,
    TokenBusy,
    TokenError,
    TokenFull,
    TokenNotProvisioned,
    TokenPinIncorrect,
    TokenUnavailable,
)
from hwkm.formats.anchor import ANCHOR_BYTES, EMPTY_ROOT, AnchorState
from hwkm.secret import Pin, SecretBytes
from hwkm.tokens import registry
from hwkm.tokens.pairing import cohort_digest
from hwkm.tokens.token import Token
from hwkm.tokens.tpm.authorisation import ANCHOR, AUDIT, COHORT, authorisation_value
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.objects import Handles, existing
from hwkm.tokens.tpm.provisioning import esapi_session, make_anchor, make_key
from hwkm.tokens.tpm.templates import COHORT_ATTRIBUTES, anchor_template, audit_template, cohort_template
from hwkm.tokens.uri import TpmUri, parse_token_uri
from tests.contract.bus import ECDH_ZGEN, NV_READ, NV_WRITE, Bus, command_code, refusal
from tests.contract.devices import SwtpmDevice, inventory, open_token, opened, provision

pytestmark = pytest.mark.needs("swtpm")

PEER = ec.generate_private_key(ec.SECP256R1())
POINT = encode_point(PEER.public_key())

NV_RATE, LOCKOUT, RETRY, TESTING, YIELDED, NV_UNAVAILABLE = 0x920, 0x921, 0x922, 0x90A, 0x908, 0x923


def handles(device: SwtpmDevice) -> Handles:
    uri = parse_token_uri(device.uri)
    assert isinstance(uri, TpmUri)
    return Handles.of(uri)


def value(device: SwtpmDevice, name: bytes) -> SecretBytes:
    with Pin(device.pin) as pin:
        return authorisation_value(pin, name)


@contextmanager
def owner(device: SwtpmDevice) -> Iterator[Connection]:
    """A connection of the TPM's owner, whose authorisation is empty as on most machines."""
    connection = Connection(f"swtpm:path={device.socket_path}", alone=False)
    try:
        yield connection
    finally:
        connection.close()


def evict(connection: Connection, handle: int) -> None:
    item = connection.esapi.tr_from_tpmpublic(handle)
    connection.esapi.evict_control(ESYS_TR.OWNER, item, handle)


def undefine(connection: Connection, index: int) -> None:
    connection.esapi.nv_undefine_space(connection.esapi.tr_from_tpmpublic(index))


def define_again(connection: Connection, index: int, authorisation: bytes, contents: bytes | None) -> None:
    """Define an index with hwkm's public area but another authorisation value, and write it."""
    esapi = connection.esapi
    item = esapi.nv_define_space(authorisation, anchor_template(index, ANCHOR_BYTES))
    if contents is not None:
        esapi.tr_set_auth(item, authorisation)
        esapi.nv_write(item, contents)


def replace_key(
    connection: Connection,
    device: SwtpmDevice,
    handle: int,
    template: TPM2B_PUBLIC,
    authorisation: SecretBytes,
) -> bytes:
    """Put another key of the same storage primary at a handle and return its public point."""
    evict(connection, handle)
    storage = connection.esapi.tr_from_tpmpublic(handles(device).storage)
    with esapi_session(connection, storage) as session:
        return make_key(connection, storage, session, template, authorisation, handle)


def property_of(connection: Connection, number: int) -> int:
    return connection.properties(number, 1)[number]


# --- the anchor's index changed by the owner --------------------------------------------------


def test_the_anchor_index_removed_is_tampering_and_blocks_a_new_set_up(swtpm: SwtpmDevice) -> None:
    with owner(swtpm) as connection:
        undefine(connection, handles(swtpm).anchor)
    with pytest.raises(AnchorTampered, match="lacks the anchor"):
        open_token(swtpm)
    with pytest.raises(TokenAlreadyProvisioned) as refused:
        provision(swtpm)
    assert len(inventory(swtpm)) == 4
    assert all(line in str(refused.value) for line in inventory(swtpm))


@pytest.mark.parametrize("authorisation", [b"", b"guessed", bytes(31) + b"\x01"])
def test_the_anchor_index_defined_again_with_same_name_and_contents_is_refused(
    swtpm: SwtpmDevice, authorisation: bytes
) -> None:
    with opened(swtpm) as token:
        state = token.anchor.read()
    before = inventory(swtpm)
    with owner(swtpm) as connection:
        undefine(connection, handles(swtpm).anchor)
        define_again(connection, handles(swtpm).anchor, authorisation, state.encode())
    assert inventory(swtpm) == before  # the same Name: the TPM itself cannot tell them apart
    with pytest.raises(AnchorTampered):
        open_token(swtpm)
    swtpm.restart()
    with pytest.raises(AnchorTampered):
        open_token(swtpm)


def test_the_anchor_index_defined_again_but_never_written_is_refused(swtpm: SwtpmDevice) -> None:
    with owner(swtpm) as connection:
        undefine(connection, handles(swtpm).anchor)
        define_again(connection, handles(swtpm).anchor, b"", None)
    with pytest.raises(AnchorTampered):
        open_token(swtpm)


def test_the_anchor_index_replaced_under_an_open_token_is_noticed_at_the_next_use(swtpm: SwtpmDevice) -> None:
    with opened(swtpm) as token:
        state = token.anchor.read()
        with owner(swtpm) as connection:
            undefine(connection, handles(swtpm).anchor)
            define_again(connection, handles(swtpm).anchor, b"", state.encode())
        with pytest.raises(AnchorTampered):
            token.anchor.advance(dataclasses.replace(state, epoch=1))
        with pytest.raises(AnchorTampered):
            token.anchor.read()


def test_neither_owner_nor_platform_can_read_or_write_the_anchor(swtpm: SwtpmDevice) -> None:
    with owner(swtpm) as connection:
        esapi = connection.esapi
        index = esapi.tr_from_tpmpublic(handles(swtpm).anchor)
        for authority in (ESYS_TR.OWNER, ESYS_TR.PLATFORM, index):
            with pytest.raises(TSS2_Exception):
                esapi.nv_read(index, ANCHOR_BYTES, auth_handle=authority)
            with pytest.raises(TSS2_Exception):
                esapi.nv_write(index, bytes(ANCHOR_BYTES), auth_handle=authority)


# --- keys changed by the owner ----------------------------------------------------------------


def test_a_cohort_key_put_in_place_of_ours_is_tampering_even_with_our_authorisation(
    swtpm: SwtpmDevice,
) -> None:
    with owner(swtpm) as connection:
        replace_key(connection, swtpm, handles(swtpm).cohort, cohort_template(), value(swtpm, COHORT))
    with pytest.raises(AnchorTampered, match="cohort key"):
        open_token(swtpm)


def test_an_audit_key_put_in_place_of_ours_is_tampering(swtpm: SwtpmDevice) -> None:
    with owner(swtpm) as connection:
        replace_key(connection, swtpm, handles(swtpm).audit, audit_template(), SecretBytes(b"foreign"))
    with opened(swtpm) as token, pytest.raises(AnchorTampered, match="audit key"):
        token.verify_key_policy()


@pytest.mark.parametrize("name", ["cohort", "audit", "storage"])
def test_a_key_removed_is_tampering(swtpm: SwtpmDevice, name: str) -> None:
    with owner(swtpm) as connection:
        evict(connection, getattr(handles(swtpm), name))
    with pytest.raises(AnchorTampered, match=name):
        open_token(swtpm)


def test_a_cleared_tpm_is_not_provisioned(swtpm: SwtpmDevice) -> None:
    with owner(swtpm) as connection:
        connection.esapi.clear(ESYS_TR.LOCKOUT)
    assert inventory(swtpm) == []
    with pytest.raises(TokenNotProvisioned):
        open_token(swtpm)


# --- keys cannot leave ------------------------------------------------------------------------


def with_attributes(template: TPM2B_PUBLIC, attributes: int) -> TPM2B_PUBLIC:
    template.publicArea.objectAttributes = attributes
    return template


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        (COHORT_ATTRIBUTES & ~TPMA_OBJECT.FIXEDPARENT & ~TPMA_OBJECT.FIXEDTPM, "fixedTPM"),
        (COHORT_ATTRIBUTES & ~TPMA_OBJECT.NODA, "noDA"),
        (COHORT_ATTRIBUTES | TPMA_OBJECT.SIGN_ENCRYPT, "sign"),
    ],
)
def test_a_cohort_key_made_with_a_loose_attribute_is_refused_by_name(
    swtpm: SwtpmDevice, attributes: int, named: str
) -> None:
    template = with_attributes(cohort_template(), attributes)
    if named == "sign":  # a key for both has no scheme of its own
        template.publicArea.parameters.eccDetail.scheme.scheme = 0x10
    with owner(swtpm) as connection:
        public_key = replace_key(connection, swtpm, handles(swtpm).cohort, template, value(swtpm, COHORT))
        fit_anchor(connection, swtpm, public_key)
    with opened(swtpm) as token, pytest.raises(KeyExposedError, match=f"cohort key has {named}"):
        token.verify_key_policy()


def fit_anchor(connection: Connection, device: SwtpmDevice, public_key: bytes) -> None:
    undefine(connection, handles(device).anchor)
    storage = connection.esapi.tr_from_tpmpublic(handles(device).storage)
    state = AnchorState(0, EMPTY_ROOT, cohort_digest(public_key))
    with esapi_session(connection, storage) as session:
        make_anchor(connection, session, value(device, ANCHOR), handles(device).anchor, state)


@pytest.mark.parametrize("name", [COHORT, AUDIT])
def test_a_key_cannot_be_duplicated_out_of_the_tpm(swtpm: SwtpmDevice, name: bytes) -> None:
    handle = getattr(handles(swtpm), name.decode())
    with owner(swtpm) as connection:
        esapi = connection.esapi
        key = esapi.tr_from_tpmpublic(handle)
        esapi.tr_set_auth(key, value(swtpm, name).expose())
        with pytest.raises(TSS2_Exception):
            esapi.duplicate(key, ESYS_TR.NULL, None, TPMT_SYM_DEF_OBJECT(algorithm=0x10))


def test_a_key_is_of_no_use_without_its_authorisation(swtpm: SwtpmDevice) -> None:
    with owner(swtpm) as connection:
        key = connection.esapi.tr_from_tpmpublic(handles(swtpm).audit)
        for guess in (b"", swtpm.pin[:32]):
            connection.esapi.tr_set_auth(key, guess)
            with pytest.raises(TSS2_Exception):
                connection.esapi.object_change_auth(key, ESYS_TR.NULL, b"mine")


# --- what the bus carries ---------------------------------------------------------------------


@pytest.fixture
def blank_swtpm() -> Iterator[SwtpmDevice]:
    device = SwtpmDevice()
    yield device
    device.stop()


def test_a_listener_on_the_bus_learns_no_secret(blank_swtpm: SwtpmDevice) -> None:
    device = blank_swtpm
    with Bus(device) as bus:
        device.uri = bus.uri
        provision(device)
        with opened(device) as token:
            (agreed,) = token.cohort_key.agree([POINT])
            state = dataclasses.replace(token.anchor.read(), epoch=1, root=bytes(range(32)))
            token.anchor.advance(state)
        assert bus.commands(ECDH_ZGEN) == 1
        traffic = b"".join(bus.traffic)
    assert agreed == PEER.exchange(ec.ECDH(), load_point(token.cohort_key.public_key()))
    secrets = [value(device, name).expose() for name in (COHORT, AUDIT, ANCHOR)]
    for secret in (*secrets, device.pin, agreed, state.root):
        assert secret not in traffic


def flip_a_bit(command: int, position: int) -> Callable[[bytes, bytes], bytes]:
    """Return what alters answers to one command: the TPM's code and size stay as they are."""

    def alter(frame: bytes, answer: bytes) -> bytes:
        if command_code(frame) != command:
            return answer
        index = position % len(answer)
        return answer[:index] + bytes((answer[index] ^ 1,)) + answer[index + 1 :]

    return alter


ANSWER_POSITIONS = [13, 14, 20, -1, -10, -40, -66]  # sizes, parameters, nonce, attributes, HMAC


@pytest.mark.parametrize("position", ANSWER_POSITIONS)
def test_an_agreed_secret_altered_on_the_bus_is_refused(swtpm: SwtpmDevice, position: int) -> None:
    with Bus(swtpm) as bus:
        swtpm.uri = bus.uri
        with opened(swtpm) as token:
            bus.alter = flip_a_bit(ECDH_ZGEN, position)
            with pytest.raises(TokenUnavailable):
                list(token.cohort_key.agree([POINT]))


@pytest.mark.parametrize("position", ANSWER_POSITIONS)
def test_an_anchor_altered_on_the_bus_is_refused(swtpm: SwtpmDevice, position: int) -> None:
    with Bus(swtpm) as bus:
        swtpm.uri = bus.uri
        with opened(swtpm) as token:
            bus.alter = flip_a_bit(NV_READ, position)
            with pytest.raises(TokenUnavailable):
                token.anchor.read()


@pytest.mark.parametrize("position", [-1, -10, -40])
def test_a_write_whose_answer_is_altered_on_the_bus_is_uncertain(swtpm: SwtpmDevice, position: int) -> None:
    with Bus(swtpm) as bus:
        swtpm.uri = bus.uri
        with opened(swtpm) as token:
            state = dataclasses.replace(token.anchor.read(), epoch=1)
            bus.alter = flip_a_bit(NV_WRITE, position)
            with pytest.raises(AnchorUncertain):
                token.anchor.advance(state)
        with opened(swtpm) as token:
            assert token.anchor.read() == state


def test_an_old_answer_replayed_on_the_bus_is_refused(swtpm: SwtpmDevice) -> None:
    with Bus(swtpm) as bus:
        swtpm.uri = bus.uri
        with opened(swtpm) as token:
            state = token.anchor.read()
            old = bus.traffic[-1]
            token.anchor.advance(dataclasses.replace(state, epoch=1))
            bus.answer = lambda command: old if command_code(command) == NV_READ else None
            with pytest.raises(TokenError):
                token.anchor.read()


@pytest.mark.parametrize("answer", [b"", b"\x80", b"\x80\x02\x00\x00\x00\x0a\x00\x00\x00\x00", bytes(40)])
def test_a_malformed_answer_is_refused(swtpm: SwtpmDevice, answer: bytes) -> None:
    framed = answer if len(answer) < 10 else answer[:2] + struct.pack(">I", len(answer)) + answer[6:]
    with Bus(swtpm) as bus:
        swtpm.uri = bus.uri
        with opened(swtpm) as token:
            bus.answer = lambda command: framed
            with pytest.raises(TokenUnavailable):
                list(token.cohort_key.agree([POINT]))


# --- response codes ---------------------------------------------------------------------------


@contextmanager
def refusing(
    device: SwtpmDevice, code: int, command: int, times: int | None = None
) -> Iterator[tuple[Token, Bus]]:
    """Give an open token whose TPM then refuses one kind of command, some times or always."""
    left = [times]

    def answer(frame: bytes) -> bytes | None:
        if command_code(frame) != command or left[0] == 0:
            return None
        if left[0] is not None:
            left[0] -= 1
        return refusal(code)

    with Bus(device) as bus:
        device.uri = bus.uri
        with opened(device) as token:
            token.anchor.read()
            bus.answer = answer
            yield token, bus


@pytest.mark.parametrize("code", [NV_RATE, LOCKOUT, NV_UNAVAILABLE])
def test_a_busy_tpm_is_said_to_be_busy_and_nothing_is_applied(swtpm: SwtpmDevice, code: int) -> None:
    with refusing(swtpm, code, NV_WRITE, times=1) as (token, _):
        state = token.anchor.read()
        with pytest.raises(TokenBusy):
            token.anchor.advance(dataclasses.replace(state, epoch=1))
        assert token.anchor.read() == state
        token.anchor.advance(dataclasses.replace(state, epoch=1))
        assert token.anchor.read().epoch == 1


@pytest.mark.parametrize("code", [RETRY, TESTING, YIELDED])
def test_a_tpm_that_asks_to_try_again_is_asked_again(swtpm: SwtpmDevice, code: int) -> None:
    with refusing(swtpm, code, NV_WRITE, times=3) as (token, bus):
        state = token.anchor.read()
        token.anchor.advance(dataclasses.replace(state, epoch=1))
        assert token.anchor.read().epoch == 1
        assert bus.commands(NV_WRITE) == 4


def test_a_tpm_that_asks_to_try_again_for_ever_is_busy(swtpm: SwtpmDevice) -> None:
    with refusing(swtpm, RETRY, NV_WRITE) as (token, _):
        state = token.anchor.read()
        with pytest.raises(TokenBusy):
            token.anchor.advance(dataclasses.replace(state, epoch=1))
        assert token.anchor.read() == state


@pytest.mark.parametrize("code", [0x101, 0x1C4, 0x9FF, 0xA000A])
def test_a_write_that_fails_for_an_unknown_reason_is_uncertain(swtpm: SwtpmDevice, code: int) -> None:
    with refusing(swtpm, code, NV_WRITE) as (token, _):
        state = token.anchor.read()
        with pytest.raises(AnchorUncertain):
            token.anchor.advance(dataclasses.replace(state, epoch=1))


def test_a_tpm_in_failure_mode_is_unavailable(swtpm: SwtpmDevice) -> None:
    with refusing(swtpm, 0x101, ECDH_ZGEN) as (token, _), pytest.raises(TokenUnavailable):
        list(token.cohort_key.agree([POINT]))


# --- set-up and PIN ---------------------------------------------------------------------------


def test_a_guessable_pin_is_refused_before_anything_is_made(blank_swtpm: SwtpmDevice) -> None:
    with Pin(b"123456") as pin, pytest.raises(ConfigError, match="16 bytes"):
        registry.provision(blank_swtpm.uri, pin)
    assert inventory(blank_swtpm) == []


def test_wrong_pins_do_not_move_the_dictionary_attack_counter(swtpm: SwtpmDevice) -> None:
    for number in range(3):
        with pytest.raises(TokenPinIncorrect):
            open_token(swtpm, pin=b"wrong pin number %d, long enough" % number)
    with owner(swtpm) as connection:
        assert property_of(connection, TPM2_PT.LOCKOUT_COUNTER) == 0


def fill_nv_memory(connection: Connection) -> None:
    """Define indices until none fits."""
    for size in (2048, 256, 32, 1):
        for number in range(400):
            template: Any = anchor_template(0x01900000 + size * 1000 + number, size)
            template.nvPublic.dataSize = size
            try:
                connection.esapi.nv_define_space(b"", template)
            except TSS2_Exception:
                break


def test_a_tpm_without_nv_memory_is_full_and_says_what_was_made(blank_swtpm: SwtpmDevice) -> None:
    with owner(blank_swtpm) as connection:
        fill_nv_memory(connection)
    with pytest.raises(TokenFull):
        provision(blank_swtpm)
    with owner(blank_swtpm) as connection:
        made = existing(connection, handles(blank_swtpm))
    assert len(inventory(blank_swtpm)) == len(made) < 5
    with pytest.raises((AnchorTampered, TokenNotProvisioned)):
        open_token(blank_swtpm)


def test_an_owner_with_a_password_is_told_to_provision_himself(blank_swtpm: SwtpmDevice) -> None:
    with owner(blank_swtpm) as connection:
        connection.esapi.hierarchy_change_auth(ESYS_TR.OWNER, b"owner password")
    with pytest.raises(TokenError, match="owner"):
        provision(blank_swtpm)
    assert inventory(blank_swtpm) == []


def test_other_handles_are_another_set_of_keys_on_the_same_tpm(swtpm: SwtpmDevice) -> None:
    with opened(swtpm) as token:
        first = token.cohort_key.public_key()
    swtpm.uri += ";keys=0x81006870;anchor=0x01806870;domain=0x81416860"
    assert inventory(swtpm) == []
    provision(swtpm)
    with opened(swtpm) as token:
        assert token.cohort_key.public_key() != first
        assert token.anchor.read().epoch == 0
