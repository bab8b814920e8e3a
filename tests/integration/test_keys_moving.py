"""Keys go from one module to another of its kind, by the commands that operators use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hwkm.formats.key_kind import KeyKind, SigningAlgorithm
from hwkm.server.keys import moving
from hwkm.wire import key_api as api
from tests.daemon import Daemon
from tests.devices import ALL, make_device
from tests.key_http import KeyHttp


@pytest.fixture(params=ALL)
def daemons(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Daemon, Daemon]]:
    with ExitStack() as stack:
        made = []
        for name in ("here", "there"):
            directory = tmp_path / name
            directory.mkdir()
            device = make_device(request.param, directory, stack)
            made.append(stack.enter_context(Daemon(device)))
        yield made[0], made[1]


def facts(output: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in output.splitlines())


def run(daemon: Daemon, *arguments: str) -> str:
    done = daemon.command("domain", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_keys_decrypt_and_sign_on_both_sides_after_they_were_moved(
    daemons: tuple[Daemon, Daemon], tmp_path: Path
) -> None:
    here, there = daemons
    with here.http() as http:
        keys = KeyHttp(http)
        made = [
            keys.create(alias=f"alias/{number}", tags={"n": str(number)}) for number in range(moving.PAGE)
        ]
        for _ in range(moving.PAGE):
            keys.call("key.rotate", key=made[0].arn)
        old = keys.encrypt(made[1].arn, b"first", a="b")
        keys.call("key.rotate", key=made[1].arn)
        new = keys.encrypt(made[1].arn, b"second")
        keys.call("key.disable", key=made[2].arn)
        signing = keys.create(kind=KeyKind.ECC_NIST_P256_SIGN, alias="alias/signing")
        shown = {info.arn: keys.show(info.arn) for info in (*made, signing)}
    with there.http() as http:
        taken = KeyHttp(http).create(alias="alias/3")

    statement, exported = tmp_path / "statement", tmp_path / "keys"
    fingerprint = facts(run(there, "statement", str(statement)))["fingerprint"]
    arguments = ("export", "--to", str(statement), "--fingerprint", fingerprint, str(exported))
    sent = facts(run(here, *arguments))
    take = ("import", "--sender", sent["sender"], "--digest", sent["digest"], str(exported))
    counts = [number for number in run(there, *take).replace(" and ", " ").split() if number.isdigit()]
    assert counts == [str(len(made) + 1), str(len(made) + 1 + moving.PAGE + 1)]
    assert run(there, *take).startswith("0 keys and 0 versions")

    with there.http() as http:
        keys = KeyHttp(http)
        assert keys.decrypt(old, a="b") == b"first"
        assert keys.decrypt(new) == b"second"
        for arn, info in shown.items():
            moved = keys.show(arn)
            assert (moved.version, moved.state, moved.tags) == (info.version, info.state, info.tags)
            assert moved.aliases == tuple(alias for alias in info.aliases if alias != "alias/3")
        assert keys.show("alias/3").arn == taken.arn
        algorithm = SigningAlgorithm.ECDSA_SHA_256
        items = (api.SignItem(message=b"x"),)
        signature = keys.call("key.sign", key="alias/signing", algorithm=algorithm, items=items).items[0]
        keys.call("key.rotate", key=made[1].arn)
    with here.http() as http:
        right = (api.SignatureItem(message=b"x", signature=signature),)
        KeyHttp(http).call("key.verify", key="alias/signing", algorithm=algorithm, items=right)

    for changed in (
        ("export", "--to", str(statement), "--fingerprint", "0" * 64, str(tmp_path / "other")),
        ("import", "--sender", "0" * 64, "--digest", sent["digest"], str(exported)),
        ("import", "--sender", sent["sender"], "--digest", "0" * 64, str(exported)),
    ):
        daemon = here if changed[0] == "export" else there
        refused = daemon.command("domain", *changed)
        assert refused.returncode not in (0, 1)
        assert "Traceback" not in refused.stderr
    assert not (tmp_path / "other").exists()
