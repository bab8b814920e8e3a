"""PKCS#11 functions that fail while domain keys and customer master keys are used, by the shim."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hwkm.errors import TokenError, TokenFull, TokenUnavailable
from hwkm.formats.key_kind import KeyKind
from hwkm.thm.ports import Domain
from tests.contract.devices import SoftHsmDevice, opened
from tests.contract.keys import domain_of, domain_on, loaded, mac, new_name
from tests.harness.board import Board
from tests.harness.pkcs11_shim import (
    CKR_DEVICE_ERROR,
    CKR_DEVICE_MEMORY,
    CKR_DEVICE_REMOVED,
    CKR_FUNCTION_FAILED,
    CKR_GENERAL_ERROR,
    CKR_SESSION_HANDLE_INVALID,
    shimmed,
)
from tests.harness.plan import Act, Plan

pytestmark = pytest.mark.needs("softhsm2-util", "gcc")

SYMMETRIC = KeyKind.SYMMETRIC
P256 = KeyKind.ECC_NIST_P256_SIGN
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


def use_create(domain: Domain) -> object:
    return [domain.create(new_name(), kind) for kind in (SYMMETRIC, P256)]


def use_load(domain: Domain) -> object:
    name = new_name()
    return domain.load(name, SYMMETRIC, domain.create(name, SYMMETRIC).wrapped)


def use_rewrap(domain: Domain) -> object:
    name = new_name()
    wrapped = domain.create(name, P256).wrapped
    domain.rotate()
    return domain.rewrap(name, P256, wrapped)


USES: dict[str, tuple[Callable[[Domain], object], tuple[str, ...]]] = {
    "create": (
        use_create,
        ("C_GenerateKey", "C_GenerateKeyPair", "C_WrapKey", "C_Sign"),
    ),
    "load": (use_load, ("C_UnwrapKey", "C_SignInit", "C_Sign")),
    "rewrap": (use_rewrap, ("C_UnwrapKey", "C_WrapKey", "C_GenerateKey", "C_SignInit")),
}


@pytest.mark.parametrize("code", BROKEN)
@pytest.mark.parametrize("use", USES)
def test_whatever_fails_is_typed_and_the_next_life_goes_on(
    softhsm: SoftHsmDevice, board: Board, use: str, code: int
) -> None:
    name = new_name()
    with domain_on(softhsm) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
        first = mac(domain, name, wrapped)
    call, functions = USES[use]
    struck = 0
    for function in functions:
        with opened(softhsm) as token:
            for number in (1, 2, 3):
                board.arm(Plan.nth(number, Act.REFUSE, f"pkcs11.{function}", code=code))
                try:
                    call(domain_of(token))
                except TokenError:
                    struck += 1
                    break
                else:
                    assert board.struck == 0, f"a failure of {function} went unnoticed"
        board.arm()
    assert struck >= len(functions) - 1
    with opened(softhsm) as token:
        token.verify_key_policy()
        assert mac(domain_of(token), name, wrapped) == first


@pytest.mark.parametrize("code", BROKEN)
def test_a_token_removed_in_the_middle_of_a_batch_is_unavailable(
    softhsm: SoftHsmDevice, board: Board, code: int
) -> None:
    name = new_name()
    with domain_on(softhsm) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
        key = domain.load(name, SYMMETRIC, wrapped)
        for function in ("C_SignInit", "C_Sign"):
            board.arm(Plan.nth(7, Act.REFUSE, f"pkcs11.{function}", code=code))
            with pytest.raises(TokenUnavailable):
                key.hmac([b"message"] * 20)
            assert board.counts()[f"pkcs11.{function}"] == 7
        board.arm()
        key.unload()
    with domain_on(softhsm) as domain:
        assert mac(domain, name, wrapped)


def test_a_token_without_memory_is_full_and_goes_on_when_there_is_room(
    softhsm: SoftHsmDevice, board: Board
) -> None:
    name = new_name()
    with domain_on(softhsm) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
        first = mac(domain, name, wrapped)
        for function in ("C_GenerateKey", "C_UnwrapKey", "C_SignInit"):
            board.arm(Plan.nth(1, Act.REFUSE, f"pkcs11.{function}", code=CKR_DEVICE_MEMORY))
            with pytest.raises(TokenFull):
                mac(domain, name, domain.create(name, SYMMETRIC).wrapped)
            board.arm()
            assert mac(domain, name, wrapped) == first


def test_an_unloading_that_fails_is_nobodys_trouble(softhsm: SoftHsmDevice, board: Board) -> None:
    name = new_name()
    with domain_on(softhsm) as domain:
        key = domain.load(name, SYMMETRIC, domain.create(name, SYMMETRIC).wrapped)
        board.arm(Plan.always(Act.REFUSE, "pkcs11.C_DestroyObject", code=CKR_DEVICE_REMOVED))
        key.unload()
        board.arm()


@pytest.mark.parametrize("act", [Act.REFUSE, Act.LIE])
@pytest.mark.parametrize("number", [1, 2])
def test_a_rotation_that_fails_anywhere_is_made_or_not_made(
    softhsm: SoftHsmDevice, board: Board, act: Act, number: int
) -> None:
    """Refused: the object was not made. Lied: it was, and the token said that it failed."""
    name = new_name()
    with domain_on(softhsm) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
        first = mac(domain, name, wrapped)
        board.arm(Plan.nth(number, act, "pkcs11.C_GenerateKey", code=CKR_DEVICE_ERROR))
        with pytest.raises(TokenUnavailable):
            domain.rotate()
        board.arm()
    made = act is Act.LIE and number == 2
    with opened(softhsm) as token:
        token.verify_key_policy()
        domain = domain_of(token)
        assert domain.generations() == ((1, 2) if made else (1,))
        assert mac(domain, name, wrapped) == first
        assert domain.rotate() == (3 if made else 2)


@pytest.mark.parametrize("act", [Act.REFUSE, Act.LIE])
@pytest.mark.parametrize("number", [1, 2])
def test_a_retirement_that_fails_anywhere_leaves_the_old_key_whole_or_gone(
    softhsm: SoftHsmDevice, board: Board, act: Act, number: int
) -> None:
    with domain_on(softhsm) as domain:
        domain.rotate()
        board.arm(Plan.nth(number, act, "pkcs11.C_DestroyObject", code=CKR_DEVICE_ERROR))
        with pytest.raises(TokenUnavailable):
            domain.retire(1)
        board.arm()
    kept = act is Act.REFUSE and number == 1
    with opened(softhsm) as token:
        assert domain_of(token).generations() == ((1, 2) if kept else (2,))
        token.verify_key_policy()


def test_a_batch_of_macs_is_two_calls_each_and_looks_nothing_up(softhsm: SoftHsmDevice, board: Board) -> None:
    name = new_name()
    with (
        domain_on(softhsm) as domain,
        loaded(domain, name, SYMMETRIC, domain.create(name, SYMMETRIC).wrapped) as key,
    ):
        board.arm()
        key.hmac([b"message"] * 10)
        assert board.counts() == {"pkcs11.C_SignInit": 10, "pkcs11.C_Sign": 10}
