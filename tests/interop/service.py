"""A real hwkmd on a device, with its AWS listener and two tenants. Needs no pytest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hwkm.server.aws.credentials_file import create_credential
from hwkm.server.config import load_config
from tests.daemon import Daemon, DaemonDied
from tests.devices import make_device
from tests.hardware import short_directory
from tests.interop.tenant import Tenant
from tests.interop.toolbox import can_connect, free_ports

ACCOUNTS: Final = {"one": "000000000001", "two": "000000000002", "bound": "000000000001"}
HWKM: Final = Path(sys.executable).parent / "hwkm"
POLL_S: Final = 0.02
DEADLINE_S: Final = 60.0
POLICY: Final = """
[[rule]]
uids = [{uid}]
operations = ["*"]
vaults = "any"
keys = ["*"]
account = "*"

[[rule]]
credentials = ["one", "two"]
operations = ["key.*"]
keys = ["*"]

[[rule]]
credentials = ["bound"]
operations = ["key.*"]
keys = ["*"]
require_context = {{ tenant = "one" }}
"""


@dataclass(frozen=True)
class KeyService:
    """A running daemon, two tenants, and a third credential, of the first one's account, which the policy
    lets use keys only with ``tenant = one`` in the encryption context."""

    daemon: Daemon
    tenants: list[Tenant]
    bound: Tenant

    def new_key(self, tenant: Tenant, **options: Any) -> str:
        """Make a key; return its ARN."""
        arn: str = tenant.kms().create_key(**options)["KeyMetadata"]["Arn"]
        return arn

    def audit_of(self, key: str) -> list[dict[str, Any]]:
        """The records of a key, after the whole log was verified."""
        log = str(self.daemon.state_directory / "audit")
        _hwkm("audit", "verify", log, "--live")
        return [json.loads(line) for line in _hwkm("audit", "export", log, "--key", key).splitlines()]

    def rotate_domain(self) -> None:
        """Wrap every key anew under a new domain key, and wait until the old one is gone."""
        with self.daemon.http() as http:
            before = http.get("/v1/domain").raise_for_status().json()["generation"]
            http.post("/v1/domain/rotate").raise_for_status()
            deadline = time.monotonic() + DEADLINE_S
            while (domain := http.get("/v1/domain").raise_for_status().json())["state"] != "idle":
                if time.monotonic() > deadline:
                    raise TimeoutError(f"domain rotation does not end: {domain}")
                time.sleep(POLL_S)
        if domain["generations"] != [before + 1] or domain["versions_left"]:
            raise RuntimeError(f"not rotated: {domain}")


@contextmanager
def key_service(kind: str) -> Iterator[KeyService]:
    """Provision a device, make credentials and serve."""
    home = short_directory()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        device = make_device(kind, home, stack)
        (port,) = free_ports(1)
        policy = home / "policy.toml"
        policy.write_text(POLICY.format(uid=os.getuid()))
        settings = {"aws": {"listen": f"127.0.0.1:{port}"}, "daemon": {"policy_file": str(policy)}}
        daemon = Daemon(device, settings=settings)
        stack.callback(daemon.stop)
        daemon.init()
        endpoint = f"http://127.0.0.1:{port}"
        one, two, bound = (_tenant(daemon, name, endpoint, home) for name in ACCOUNTS)
        stack.enter_context(daemon)
        daemon.wait_until_ready()
        if not can_connect(port):
            raise DaemonDied(f"nobody listens on {port}:\n{daemon.log}")
        yield KeyService(daemon, [one, two], bound)


def _hwkm(*arguments: str) -> str:
    return subprocess.run([HWKM, *arguments], capture_output=True, text=True, check=True).stdout


def _tenant(daemon: Daemon, name: str, endpoint: str, home: Path) -> Tenant:
    """Make a credential, as ``hwkmd credential create`` does."""
    made = create_credential(load_config(daemon.config_path).credentials_path, name, ACCOUNTS[name])
    return Tenant(name, ACCOUNTS[name], made.access_key_id, made.secret_access_key, endpoint, home)
