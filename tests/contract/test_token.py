"""The contract of a token (hwkm.tokens.token, hwkm.tokens.registry, hwkm.thm.ports)."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from hwkm.crypto.p256 import encode_point, load_point
from hwkm.errors import TokenAlreadyProvisioned, TokenError, TokenNotProvisioned, TokenPinIncorrect
from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
from hwkm.secret import Pin
from hwkm.tokens import registry
from hwkm.tokens.token import RANDOM_BYTES_MAX, Token
from tests.contract.devices import Device, destroy, inventory, open_token, opened, provision


def next_state(state: AnchorState, root: bytes = EMPTY_ROOT) -> AnchorState:
    return dataclasses.replace(state, epoch=state.epoch + 1, root=root)


def verify_agreement(token: Token) -> None:
    peer = ec.generate_private_key(ec.SECP256R1())
    expected = peer.exchange(ec.ECDH(), load_point(token.cohort_key.public_key()))
    assert list(token.cohort_key.agree([encode_point(peer.public_key())])) == [expected]


# --- keys ------------------------------------------------------------------------------------


def test_public_keys_are_the_same_after_reopening_and_restart(device: Device) -> None:
    with opened(device) as token:
        first = token.cohort_key.public_key(), token.audit_key.public_key()
    with opened(device) as token:
        assert (token.cohort_key.public_key(), token.audit_key.public_key()) == first
    device.restart()
    with opened(device) as token:
        assert (token.cohort_key.public_key(), token.audit_key.public_key()) == first
    assert first[0] != first[1]


def test_agreement_equals_software_ecdh_also_after_restart(device: Device) -> None:
    with opened(device) as token:
        for _ in range(20):
            verify_agreement(token)
    device.restart()
    with opened(device) as token:
        verify_agreement(token)


def test_agreement_with_a_point_off_the_curve_is_refused_and_the_next_one_works(device: Device) -> None:
    off_curve = b"\x04" + bytes(31) + b"\x05" + bytes(31) + b"\x05"
    token = open_token(device)
    with pytest.raises(TokenError):
        list(token.cohort_key.agree([off_curve]))
    token.close()
    with opened(device) as reopened:
        verify_agreement(reopened)


def test_audit_key_signs_what_its_public_key_verifies(device: Device) -> None:
    digest = hashlib.sha256(b"checkpoint").digest()
    prehashed = ec.ECDSA(utils.Prehashed(SHA256()))
    with opened(device) as token:
        for _ in range(20):
            signature = token.audit_key.sign(digest)
            assert len(signature) == 64
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            load_point(token.audit_key.public_key()).verify(
                utils.encode_dss_signature(r, s), digest, prehashed
            )


def test_provisioned_keys_satisfy_the_key_policy(device: Device) -> None:
    with opened(device) as token:
        token.verify_key_policy()


# --- anchor ----------------------------------------------------------------------------------


def test_anchor_begins_at_epoch_zero_with_an_empty_root_and_names_the_cohort_key(device: Device) -> None:
    with opened(device) as token:
        cohort = hashlib.sha256(token.cohort_key.public_key()).digest()
        assert token.anchor.read() == AnchorState(0, EMPTY_ROOT, cohort)


def test_an_advance_is_read_back_at_once_after_reopening_and_after_restart(device: Device) -> None:
    with opened(device) as token:
        state = next_state(token.anchor.read(), root=bytes(range(32)))
        token.anchor.advance(state)
        assert token.anchor.read() == state
    with opened(device) as token:
        assert token.anchor.read() == state
    device.restart()
    with opened(device) as token:
        assert token.anchor.read() == state
        token.anchor.advance(next_state(state))
        assert token.anchor.read() == next_state(state)


def test_the_first_advance_after_opening_needs_no_read_before_it(device: Device) -> None:
    with opened(device) as token:
        state = token.anchor.read()
    with opened(device) as token:
        token.anchor.advance(next_state(state))
    with opened(device) as token:
        assert token.anchor.read() == next_state(state)


def test_three_hundred_advances_use_no_more_objects_than_one(device: Device) -> None:
    with opened(device) as token:
        state = next_state(token.anchor.read())
        token.anchor.advance(state)
    after_one = device.nv_objects()
    with opened(device) as token:
        for _ in range(299):
            state = next_state(state)
            token.anchor.advance(state)
    assert device.nv_objects() == after_one
    assert len(inventory(device)) == len(set(inventory(device)))
    with opened(device) as token:
        assert token.anchor.read().epoch == 300


# --- set-up ----------------------------------------------------------------------------------


def test_a_blank_token_is_not_provisioned(blank_device: Device) -> None:
    assert inventory(blank_device) == []
    with pytest.raises(TokenNotProvisioned):
        open_token(blank_device)


def test_provisioning_twice_is_refused_names_every_object_and_changes_nothing(device: Device) -> None:
    with opened(device) as token:
        state = next_state(token.anchor.read())
        token.anchor.advance(state)
        public_key = token.cohort_key.public_key()
    before = inventory(device)
    with pytest.raises(TokenAlreadyProvisioned) as refusal:
        provision(device)
    assert all(line in str(refusal.value) for line in before)
    assert inventory(device) == before
    with opened(device) as token:
        assert token.anchor.read() == state
        assert token.cohort_key.public_key() == public_key


def test_destroying_leaves_nothing_and_new_keys_differ(device: Device) -> None:
    with opened(device) as token:
        public_key = token.cohort_key.public_key()
    destroy(device)
    assert inventory(device) == []
    with pytest.raises(TokenNotProvisioned):
        open_token(device)
    provision(device)
    with opened(device) as token:
        assert token.cohort_key.public_key() != public_key
        assert token.anchor.read().epoch == 0


def test_the_inventory_identifies_what_it_lists(device: Device) -> None:
    first = inventory(device)
    assert any("cohort" in line for line in first)
    assert any("audit" in line for line in first)
    assert any("anchor" in line for line in first)
    destroy(device)
    provision(device)
    second = inventory(device)
    assert len(first) == len(second)
    assert [line for line in first if "cohort" in line] != [line for line in second if "cohort" in line]


def test_a_wrong_pin_is_refused_and_the_right_one_still_works(device: Device) -> None:
    with pytest.raises(TokenPinIncorrect) as refusal:
        open_token(device, pin=b"another pin of thirty-two bytes!")
    assert "another" not in str(refusal.value)
    with opened(device) as token:
        verify_agreement(token)


def test_an_empty_pin_is_not_tried(device: Device) -> None:
    with pytest.raises(TokenPinIncorrect), Pin(b"") as pin:
        registry.open_token(device.uri, pin)
    with opened(device) as token:
        verify_agreement(token)


# --- the rest --------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 64, 100, RANDOM_BYTES_MAX])
def test_random_has_the_length_asked_for(device: Device, length: int) -> None:
    with opened(device) as token:
        first, second = token.random(length), token.random(length)
    assert len(first) == len(second) == length
    assert length < 16 or first != second


def test_a_token_describes_itself(device: Device) -> None:
    with opened(device) as token:
        description = token.describe()
    assert description.kind == device.uri.partition(":")[0]
    assert description.manufacturer
    assert description.model


def test_closing_twice_is_harmless(device: Device) -> None:
    token = open_token(device)
    token.close()
    token.close()
    with opened(device) as reopened:
        verify_agreement(reopened)
