"""PKCS#11 functions that fail, one at a time, through the shim of the attack harness."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from hwkm.crypto.p256 import encode_point, load_scalar
from hwkm.errors import (
    AnchorUncertain,
    TokenError,
    TokenFull,
    TokenPinIncorrect,
    TokenPinLocked,
    TokenUnavailable,
)
from hwkm.formats.anchor import AnchorState
from tests.contract.devices import SoftHsmDevice, inventory, open_token, opened
from tests.harness.board import Board
from tests.harness.pkcs11_shim import (
    CKR_DEVICE_ERROR,
    CKR_DEVICE_MEMORY,
    CKR_DEVICE_REMOVED,
    CKR_FUNCTION_FAILED,
    CKR_GENERAL_ERROR,
    CKR_SESSION_HANDLE_INVALID,
    CKR_TOKEN_WRITE_PROTECTED,
    shimmed,
)
from tests.harness.plan import Act, Plan

pytestmark = pytest.mark.needs("softhsm2-util", "gcc")

CKR_PIN_LOCKED = 0xA4
POINT = encode_point(load_scalar(bytes(31) + b"\x07").public_key())
BROKEN = [
    CKR_GENERAL_ERROR,
    CKR_FUNCTION_FAILED,
    CKR_DEVICE_ERROR,
    CKR_DEVICE_REMOVED,
    CKR_SESSION_HANDLE_INVALID,
]


@pytest.fixture
def board(softhsm: SoftHsmDevice) -> Iterator[Board]:
    """The shim's board; the token is reached through the shim from here on."""
    softhsm.uri, board = shimmed(softhsm.uri, softhsm.directory)
    yield board
    board.close()


def successor(state: AnchorState) -> AnchorState:
    return dataclasses.replace(state, epoch=state.epoch + 1, root=bytes(range(32)))


def test_a_wrong_pin_is_tried_exactly_once(softhsm: SoftHsmDevice, board: Board) -> None:
    board.arm()
    with pytest.raises(TokenPinIncorrect):
        open_token(softhsm, pin=b"wrong pin")
    assert board.counts()["pkcs11.C_Login"] == 1


def test_a_locked_pin_is_tried_exactly_once(softhsm: SoftHsmDevice, board: Board) -> None:
    board.arm(Plan.always(Act.REFUSE, "pkcs11.C_Login", code=CKR_PIN_LOCKED))
    with pytest.raises(TokenPinLocked):
        open_token(softhsm)
    assert board.counts()["pkcs11.C_Login"] == 1


def test_opening_logs_in_once_and_agreeing_looks_nothing_up(softhsm: SoftHsmDevice, board: Board) -> None:
    board.arm()
    with opened(softhsm) as token:
        assert board.counts()["pkcs11.C_Login"] == 1
        board.arm()
        list(token.cohort_key.agree([POINT]))
        counts = board.counts()
    assert counts["pkcs11.C_DeriveKey"] == counts["pkcs11.C_DestroyObject"] == 1
    assert not any(kind.startswith(("pkcs11.C_Find", "pkcs11.C_OpenSession")) for kind in counts)


def test_an_advance_is_one_creation_and_one_destruction(softhsm: SoftHsmDevice, board: Board) -> None:
    with opened(softhsm) as token:
        state = token.anchor.read()
        board.arm()
        token.anchor.advance(successor(state))
        counts = board.counts()
    assert counts["pkcs11.C_CreateObject"] == counts["pkcs11.C_DestroyObject"] == 1
    assert not any(kind.startswith("pkcs11.C_Find") for kind in counts)


@pytest.mark.parametrize("code", [CKR_DEVICE_MEMORY, CKR_TOKEN_WRITE_PROTECTED])
def test_a_full_token_keeps_its_anchor_and_goes_on_when_there_is_room(
    softhsm: SoftHsmDevice, board: Board, code: int
) -> None:
    with opened(softhsm) as token:
        state = token.anchor.read()
        board.arm(Plan.nth(1, Act.REFUSE, "pkcs11.C_CreateObject", code=code))
        with pytest.raises(TokenFull):
            token.anchor.advance(successor(state))
        assert token.anchor.read() == state
        token.anchor.advance(successor(state))
        assert token.anchor.read() == successor(state)


@pytest.mark.parametrize("code", BROKEN)
@pytest.mark.parametrize("act", [Act.REFUSE, Act.LIE])
def test_a_creation_that_fails_is_uncertain_and_the_next_opening_knows(
    softhsm: SoftHsmDevice, board: Board, act: Act, code: int
) -> None:
    """Refused: it did not happen. Lied: it did happen, and the token said that it failed."""
    with opened(softhsm) as token:
        state = token.anchor.read()
        board.arm(Plan.nth(1, act, "pkcs11.C_CreateObject", code=code))
        with pytest.raises(AnchorUncertain):
            token.anchor.advance(successor(state))
    board.arm()
    with opened(softhsm) as token:
        assert token.anchor.read() == (state if act is Act.REFUSE else successor(state))
    assert len([line for line in inventory(softhsm) if "anchor" in line]) == 1


@pytest.mark.parametrize("act", [Act.REFUSE, Act.LIE])
def test_a_destruction_that_fails_is_uncertain_and_the_new_state_holds(
    softhsm: SoftHsmDevice, board: Board, act: Act
) -> None:
    with opened(softhsm) as token:
        state = token.anchor.read()
        board.arm(Plan.nth(1, act, "pkcs11.C_DestroyObject", code=CKR_GENERAL_ERROR))
        with pytest.raises(AnchorUncertain):
            token.anchor.advance(successor(state))
    board.arm()
    with opened(softhsm) as token:
        assert token.anchor.read() == successor(state)
    assert len([line for line in inventory(softhsm) if "anchor" in line]) == 1


@pytest.mark.parametrize("code", BROKEN)
@pytest.mark.parametrize(
    "function",
    ["C_DeriveKey", "C_GetAttributeValue", "C_DestroyObject"],
)
def test_an_agreement_that_fails_in_the_middle_makes_the_token_unavailable(
    softhsm: SoftHsmDevice, board: Board, function: str, code: int
) -> None:
    with opened(softhsm) as token:
        board.arm(Plan.always(Act.REFUSE, f"pkcs11.{function}", code=code))
        with pytest.raises(TokenUnavailable):
            list(token.cohort_key.agree([POINT]))
        board.arm()


@pytest.mark.parametrize(
    "kind", ["C_Initialize", "C_GetSlotList", "C_GetTokenInfo", "C_OpenSession", "C_Find*"]
)
def test_an_opening_that_fails_anywhere_is_typed_and_can_be_repeated(
    softhsm: SoftHsmDevice, board: Board, kind: str
) -> None:
    for number in (1, 2, 3):
        board.arm(Plan.nth(number, Act.REFUSE, f"pkcs11.{kind}", code=CKR_DEVICE_ERROR))
        try:
            open_token(softhsm).close()
        except TokenError:
            continue
        assert board.struck == 0, "a failure went unnoticed"
    board.arm()
    with opened(softhsm) as token:
        assert token.anchor.read().epoch == 0
