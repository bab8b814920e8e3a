"""The audit log end to end: a real daemon on a real token and TPM signs, strangers check by the real command."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from hwkm.audit.published import Published
from hwkm.audit.reader import read
from hwkm.tlog.checkpoint import Checkpoint, verify_checkpoint
from hwkm.tlog.merkle import leaf_hash
from hwkm.tlog.note import SignedNote
from hwkm.tlog.note_keys import NoteKey
from hwkm.tlog.proofs import prove_inclusion, verify_inclusion
from hwkm.tlog.tiles import Tile, TileHashes, parse_bundle, parse_tile, tile_at
from tests.audit_log import log_key_of, verify_audit_log
from tests.cli.person import Person
from tests.core_process import Device, MemoryToken
from tests.daemon import Daemon
from tests.devices import REAL, make_device

DAMAGED = 23


@pytest.fixture(params=REAL)
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    with ExitStack() as stack:
        device = make_device(request.param, tmp_path, stack)
        yield stack.enter_context(running(device))


@pytest.fixture
def memory_daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(MemoryToken(tmp_path)) as daemon:
        yield daemon


@contextmanager
def running(device: Device) -> Iterator[Daemon]:
    """A daemon that signs when it is asked to, and at its end; not in between."""
    settings = {"audit": {"checkpoint_interval": "1h"}}
    with Daemon(device, settings=settings) as daemon:
        daemon.wait_until_ready()
        yield daemon


def sign_now(daemon: Daemon) -> NoteKey:
    """Have the log signed as it is; return the key that signed."""
    with daemon.http() as http:
        return NoteKey.parse(http.get("/v1/audit/checkpoint").json()["log_key"])


def records(daemon: Daemon) -> list[str]:
    return [record.operation for record in read(daemon.state_directory / "audit")]


def test_operator_auditor_and_witness(daemon: Daemon, tmp_path: Path) -> None:
    """Each sees only what the other gives them: the operator the log, auditor and witness files and keys."""
    operator = Person(tmp_path / "operator", daemon.socket_path)
    auditor = Person(tmp_path / "auditor", tmp_path / "no socket")
    witness = Person(tmp_path / "witness", tmp_path / "no socket")
    log = daemon.state_directory / "audit"

    made = operator.create("wallet")
    operator.run("audit", "key", "--out", "log-key")
    operator.run("audit", "checkpoint", "--out", "first")
    for person in (auditor, witness):
        for name in ("log-key", "first"):
            shutil.copy(operator.home / name, person.home / name)

    # The witness has seen the log from its beginning, and goes on by proofs.
    witness_key = witness.run("audit", "witness-key", "witness.example/w1", "witness.key").stdout.strip()
    on_behalf = ("--key", "witness.key", "--log-key", "log-key", "--state", "state")
    operator.run("audit", "consistency", "first", "first", "-d", log, "--out", "request-1")
    shutil.copy(operator.home / "request-1", witness.home)
    witness.run("audit", "cosign", "request-1", *on_behalf, "--first", "--out", "cosigned-1")
    operator.run("vault", "open", "wallet", pin="0418", status=10)
    operator.run("audit", "checkpoint", "--out", "second")
    operator.run("audit", "consistency", "first", "second", "-d", log, "--out", "request-2")
    shutil.copy(operator.home / "request-2", witness.home)
    witness.run("audit", "cosign", "request-2", *on_behalf, "--out", "cosigned-2")
    shutil.copy(witness.home / "cosigned-2", operator.home)
    operator.run("audit", "accept", "cosigned-2", "--witness", witness_key, "-d", log)

    # A proof for somebody who was not there.
    shown = operator.run("audit", "show", log, "--outcome", "wrong_knowledge_factor", "--json").stdout
    record = json.loads(shown)
    assert (record["operation"], record["vault"]) == ("vault.open", made["handle"])
    index = str(record["index"])
    operator.run("audit", "prove", index, "-d", log, "--checkpoint", "cosigned-2", "--out", "proof")
    shutil.copy(operator.home / "proof", auditor.home)
    check = ("audit", "check-proof", "proof", "--log-key", "log-key", "--witness", witness_key)
    proved = auditor.run(*check, "--quorum", "1").stdout
    assert "wrong_knowledge_factor" in proved
    assert "witness.example/w1" in proved
    assert json.loads(auditor.run(*check, "--json").stdout) == record
    auditor.run(*check, "--quorum", "2", status=DAMAGED)

    # The whole, offline.
    daemon.terminate()
    shutil.copytree(log, auditor.home / "copy")
    whole = ("audit", "verify", "copy", "--log-key", "log-key", "--checkpoint", "first")
    report = auditor.json(*whole, "--witness", witness_key)
    assert report["records"] == report["signed"] == len(records(daemon))
    assert list(report["witnesses"]) == ["witness.example/w1"]

    # And what is wrong.
    (segment,) = (auditor.home / "copy/records").iterdir()
    good = segment.read_bytes()
    segment.write_bytes(good.replace(b'"wrong_knowledge_factor"', b'"ok"'))
    assert f"record {index}" in auditor.run(*whole, status=DAMAGED).stderr
    segment.write_bytes(good)
    shutil.copytree(auditor.home / "copy", auditor.home / "tile-damaged")
    (tile,) = (auditor.home / "tile-damaged/tile/0/000.p").glob(str(report["records"]))
    tile.write_bytes(tile.read_bytes()[:-1] + b"x")
    damaged = auditor.run("audit", "verify", "tile-damaged", "--log-key", "log-key", status=DAMAGED)
    assert f"tile/0/000.p/{report['records']} is damaged" in damaged.stderr


def test_a_log_rolled_back_with_its_daemon_is_noticed_by_who_kept_a_checkpoint(
    daemon: Daemon, tmp_path: Path
) -> None:
    person = Person(tmp_path / "home", daemon.socket_path)
    log = daemon.state_directory / "audit"
    daemon.terminate()
    shutil.copytree(log, tmp_path / "earlier")
    daemon.start()
    daemon.wait_until_ready()
    person.create("wallet")
    person.run("audit", "checkpoint", "--out", "kept")
    person.run("audit", "key", "--out", "log-key")
    daemon.terminate()
    shutil.rmtree(log)
    shutil.copytree(tmp_path / "earlier", log)
    daemon.start()
    daemon.wait_until_ready()
    verify = ("audit", "verify", log, "--live", "--log-key", "log-key")
    person.run(*verify)
    assert "kept" in person.run(*verify, "--checkpoint", "kept", status=DAMAGED).stderr
    # As soon as it has more records than the kept checkpoint it is a fork, and no proof leads there.
    for number in range(12):
        person.create(f"other {number}")
    person.run("audit", "checkpoint", "--out", "forked")
    refused = person.run("audit", "consistency", "kept", "forked", "-d", log, status=DAMAGED)
    assert "does not contain the older one" in refused.stderr


def test_a_checkpoint_is_signed_at_the_end_and_by_the_timer(tmp_path: Path) -> None:
    with Daemon(MemoryToken(tmp_path), settings={"audit": {"checkpoint_interval": "50ms"}}) as daemon:
        daemon.wait_until_ready()
        published = Published(daemon.state_directory / "audit")
        person = Person(tmp_path / "home", daemon.socket_path)
        person.create("wallet")
        wanted = records(daemon).index("vault.create") + 1
        while published.state().size < wanted:
            daemon.status()
        assert daemon.terminate() == 0
        report = verify_audit_log(daemon)
        assert report.signed == report.records
        assert records(daemon)[-1] == "daemon.stop"


def test_after_a_crash_the_records_behind_the_checkpoint_are_signed_at_the_next_start(
    memory_daemon: Daemon,
) -> None:
    daemon = memory_daemon
    before = Published(daemon.state_directory / "audit").state().size
    for _ in range(3):
        daemon.status()
    daemon.kill()
    shutil.rmtree(daemon.state_directory / "audit/tile")
    daemon.start()
    daemon.wait_until_ready()
    sign_now(daemon)
    report = verify_audit_log(daemon, live=True)
    assert report.signed >= before + 3
    assert records(daemon).count("daemon.start") == 2


def test_a_killed_core_is_replaced_and_goes_on_signing(memory_daemon: Daemon, tmp_path: Path) -> None:
    person = Person(tmp_path / "home", memory_daemon.socket_path)
    first = person.json("audit", "checkpoint")
    memory_daemon.kill_core()
    memory_daemon.wait_until_ready(deadline_s=30)
    second = person.json("audit", "checkpoint")
    assert first["log_key"] == second["log_key"]
    states = [
        verify_checkpoint(a["checkpoint"].encode(), NoteKey.parse(a["log_key"])) for a in (first, second)
    ]
    assert states[0].checkpoint.size <= states[1].checkpoint.size


def test_a_changed_record_keeps_the_daemon_from_starting(memory_daemon: Daemon) -> None:
    memory_daemon.terminate()
    (segment,) = (memory_daemon.state_directory / "audit/records").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole.replace(b'"daemon.stop"', b'"daemon.halt"'))
    refused = memory_daemon.command("serve")
    assert refused.returncode != 0
    assert "record" in refused.stderr
    segment.write_bytes(whole)


def test_a_checkpoint_by_another_key_keeps_the_daemon_from_starting(memory_daemon: Daemon) -> None:
    memory_daemon.terminate()
    path = memory_daemon.state_directory / "audit/checkpoint"
    note = SignedNote.parse(path.read_bytes())
    state = Checkpoint.parse(note.text)
    forged = Checkpoint("hwkm.audit/" + "0" * 32, state.size, state.root)
    path.write_bytes(SignedNote(forged.text(), note.signatures).encode())
    refused = memory_daemon.command("serve")
    assert refused.returncode != 0
    assert "not to be believed" in refused.stderr


def test_a_new_token_begins_a_log_of_another_name_over_the_same_records(memory_daemon: Daemon) -> None:
    daemon = memory_daemon
    former = log_key_of(daemon)
    daemon.terminate()
    found = re.search(r"--destroy-existing ([0-9a-f]{64})", daemon.command("init").stderr)
    assert found is not None
    daemon.init("--destroy-existing", found[1])
    daemon.start()
    daemon.wait_until_ready()
    assert sign_now(daemon) != former
    assert log_key_of(daemon).name != former.name
    assert verify_audit_log(daemon, live=True).records == len(records(daemon))
    put_away = daemon.state_directory / "audit/former/0/checkpoint"
    old = verify_checkpoint(put_away.read_bytes(), former).checkpoint
    assert Published(daemon.state_directory / "audit").hashes(old.size).frontier().root() == old.root


def test_a_log_of_the_earlier_format_is_refused_and_a_new_one_can_be_made(memory_daemon: Daemon) -> None:
    daemon = memory_daemon
    daemon.terminate()
    log = daemon.state_directory / "audit"
    shutil.rmtree(log)
    log.mkdir(mode=0o700)
    (log / "0000000000000001.jsonl").write_text("{}\n")
    refused = daemon.command("serve")
    assert refused.returncode != 0
    assert "hwkmd init --audit-log" in refused.stderr
    log.rename(log.with_name("audit.old"))
    assert "made audit log" in daemon.init("--audit-log")
    daemon.start()
    daemon.wait_until_ready()
    assert records(daemon)[:1] == ["audit.create"]
    daemon.terminate()
    assert "holds an audit log already" in daemon.command("init", "--audit-log").stderr


def test_anybody_can_serve_the_directory_and_a_stranger_proves_a_record_from_it(
    memory_daemon: Daemon, tmp_path: Path
) -> None:
    """Static files over HTTP, read with nothing but the paths of C2SP tlog-tiles."""
    daemon = memory_daemon
    for _ in range(300):
        daemon.status()
    key = log_key_of(daemon)
    assert daemon.terminate() == 0
    with served(daemon.state_directory / "audit") as url:
        state = verify_checkpoint(fetch(f"{url}/checkpoint"), key).checkpoint
        assert state.size > 300

        def tile(wanted: Tile) -> bytes:
            return fetch(f"{url}/{tile_at(wanted.level, wanted.index, state.size).path()}")

        index = 299
        bundle = tile_at(None, index // 256, state.size)
        entry = parse_bundle(tile(bundle), bundle.width)[index % 256]
        hashes = TileHashes(state.size, tile)
        proof = prove_inclusion(index, state.size, hashes)
        verify_inclusion(index, state.size, leaf_hash(entry), proof, state.root)
        leaves = parse_tile(tile(Tile(0, 1)), state.size - 256)
        assert leaves[index % 256] == sha256(b"\0" + entry).digest()
        assert json.loads(entry)["index"] == index


@contextmanager
def served(directory: Path) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is to be seen."""


