"""A rewrap that is killed at any change of storage: the next one finishes it, and no file is lost."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwkm.client import KeyClient
from hwkm.client.files import Outcome, rewrap_files
from hwkm.client.files.encryption import unwrapped
from hwkm.client.files.message import SealedMessage, seal
from hwkm.formats.message import WrappedDataKey
from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.harness.board import Board
from tests.harness.lossy_storage import Recorder
from tests.harness.plan import KILLS, Act, Plan

ROOT = Path(__file__).parents[2]
FILES = ("a", "b", "c")
CONTEXT = {"tenant": "a"}
PROGRAM = """
import sys
from pathlib import Path
from hwkm.client import KeyClient
from hwkm.client.files import rewrap_files
with KeyClient(sys.argv[1]) as client:
    rewrap_files(client, Path(sys.argv[2]), to=sys.argv[3], workers=1)
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token"))) as running:
        running.wait_until_ready()
        with KeyClient(running.socket_path) as client:
            client.create("alias/one")
            client.create("alias/two")
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[KeyClient]:
    with KeyClient(daemon.socket_path) as made:
        yield made


def make_files(client: KeyClient, directory: Path) -> None:
    """Under key one; the last has a name of its key that is too long, so its header changes in length."""
    directory.mkdir()
    arn = client.show("alias/one").arn
    for name in FILES:
        info = arn + ("-x" if name == FILES[-1] else "")
        with client.generate_data_key("alias/one", CONTEXT) as key, (directory / name).open("wb") as file:
            wrapped = WrappedDataKey(b"aws-kms", info.encode(), key.wrapped)
            seal(io.BytesIO(name.encode() * 5000), file, key.plaintext, wrapped, CONTEXT)


def contents(client: KeyClient, path: Path) -> bytes:
    with path.open("rb") as file:
        message = SealedMessage.read(file)
        arn = client.show("alias/one").arn.encode()
        # A name that is too long, as make_files wrote it, is none that the daemon knows.
        named = "alias/one" if message.header.data_keys[0].key_info.startswith(arn) else None
        return b"".join(message.frames(unwrapped(client, message.header, named)))


def run(daemon: Daemon, directory: Path, environment: dict[str, str]) -> int:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(daemon.socket_path), str(directory), "alias/two"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=120,
    ).returncode


@pytest.mark.slow
@pytest.mark.parametrize("act", KILLS)
def test_killed_at_every_write_it_is_finished_by_the_next_run(
    daemon: Daemon, client: KeyClient, tmp_path: Path, act: Act
) -> None:
    number, killed, finished = 0, 0, False
    while not finished:
        number += 1
        directory = tmp_path / str(number)
        make_files(client, directory)
        board = Board.create(tmp_path / f"board{number}")
        recorder = Recorder(directory, tmp_path / f"log{number}", tmp_path / f"board{number}")
        board.arm(Plan.nth(number, act))
        code = run(daemon, directory, recorder.environment)
        finished = board.struck == 0
        board.close()
        assert code == (0 if finished else -9)
        killed += not finished
        tally = rewrap_files(client, directory, to="alias/two")
        assert tally.counts[Outcome.FAILED] == 0
        assert {path.name for path in directory.iterdir()} == set(FILES)
        for name in FILES:
            assert contents(client, directory / name) == name.encode() * 5000
        assert rewrap_files(client, directory, to="alias/two").counts[Outcome.CURRENT] == len(FILES)
    assert killed >= 10, "it was killed too seldom"
