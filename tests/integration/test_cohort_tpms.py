"""Three swtpm members by the real commands, each with a daemon of its own: one key, each vault at one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hwkm.client.framework import fresh_handle
from hwkm.errors import VaultElsewhere
from hwkm.formats.membership import Membership
from hwkm.server.exit_codes import EXIT_OK
from hwkm.wire.api import CohortInfo
from tests.contract.devices import SwtpmDevice
from tests.daemon import Daemon
from tests.integration.test_cohort_commands import word
from tests.vault_clients import seal
from tests.vault_http import VaultHttp

pytestmark = [pytest.mark.needs("swtpm"), pytest.mark.slow]

MEMBERS = 3


@pytest.fixture
def daemons() -> Iterator[list[Daemon]]:
    with ExitStack() as stack:
        made = []
        for _ in range(MEMBERS):
            device = SwtpmDevice()
            stack.callback(device.stop)
            made.append(Daemon(device))
            stack.callback(made[-1].stop)
        yield made


def run(daemon: Daemon, *arguments: str) -> str:
    done = daemon.command("cohort", *arguments)
    assert done.returncode == EXIT_OK, done.stdout + done.stderr
    return done.stdout


def test_a_cohort_of_three_tpms_from_blank_to_pinned_vaults(daemons: list[Daemon], tmp_path: Path) -> None:
    first, *others = daemons
    requests = [tmp_path / f"request-{number}" for number in range(1, MEMBERS)]
    prints = [
        word("fingerprint", run(other, "request", "--out", str(file)))
        for other, file in zip(others, requests, strict=True)
    ]
    named = [
        part
        for file, print_ in zip(requests, prints, strict=True)
        for part in ("--request", str(file), "--expect", print_)
    ]
    run(first, "create", "--members", str(MEMBERS), *named)
    for number, other in enumerate(others, start=1):
        invitation = tmp_path / f"invitation-{number}"
        place = ("--expect", prints[number - 1], "--member", str(number), "--out", str(invitation))
        sender = word("sender", run(first, "invite", str(requests[number - 1]), *place))
        run(other, "join", str(invitation), "--expect", sender)
    run(first, "seal")
    with ExitStack() as stack:
        for daemon in daemons:
            daemon.start()
        members = [VaultHttp(stack.enter_context(daemon.http())) for daemon in daemons]
        infos = [member.call("GET", "/v1/cohort", CohortInfo) for member in members]
        assert len({info.public_key for info in infos}) == 1
        assert [(info.member, info.members) for info in infos] == [
            (number, MEMBERS) for number in range(MEMBERS)
        ]
        for number, member in enumerate(members):
            vault = seal(member.cohort(), handle=fresh_handle(Membership(number, MEMBERS)), max_attempts=3)
            member.create(vault)
            assert member.guess(vault, vault.kf_hash) == vault.recovery_key
            with pytest.raises(VaultElsewhere):
                members[(number + 1) % MEMBERS].create(vault)
