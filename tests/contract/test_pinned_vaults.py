"""Three members of one cohort key as three real cores: together they evaluate no more guesses than one vault has."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hwkm.errors import VaultElsewhere
from hwkm.formats.membership import Membership
from hwkm.wire import core_messages as wire
from tests.contract.cohorts import Members, whole_cohort
from tests.core_process import CoreProcess, core_settings
from tests.vault_clients import SealedVault, finish, make_claim, seal

LIMIT = 10


@pytest.fixture
def cores(members: Members, tmp_path: Path) -> Iterator[list[CoreProcess]]:
    """A serving core on each member's token, each with a node store of its own."""
    whole_cohort(members)
    with ExitStack() as stack:
        made = []
        for number, device in enumerate(members):
            token: Any = device
            core = stack.enter_context(CoreProcess(token))
            core.serve(core_settings(token, tmp_path / f"nodes-{number}.db"))
            made.append(core)
        yield made


def public_key(core: CoreProcess) -> bytes:
    assert core.ready is not None
    return core.ready.cohort_public_key


def vault_of(cores: list[CoreProcess], number: int) -> SealedVault:
    handle = b"\x48" + (len(cores) * secrets.randbits(64) + number).to_bytes(16, "big")
    return seal(public_key(cores[0]), handle=handle, max_attempts=LIMIT)


def agreements(core: CoreProcess) -> int:
    counted = core.call(wire.ReadStatistics())
    assert isinstance(counted, wire.Statistics)
    return counted.key_agreements


def is_elsewhere(reply: wire.CoreReply) -> bool:
    return isinstance(reply, wire.Failed) and reply.code == VaultElsewhere.code


def test_each_core_says_which_member_it_is(cores: list[CoreProcess]) -> None:
    ready = [core.ready for core in cores if core.ready is not None]
    assert len({one.cohort_public_key for one in ready}) == 1
    assert [Membership(one.member, one.members) for one in ready] == [Membership(n, 3) for n in range(3)]


@pytest.mark.parametrize("owner", [0, 1, 2])
def test_all_members_together_give_one_vault_its_own_limit(cores: list[CoreProcess], owner: int) -> None:
    vault = vault_of(cores, owner)
    before = [agreements(core) for core in cores]
    evaluated = 0
    for number in [number for _ in range(LIMIT + 2) for number in range(len(cores))]:
        challenge = secrets.token_bytes(32)
        issued = cores[number].call(wire.IssueChallenge(params=vault.params, vault=vault.blob))
        if isinstance(issued, wire.ChallengeIssued):
            challenge = issued.challenge
        reply = cores[number].present(make_claim(vault, secrets.token_bytes(32), challenge))
        evaluated += isinstance(reply, wire.VaultWrong | wire.VaultOpened)
        assert number == owner or (is_elsewhere(issued) and is_elsewhere(reply))
    assert evaluated == LIMIT
    after = [agreements(core) for core in cores]
    assert [number for number in range(len(cores)) if after[number] != before[number]] == [owner]
    assert isinstance(cores[owner].guess(vault, vault.kf_hash), wire.VaultIsLocked)


def test_the_right_guess_opens_at_its_member_and_moves_nothing_at_the_others(
    cores: list[CoreProcess],
) -> None:
    for owner, core in enumerate(cores):
        vault = vault_of(cores, owner)
        claimed = core.claim(vault, vault.kf_hash)
        for other in cores[:owner] + cores[owner + 1 :]:
            assert is_elsewhere(other.present(claimed))
            assert is_elsewhere(other.call(wire.ReadCounter(params=vault.params)))
            assert is_elsewhere(other.call(wire.ResumeVault(params=vault.params)))
        opened = core.present(claimed)
        assert isinstance(opened, wire.VaultOpened)
        assert finish(vault, claimed, opened.response) == vault.recovery_key


def test_a_member_that_was_killed_is_the_same_member_again(
    members: Members, cores: list[CoreProcess], tmp_path: Path
) -> None:
    vault = vault_of(cores, 1)
    for _ in range(3):
        assert isinstance(cores[1].guess(vault, secrets.token_bytes(32)), wire.VaultWrong)
    cores[1].kill()
    token: Any = members[1]
    with CoreProcess(token) as again:
        ready = again.serve(core_settings(token, tmp_path / "nodes-1.db"))
        assert (ready.member, ready.members) == (1, 3)
        assert again.attempts_remaining(vault) == LIMIT - 3
        evaluated = 3
        while isinstance(again.guess(vault, secrets.token_bytes(32)), wire.VaultWrong):
            evaluated += 1
            if again.attempts_remaining(vault) == 0:
                break
        assert evaluated == LIMIT
    assert is_elsewhere(cores[0].call(wire.ReadCounter(params=vault.params)))
