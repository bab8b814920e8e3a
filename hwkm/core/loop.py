"""The core's loop: take what has arrived, decide it in one batch, answer, settle when idle.

Group commit needs no timer: claims that arrive while a batch is being decided wait in the
socket and form the next batch, so an idle core commits at once and a busy one shares each
anchor write among all that wait. Only verdicts, which nobody waits for, are given a short delay
to ride along with the next commit.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from hwkm.core.channel import Channel, ChannelClosed
from hwkm.core.service import Service
from hwkm.errors import TokenError
from hwkm.wire.core_messages import Failed, OpenVault, ReplyFrame, RequestFrame, Stop, VaultFaulted

BATCH_CLAIMS_MAX: Final = 64


def serve(channel: Channel, service: Service, *, settle_delay_s: float) -> None:
    """Serve until the daemon asks to stop or closes the channel.

    Raises:
        TokenError: the token or the anchor cannot be relied on any more; the process must end.
    """
    claims: deque[RequestFrame] = deque()
    settle_at: float | None = None
    try:
        while True:
            timeout_s = 0.0 if claims else _seconds_until(settle_at)
            for frame in channel.receive(timeout_s):
                if isinstance(frame.body, OpenVault):
                    claims.append(frame)
                    continue
                channel.send([ReplyFrame(frame.number, service.answer(frame.body))])
                if isinstance(frame.body, Stop):
                    return
            if claims:
                _decide(channel, service, claims)
            settle_at = _settled(service, settle_at, settle_delay_s)
    except ChannelClosed:
        if service.has_deferred:
            service.settle()


def _decide(channel: Channel, service: Service, waiting: deque[RequestFrame]) -> None:
    """Decide the claims that wait, up to a batch; those to be presented again stay in front."""
    batch = [waiting.popleft() for _ in range(min(len(waiting), BATCH_CLAIMS_MAX))]
    requests = [frame.body for frame in batch if isinstance(frame.body, OpenVault)]
    try:
        replies = service.open_vaults(requests)
    except TokenError as exc:
        failed = Failed(code=exc.code, message=f"{exc}; present the same claim again")
        channel.send([ReplyFrame(frame.number, failed) for frame in batch])
        raise
    decided = [(frame, reply) for frame, reply in zip(batch, replies, strict=True) if reply is not None]
    channel.send([ReplyFrame(frame.number, reply) for frame, reply in decided])
    waiting.extendleft(
        frame for frame, reply in reversed(list(zip(batch, replies, strict=True))) if reply is None
    )
    if any(isinstance(reply, VaultFaulted) for _, reply in decided):
        raise TokenError("the hardware failed after a charge")


def _settled(service: Service, settle_at: float | None, delay_s: float) -> float | None:
    """Settle if it is time; return when it will be time, or None."""
    if not service.has_deferred:
        return None
    now = time.monotonic()
    if settle_at is None:
        return now + delay_s
    if now < settle_at:
        return settle_at
    service.settle()
    return now + delay_s if service.has_deferred else None


def _seconds_until(moment: float | None) -> float | None:
    return None if moment is None else max(0.0, moment - time.monotonic())
