"""``examples/archive.py``: rows in PostgreSQL and files on SeaweedFS, rotated and rewrapped without touching the data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.devices import REAL, make_device
from tests.interop.seaweedfs import ACCESS_KEY, SECRET_KEY, seaweedfs
from tests.postgres import Postgres

ROOT = Path(__file__).parents[2]
# Objects reach SeaweedFS encrypted: it needs no key service.
PLAIN = json.dumps(
    {
        "identities": [
            {
                "name": "archive",
                "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                "actions": ["Admin", "Read", "Write", "List"],
            }
        ]
    }
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", REAL)
def test_data_keys_are_rewrapped_and_neither_rows_nor_objects_are_touched(kind: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(make_device(kind, tmp_path / "token", stack)))
        daemon.wait_until_ready()
        database = stack.enter_context(Postgres())
        (endpoint,) = stack.enter_context(seaweedfs(tmp_path, [PLAIN]))
        done = subprocess.run(
            [sys.executable, "-m", "examples.archive"],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "HWKM_SOCKET": str(daemon.socket_path),
                "ARCHIVE_DATABASE": database.url,
                "ARCHIVE_BUCKET": "archive",
                "AWS_ENDPOINT_URL_S3": endpoint,
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                "AWS_DEFAULT_REGION": "us-east-1",
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "stored 10 letters under 20 data keys",
        "rotated: alias/archive has version 2",
        "rewrapped 20 data keys, then 0",
        "texts and objects untouched: True",
        "all letters read again: True",
    ]
