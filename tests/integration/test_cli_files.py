"""``hwkm encrypt``, ``decrypt`` and ``rewrap`` through the real command, on real hardware."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from hwkm.client import KeyClient, files
from hwkm.client.files.encryption import unwrapped
from hwkm.client.files.header_swap import JOURNAL_PREFIX, HeaderSwap, encode_journal
from tests.cli.person import HEEDS_SIGNALS, HWKM
from tests.cli.resident import Resident
from tests.daemon import Daemon
from tests.devices import REAL, make_device
from tests.encryption_sdk import COMMITTED_SIGNED, EncryptionSdk


@pytest.fixture(scope="module", params=REAL)
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with ExitStack() as stack:
        device = make_device(request.param, tmp_path_factory.mktemp("token"), stack)
        running = stack.enter_context(Daemon(device))
        running.wait_until_ready()
        with KeyClient(running.socket_path) as client:
            client.create("alias/letters")
            client.create("alias/other")
        yield running


@pytest.fixture
def person(daemon: Daemon, tmp_path: Path) -> Resident:
    made = Resident(tmp_path / "home", daemon.socket_path)
    (made.home / "letter").write_bytes(os.urandom(200_000))
    return made


def pipe(person: Resident, *arguments: str, data: bytes, status: int = 0) -> bytes:
    done = subprocess.run(
        [*HWKM, *arguments],
        env=person.environment,
        cwd=person.home,
        input=data,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def test_a_file_comes_back_and_its_name_too(person: Resident) -> None:
    said = person.run("encrypt", "letter", "-k", "letters", "-c", "tenant=a", "-c", "kind=mail").stdout
    assert said == "Encrypted letter (195.3 KiB) into letter.encrypted.\n"
    original = (person.home / "letter").read_bytes()
    (person.home / "letter").unlink()
    assert (person.home / "letter.encrypted").stat().st_mode & 0o777 == 0o600
    (shown,) = person.json("decrypt", "letter.encrypted", "--context", "tenant=a")
    assert shown["context"] == {"tenant": "a", "kind": "mail"}
    assert shown["content_bytes"] == 200_000
    assert (person.home / "letter").read_bytes() == original


def test_no_two_files_have_a_data_key_in_common(person: Resident, daemon: Daemon) -> None:
    for name in ("a", "b"):
        (person.home / name).write_text("same")
    person.run("encrypt", "a", "b", "-k", "letters")
    with KeyClient(daemon.socket_path) as client:
        keys = [
            unwrapped(client, files.read_header(person.home / name), None)
            for name in ("a.encrypted", "b.encrypted")
        ]
    assert keys[0] != keys[1]


def test_streams_pass_through(person: Resident) -> None:
    data = os.urandom(300_000)
    sealed = pipe(person, "encrypt", "-", "-k", "letters", data=data)
    assert pipe(person, "decrypt", "-", data=sealed) == data
    cut = pipe(person, "decrypt", "-", data=sealed[:-1], status=23)
    assert data.startswith(cut)
    assert len(cut) < len(data)


def test_nothing_is_left_of_what_does_not_verify(person: Resident) -> None:
    person.run("encrypt", "letter", "-k", "letters")
    sealed = person.home / "letter.encrypted"
    whole = sealed.read_bytes()
    for damaged in (whole[:-1], whole + b"x", whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:]):
        sealed.write_bytes(damaged)
        person.run("decrypt", "letter.encrypted", "-o", "copy", status=23)
    sealed.write_bytes(b"no message")
    person.run("decrypt", "letter.encrypted", "-o", "copy", status=23)
    assert {path.name for path in person.home.iterdir()} == {"letter", "letter.encrypted"}


def test_of_several_files_the_one_that_fails_is_named(person: Resident) -> None:
    for name in ("a", "b"):
        (person.home / name).write_text("x")
    person.run("encrypt", "a", "b", "-k", "letters")
    for name in ("a", "b"):
        (person.home / name).unlink()
    sealed = person.home / "b.encrypted"
    sealed.write_bytes(sealed.read_bytes()[:-1])
    refused = person.run("decrypt", "a.encrypted", "b.encrypted", status=23)
    assert refused.stderr.startswith("hwkm: b.encrypted: ")
    assert (person.home / "a").read_text() == "x"


def test_context_and_key_that_were_asked_for_are_insisted_on(person: Resident) -> None:
    person.run("encrypt", "letter", "-k", "letters", "-c", "tenant=a")
    for arguments in (["-c", "tenant=b"], ["-c", "more=x"], ["-k", "other"]):
        person.run("decrypt", "letter.encrypted", "-o", "copy", *arguments, status=25)
    person.run("decrypt", "letter.encrypted", "-o", "copy", "-c", "tenant=a", "-k", "letters")


def test_outputs_are_never_overwritten_and_names_have_to_fit(person: Resident) -> None:
    person.run("encrypt", "letter", "-k", "letters")
    person.run("encrypt", "letter", "-k", "letters", status=4)
    person.run("decrypt", "letter.encrypted", status=4)
    person.run("encrypt", "missing", "-k", "letters", status=4)
    assert (
        "-o is for one"
        in person.run("encrypt", "letter", "letter", "-k", "letters", "-o", "y", status=2).stderr
    )
    assert "does not end with" in person.run("decrypt", "letter", status=2).stderr
    assert "directory" in person.run("encrypt", ".", "-k", "letters", "-o", "out", status=2).stderr
    assert "directory" in person.run("decrypt", ".", status=2).stderr
    assert "missing: No such file" in person.run("decrypt", "missing", status=4).stderr
    assert "--json" in person.run("encrypt", "-", "-k", "letters", "--json", status=2).stderr
    person.run("encrypt", "letter", "-k", "nobody", "-o", "n", status=14)
    assert not (person.home / "n").exists()


def test_ciphertext_is_not_written_to_a_terminal(person: Resident) -> None:
    shown = person.type_at("encrypt", "letter", "-k", "letters", "-o", "-", entries=[], status=2)
    assert "terminal" in shown


def test_memory_does_not_grow_with_the_file(person: Resident) -> None:
    large = person.home / "large"
    with large.open("wb") as file:
        file.truncate(300_000_000)
    used = [peak_kib(person, "encrypt", name, "-k", "letters") for name in ("letter", "large")]
    assert used[1] - used[0] < 40_000, used
    (person.home / "large").unlink()
    assert peak_kib(person, "decrypt", "large.encrypted") - used[0] < 40_000


def peak_kib(person: Resident, *arguments: str) -> int:
    child = os.fork()
    if child == 0:
        os.chdir(person.home)
        os.execve(HWKM[0], [*HWKM, *arguments], person.environment)  # noqa: S606  (ends the child)
    _, status, usage = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert isinstance(usage, resource.struct_rusage)
    return usage.ru_maxrss


# --- with the SDK ----------------------------------------------------------------------------


def test_the_encryption_sdk_opens_ours_and_we_open_its(person: Resident, daemon: Daemon) -> None:
    """The data key is unwrapped by the daemon for both; the SDK's way to it is the AWS wire's."""
    person.run("encrypt", "letter", "-k", "letters", "-c", "tenant=a")
    original = (person.home / "letter").read_bytes()
    with KeyClient(daemon.socket_path) as client:
        header = files.read_header(person.home / "letter.encrypted")
        (wrapped,) = header.data_keys
        assert wrapped.provider == b"aws-kms"
        arn = wrapped.key_info.decode()
        sdk = EncryptionSdk(arn, unwrapped(client, header, None).expose(), wrapped.wrapped)
        assert sdk.decrypt((person.home / "letter.encrypted").read_bytes()) == (original, {"tenant": "a"})
        with client.generate_data_key(arn, {"by": "sdk"}) as made:
            theirs = EncryptionSdk(arn, made.plaintext.expose(), made.wrapped)
            (person.home / "theirs.encrypted").write_bytes(theirs.encrypt(original, {"by": "sdk"}))
            signed = theirs.encrypt(original, {"by": "sdk"}, suite=COMMITTED_SIGNED)
    person.run("decrypt", "theirs.encrypted", "-c", "by=sdk")
    assert (person.home / "theirs").read_bytes() == original
    (person.home / "signed.encrypted").write_bytes(signed)
    # The SDK's signing key is in the context of a signed file, so the daemon has to see it there.
    person.run("decrypt", "signed.encrypted", status=23)


# --- rewrap ----------------------------------------------------------------------------------


def test_rewrapping_after_a_rotation_touches_no_contents(person: Resident) -> None:
    tree = person.home / "tree"
    (tree / "deep").mkdir(parents=True)
    names = [tree / "a", tree / "b", tree / "deep" / "c"]
    for name in names:
        name.write_bytes(os.urandom(100_000))
        person.run("encrypt", name, "-k", "letters", "-c", f"name={name.name}")
    sealed = [name.with_name(f"{name.name}.encrypted") for name in names]
    before = [(path.read_bytes(), path.stat().st_ino) for path in sealed]
    version = int(person.json("key", "rotate", "letters")["version"])

    dry = person.json("rewrap", "tree", "--dry-run")
    assert (dry["rewrapped"], dry["left"], dry["failed"]) == (3, 3, 0)
    assert [path.read_bytes() for path in sealed] == [data for data, _ in before]

    done = person.json("rewrap", "tree")
    assert (done["rewrapped"], done["current"], done["left"], done["failed"]) == (3, 0, 3, 0)
    for path, (old, inode) in zip(sealed, before, strict=True):
        new = path.read_bytes()
        header = len(files.read_header(path).encode()) + 16
        assert (new[header:], path.stat().st_ino) == (old[header:], inode)
        assert new[:header] != old[:header]
        assert int.from_bytes(files.read_header(path).data_keys[0].wrapped[17:21], "big") == version
    again = person.run("rewrap", "tree").stdout
    assert again == "Rewrapped 0 files; 3 up to date already; 3 left alone.\n"
    for path, name in zip(sealed, names, strict=True):
        person.run("decrypt", path, "-o", f"{name}.copy", "-c", f"name={name.name}")
        assert Path(f"{name}.copy").read_bytes() == name.read_bytes()


def test_rewrapping_to_another_key_and_only_from_one(person: Resident) -> None:
    (person.home / "x").write_text("x")
    person.run("encrypt", "letter", "-k", "letters")
    person.run("encrypt", "x", "-k", "other")
    done = person.json("rewrap", ".", "--from", "letters", "--to", "other")
    assert (done["rewrapped"], done["left"]) == (1, 3)
    person.run("decrypt", "letter.encrypted", "-o", "copy", "-k", "other")
    assert person.json("rewrap", "letter.encrypted", "--to", "letters")["rewrapped"] == 1
    person.run("rewrap", ".", "--to", "nobody", status=14)
    person.run("rewrap", "missing", status=4)


def test_what_cannot_be_rewrapped_is_named_and_does_not_stop_the_rest(
    person: Resident, daemon: Daemon
) -> None:
    person.run("encrypt", "letter", "-k", "letters")
    whole = (person.home / "letter.encrypted").read_bytes()
    (person.home / "damaged").write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    (person.home / "cut").write_bytes(whole[:100])
    tag = len(files.read_header(person.home / "letter.encrypted").encode())
    (person.home / "forged").write_bytes(whole[:tag] + bytes(16) + whole[tag + 16 :])
    with KeyClient(daemon.socket_path) as client, client.generate_data_key("alias/letters", {}) as made:
        sdk = EncryptionSdk(made.key, made.plaintext.expose(), made.wrapped)
        (person.home / "signed").write_bytes(sdk.encrypt(b"x", {}, suite=COMMITTED_SIGNED))
    person.run("key", "rotate", "letters")
    done = person.json("rewrap", ".", status=31)
    assert (done["rewrapped"], done["failed"]) == (1, 4)
    codes = {Path(failure["what"]).name: failure["code"] for failure in done["failures"]}
    assert codes == {
        "damaged": "not_encrypted",
        "cut": "not_encrypted",
        "forged": "file_damaged",
        "signed": "file_signed",
    }
    said = person.run("rewrap", ".", status=31)
    assert "forged: the file's header was changed" in said.stderr
    assert said.stdout.endswith("4 failed.\n")


def test_a_disabled_key_fails_files_and_a_stopped_daemon_the_run(person: Resident, daemon: Daemon) -> None:
    person.run("encrypt", "letter", "-k", "letters")
    person.run("key", "rotate", "letters")
    person.run("key", "disable", "letters")
    done = person.json("rewrap", "letter.encrypted", status=31)
    assert [failure["code"] for failure in done["failures"]] == ["key_disabled"]
    person.run("key", "enable", "letters")
    stopped = person.json("rewrap", "letter.encrypted", "-S", person.home / "none", status=20)
    assert stopped["stopped"]["code"] == "unavailable"
    assert person.json("rewrap", "letter.encrypted")["rewrapped"] == 1


def test_links_are_not_followed_and_what_cannot_be_read_is_named(person: Resident, tmp_path: Path) -> None:
    person.run("encrypt", "letter", "-k", "letters")
    outside = tmp_path / "outside.encrypted"
    (person.home / "letter.encrypted").rename(outside)
    whole = outside.read_bytes()
    (person.home / "link").symlink_to(outside)
    (person.home / "linked").symlink_to(tmp_path)
    os.mkfifo(person.home / "pipe")
    person.run("key", "rotate", "letters")
    done = person.json("rewrap", ".")
    assert (done["rewrapped"], done["failed"]) == (0, 0)
    assert outside.read_bytes() == whole


@pytest.mark.parametrize("what", [".", "letter.encrypted"])
def test_what_a_crash_left_is_finished_and_said(person: Resident, what: str) -> None:
    person.run("encrypt", "letter", "-k", "letters")
    path = person.home / "letter.encrypted"
    old = path.read_bytes()
    person.run("key", "rotate", "letters")
    person.run("rewrap", "letter.encrypted")
    length = len(files.read_header(path).encode()) + 16
    new = path.read_bytes()
    torn = length - 80  # within the wrapped key
    path.write_bytes(new[:torn] + old[torn:])
    swap = HeaderSwap(b"letter.encrypted", old[:length], new[:length])
    (person.home / f"{JOURNAL_PREFIX}0").write_bytes(encode_journal([swap]))
    person.run("decrypt", "letter.encrypted", "-o", "copy", status=23)
    assert person.json("rewrap", what, "--dry-run")["recovered"] == 0
    said = person.run("rewrap", what).stdout
    assert said.startswith("Rewrapped 0 files; 1 up to date already;")
    assert "1 finished after an interruption." in said
    person.run("decrypt", "letter.encrypted", "-o", "copy")
    assert (person.home / "copy").read_bytes() == (person.home / "letter").read_bytes()


def test_two_runs_at_once_lose_nothing(person: Resident, daemon: Daemon) -> None:
    for number in range(40):
        (person.home / f"f{number}").write_bytes(str(number).encode())
    person.run("encrypt", *(f"f{number}" for number in range(40)), "-k", "letters")
    person.run("key", "rotate", "letters")
    with KeyClient(daemon.socket_path) as client, ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(files.rewrap_files, client, person.home) for _ in range(2)]
        tallies = [run.result() for run in runs]
        assert sum(tally.counts[files.Outcome.REWRAPPED] for tally in tallies) == 40
        assert files.rewrap_files(client, person.home).counts[files.Outcome.CURRENT] == 40
        for number in range(40):
            files.decrypt_file(client, person.home / f"f{number}.encrypted", person.home / f"g{number}")
            assert (person.home / f"g{number}").read_bytes() == str(number).encode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_by_a_signal_it_leaves_no_plaintext(person: Resident, number: signal.Signals) -> None:
    os.mkfifo(person.home / "pipe")
    sealed = pipe(person, "encrypt", "-", "-k", "letters", data=os.urandom(4_000_000))
    running = subprocess.Popen(
        [*HEEDS_SIGNALS, *HWKM, "decrypt", "pipe", "-o", "out"],
        env=person.environment,
        cwd=person.home,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    with (person.home / "pipe").open("wb") as feed:
        feed.write(sealed[:-1000])
        feed.flush()  # all but the last pipe's worth was read, so plaintext was written
        assert list(person.home.glob(".hwkm-partial-*"))
        running.send_signal(number)
        assert running.wait(60) != 0
    assert not list(person.home.glob(".hwkm-partial-*"))
    assert not (person.home / "out").exists()
