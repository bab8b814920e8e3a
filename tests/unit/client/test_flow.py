"""Flows run the same with and without await, and are closed whatever happens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hwkm.client import calls
from hwkm.client.agent import CLAIM_PAUSES_SECONDS, present_claim
from hwkm.client.calls import Call
from hwkm.client.flow import Flow, Pause, ask, pause, run, run_async
from hwkm.errors import (
    ChallengeRefused,
    HardwareFault,
    HwkmError,
    Unavailable,
    VaultLocked,
    WrongKnowledgeFactor,
)
from hwkm.wire import api

HANDLE = "48" + "00" * 16
CLAIM = api.OpenVault(challenge=bytes(32), claim=bytes(143))
OPENED = api.VaultOpened(response=bytes(92), attempts_remaining=10, application_keys=())

Send = Callable[[Call[Any]], Any]
Runner = Callable[[Flow[Any], Send], Any]


def _run_async(flow: Flow[Any], send: Send) -> Any:
    async def awaited(call: Call[Any]) -> Any:
        await asyncio.sleep(0)
        return send(call)

    return asyncio.run(run_async(flow, awaited))


both = pytest.mark.parametrize("runner", [run, _run_async], ids=["sync", "async"])


class Answers:
    """Answers calls in turn; an exception among the answers is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.calls: list[Call[Any]] = []

    def __call__(self, call: Call[Any]) -> object:
        self.calls.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses are noted instead of kept."""
    pauses: list[float] = []

    def noted(seconds: float) -> Flow[None]:
        pauses.append(seconds)
        return pause(0)

    monkeypatch.setattr("hwkm.client.agent.pause", noted)
    return pauses


@both
def test_answers_come_back_into_the_flow(runner: Runner) -> None:
    def flow() -> Flow[list[object]]:
        first = yield from ask(calls.show_vault(HANDLE))
        yield from pause(0)
        second = yield from ask(calls.delete_vault(HANDLE))
        return [first, second]

    assert runner(flow(), Answers("one", "two")) == ["one", "two"]


@both
def test_errors_are_raised_where_the_flow_asked(runner: Runner) -> None:
    def flow() -> Flow[str]:
        try:
            yield from ask(calls.status())
        except VaultLocked:
            return "handled"
        return "not reached"

    assert runner(flow(), Answers(VaultLocked("locked"))) == "handled"


@both
def test_errors_that_a_flow_does_not_handle_come_out(runner: Runner) -> None:
    with pytest.raises(VaultLocked):
        runner(ask(calls.status()), Answers(VaultLocked("locked")))


@both
def test_a_flow_is_closed_when_sending_breaks(runner: Runner) -> None:
    closed = []

    def flow() -> Flow[None]:
        try:
            yield from ask(calls.status())
        finally:
            closed.append(True)

    with pytest.raises(ZeroDivisionError):
        runner(flow(), Answers(ZeroDivisionError()))
    assert closed


async def test_a_cancelled_flow_is_at_rest_before_it_is_closed() -> None:
    computing, may_end = threading.Event(), threading.Event()
    closed = []

    def flow() -> Flow[None]:
        try:
            computing.set()
            may_end.wait(30)
            yield Pause(3600)
        finally:
            closed.append(True)

    async def send(_: Call[Any]) -> Any:
        raise AssertionError("nothing is sent")

    task = asyncio.create_task(run_async(flow(), send))
    await asyncio.to_thread(computing.wait, 30)
    task.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed


@both
@pytest.mark.parametrize("lost", [Unavailable("gone"), HardwareFault("fault")])
def test_the_same_claim_is_presented_again_when_its_answer_is_lost(
    runner: Runner, lost: HwkmError, no_waiting: list[float]
) -> None:
    answers = Answers(lost, lost, OPENED)
    assert runner(present_claim(HANDLE, CLAIM), answers) is OPENED
    assert len({call.body for call in answers.calls}) == 1
    assert len(answers.calls) == 3
    assert tuple(no_waiting) == CLAIM_PAUSES_SECONDS


@both
def test_a_claim_is_given_up_after_three_losses(runner: Runner, no_waiting: list[float]) -> None:
    answers = Answers(*[Unavailable("gone")] * 3)
    with pytest.raises(Unavailable):
        runner(present_claim(HANDLE, CLAIM), answers)
    assert len(answers.calls) == 3


@pytest.mark.parametrize("verdict", [WrongKnowledgeFactor(3), VaultLocked(""), ChallengeRefused("")])
def test_a_verdict_is_never_asked_for_twice(verdict: HwkmError, no_waiting: list[float]) -> None:
    answers = Answers(verdict)
    with pytest.raises(type(verdict)):
        run(present_claim(HANDLE, CLAIM), answers)
    assert len(answers.calls) == 1
    assert not no_waiting


def test_awaitables_are_awaited_not_returned() -> None:
    async def send(_: Call[Any]) -> str:
        return "answer"

    typed: Callable[[Call[Any]], Awaitable[Any]] = send
    assert asyncio.run(run_async(ask(calls.status()), typed)) == "answer"  # type: ignore[comparison-overlap]
