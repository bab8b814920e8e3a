"""Requests to the trusted core, each with a time limit and a reply of the expected types."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import Final, TypeVar

from hwkm.errors import HwkmError, Unavailable
from hwkm.formats.membership import Membership
from hwkm.server.limits import Busy
from hwkm.server.supervisor import CoreSupervisor
from hwkm.wire.core_messages import CoreReply, CoreRequest, ReadStatistics, Ready, Statistics

RETRY_AFTER_MS: Final = 500
STATISTICS_TIMEOUT_S: Final = 1.0

Reply = TypeVar("Reply")


class CoreCalls:
    """What the handlers see of the core."""

    def __init__(self, supervisor: CoreSupervisor, answer_timeout_s: float) -> None:
        self._supervisor = supervisor
        self._answer_timeout_s = answer_timeout_s
        self._answered = 0.0

    @property
    def ready(self) -> Ready:
        """What the core said of itself when it started.

        Raises:
            Busy: it is not ready.
        """
        if self._supervisor.ready is None or self._supervisor.state != "ready":
            raise Busy(self._supervisor.detail, RETRY_AFTER_MS)
        return self._supervisor.ready

    @property
    def membership(self) -> Membership:
        """Which member of its cohort the module is.

        Raises:
            Busy: as :attr:`ready`.
        """
        return Membership(self.ready.member, self.ready.members)

    async def ask(self, request: CoreRequest, kind: type[Reply]) -> Reply:
        """Send a request and return its reply, which is of type ``kind``.

        Raises:
            Busy: the core is restarting or does not answer in time. A claim may have been charged
                and may be presented again as it is.
            HwkmError: the core refused, by its own code.
        """
        reply = await self.send(request)
        if not isinstance(reply, kind):
            raise HwkmError("the trusted core answered out of turn")
        return reply

    async def send(self, request: CoreRequest) -> CoreReply:
        """Send a request and return its reply, of whatever type.

        Raises:
            Busy, HwkmError: as :meth:`ask`.
        """
        sent = time.monotonic()
        try:
            reply = await self._supervisor.call(request, self._answer_timeout_s)
        except TimeoutError:
            self._end_hung_core(sent)
            raise Busy("the trusted core does not answer in time; try again", RETRY_AFTER_MS) from None
        except Unavailable as exc:
            raise Busy(str(exc), RETRY_AFTER_MS) from exc
        except HwkmError:
            self._answered = time.monotonic()
            raise
        self._answered = time.monotonic()
        return reply

    async def statistics(self) -> Statistics | None:
        """Counts of the core, or None while there is none or it does not answer soon."""
        if self._supervisor.state != "ready":
            return None
        try:
            async with asyncio.timeout(STATISTICS_TIMEOUT_S):
                return await self.ask(ReadStatistics(), Statistics)
        except (HwkmError, TimeoutError):
            return None

    def _end_hung_core(self, sent: float) -> None:
        """Kill a core that has answered nobody since ``sent``; the supervisor starts another.

        A driver can hang in a token that was pulled out. Killing the core loses nothing.
        """
        pid = self._supervisor.core_pid
        if self._answered < sent and self._supervisor.state == "ready" and pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