def fetch(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as answer:
        content: bytes = answer.read()
    return content


class TestCommand:
    def test_filters_and_export(self, memory_daemon: Daemon, tmp_path: Path) -> None:
        person = Person(tmp_path / "home", memory_daemon.socket_path)
        log = memory_daemon.state_directory / "audit"
        made = person.create("wallet")
        shown = person.run("audit", "show", log, "--vault", made["handle"])
        assert f"uid {os.getuid()}" in shown.stdout
        exported = person.run("audit", "export", log, "--operation", "vault.create").stdout
        assert [json.loads(line)["vault"] for line in exported.splitlines()] == [made["handle"]]
        assert exported.encode().rstrip(b"\n") in (next((log / "records").iterdir())).read_bytes()
        for nothing in (
            ("--caller", "12345"),
            ("--context", "tenant=x"),
            ("--key", "none"),
            ("--until", "2000-01-01"),
            ("--from", "100000"),
        ):
            assert person.run("audit", "export", log, *nothing).stdout == ""
        person.run("audit", "export", log, "--context", "tenant", status=2)

    def test_what_is_wrong_with_the_input_is_said(self, memory_daemon: Daemon, tmp_path: Path) -> None:
        person = Person(tmp_path / "home", memory_daemon.socket_path)
        log = memory_daemon.state_directory / "audit"
        person.run("audit", "verify", log, "--live", "--log-key", "none", status=4)
        (person.home / "nonsense").write_bytes(b"\xff nonsense")
        person.run("audit", "verify", log, "--live", "--log-key", "nonsense", status=3)
        person.run("audit", "verify", log, "--live", "--checkpoint", "nonsense", status=3)
        person.run("audit", "verify", person.home, status=DAMAGED)
        person.run("audit", "check-proof", "nonsense", "--log-key", "nonsense", status=3)
        person.run("audit", "prove", "100000", "-d", log, status=DAMAGED)
        person.run("audit", "witness-key", "w", "witness.key")
        person.run("audit", "witness-key", "w", "witness.key", status=4)
        assert (person.home / "witness.key").stat().st_mode & 0o777 == 0o600

    def test_a_witness_keeps_its_state_and_its_key(self, memory_daemon: Daemon, tmp_path: Path) -> None:
        person = Person(tmp_path / "home", memory_daemon.socket_path)
        log = memory_daemon.state_directory / "audit"
        person.run("audit", "witness-key", "w", "witness.key")
        person.run("audit", "key", "--out", "log-key")
        person.run("audit", "checkpoint", "--out", "first")
        person.run("audit", "consistency", "first", "first", "-d", log, "--out", "request")
        command = ("audit", "cosign", "request", "--key", "witness.key", "--log-key", "log-key")
        without_state = person.run(*command, "--state", "state", status=4)
        assert "--first" in without_state.stderr
        person.run(*command, "--state", "state", "--first", "--out", "cosigned")
        assert "already" in person.run(*command, "--state", "state", "--first", status=4).stderr
        person.run(*command, "--state", "state", "--out", "again")
        (person.home / "witness.key").chmod(0o644)
        assert "chmod 600" in person.run(*command, "--state", "state", status=4).stderr
