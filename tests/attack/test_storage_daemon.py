"""Node store and record database rolled back or changed under a daemon (attack 2).

The node store: refused, with an alarm that every caller and every monitor sees. The record database:
it holds no counter, so nothing that is done to it gives an attempt back.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.crypto.p256 import encode_point
from hwkm.errors import (
    HwkmError,
    StorageMismatch,
    Unavailable,
    VaultLocked,
    VaultNotFound,
    WrongKnowledgeFactor,
)
from hwkm.formats.counter import counter_key
from hwkm.formats.vault_params import VaultParams
from hwkm.server.exit_codes import EXIT_NO_MATCH
from tests.daemon import Daemon
from tests.devices import REAL
from tests.harness.daemon_state import (
    Installed,
    asking,
    edit_records,
    machine_of,
    make_installed,
    one_life,
)
from tests.harness.node_files import read_nodes, write_nodes
from tests.harness.snapshot import Files
from tests.vault_clients import SealedVault, make_claim, reseal, seal
from tests.vault_http import VaultHttp

pytestmark = pytest.mark.attack

LIMIT = 3


@pytest.fixture(scope="module", params=REAL)
def installed(request: pytest.FixtureRequest) -> Iterator[Installed]:
    with make_installed(request.param) as made:
        yield made


@pytest.fixture
def daemon(installed: Installed) -> Iterator[Daemon]:
    """Provisioned, not running."""
    with installed.anew() as daemon:
        yield daemon


def new_vault(vaults: VaultHttp) -> SealedVault:
    vault = seal(vaults.cohort(), max_attempts=LIMIT)
    vaults.create(vault)
    return vault


def guess_wrong(vaults: VaultHttp, vault: SealedVault) -> int:
    """Guess wrongly; return the attempts that remain."""
    with pytest.raises(WrongKnowledgeFactor) as refused:
        vaults.guess(vault, secrets.token_bytes(32))
    return refused.value.attempts_remaining


def remaining(vaults: VaultHttp, vault: SealedVault) -> int:
    return vaults.show(vault).attempts_remaining


# --- the node store --------------------------------------------------------------------------


def test_daemon_refuses_to_start_on_any_earlier_node_store_and_loses_nothing(daemon: Daemon) -> None:
    machine = machine_of(daemon)
    earlier: list[dict[str, Files]] = []
    daemon.start()
    with daemon.http() as http:
        vaults = VaultHttp(http)
        vault = new_vault(vaults)
        for left in (2, 1):
            earlier.append(machine.take("nodes"))
            assert guess_wrong(vaults, vault) == left
    daemon.terminate()
    last = machine.take("nodes")
    for taken in earlier:
        machine.restore(taken)
        refused = daemon.command("serve")
        assert refused.returncode == EXIT_NO_MATCH, refused.stderr
        assert "attempt state" in refused.stderr
    machine.restore(last)
    assert one_life(daemon, lambda again: (remaining(again, vault), guess_wrong(again, vault))) == (1, 0)


def test_daemon_whose_node_store_is_taken_back_while_it_runs_halts_says_so_and_opens_nothing(
    daemon: Daemon,
) -> None:
    machine = machine_of(daemon)
    daemon.start()
    vault = asking(daemon, new_vault)
    assert asking(daemon, lambda vaults: guess_wrong(vaults, vault)) == 2
    daemon.restart()
    earlier = machine.take("nodes")
    assert asking(daemon, lambda vaults: guess_wrong(vaults, vault)) == 1
    last = machine.take("nodes")
    machine.restore(earlier)
    daemon.kill_core()
    while (status := daemon.status()).state != "halted":
        assert status.state in {"ready", "starting"}
    assert "attempt state" in status.detail
    check_alarm(daemon, vault, Unavailable)
    assert daemon.metrics()["hwkm_core_ready"] == 0
    daemon.terminate()
    machine.restore(last)
    assert one_life(daemon, lambda vaults: remaining(vaults, vault)) == 1


def test_daemon_that_finds_a_damaged_counter_halts_says_so_and_opens_no_vault(daemon: Daemon) -> None:
    vaults = one_life(daemon, lambda http: [new_vault(http) for _ in range(3)])
    one_life(daemon, lambda http: [guess_wrong(http, vault) for vault in vaults])
    machine = machine_of(daemon)
    whole = machine.take("nodes")
    path = daemon.state_directory / "nodes.db"
    nodes = read_nodes(path)
    broken = leaf_key(vaults[0])
    write_nodes(path, {name: b"" if data[1:33] == broken else data for name, data in nodes.items()})
    daemon.start()
    assert daemon.status().state == "ready"
    assert asking(daemon, lambda http: remaining(http, vaults[1])) == LIMIT - 1
    for vault in vaults:
        check_alarm(daemon, vault, StorageMismatch)
    status = daemon.status()
    assert status.state == "halted"
    assert "no vault is opened" in status.detail
    assert daemon.metrics()["hwkm_halted"] == 1
    daemon.terminate()
    machine.restore(whole)
    assert one_life(daemon, lambda http: [remaining(http, vault) for vault in vaults]) == [LIMIT - 1] * 3


def leaf_key(vault: SealedVault) -> bytes:
    return counter_key(VaultParams.parse(vault.params))


def check_alarm(daemon: Daemon, vault: SealedVault, error: type[HwkmError]) -> None:
    """No challenge, no verdict, and a health check that fails."""
    with daemon.http() as http:
        vaults = VaultHttp(http)
        with pytest.raises(error):
            vaults.challenge(vault)
        with pytest.raises(error):
            vaults.present(vault, make_claim(vault, vault.kf_hash, bytes(32)))
        assert http.get("/healthz").status_code == 503


# --- the record database: the hardware does not matter ---------------------------------------


@pytest.mark.parametrize("installed", ["memory"], indirect=True)
def test_record_database_rolled_back_to_any_snapshot_never_gives_a_fresh_attempt(daemon: Daemon) -> None:
    machine = machine_of(daemon)
    taken: list[dict[str, Files]] = []
    daemon.start()
    with daemon.http() as http:
        vaults = VaultHttp(http)
        first = new_vault(vaults)
        taken.append(machine.take("records"))
        assert guess_wrong(vaults, first) == 2
        vaults.replace(second := reseal(first), 1)
        taken.append(machine.take("records"))
        assert guess_wrong(vaults, second) == 1
        vaults.delete(second)
        taken.append(machine.take("records"))
        vaults.create(third := reseal(first), "under another name")
        taken.append(machine.take("records"))
    daemon.terminate()
    for records in taken:
        machine.restore(records)
        assert one_life(daemon, lambda http: left(http, first)) in {1, None}
    assert one_life(daemon, lambda http: guess_wrong(http, third)) == 0
    for records, vault in zip(taken, (first, second, None, third), strict=True):
        machine.restore(records)
        if vault is not None:
            one_life(daemon, lambda http, vault=vault: check_dead(http, vault))  # type: ignore[misc]


def left(vaults: VaultHttp, vault: SealedVault) -> int | None:
    """The attempts that remain; None if the database has no such vault."""
    try:
        return remaining(vaults, vault)
    except VaultNotFound:
        return None


def check_dead(vaults: VaultHttp, vault: SealedVault) -> None:
    """The right guess gets no verdict; then the record that came back is destroyed again."""
    assert remaining(vaults, vault) == 0
    with pytest.raises(VaultLocked):
        vaults.guess(vault, vault.kf_hash)
    assert vaults.show(vault).state == "locked"
    with pytest.raises(VaultLocked):
        vaults.challenge(vault)


SPLICES = (
    "blob of another vault",
    "blob of another vault under its own digest",
    "params of another vault",
    "another counter id",
    "a higher limit",
    "another cohort",
    "blob with a flipped bit",
)


@pytest.mark.parametrize("installed", ["memory"], indirect=True)
def test_record_rows_spliced_or_altered_open_nothing_and_give_no_attempt_back(daemon: Daemon) -> None:
    """One vault for each trick; the guess is right and fails, then the true row is put back."""
    vaults = one_life(daemon, lambda http: {splice: new_vault(http) for splice in SPLICES})
    donor = one_life(daemon, new_vault)
    machine = machine_of(daemon)
    whole = machine.take("records")
    for splice, vault in vaults.items():
        apply(daemon, splice, vault, donor)
    daemon.start()
    spent = {}
    with daemon.http() as http:
        for splice, vault in vaults.items():
            spent[splice] = claim_in_vain(VaultHttp(http), vault, donor)
        assert daemon.status().state == "ready"
    daemon.terminate()
    assert spent == {splice: expected(splice) for splice in SPLICES}
    machine.restore(whole)
    after = one_life(daemon, lambda http: {name: remaining(http, vault) for name, vault in vaults.items()})
    assert all(left >= LIMIT - 1 for left in after.values())
    assert {name for name, left in after.items() if left < LIMIT} == {
        "blob of another vault under its own digest",
        "a higher limit",
    }


def apply(daemon: Daemon, splice: str, vault: SealedVault, donor: SealedVault) -> None:
    handle = VaultParams.parse(vault.params).handle

    def put(column: str, value: bytes) -> None:
        edit_records(daemon, f"UPDATE vaults SET {column} = ? WHERE handle = ?", value, handle)

    params = VaultParams.parse(vault.params)
    match splice:
        case "blob of another vault":
            put("vault", donor.blob)
        case "blob of another vault under its own digest":
            put("vault", donor.blob)
            put("vault_digest", hashlib.sha256(donor.blob).digest())
        case "params of another vault":
            put("params", donor.params)
        case "another counter id":
            put("params", replace(params, counter_id=params.counter_id ^ 1).encode())
        case "a higher limit":
            put("params", replace(params, max_attempts=10).encode())
        case "another cohort":
            other = encode_point(ec.generate_private_key(ec.SECP256R1()).public_key())
            put("params", replace(params, cohort_public_key=other).encode())
        case _:
            put("vault", vault.blob[:-1] + bytes((vault.blob[-1] ^ 1,)))


def expected(splice: str) -> str:
    return {
        "blob of another vault": "storage_mismatch",
        "blob with a flipped bit": "storage_mismatch",
        "another cohort": "cohort_mismatch",
    }.get(splice, "wrong_knowledge_factor")


def claim_in_vain(vaults: VaultHttp, vault: SealedVault, donor: SealedVault) -> str:
    """Claim with the right guess what the daemon now says the vault is; return the refusal."""
    try:
        issued = vaults.challenge(vault)
        shown = SealedVault(issued.params, donor.blob, vault.kf_hash, b"")
        claimed = make_claim(shown, vault.kf_hash, issued.challenge)
        vaults.present(vault, claimed)
    except HwkmError as exc:
        return exc.code
    raise AssertionError("a spliced vault was opened")
