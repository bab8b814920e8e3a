"""A real S3 server: one SeaweedFS store, and one S3 gateway for each tenant's KMS credential.

SeaweedFS 4.48 uses one KMS provider for all buckets of a gateway (``kms.default_provider``; the ``buckets``
map of its configuration is read but not used for objects), so tenants with credentials of their own need
gateways of their own. They share the store, and every S3 identity here may read every bucket: what
separates the tenants in these tests is the key service alone.
"""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.interop.toolbox import BIN, Server, clean_environment, free_weed_ports

ACCESS_KEY = "s3-user"
SECRET_KEY = "s3-user-secret"


@dataclass(frozen=True, slots=True)
class KmsAccess:
    """Where a gateway finds its key service, and as whom."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"

    def configuration(self) -> str:
        """The configuration of a gateway with one S3 user. The cache of plaintext data keys is off."""
        user = {
            "name": "user",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        provider = {
            "type": "aws",
            "endpoint": self.endpoint,
            "region": self.region,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "cache_enabled": False,
        }
        kms = {"default_provider": "hwkm", "providers": {"hwkm": provider}}
        return json.dumps({"identities": [user], "kms": kms})


@contextmanager
def seaweedfs(directory: Path, configurations: Sequence[str]) -> Iterator[list[str]]:
    """Run a store and a gateway for each configuration; yield the gateways' endpoints."""
    environment = clean_environment(
        directory, WEED_S3_SSE_KEK=secrets.token_hex(32), WEED_MASTER_VOLUME_GROWTH_COPY_1="1"
    )
    master, volume, filer, *ports = free_weed_ports(3 + len(configurations))
    with ExitStack() as stack:
        # Those of the sockets whose place cannot be chosen.
        for name, port in (("master", master), ("volume", volume), ("filer", filer), *_s3(ports)):
            leftover = Path(f"/tmp/seaweedfs-{name}-grpc-{port + 10_000}.sock")
            stack.callback(leftover.unlink, missing_ok=True)
        store = stack.enter_context(_store(directory, environment, master, volume, filer))
        store.wait_until(lambda: _answers(f"http://127.0.0.1:{filer}/"))
        gateways = [
            stack.enter_context(_gateway(directory, environment, filer, port, configuration))
            for port, configuration in zip(ports, configurations, strict=True)
        ]
        for port, gateway in zip(ports, gateways, strict=True):
            gateway.wait_until(lambda port=port: _answers(f"http://127.0.0.1:{port}/healthz"))  # type: ignore[misc]
        yield [f"http://127.0.0.1:{port}" for port in ports]


def _s3(ports: Sequence[int]) -> list[tuple[str, int]]:
    return [("s3", port) for port in ports]


def _store(directory: Path, environment: dict[str, str], master: int, volume: int, filer: int) -> Server:
    data = directory / "weed"
    data.mkdir()
    command = [
        str(BIN / "weed"),
        "-logtostderr",
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        "-master.peers=none",  # no election
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        f"-volume.port={volume}",
        "-volume.max=500",
        "-volume.preStopSeconds=0",
        "-filer",
        f"-filer.port={filer}",
        f"-filer.localSocket={directory}/filer.sock",
    ]
    # Its orderly end takes 20 s, and its data is thrown away.
    return Server(command, environment, directory / "weed.log", stop_signal=signal.SIGKILL)


def _gateway(
    directory: Path, environment: dict[str, str], filer: int, port: int, configuration: str
) -> Server:
    config = directory / f"s3-{port}.json"
    config.write_text(configuration)
    config.chmod(0o600)
    command = [
        str(BIN / "weed"),
        "-logtostderr",
        "s3",
        f"-filer=127.0.0.1:{filer}",
        "-ip.bind=127.0.0.1",
        f"-port={port}",
        "-port.iceberg=0",
        "-port.lance=0",
        f"-config={config}",
        f"-localSocket={directory}/s3-{port}.sock",
    ]
    return Server(command, environment, directory / f"s3-{port}.log", stop_signal=signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=2, trust_env=False)
    except httpx.HTTPError:
        return False
    return True
