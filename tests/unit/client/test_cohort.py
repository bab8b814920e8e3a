"""Nothing but a verification gives a cohort that vaults are made for."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest

import hwkm
from hwkm.client import cohort, framework
from hwkm.client.cohort import (
    Basis,
    VerifiedCohort,
    by_android_list,
    by_fleet,
    by_hand,
    unverified_by_first_use,
)
from hwkm.crypto.knowledge_factor import KfType, encode_credential, sha256_params
from hwkm.errors import CohortMismatch, InvalidKeyError
from tests.unit.client.thm_half import ThmHalf

KEY = ThmHalf().cohort.public_key
PIN = encode_credential("0417")
QUICK = sha256_params(bytes(16))

CALLERS = {
    "by_fleet": {"client/fleet/verification.py"},
    "by_android_list": {"client/fleet/android.py"},
    "by_hand": {"client/trust.py"},
    "unverified_formerly": {"client/fleet_vaults.py"},
    "unverified_by_first_use": {"client/trust.py"},
    "VerifiedCohort": {"client/cohort.py"},
}
"""Which modules may make one, each after the check that gives it the right to."""


@pytest.fixture(scope="module")
def thm() -> ThmHalf:
    return ThmHalf()


def test_each_says_why_it_is_believed() -> None:
    assert by_fleet(KEY, "alpha", 7, bytes(32)).basis is Basis.FLEET
    assert by_android_list(KEY, "alpha", 7).basis is Basis.ANDROID
    assert by_hand(KEY).basis is Basis.BY_HAND
    assert unverified_by_first_use(KEY).basis is Basis.FIRST_USE


def test_nobody_makes_one_without_a_reason() -> None:
    make: Any = VerifiedCohort
    for way in (None, object(), KEY, "fleet"):
        with pytest.raises(TypeError, match="comes out of a verification"):
            make(way, KEY, Basis.FLEET)


def test_it_cannot_be_changed_afterwards() -> None:
    made: Any = by_hand(KEY)
    for field in dataclasses.fields(VerifiedCohort):
        with pytest.raises(AttributeError):
            setattr(made, field.name, getattr(made, field.name))
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(made, public_key=ThmHalf().cohort.public_key)


@pytest.mark.parametrize(
    "key", [b"", KEY[:-1], b"\x04" + bytes(64), KEY + b"\0"], ids=["empty", "short", "off the curve", "long"]
)
def test_what_is_no_point_is_no_cohort(key: bytes) -> None:
    for make in (by_hand, unverified_by_first_use):
        with pytest.raises(InvalidKeyError):
            make(key)


def test_a_vault_is_made_for_nothing_else(thm: ThmHalf) -> None:
    params = framework.fresh_params(thm.verified, thm.cohort)
    pretender = type("VerifiedCohort", (VerifiedCohort,), {"__init__": lambda self: None})()
    for other in (KEY, thm.cohort, params, None, pretender):
        unchecked: Any = other
        with pytest.raises(TypeError):
            framework.fresh_params(unchecked, thm.cohort)
        with pytest.raises(TypeError):
            framework.new_vault(unchecked, params, PIN, KfType.PIN, name="phone", kf_params=QUICK)


def test_a_claim_is_sealed_for_nothing_else(thm: ThmHalf) -> None:
    params = framework.fresh_params(thm.verified, thm.cohort)
    with framework.new_vault(thm.verified, params, PIN, KfType.PIN, name="phone", kf_params=QUICK) as made:
        challenge = thm.challenge(made.request)
    unchecked: Any = thm.cohort.public_key
    with pytest.raises(TypeError):
        framework.claim(challenge, PIN, unchecked)


def test_a_daemon_that_offers_another_key_gets_no_vault(thm: ThmHalf) -> None:
    other = ThmHalf()
    with pytest.raises(CohortMismatch):
        framework.fresh_params(thm.verified, other.cohort)
    params = framework.fresh_params(other.verified, other.cohort)
    with pytest.raises(CohortMismatch):
        framework.new_vault(thm.verified, params, PIN, KfType.PIN, name="phone", kf_params=QUICK)


def calls_in(path: Path) -> set[str]:
    """The names of what a module calls."""
    called = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {
        func.id if isinstance(func, ast.Name) else func.attr
        for func in called
        if isinstance(func, ast.Name | ast.Attribute)
    }


@pytest.mark.parametrize("function", CALLERS)
def test_only_who_has_verified_calls(function: str) -> None:
    package = Path(hwkm.__path__[0])
    callers = {str(path.relative_to(package)) for path in package.rglob("*.py") if function in calls_in(path)}
    assert callers == {name for name in CALLERS[function] if (package / name).exists()}


def test_the_ways_to_one_are_these() -> None:
    ways = {
        name for name, value in vars(cohort).items() if getattr(value, "__module__", "") == cohort.__name__
    }
    assert ways == {"Basis", "CohortSource", "VerifiedFleet", "require", *CALLERS}
