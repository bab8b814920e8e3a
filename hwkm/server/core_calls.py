"""Requests to the trusted core, each with a time limit and a reply of the expected types."""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

from hwkm.errors import HwkmError, Unavailable
from hwkm.server.limits import Busy
from hwkm.server.supervisor import CoreSupervisor
from hwkm.wire.core_messages import CoreReply, CoreRequest, ReadStatistics, Ready, Statistics

RETRY_AFTER_MS: Final = 500

Reply = TypeVar("Reply")


class CoreCalls:
    """What the handlers see of the core."""

    def __init__(self, supervisor: CoreSupervisor, answer_timeout_s: float) -> None:
        self._supervisor = supervisor
        self._answer_timeout_s = answer_timeout_s

    @property
    def ready(self) -> Ready:
        """What the core said of itself when it started.

        Raises:
            Busy: it is not ready.
        """
        if self._supervisor.ready is None or self._supervisor.state != "ready":
            raise Busy(self._supervisor.detail, RETRY_AFTER_MS)
        return self._supervisor.ready

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
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                return await self._supervisor.call(request)
        except TimeoutError:
            raise Busy("the trusted core does not answer in time; try again", RETRY_AFTER_MS) from None
        except Unavailable as exc:
            raise Busy(str(exc), RETRY_AFTER_MS) from exc

    async def statistics(self) -> Statistics | None:
        """Counts of the core, or None while there is none."""
        try:
            return await self.ask(ReadStatistics(), Statistics)
        except HwkmError:
            return None
