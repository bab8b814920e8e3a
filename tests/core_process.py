"""The real trusted core as a process, driven over its private channel by one test thread."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from hwkm.wire import core_messages as wire
from hwkm.wire.framing import FrameReader, encode_frame
from tests.hardware import SoftHsm, Swtpm
from tests.vault_clients import Claimed, SealedVault, make_claim

ANSWER_DEADLINE_S = 60.0

_started: Final[msgspec.msgpack.Decoder[wire.CoreStarted]] = msgspec.msgpack.Decoder(wire.CoreStarted)
_reply = msgspec.msgpack.Decoder(wire.ReplyFrame)


class CoreEnded(Exception):
    """The core closed the channel."""


class MemoryToken:
    """An ``insecure-memory:`` token, with the looks of the real ones."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.uri = f"insecure-memory:path={directory}/token.json"
        self.pin_file = directory / "pin"
        # No words: some of the tests search memory for every eight bytes of it, where texts of ours are too.
        self.pin_file.write_text("q7Xw2-Jc9Zk4-Vb8Hn3-Td6Rm")
        self.pin_file.chmod(0o600)
        self.environment: Mapping[str, str] = {}

    def restart(self) -> None:
        """Nothing runs between uses."""

    def stop(self) -> None:
        """Nothing to stop."""


Device = MemoryToken | SoftHsm | Swtpm


def core_settings(device: Device, nodes_path: Path, **changes: Any) -> wire.CoreSettings:
    """Settings for tests: no delays, limit 10."""
    settings = wire.CoreSettings(
        token_uri=device.uri,
        pin_file=str(device.pin_file),
        nodes_path=str(nodes_path),
        max_attempts_limit=10,
        delays_ms=(0,),
        challenge_lifetime_ms=60_000,
        challenges_max=1_000,
        settle_delay_ms=20,
        require_hardening=False,
    )
    return msgspec.structs.replace(settings, **changes)


class CoreProcess:
    """One life of the core. Requests may be sent without waiting for their replies."""

    def __init__(self, device: Device, environment: Mapping[str, str] | None = None) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(ANSWER_DEADLINE_S)
        command = [sys.executable, "-m", "hwkm.core", "--channel", str(theirs.fileno())]
        with theirs:
            self.process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, **device.environment, **(environment or {})},
            )
        self._socket = ours
        self._reader = FrameReader()
        self._bodies: list[bytes] = []
        self._replies: dict[int, wire.CoreReply] = {}
        self._number = 0
        self.ready: wire.Ready | None = None

    # --- messages ----------------------------------------------------------------------------

    def start(self, message: wire.CoreStart) -> wire.CoreStarted:
        self._write(msgspec.msgpack.encode(message))
        started = _started.decode(self._next_body())
        if isinstance(started, wire.Ready):
            self.ready = started
        return started

    def serve(self, settings: wire.CoreSettings) -> wire.Ready:
        started = self.start(wire.Serve(settings=settings))
        assert isinstance(started, wire.Ready), started
        return started

    def send(self, request: wire.CoreRequest) -> int:
        self._number += 1
        self._write(msgspec.msgpack.encode(wire.RequestFrame(self._number, request)))
        return self._number

    def send_together(self, requests: Iterable[wire.CoreRequest]) -> list[int]:
        """Send requests in one write, so that they wait together."""
        first = self._number + 1
        frames = [wire.RequestFrame(first + n, request) for n, request in enumerate(requests)]
        self._number += len(frames)
        self._socket.sendall(b"".join(encode_frame(msgspec.msgpack.encode(frame)) for frame in frames))
        return [frame.number for frame in frames]

    def reply(self, number: int) -> wire.CoreReply:
        while number not in self._replies:
            frame = _reply.decode(self._next_body())
            self._replies[frame.number] = frame.body
        return self._replies.pop(number)

    def next_reply(self) -> tuple[int, wire.CoreReply]:
        """The reply that arrives next, to whichever request, and that request's number."""
        frame = _reply.decode(self._next_body())
        return frame.number, frame.body

    def call(self, request: wire.CoreRequest) -> wire.CoreReply:
        return self.reply(self.send(request))

    # --- the protocol ------------------------------------------------------------------------

    def claim(self, vault: SealedVault, kf_hash: bytes) -> Claimed:
        """Take a challenge and make a claim."""
        issued = self.call(wire.IssueChallenge(params=vault.params, vault=vault.blob))
        assert isinstance(issued, wire.ChallengeIssued), issued
        return make_claim(vault, kf_hash, issued.challenge)

    def send_claim(self, claimed: Claimed) -> int:
        return self.send(opening(claimed))

    def present(self, claimed: Claimed) -> wire.CoreReply:
        return self.reply(self.send_claim(claimed))

    def guess(self, vault: SealedVault, kf_hash: bytes) -> wire.CoreReply:
        return self.present(self.claim(vault, kf_hash))

    def attempts_remaining(self, vault: SealedVault) -> int:
        counter = self.call(wire.ReadCounter(params=vault.params))
        assert isinstance(counter, wire.CounterRead), counter
        return counter.attempts_remaining

    # --- ends --------------------------------------------------------------------------------

    def kill(self) -> None:
        """SIGKILL, now."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Let it settle and end by itself."""
        self._socket.close()
        self.process.wait(ANSWER_DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    # --- bytes -------------------------------------------------------------------------------

    def _write(self, body: bytes) -> None:
        try:
            self._socket.sendall(encode_frame(body))
        except OSError as exc:
            raise CoreEnded from exc

    def _next_body(self) -> bytes:
        while not self._bodies:
            try:
                data = self._socket.recv(65536)
            except ConnectionError as exc:
                raise CoreEnded from exc
            if not data:
                raise CoreEnded
            self._bodies.extend(self._reader.feed(data))
        return self._bodies.pop(0)


def opening(claimed: Claimed) -> wire.OpenVault:
    """The message that presents a claim."""
    request = claimed.request
    return wire.OpenVault(
        params=request.params, vault=request.vault, challenge=request.challenge, claim=request.claim
    )


def provision(device: Device, settings: wire.CoreSettings) -> wire.CoreStarted:
    """Make the keys and the anchor by a core of its own."""
    with CoreProcess(device) as core:
        return core.start(wire.Provision(settings=settings, destroy_existing=False))
