"""Three SoftHSM members with a daemon each: vaults pinned to one, opened there, and refused by the others."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from hwkm.client.framework import fresh_handle
from hwkm.errors import HwkmError, VaultElsewhere, VaultLocked, WrongKnowledgeFactor
from hwkm.formats.membership import Membership
from hwkm.wire.api import CohortInfo
from tests.contract import cohorts
from tests.contract.devices import SoftHsmDevice
from tests.daemon import Daemon
from tests.vault_clients import SealedVault, seal
from tests.vault_http import VaultHttp

pytestmark = [pytest.mark.needs("softhsm2-util"), pytest.mark.slow]

MEMBERS = 3
MAX_ATTEMPTS = 4


@pytest.fixture(scope="module")
def members() -> Iterator[list[VaultHttp]]:
    """One cohort of three; each serves."""
    with ExitStack() as stack:
        devices = []
        for _ in range(MEMBERS):
            devices.append(SoftHsmDevice())
            stack.callback(devices[-1].stop)
        cohorts.whole_cohort(devices)
        serving = []
        for device in devices:
            daemon = Daemon(device)
            stack.callback(daemon.stop)
            daemon.state_directory.mkdir(mode=0o700)
            made = daemon.command("init", "--audit-log")
            assert made.returncode == 0, made.stderr
            daemon.start()
            serving.append(VaultHttp(stack.enter_context(daemon.http())))
        yield serving


def vault_for(members: list[VaultHttp], number: int, max_attempts: int = MAX_ATTEMPTS) -> SealedVault:
    handle = fresh_handle(Membership(number, MEMBERS))
    return seal(members[number].cohort(), handle=handle, max_attempts=max_attempts)


def test_members_serve_one_cohort_key_under_numbers_of_their_own(members: list[VaultHttp]) -> None:
    infos = [member.call("GET", "/v1/cohort", CohortInfo) for member in members]
    assert len({info.public_key for info in infos}) == 1
    assert [(info.member, info.members) for info in infos] == [(number, MEMBERS) for number in range(MEMBERS)]


@pytest.mark.parametrize("number", range(MEMBERS))
def test_each_member_opens_a_vault_of_the_cohort_that_is_its_own(
    members: list[VaultHttp], number: int
) -> None:
    vault = vault_for(members, number)
    members[number].create(vault)
    assert members[number].guess(vault, vault.kf_hash) == vault.recovery_key


@pytest.mark.parametrize("number", range(MEMBERS))
def test_a_vault_pinned_to_one_member_is_refused_by_the_others(members: list[VaultHttp], number: int) -> None:
    vault = vault_for(members, number)
    for other in range(MEMBERS):
        if other != number:
            with pytest.raises(VaultElsewhere, match=f"member {number} of {MEMBERS}"):
                members[other].create(vault)


def test_asking_all_members_gives_no_more_attempts_than_the_limit(members: list[VaultHttp]) -> None:
    vault = vault_for(members, 1)
    members[1].create(vault)
    evaluated, refused = 0, []
    for guess in range(MAX_ATTEMPTS * MEMBERS + MEMBERS):
        try:
            members[guess % MEMBERS].guess(vault, secrets.token_bytes(32))
        except WrongKnowledgeFactor:
            evaluated += 1
        except HwkmError as exc:
            refused.append(type(exc))
    assert evaluated == MAX_ATTEMPTS
    assert VaultLocked in refused
    with pytest.raises(VaultLocked):
        members[1].guess(vault, vault.kf_hash)
