"""Procedures of several calls, written once and run with or without ``await``.

A flow is a generator: it yields a :class:`Call` and is sent the answer, or has the error thrown
into it; it yields a :class:`Pause` to wait. :func:`run` and :func:`run_async` are the only places
that know which of the two worlds they are in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from hwkm.client.calls import Call, T
from hwkm.errors import HwkmError

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Step: TypeAlias = Call[Any] | Pause
Flow: TypeAlias = Generator[Step, Any, R]


@dataclass(frozen=True, slots=True)
class _Failure:
    error: HwkmError


@dataclass(frozen=True, slots=True)
class _Finished(Generic[R]):
    value: R


def ask(call: Call[T]) -> Flow[T]:
    """Make one call; with ``yield from`` its answer is typed."""
    answer: T = yield call
    return answer


def pause(seconds: float) -> Flow[None]:
    """Wait, as a flow."""
    yield Pause(seconds)


def run(flow: Flow[R], send: Callable[[Call[Any]], Any]) -> R:
    """Run a flow, blocking. Errors of ``send`` are thrown into it."""
    outcome: Any = None
    with closing(flow):
        while True:
            step = _advance(flow, outcome)
            if isinstance(step, _Finished):
                return step.value
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                outcome = None
                continue
            try:
                outcome = send(step)
            except HwkmError as exc:
                outcome = _Failure(exc)


async def run_async(
    flow: Flow[R], send: Callable[[Call[Any]], Awaitable[Any]], *, in_thread: bool = True
) -> R:
    """Run a flow; its own computing (the stretching of a PIN takes a while) is done in a thread.

    A flow that computes next to nothing is quicker without.
    """
    outcome: Any = None
    with closing(flow):
        while True:
            step = await _advance_in_thread(flow, outcome) if in_thread else _advance(flow, outcome)
            if isinstance(step, _Finished):
                return step.value
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                outcome = None
                continue
            try:
                outcome = await send(step)
            except HwkmError as exc:
                outcome = _Failure(exc)


def _advance(flow: Flow[R], outcome: Any) -> Step | _Finished[R]:
    try:
        if isinstance(outcome, _Failure):
            return flow.throw(outcome.error)
        return flow.send(outcome)
    except StopIteration as stop:
        return _Finished(stop.value)


async def _advance_in_thread(flow: Flow[R], outcome: Any) -> Step | _Finished[R]:
    work = asyncio.ensure_future(asyncio.to_thread(_advance, flow, outcome))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # The flow must be at rest before it can be closed, and its secrets wiped.
        await asyncio.wait([work])
        work.exception()  # looked at, so that it is not reported as lost
        raise
