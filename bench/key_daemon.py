"""hwkmd as a contender: its native API on the Unix socket, and the AWS wire on the loopback."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import closed_loop
from hwkm.server.aws.credentials_file import create_credential
from hwkm.server.config import load_config
from tests.aws_signing import Signer
from tests.core_process import Device
from tests.daemon import Daemon
from tests.hardware import short_directory
from tests.interop.toolbox import free_ports

_CONTEXT = {"tenant": "bench", "object": "letters/2026/11/25"}
_ACCOUNT = "000000000001"
_ROOM = {"connections": 200, "connections_per_uid": 200, "requests_in_flight": 200}


@dataclass(frozen=True, slots=True)
class KeyDaemon:
    """A running daemon, its AWS port and a credential of it."""

    daemon: Daemon
    port: int
    signer: Signer

    @property
    def socket_path(self) -> Path:
        """The Unix socket."""
        return self.daemon.socket_path

    def new_key(self) -> str:
        """Make a symmetric key; return its id."""
        return self.new_keys(1)[0]

    def new_keys(self, count: int) -> list[str]:
        """Make so many symmetric keys; return their ids."""
        made = closed_loop.run(self.socket_path, [_native("/v1/keys", {})] * count)
        return [json.loads(body)["key_id"] for body in made.bodies]

    def metrics(self) -> dict[str, float]:
        """What ``/metrics`` says."""
        return self.daemon.metrics()


@contextmanager
def key_daemon(device: Device) -> Iterator[KeyDaemon]:
    """Run hwkmd as it is installed: durable audit log, records in SQLite, no profile or debug."""
    home = short_directory()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        (port,) = free_ports(1)
        settings: dict[str, dict[str, Any]] = {
            "daemon": {"log_level": "info"},
            "limits": _ROOM,
            "aws": {"listen": f"127.0.0.1:{port}"},
        }
        daemon = Daemon(device, settings=settings)
        stack.callback(daemon.stop)
        daemon.init()
        made = create_credential(load_config(daemon.config_path).credentials_path, "bench", _ACCOUNT)
        stack.enter_context(daemon)
        daemon.wait_until_ready()
        signer = Signer(made.access_key_id, made.secret_access_key, host=f"127.0.0.1:{port}")
        yield KeyDaemon(daemon, port, signer)


@dataclass
class NativeContender:
    """The native API. Each request is for one of the keys, by chance."""

    daemon: KeyDaemon
    keys: Sequence[str]
    name: str = "hwkmd, native API"
    address: closed_loop.Address = field(init=False)

    def __post_init__(self) -> None:
        self.address = self.daemon.socket_path

    def data_keys(self, count: int) -> list[bytes]:
        made = self.one_of_each()
        return [secrets.choice(made) for _ in range(count)]

    def one_of_each(self) -> list[bytes]:
        """A request for a data key under each of the keys."""
        items = [{"context": _CONTEXT}]
        return [_native("/v1/data-keys", {"key": key, "items": items}) for key in self.keys]

    def decryptions(self, answers: Sequence[bytes]) -> list[bytes]:
        return self.batch_decryptions(answers)

    def batches(self, count: int, items: int) -> list[bytes]:
        """Requests for so many data keys at once, each with a context of its own."""
        wanted = [{"context": {**_CONTEXT, "number": str(number)}} for number in range(items)]
        return [_native("/v1/data-keys", {"key": self.keys[0], "items": wanted})] * count

    def batch_decryptions(self, answers: Sequence[bytes]) -> list[bytes]:
        requests = []
        for answer in answers:
            made = json.loads(answer)["items"]
            contexts = (
                [_CONTEXT] if len(made) == 1 else [{**_CONTEXT, "number": str(n)} for n in range(len(made))]
            )
            items = [
                {"ciphertext": item["ciphertext"], "context": context}
                for item, context in zip(made, contexts, strict=True)
            ]
            requests.append(_native("/v1/decrypt", {"items": items}))
        return requests


@dataclass
class AwsContender:
    """The AWS wire over TCP; every request is signed before the clock starts."""

    daemon: KeyDaemon
    key: str
    name: str = "hwkmd, AWS wire"
    address: closed_loop.Address = field(init=False)

    def __post_init__(self) -> None:
        self.address = self.daemon.port

    def data_keys(self, count: int) -> list[bytes]:
        body = {"KeyId": self.key, "KeySpec": "AES_256", "EncryptionContext": _CONTEXT}
        return [self._signed("GenerateDataKey", body)] * count

    def decryptions(self, answers: Sequence[bytes]) -> list[bytes]:
        blobs = (json.loads(answer)["CiphertextBlob"] for answer in answers)
        return [
            self._signed("Decrypt", {"CiphertextBlob": blob, "EncryptionContext": _CONTEXT}) for blob in blobs
        ]

    def _signed(self, operation: str, body: Any) -> bytes:
        encoded = json.dumps(body).encode()
        headers = self.daemon.signer.headers(encoded, operation=operation)
        return closed_loop.request("POST", "/", encoded, list(headers.items()))


def _native(path: str, body: object) -> bytes:
    return closed_loop.request(
        "POST", path, json.dumps(body).encode(), [("Content-Type", "application/json")]
    )
