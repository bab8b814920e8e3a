"""A rotation of the domain key on every kind of device, with core and daemon killed in the middle of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hwkm.errors import HwkmError
from hwkm.wire.key_api import DomainInfo
from tests.daemon import Daemon
from tests.devices import ALL, make_device
from tests.key_http import KeyHttp

DEADLINE_S = 120.0
KEYS = 130  # a few batches


@pytest.fixture(params=ALL)
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    with ExitStack() as stack:
        device = make_device(request.param, tmp_path, stack)
        settings = {"keys": {"scheduler_interval": "100ms"}}
        yield stack.enter_context(Daemon(device, settings=settings))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_everything_decrypts_after_the_core_and_then_the_daemon_were_killed(daemon: Daemon) -> None:
    with daemon.http() as http:
        keys = KeyHttp(http)
        made = [keys.generate(keys.create().arn, n=str(number)) for number in range(KEYS)]
        keys.call("domain.rotate")
        daemon.kill_core()
        daemon.wait_until_ready()
    daemon.kill()
    daemon.start()
    with daemon.http() as http:
        keys = KeyHttp(http)
        info = until_idle(keys)
        assert info.generations == (2,)
        assert (info.versions, info.versions_left) == (KEYS, 0)
        for number, item in enumerate(made):
            assert keys.decrypt(item.ciphertext, n=str(number)) == item.plaintext
    done = daemon.command("domain", "rotate")
    assert done.returncode == 0, done.stderr
    assert f"domain key 3; {KEYS} versions of keys are wrapped under it" in done.stdout
    status = daemon.command("domain", "status").stdout
    assert "domain key   3" in status
    assert "older ones" not in status
    as_json = json.loads(daemon.command("domain", "status", "--json").stdout)
    assert (as_json["generations"], as_json["versions_left"]) == ([3], 0)
    assert daemon.status().keys == KEYS
    with daemon.http() as http:
        assert KeyHttp(http).decrypt(made[0].ciphertext, n="0") == made[0].plaintext


def until_idle(keys: KeyHttp) -> DomainInfo:
    """Wait until the rotation was gone on with, and has ended."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            info = keys.call("domain.status")
        except HwkmError:
            info = None
        if isinstance(info, DomainInfo) and info.state == "idle" and len(info.generations) == 1:
            return info
        assert time.monotonic() < deadline, info
        time.sleep(0.1)
