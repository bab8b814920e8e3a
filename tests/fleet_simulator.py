"""A fleet's server in memory, as python-tuf's repository simulator: what it serves can be changed at will.

>>> simulator = Simulator()
>>> simulator.publish_list(1, ["alpha"])
>>> Fleet(simulator.pinned, simulator.files, state).refresh()

Everything that :class:`tests.fleet_world.World` publishes goes into a dictionary. ``instead`` gives a file other
contents, or an answer that does not end; ``asked`` is what was fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient import FetcherInterface

from hwkm.client.fleet.fetching import FleetFiles
from tests.fleet_world import World

BASE = "http://fleet.example"
Answer = Callable[[], Iterator[bytes]]


class MemoryServer(FetcherInterface):
    """Serves a dictionary."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.instead: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.chunks_sent = 0

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = url.removeprefix(f"{BASE}/")
        self.asked.append(path)
        answer = self.instead.get(path)
        if answer is None and path not in self.contents:
            raise DownloadHTTPError(f"no {path}", 404)
        for chunk in answer() if answer else [self.contents[path]]:
            self.chunks_sent += 1
            yield chunk

    @contextmanager
    def answering(self, path: str, answer: Answer) -> Iterator[None]:
        """Answer a path otherwise, for a while."""
        self.instead[path] = answer
        try:
            yield
        finally:
            del self.instead[path]


@dataclass
class Simulator(World):
    """A world that publishes into memory."""

    directory: Path = Path("/nowhere")
    server: MemoryServer = field(default_factory=MemoryServer)

    @property
    def files(self) -> FleetFiles:
        """What a client fetches from."""
        return FleetFiles(BASE, self.server)

    def write(self, name: str, data: bytes) -> None:
        self.server.contents[name] = data

    def remove_log(self) -> None:
        for name in [name for name in self.server.contents if name.startswith("log/")]:
            del self.server.contents[name]

    def snapshot(self) -> dict[str, bytes]:
        """All that is served now, to be served again later."""
        return dict(self.server.contents)

    def roll_back(self, snapshot: dict[str, bytes]) -> None:
        """Serve what was served before."""
        self.server.contents = dict(snapshot)


def endless() -> Iterator[bytes]:
    """An answer that never ends."""
    while True:
        yield bytes(64 * 1024)


def broken_off() -> Iterator[bytes]:
    """A connection that breaks in the middle of an answer."""
    yield b'{"signed":'
    raise DownloadError("the connection was reset")
