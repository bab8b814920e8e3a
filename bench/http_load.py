"""A load on the daemon's socket: keep-alive connections that speak as little HTTP as is needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.load import Loaded
from hwkm.crypto.knowledge_factor import KfAlgorithm, KfType
from hwkm.wire import api
from tests.vault_clients import Claimed, SealedVault, make_claim


@dataclass(frozen=True, slots=True)
class Prepared:
    """A claim and the path to present it at."""

    path: str
    body: bytes


class Connection:
    """One HTTP/1.1 connection; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, socket_path: Path) -> Connection:
        """Connect."""
        return cls(*await asyncio.open_unix_connection(str(socket_path)))

    async def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Send a request and return the body of a success."""
        head = f"{method} {path} HTTP/1.1\r\nHost: hwkm\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: application/json\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        content = await self._reader.readexactly(length)
        if b" 200 " not in answer[:16]:
            raise RuntimeError(content.decode())
        return content

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def store(connection: Connection, vault: SealedVault, number: int) -> str:
    """Store a vault; return its path."""
    body = api.CreateVault(
        name=f"bench {number} {vault.params[77:].hex()}",
        params=vault.params,
        vault=vault.blob,
        knowledge_factor=api.KnowledgeFactor(type=KfType.PIN, algorithm=KfAlgorithm.SHA256, salt=bytes(16)),
    )
    await connection.request("POST", "/v1/vaults", msgspec.json.encode(body))
    return f"/v1/vaults/{vault.params[77:].hex()}"


async def claim(connection: Connection, path: str, vault: SealedVault) -> Prepared:
    """Take a challenge and make a right claim."""
    answer = await connection.request("POST", f"{path}/challenge")
    issued = msgspec.json.decode(answer, type=api.ChallengeIssued)
    claimed: Claimed = make_claim(vault, vault.kf_hash, issued.challenge)
    body = api.OpenVault(challenge=issued.challenge, claim=claimed.request.claim)
    return Prepared(f"{path}/open", msgspec.json.encode(body))


async def present(socket_path: Path, claims: Iterable[Prepared], concurrency: int) -> Loaded:
    """Present the claims over so many connections."""
    connections = [await Connection.open(socket_path) for _ in range(concurrency)]
    waiting, latencies = iter(claims), []

    async def work(connection: Connection) -> None:
        for prepared in waiting:
            started = time.perf_counter()
            await connection.request("POST", prepared.path, prepared.body)
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(work(connection) for connection in connections))
    seconds = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return Loaded(len(latencies), seconds, tuple(latencies))
