"""Several members of one cohort key: a vault never gets more attempts than its own limit."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwkm.errors import AnchorTampered, VaultElsewhere
from hwkm.formats.membership import ALONE, Membership
from hwkm.formats.vault_params import VaultParams
from hwkm.thm.ledger import Ledger
from hwkm.thm.outcome import Locked, Opened, Refused, Suspended, Wrong
from tests.vault_clients import SealedVault, make_claim
from tests.vault_world import LIFETIME_MS, SoftwareKey, World

LIMIT = 10


def cohort(members: int = 3) -> list[World]:
    """Members that share a key and nothing else."""
    key = SoftwareKey()
    return [World(key=key, membership=Membership(number, members)) for number in range(members)]


def vault_of(owner: World) -> SealedVault:
    while True:
        vault = owner.seal(max_attempts=LIMIT)
        if owner.membership.owns(VaultParams.parse(vault.params).handle):
            return vault


def ask(member: World, vault: SealedVault, kf_hash: bytes) -> object:
    """Guess without caring whether the member gives a challenge."""
    challenge = secrets.token_bytes(32)
    with suppress(VaultElsewhere):
        member.opening.issue_challenge(vault.params, vault.blob, challenge, member.now)
    return member.present(make_claim(vault, kf_hash, challenge))


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=40, max_size=60), st.integers(0, 2))
@settings(max_examples=15, deadline=None)
def test_all_members_together_evaluate_no_more_guesses_than_the_limit(
    asked: list[tuple[int, bool]], owner: int
) -> None:
    members = cohort()
    vault = vault_of(members[owner])
    evaluated = 0
    for number, crashes in asked:
        if crashes:
            members[number].crash()
        evaluated += isinstance(ask(members[number], vault, secrets.token_bytes(32)), Wrong | Opened)
    for member in members:
        for _ in range(LIMIT + 1):
            evaluated += isinstance(ask(member, vault, secrets.token_bytes(32)), Wrong | Opened)
    assert evaluated <= LIMIT
    members[owner].pass_time(LIFETIME_MS)  # no claim without a verdict can come back
    # Suspended if crashes swallowed three verdicts in a row.
    assert isinstance(ask(members[owner], vault, vault.kf_hash), Locked | Suspended)
    assert not any(isinstance(ask(member, vault, vault.kf_hash), Opened) for member in members)


def test_only_its_own_member_opens_a_vault_and_the_others_touch_no_hardware() -> None:
    members = cohort()
    vault = vault_of(members[1])
    for number in (0, 2):
        before = members[number].key.agreements
        outcome = ask(members[number], vault, vault.kf_hash)
        assert isinstance(outcome, Refused)
        assert outcome.code == VaultElsewhere.code
        assert "member 1 of 3" in outcome.message
        assert members[number].key.agreements == before
        assert members[number].anchor.writes == 0
    assert isinstance(ask(members[1], vault, vault.kf_hash), Opened)


@pytest.mark.parametrize(
    "asking",
    [
        lambda world, vault: world.opening.status(vault.params, world.now),
        lambda world, vault: world.opening.resume(vault.params),
        lambda world, vault: world.opening.issue_challenge(vault.params, vault.blob, bytes(32), world.now),
    ],
    ids=["counter", "resume", "challenge"],
)
def test_another_member_says_where_to_go(asking: Callable[[World, SealedVault], object]) -> None:
    members = cohort()
    vault = vault_of(members[2])
    with pytest.raises(VaultElsewhere) as caught:
        asking(members[0], vault)
    assert (caught.value.member, caught.value.members) == (2, 3)
    asking(members[2], vault)


def test_a_challenge_of_one_member_is_worth_nothing_at_another() -> None:
    members = cohort()
    vault = vault_of(members[0])
    claimed = members[0].claim(vault, vault.kf_hash)
    outcome = members[1].present(claimed)
    assert isinstance(outcome, Refused)
    assert outcome.code == VaultElsewhere.code
    assert isinstance(members[0].present(claimed), Opened)


def test_every_commit_keeps_the_membership() -> None:
    members = cohort()
    for member in members:
        vault = vault_of(member)
        for _ in range(3):
            member.guess_wrong(vault)
            member.crash()
        assert member.anchor.state.epoch >= 3
        assert member.anchor.state.membership == member.membership


@pytest.mark.parametrize("other", [ALONE, Membership(0, 3), Membership(1, 2), Membership(2, 3)])
def test_an_anchor_of_another_membership_is_not_taken_up(other: Membership) -> None:
    member = cohort()[1]
    member.anchor.state = replace(member.anchor.state, membership=other)
    with pytest.raises(AnchorTampered):
        Ledger(member.anchor, member.nodes, member.cohort, Membership(1, 3))
