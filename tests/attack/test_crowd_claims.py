"""Crowds at the last attempt (attack 8): exactly the limit, whoever comes first and whoever is right."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

import httpx
import msgspec
import pytest

from hwkm.errors import VaultLocked, WrongKnowledgeFactor
from hwkm.wire import api
from hwkm.wire import core_messages as wire
from hwkm.wire.problems import ProblemBody
from tests.core_process import CoreProcess
from tests.daemon import Daemon
from tests.devices import REAL
from tests.harness.daemon_state import asking, make_installed
from tests.harness.invariant import Witness
from tests.harness.rig import Rig
from tests.harness.trial import LIMIT, use_up, wrong
from tests.vault_clients import Claimed, SealedVault, make_claim, seal
from tests.vault_http import VaultHttp, handle_of

pytestmark = pytest.mark.attack

CROWD = 200
TEN = 10


@pytest.fixture
def vault(rig: Rig) -> SealedVault:
    return seal(rig.cohort_public_key, max_attempts=TEN)


def spend(core: CoreProcess, vault: SealedVault, witness: Witness, left: int) -> None:
    while core.attempts_remaining(vault) > left:
        assert isinstance(witness.guess(core, vault, wrong()), wire.VaultWrong)


def present_all(core: CoreProcess, claims: list[Claimed], witness: Witness) -> Counter[type[wire.CoreReply]]:
    """Send every claim before the first reply is read; the witness sees them in the order of replies."""
    sent = {core.send_claim(claimed): claimed for claimed in claims}
    tally: Counter[type[wire.CoreReply]] = Counter()
    for _ in claims:
        number, reply = core.next_reply()
        witness.saw_reply(sent[number], reply)
        tally[type(reply)] += 1
    return tally


# --- at the core -----------------------------------------------------------------------------


@pytest.mark.parametrize("left", [1, TEN])
def test_200_parallel_wrong_claims_get_as_many_verdicts_as_attempts_are_left(
    rig: Rig, vault: SealedVault, left: int
) -> None:
    witness = Witness.of(vault)
    with rig.core() as core:
        spend(core, vault, witness, left)
        claims = [core.claim(vault, wrong()) for _ in range(CROWD)]
        tally = present_all(core, claims, witness)
        assert tally == {wire.VaultWrong: left, wire.VaultIsLocked: CROWD - left}
        assert len(witness.evaluated) == TEN
        assert isinstance(witness.guess(core, vault, vault.kf_hash), wire.VaultIsLocked)


@pytest.mark.parametrize("left", [1, 2, TEN])
def test_right_and_wrong_claims_mixed_never_give_more_than_the_limit_between_two_successes(
    rig: Rig, vault: SealedVault, left: int
) -> None:
    witness = Witness.of(vault)
    with rig.core() as core:
        spend(core, vault, witness, left)
        guesses = [vault.kf_hash if number % 8 == 0 else wrong() for number in range(CROWD)]
        random.Random(left).shuffle(guesses)
        tally = present_all(core, [core.claim(vault, guess) for guess in guesses], witness)
        assert tally.total() == CROWD
        assert tally[wire.VaultWrong] <= (tally[wire.VaultOpened] + 1) * TEN
        if tally[wire.VaultIsLocked]:
            assert len(witness.evaluated) == TEN
        else:
            use_up(core, vault, witness)


def test_right_claim_behind_199_wrong_ones_at_the_last_attempt_is_locked_out(
    rig: Rig, vault: SealedVault
) -> None:
    witness = Witness.of(vault)
    with rig.core() as core:
        spend(core, vault, witness, 1)
        claims = [core.claim(vault, wrong()) for _ in range(CROWD - 1)]
        claims.append(core.claim(vault, vault.kf_hash))
        assert present_all(core, claims, witness) == {wire.VaultWrong: 1, wire.VaultIsLocked: CROWD - 1}


def test_one_claim_presented_200_times_at_once_is_charged_once(rig: Rig, vault: SealedVault) -> None:
    witness = Witness.of(vault)
    with rig.core() as core:
        spend(core, vault, witness, 1)
        claimed = core.claim(vault, wrong())
        assert present_all(core, [claimed] * CROWD, witness) == {wire.VaultWrong: CROWD}
        assert core.attempts_remaining(vault) == 0
        assert len(witness.evaluated) == TEN


def test_crowds_on_many_vaults_at_once_keep_each_its_own_limit(rig: Rig) -> None:
    vaults = [seal(rig.cohort_public_key, max_attempts=LIMIT) for _ in range(20)]
    witnesses = [Witness.of(vault) for vault in vaults]
    with rig.core() as core:
        claims = [
            (witness, core.claim(vault, wrong()))
            for vault, witness in zip(vaults, witnesses, strict=True)
            for _ in range(LIMIT * 3)
        ]
        random.Random(0).shuffle(claims)
        sent = {core.send_claim(claimed): (witness, claimed) for witness, claimed in claims}
        for _ in claims:
            number, reply = core.next_reply()
            witness, claimed = sent[number]
            witness.saw_reply(claimed, reply)
        assert all(len(witness.evaluated) == LIMIT for witness in witnesses)
        assert all(core.attempts_remaining(vault) == 0 for vault in vaults)


def test_crowd_whose_core_is_killed_again_and_again_gets_exactly_the_limit_in_all(
    rig: Rig, vault: SealedVault
) -> None:
    """Each life dies one reply later; all claims, answered or not, are presented again in the next."""
    witness = Witness.of(vault)
    claims: list[Claimed] = []
    for life in range(12):
        with rig.core() as core:
            core.call(wire.ResumeVault(params=vault.params))
            claims += [core.claim(vault, wrong()) for _ in range(5)]
            hear_some(core, claims, witness, life % 6)
            core.kill()
    with rig.core() as core:
        core.call(wire.ResumeVault(params=vault.params))
        present_all(core, claims, witness)
        use_up(core, vault, witness)
    assert len(witness.evaluated) == TEN


def hear_some(core: CoreProcess, claims: list[Claimed], witness: Witness, count: int) -> None:
    sent = {core.send_claim(claimed): claimed for claimed in claims}
    for _ in range(count):
        number, reply = core.next_reply()
        witness.saw_reply(sent[number], reply)


# --- through the daemon ----------------------------------------------------------------------


@pytest.fixture(scope="module", params=REAL)
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    with make_installed(request.param) as installed, installed.anew() as running:
        running.start()
        yield running


def new_vault(vaults: VaultHttp) -> SealedVault:
    vault = seal(vaults.cohort(), max_attempts=TEN)
    vaults.create(vault)
    return vault


def fail(vaults: VaultHttp, vault: SealedVault, times: int) -> None:
    for _ in range(times):
        with pytest.raises(WrongKnowledgeFactor):
            vaults.guess(vault, wrong())


async def claims_over_many_connections(
    daemon: Daemon, vault: SealedVault, guesses: list[bytes], *, kill_core: bool = False
) -> list[str]:
    """Present a claim for each guess at once, on as many connections; repeat those without a verdict."""
    limits = httpx.Limits(max_connections=len(guesses), max_keepalive_connections=len(guesses))
    transport = httpx.AsyncHTTPTransport(uds=str(daemon.socket_path), limits=limits)
    async with httpx.AsyncClient(transport=transport, base_url="http://hwkmd", timeout=120) as http:
        bodies = await asyncio.gather(*(claim_body(http, vault, guess) for guess in guesses))
        presenting = [asyncio.create_task(outcome_of(http, vault, body)) for body in bodies]
        if kill_core:
            await asyncio.wait(presenting, return_when=asyncio.FIRST_COMPLETED)
            daemon.kill_core()
        return await asyncio.gather(*presenting)


async def claim_body(http: httpx.AsyncClient, vault: SealedVault, guess: bytes) -> bytes:
    answer = await http.post(f"/v1/vaults/{handle_of(vault)}/challenge")
    issued = msgspec.json.decode(answer.content, type=api.ChallengeIssued)
    request = make_claim(vault, guess, issued.challenge).request
    return msgspec.json.encode(api.OpenVault(challenge=request.challenge, claim=request.claim))


async def outcome_of(http: httpx.AsyncClient, vault: SealedVault, body: bytes) -> str:
    """``opened``, or the code of the refusal; what is only unavailable is asked for again."""
    while True:
        answer = await http.post(f"/v1/vaults/{handle_of(vault)}/open", content=body)
        if answer.status_code == 200:
            return "opened"
        code = msgspec.json.decode(answer.content, type=ProblemBody).error.code
        if code != "unavailable":
            return code
        await asyncio.sleep(0.05)


async def test_200_connections_at_the_last_attempt_get_one_verdict(daemon: Daemon) -> None:
    vault = asking(daemon, new_vault)
    asking(daemon, lambda vaults: fail(vaults, vault, TEN - 1))
    outcomes = await claims_over_many_connections(daemon, vault, [wrong() for _ in range(CROWD)])
    assert Counter(outcomes) == {"wrong_knowledge_factor": 1, "vault_locked": CROWD - 1}


async def test_200_connections_with_right_and_wrong_claims_get_exactly_the_limit(daemon: Daemon) -> None:
    """Without a success the limit is reached exactly; each success allows as many again."""
    vault = asking(daemon, new_vault)
    guesses = [vault.kf_hash if number % 20 == 0 else wrong() for number in range(CROWD)]
    random.Random(8).shuffle(guesses)
    outcomes = Counter(await claims_over_many_connections(daemon, vault, guesses))
    assert outcomes.total() == CROWD
    assert outcomes["wrong_knowledge_factor"] <= (outcomes["opened"] + 1) * TEN
    asking(daemon, lambda vaults: check_locked_or_lock(vaults, vault))


def check_locked_or_lock(vaults: VaultHttp, vault: SealedVault) -> None:
    left = vaults.show(vault).attempts_remaining
    fail(vaults, vault, left)
    with pytest.raises(VaultLocked):
        vaults.guess(vault, vault.kf_hash)


async def test_200_connections_whose_core_is_killed_under_them_get_exactly_the_limit(daemon: Daemon) -> None:
    vault = asking(daemon, new_vault)
    guesses = [wrong() for _ in range(CROWD)]
    outcomes = Counter(await claims_over_many_connections(daemon, vault, guesses, kill_core=True))
    assert outcomes["wrong_knowledge_factor"] <= TEN
    assert set(outcomes) <= {
        "wrong_knowledge_factor",
        "vault_locked",
        "challenge_refused",
        "rate_limited",
        "vault_suspended",
    }
    daemon.wait_until_ready()
    left = asking(daemon, lambda vaults: vaults.show(vault).attempts_remaining)
    assert outcomes["wrong_knowledge_factor"] + left == TEN, (
        "an attempt was lost although its claim was repeated"
    )
