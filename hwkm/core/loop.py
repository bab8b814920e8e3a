"""The core's loop: take what has arrived, decide claims in one batch, answer keys in another, settle.

Group commit needs no timer: claims that arrive while others are being checked join their batch,
and those that arrive later form the next one. So an idle core commits at once, and a busy one shares
each anchor write among all that wait. Only verdicts, which nobody waits for, are given a short delay
to ride along with the next commit.

Claims and requests of the key service take turns: one batch of each, both bounded, so that neither
waits for more than one batch of the other.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from hwkm.core.channel import Channel, ChannelClosed
from hwkm.core.key_service import KeyService, weight
from hwkm.core.service import Service
from hwkm.errors import AnchorTampered, TokenError, TokenUnavailable
from hwkm.wire.core_messages import (
    CoreReply,
    Failed,
    OpenVault,
    ReplyFrame,
    Stop,
    VaultFaulted,
    VaultRequest,
)
from hwkm.wire.key_messages import KeyRequest

BATCH_CLAIMS_MAX: Final = 64
BATCH_KEY_WEIGHT: Final = 64
"""A batch of key requests is full with this weight; the request that fills it is taken whole."""

# AnchorTampered in the middle of a life is as likely a session that fell out of step with the TPM
# (one false answer on the bus); a new life tells the two apart, and refuses to start if it is true.
_RESTART_CODES: Final = (TokenError.code, TokenUnavailable.code, AnchorTampered.code)


class Loop:
    """Serves one channel until the daemon ends it."""

    def __init__(
        self, channel: Channel, service: Service, keys: KeyService, *, settle_delay_s: float
    ) -> None:
        self._channel = channel
        self._service = service
        self._keys = keys
        self._settle_delay_s = settle_delay_s
        self._settle_at = 0.0
        self._claims: deque[tuple[int, OpenVault]] = deque()
        self._key_requests: deque[tuple[int, KeyRequest]] = deque()
        self._others: deque[tuple[int, VaultRequest]] = deque()
        channel.wake_on(keys.wake_fd)

    def run(self) -> None:
        """Serve until the daemon asks to stop or closes the channel.

        Raises:
            TokenError: the token or the anchor cannot be relied on any more; the process must
                end and start again from the anchor.
        """
        try:
            while not self._take_requests():
                if self._claims:
                    self._decide_claims()
                elif self._service.has_deferred and time.monotonic() >= self._settle_at:
                    self._settle()
                self._answer_keys()
        except ChannelClosed:
            self._service.settle()

    def _take_requests(self) -> bool:
        """Queue claims and key requests, answer the rest; return whether the daemon asked to stop."""
        self._receive(self._patience_s())
        while self._others:
            number, body = self._others.popleft()
            self._channel.send([ReplyFrame(number, self._service.answer(body))])
            if isinstance(body, Stop):
                return True
        return False

    def _receive(self, timeout_s: float | None) -> None:
        """Queue what has arrived. May be called in the middle of a batch: nothing is answered here."""
        for frame in self._channel.receive(timeout_s):
            body = frame.body
            if isinstance(body, OpenVault):
                self._claims.append((frame.number, body))
            elif not isinstance(body, VaultRequest):
                self._key_requests.append((frame.number, body))
            else:
                self._others.append((frame.number, body))

    def _patience_s(self) -> float | None:
        if self._claims or self._key_requests or self._others:
            return 0.0
        if self._service.has_deferred:
            return max(0.0, self._settle_at - time.monotonic())
        return None

    def _decide_claims(self) -> None:
        batch: list[tuple[int, OpenVault]] = []

        def next_claims() -> list[OpenVault]:
            count = min(len(self._claims), BATCH_CLAIMS_MAX - len(batch))
            taken = [self._claims.popleft() for _ in range(count)]
            batch.extend(taken)
            return [claim for _, claim in taken]

        def arriving() -> list[OpenVault]:
            if not self._claims:
                self._receive(0.0)
            return next_claims()

        try:
            replies = self._service.open_vaults(next_claims(), arriving)
        except TokenError as exc:
            failed = Failed(code=exc.code, message=f"{exc}; present the same claim again")
            self._channel.send([ReplyFrame(number, failed) for number, _ in batch])
            raise
        self._defer_settling()
        pairs = list(zip(batch, replies, strict=True))
        self._channel.send([ReplyFrame(number, reply) for (number, _), reply in pairs if reply is not None])
        self._claims.extendleft(claim for claim, reply in reversed(pairs) if reply is None)
        if any(_breaks_trust(reply) for reply in replies):
            raise TokenError("the hardware failed while a claim was decided")

    def _answer_keys(self) -> None:
        batch = self._next_key_requests()
        try:
            replies = self._keys.answer(batch)
        except TokenError as exc:
            failed = Failed(code=exc.code, message=f"{exc}; try again")
            self._channel.send([ReplyFrame(number, failed) for number, _ in batch])
            raise
        if replies:
            self._channel.send(replies)

    def _next_key_requests(self) -> list[tuple[int, KeyRequest]]:
        batch: list[tuple[int, KeyRequest]] = []
        total = 0
        while self._key_requests and total < BATCH_KEY_WEIGHT:
            batch.append(self._key_requests.popleft())
            total += weight(batch[-1][1])
        return batch

    def _settle(self) -> None:
        self._service.settle()
        self._defer_settling()

    def _defer_settling(self) -> None:
        self._settle_at = time.monotonic() + self._settle_delay_s


def _breaks_trust(reply: CoreReply | None) -> bool:
    """Whether the token's session can no longer be relied on."""
    return isinstance(reply, VaultFaulted) or (isinstance(reply, Failed) and reply.code in _RESTART_CODES)
