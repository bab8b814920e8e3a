"""What goes wrong on the way, with peers that misbehave on a real socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hwkm.client import calls
from hwkm.client.agent import AsyncRecoveryAgent, RecoveryAgent
from hwkm.errors import FormatError, HwkmError, LimitExceeded, Unavailable
from tests.hardware import short_directory

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def socket_path() -> Iterator[Path]:
    directory = short_directory()
    yield directory / "s"
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


@contextmanager
def peer(path: Path, *answers: bytes) -> Iterator[None]:
    """Listen, and give each connection an answer whatever it asks, then hang up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(30)
        thread = threading.Thread(target=_answer_all, args=(listener, answers))
        thread.start()
        yield
        thread.join()


def _answer_all(listener: socket.socket, answers: tuple[bytes, ...]) -> None:
    for answer in answers:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            with suppress(BrokenPipeError):
                connection.sendall(answer)


def ask(path: Path, kind: str) -> Any:
    if kind == "sync":
        with RecoveryAgent(path) as agent:
            return agent.audit_checkpoint()

    async def asked() -> Any:
        async with AsyncRecoveryAgent(path) as agent:
            return await agent.audit_checkpoint()

    return asyncio.run(asked())


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
def test_no_socket_is_unavailable_and_says_so(kind: str, socket_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is no socket"):
        ask(socket_path, kind)


@both
def test_a_stale_socket_is_unavailable_and_says_so(kind: str, socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(socket_path))
    with pytest.raises(Unavailable, match="stale"):
        ask(socket_path, kind)


@both
@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200", HEAD + b"Content-Length: 100\r\n\r\n{", b"SSH-2.0-OpenSSH_9.2\r\n"],
    ids=["nothing", "half a line", "half a body", "another protocol"],
)
def test_a_connection_that_breaks_is_unavailable(kind: str, answer: bytes, socket_path: Path) -> None:
    with peer(socket_path, answer), pytest.raises(Unavailable, match="lost"):
        ask(socket_path, kind)


@both
def test_an_endless_answer_is_cut_off(kind: str, socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwkm.client.transport.ANSWER_BYTES_MAX", 10_000)
    answer = HEAD + b"Content-Length: 20000\r\n\r\n" + bytes(20_000)
    with peer(socket_path, answer), pytest.raises(LimitExceeded):
        ask(socket_path, kind)


@both
def test_a_compressed_answer_is_not_unpacked(kind: str, socket_path: Path) -> None:
    answer = HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"
    with peer(socket_path, answer), pytest.raises(FormatError):
        ask(socket_path, kind)


@both
def test_a_whole_answer_is_read(kind: str, socket_path: Path) -> None:
    body = b'{"checkpoint":"aa","log_key":"bb"}'
    with peer(socket_path, HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)):
        assert ask(socket_path, kind).checkpoint == "aa"


def test_proxies_of_the_environment_are_not_used(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    body = b'{"checkpoint":"aa","log_key":"bb"}'
    with peer(socket_path, HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)):
        assert ask(socket_path, "sync").checkpoint == "aa"


def test_no_exception_of_the_http_library_gets_out(socket_path: Path) -> None:
    with RecoveryAgent("x" * 200) as agent, pytest.raises(HwkmError):
        agent.send(calls.status())
