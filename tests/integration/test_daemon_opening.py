"""Opening vaults through the daemon: the limit, the same claim again, and what happens when disks fill."""

from __future__ import annotations

import asyncio
import base64
import os
import resource
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from hwkm.audit.reader import read
from hwkm.errors import (
    ChallengeRefused,
    ClaimRefused,
    CohortMismatch,
    FormatError,
    ParamsRefused,
    SnapshotConflict,
    StorageUnavailable,
    VaultExists,
    VaultLocked,
    VaultNotFound,
    WrongKnowledgeFactor,
)
from hwkm.formats.vault_params import VaultParams
from hwkm.server.handlers.vault_info import knowledge_factor_record
from hwkm.store.records import Records
from hwkm.store.vault_record import VaultRecord
from hwkm.wire import api
from hwkm.wire.problems import ProblemBody
from tests.audit_log import verify_audit_log
from tests.core_process import Device, MemoryToken
from tests.daemon import Daemon
from tests.devices import ALL, make_device
from tests.vault_clients import SealedVault, finish, make_claim, reseal, seal
from tests.vault_http import KNOWLEDGE_FACTOR, VaultHttp, create_body, handle_of, replace_body

PARALLEL = 200


@pytest.fixture(params=ALL)
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Device]:
    with ExitStack() as stack:
        yield make_device(request.param, tmp_path, stack)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token"))) as running:
        yield running


@pytest.fixture
def vaults(daemon: Daemon) -> Iterator[VaultHttp]:
    with daemon.http() as http:
        yield VaultHttp(http)


@pytest.fixture
def vault(vaults: VaultHttp) -> SealedVault:
    made = seal(vaults.cohort())
    vaults.create(made)
    return made


async def guess_all(daemon: Daemon, vault: SealedVault, guesses: list[bytes]) -> Counter[str]:
    """Present many claims at once, each with a challenge of its own; count the outcomes."""
    limits = httpx.Limits(max_connections=100)
    transport = httpx.AsyncHTTPTransport(uds=str(daemon.socket_path), limits=limits)
    path = f"/v1/vaults/{handle_of(vault)}"
    async with httpx.AsyncClient(transport=transport, base_url="http://hwkmd", timeout=120) as http:
        asked = await asyncio.gather(*(http.post(f"{path}/challenge") for _ in guesses))
        challenges = [msgspec.json.decode(answer.content, type=api.ChallengeIssued) for answer in asked]
        bodies = [
            api.OpenVault(
                challenge=issued.challenge, claim=make_claim(vault, guess, issued.challenge).request.claim
            )
            for issued, guess in zip(challenges, guesses, strict=True)
        ]
        answers = await asyncio.gather(
            *(http.post(f"{path}/open", content=msgspec.json.encode(body)) for body in bodies)
        )
    return Counter(
        "opened"
        if answer.status_code == 200
        else msgspec.json.decode(answer.content, type=ProblemBody).error.code
        for answer in answers
    )


async def test_many_wrong_claims_at_once_get_exactly_as_many_verdicts_as_the_limit(device: Device) -> None:
    with Daemon(device) as daemon:
        with daemon.http() as http:
            vault = seal(VaultHttp(http).cohort(), max_attempts=10)
            VaultHttp(http).create(vault)
        outcomes = await guess_all(daemon, vault, [secrets.token_bytes(32) for _ in range(PARALLEL)])
        assert outcomes == {"wrong_knowledge_factor": 10, "vault_locked": PARALLEL - 10}
        metrics = daemon.metrics()
        assert metrics['hwkm_claims_total{outcome="wrong_knowledge_factor"}'] == 10
        with daemon.http() as http:
            assert VaultHttp(http).show(vault).state == "locked"
            with pytest.raises(VaultLocked):
                VaultHttp(http).challenge(vault)


async def test_right_claims_between_wrong_ones_never_give_more_than_the_limit(
    daemon: Daemon, vaults: VaultHttp, vault: SealedVault
) -> None:
    guesses = [vault.kf_hash if number % 7 == 0 else secrets.token_bytes(32) for number in range(70)]
    outcomes = await guess_all(daemon, vault, guesses)
    assert sum(outcomes.values()) == 70
    records = [
        record.outcome
        for record in read(daemon.state_directory / "audit")
        if record.vault == handle_of(vault) and record.operation == "vault.open"
    ]
    assert Counter(records)["wrong_knowledge_factor"] == outcomes["wrong_knowledge_factor"]
    run = longest = 0
    for outcome in records:
        run = 0 if outcome == "ok" else run + (outcome == "wrong_knowledge_factor")
        longest = max(longest, run)
    assert longest <= 10


def test_the_same_claim_gets_the_same_answer_for_one_charge(
    daemon: Daemon, vaults: VaultHttp, vault: SealedVault
) -> None:
    wrong = vaults.claim(vault, secrets.token_bytes(32))
    for _ in range(3):
        with pytest.raises(WrongKnowledgeFactor) as refused:
            vaults.present(vault, wrong)
        assert refused.value.attempts_remaining == 9
    daemon.kill_core()
    daemon.wait_until_ready()
    with pytest.raises(WrongKnowledgeFactor) as refused:
        vaults.present(vault, wrong)
    assert refused.value.attempts_remaining == 9
    right = vaults.claim(vault, vault.kf_hash)
    for _ in range(2):
        assert finish(vault, right, vaults.present(vault, right).response) == vault.recovery_key


def test_what_is_not_a_claim_on_this_vault_charges_nothing(vaults: VaultHttp, vault: SealedVault) -> None:
    other = seal(vaults.cohort())
    vaults.create(other)
    challenge = vaults.challenge(vault).challenge
    foreign = make_claim(vault, vault.kf_hash, vaults.challenge(other).challenge)
    with pytest.raises(ChallengeRefused):
        vaults.present(vault, foreign)
    never_issued = make_claim(vault, vault.kf_hash, secrets.token_bytes(32))
    with pytest.raises(ChallengeRefused):
        vaults.present(vault, never_issued)
    flipped = make_claim(vault, vault.kf_hash, challenge)
    damaged = bytearray(flipped.request.claim)
    damaged[-1] ^= 1
    path = f"/v1/vaults/{handle_of(vault)}/open"
    with pytest.raises(ClaimRefused):
        vaults.call("POST", path, api.VaultOpened, api.OpenVault(challenge=challenge, claim=bytes(damaged)))
    off_the_curve = flipped.request.claim[:2] + b"\x04" + b"\x01" * 64 + flipped.request.claim[67:]
    with pytest.raises(ClaimRefused):
        vaults.call("POST", path, api.VaultOpened, api.OpenVault(challenge=challenge, claim=off_the_curve))
    assert vaults.show(vault).attempts_remaining == 10
    assert finish(vault, flipped, vaults.present(vault, flipped).response) == vault.recovery_key


def test_vaults_that_could_not_be_opened_are_not_taken(vaults: VaultHttp) -> None:
    cohort = vaults.cohort()
    for max_attempts in (0, 11, 2**32 - 1):
        with pytest.raises(ParamsRefused):
            vaults.create(seal(cohort, max_attempts=max_attempts))
    foreign = bytes.fromhex(
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    with pytest.raises(CohortMismatch):
        vaults.create(seal(foreign))
    vault = seal(cohort)
    off_the_curve = b"\x04" + b"\x01" * 64 + vault.params[65:]
    with pytest.raises(FormatError):
        vaults.create(SealedVault(off_the_curve, vault.blob, b"", b""))
    body = create_body(vault, "weak")
    costly = msgspec.structs.replace(
        body.knowledge_factor, algorithm="argon2id", memory=2**31, iterations=1, lanes=1
    )
    with pytest.raises(FormatError):
        vaults.call(
            "POST", "/v1/vaults", api.VaultInfo, msgspec.structs.replace(body, knowledge_factor=costly)
        )
    doubled = tuple(api.WrappedApplicationKey(alias="a", wrapped=bytes(62)) for _ in range(2))
    with pytest.raises(FormatError):
        vaults.create(vault, "doubled", doubled)
    vaults.create(vault, "taken")
    with pytest.raises(VaultExists):
        vaults.create(vault, "other name")
    with pytest.raises(VaultExists):
        vaults.create(seal(cohort), "taken")


def test_replacing_keeps_the_counter_and_a_new_pin_draws_a_new_one(
    vaults: VaultHttp, vault: SealedVault
) -> None:
    with pytest.raises(WrongKnowledgeFactor):
        vaults.guess(vault, secrets.token_bytes(32))
    pending = vaults.claim(vault, vault.kf_hash)
    same_pin = reseal(vault)
    assert vaults.replace(same_pin, 1).snapshot_version == 2
    with pytest.raises(SnapshotConflict):
        vaults.replace(reseal(vault), 1)
    with pytest.raises(ChallengeRefused):
        vaults.present(vault, pending)
    assert vaults.show(vault).attempts_remaining == 9
    assert vaults.guess(same_pin, same_pin.kf_hash) == same_pin.recovery_key
    new_pin = seal(vaults.cohort(), handle=VaultParams.parse(vault.params).handle)
    info = vaults.replace(new_pin, 2)
    assert (info.snapshot_version, info.attempts_remaining) == (3, 10)
    foreign = replace_body(seal(vaults.cohort()), 3)
    with pytest.raises(FormatError):
        vaults.call("PUT", f"/v1/vaults/{handle_of(vault)}", api.VaultInfo, foreign)


def test_deleting_and_making_again_gives_no_attempt_back(vaults: VaultHttp, vault: SealedVault) -> None:
    with pytest.raises(WrongKnowledgeFactor):
        vaults.guess(vault, secrets.token_bytes(32))
    vaults.delete(vault)
    with pytest.raises(VaultNotFound):
        vaults.show(vault)
    assert vaults.create(vault).attempts_remaining == 9


def test_application_keys_come_back_with_the_vault_and_go_with_its_lock_out(vaults: VaultHttp) -> None:
    vault = seal(vaults.cohort(), max_attempts=1)
    keys = (api.WrappedApplicationKey(alias="photos", wrapped=b"\x01" * 62, metadata=b"album"),)
    vaults.create(vault, "with keys", keys)
    path = f"/v1/vaults/{handle_of(vault)}/application-keys"
    put = api.PutApplicationKey(wrapped=b"\x02" * 62, expected_snapshot_version=1)
    assert vaults.call("PUT", f"{path}/notes", api.VaultInfo, put).application_keys == ("notes", "photos")
    late = msgspec.structs.replace(put, expected_snapshot_version=2)
    with pytest.raises(SnapshotConflict):
        vaults.call("PUT", f"{path}/notes", api.VaultInfo, late)
    for alias in ("a/b", "x" * 65, "é", "%00"):
        answer = vaults.http.put(f"{path}/{alias}", content=msgspec.json.encode(put))
        assert answer.status_code in (400, 404)
    claimed = vaults.claim(vault, vault.kf_hash)
    opened = vaults.present(vault, claimed)
    assert {key.alias: key.metadata for key in opened.application_keys} == {"notes": b"", "photos": b"album"}
    for _ in range(2):
        assert vaults.call("DELETE", f"{path}/notes", api.VaultInfo).application_keys == ("photos",)
    with pytest.raises(WrongKnowledgeFactor):
        vaults.guess(vault, secrets.token_bytes(32))
    listed = vaults.call("GET", path, api.ApplicationKeyList)
    assert listed.application_keys == ()
    with pytest.raises(VaultLocked):
        vaults.call("PUT", f"{path}/notes", api.VaultInfo, put)


# --- disks that fill up ----------------------------------------------------------------------


@contextmanager
def full_disk(*pids: int) -> Iterator[None]:
    """Let no file of these processes grow: to them the disk is full."""
    before = [resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY)) for pid in pids]
    try:
        yield
    finally:
        for pid, limits in zip(pids, before, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_withholds_the_verdict_and_the_same_claim_is_answered_later(tmp_path: Path) -> None:
    with Daemon(MemoryToken(tmp_path)) as daemon, daemon.http() as http:
        vaults = VaultHttp(http)
        cohort = vaults.cohort()
        mine, theirs = seal(cohort), seal(cohort)
        vaults.create(mine)
        vaults.create(theirs)
        right, wrong = vaults.claim(mine, mine.kf_hash), vaults.claim(theirs, secrets.token_bytes(32))
        assert daemon.process is not None
        with full_disk(daemon.process.pid):
            for vault, claimed in ((mine, right), (theirs, wrong)):
                with pytest.raises(StorageUnavailable):
                    vaults.present(vault, claimed)
            with pytest.raises(StorageUnavailable):
                vaults.create(seal(cohort))
            status = daemon.status()
            assert status.state == "ready"
            assert "audit log cannot be written" in status.detail
            assert http.get("/healthz").status_code == 503
        with pytest.raises(WrongKnowledgeFactor) as refused:
            vaults.present(theirs, wrong)
        assert refused.value.attempts_remaining == 9
        assert finish(mine, right, vaults.present(mine, right).response) == mine.recovery_key
        assert http.get("/healthz").status_code == 200
        assert daemon.terminate() == 0
        report = verify_audit_log(daemon)
        assert report.signed == report.records


def test_a_full_disk_below_the_core_charges_nothing_and_passes(tmp_path: Path) -> None:
    with Daemon(MemoryToken(tmp_path)) as daemon, daemon.http() as http:
        vaults = VaultHttp(http)
        vault = seal(vaults.cohort())
        vaults.create(vault)
        claimed = vaults.claim(vault, vault.kf_hash)
        with full_disk(daemon.status().core_pid), pytest.raises(StorageUnavailable):
            vaults.present(vault, claimed)
        assert vaults.show(vault).attempts_remaining == 10
        assert finish(vault, claimed, vaults.present(vault, claimed).response) == vault.recovery_key


# --- other people's vaults -------------------------------------------------------------------


def foreign_record(cohort: bytes, uid: int) -> tuple[SealedVault, VaultRecord]:
    vault = seal(cohort)
    handle = bytes.fromhex(handle_of(vault))
    factor = knowledge_factor_record(KNOWLEDGE_FACTOR)
    return vault, VaultRecord(handle, "theirs", uid, uid, vault.params, vault.blob, factor, 1, 1)


def test_what_belongs_to_somebody_else_is_not_there(tmp_path: Path) -> None:
    daemon = Daemon(MemoryToken(tmp_path))
    policy = daemon.directory / "policy.toml"
    policy.write_text(
        '[[rule]]\nanyone = true\noperations = ["vault.*", "application_key.*", "cohort", "status"]\n'
    )
    daemon.configure({"daemon": {"policy_file": str(policy)}})
    with daemon:
        with daemon.http() as http:
            cohort = VaultHttp(http).cohort()
        daemon.terminate()
        theirs, record = foreign_record(cohort, os.geteuid() + 1)
        with Records.open(f"sqlite:///{daemon.state_directory}/records.db") as records:
            records.create(record)
        daemon.start()
        with daemon.http() as http:
            vaults = VaultHttp(http)
            assert vaults.call("GET", "/v1/vaults", api.VaultList).vaults == ()
            assert vaults.call("GET", "/v1/vaults", api.VaultList, name="theirs").vaults == ()
            absent = http.get(f"/v1/vaults/{'01' * 17}").json()["error"]["message"]
            present = http.get(f"/v1/vaults/{handle_of(theirs)}").json()["error"]["message"]
            assert present == absent.replace("01" * 17, handle_of(theirs))
            for action in (vaults.show, vaults.challenge, vaults.delete):
                with pytest.raises(VaultNotFound):
                    action(theirs)
            with pytest.raises(VaultNotFound):
                vaults.replace(reseal(theirs), 1)
            with pytest.raises(VaultExists):
                vaults.create(theirs, "mine")
            vaults.create(seal(cohort), "theirs")
            denied = http.get("/v1/audit/checkpoint")
            assert (denied.status_code, denied.json()["error"]["code"]) == (403, "access_denied")
        policy.write_text('[[rule]]\nanyone = true\noperations = ["*"]\nvaults = "any"\n')
        daemon.restart()
        with daemon.http() as http:
            vaults = VaultHttp(http)
            assert len(vaults.call("GET", "/v1/vaults", api.VaultList).vaults) == 2
            assert vaults.guess(theirs, theirs.kf_hash) == theirs.recovery_key


def test_the_kernel_says_who_is_calling(daemon: Daemon) -> None:
    """As root the call is made by another user; anyone else can only be himself."""
    uid = 65534 if os.geteuid() == 0 else os.geteuid()
    daemon.directory.chmod(0o711)
    daemon.socket_path.chmod(0o666)
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'GET /v1/audit/checkpoint HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n');"
        "print(s.recv(65536).split()[1].decode())"
    )
    options = {"user": uid, "group": uid, "extra_groups": ()} if os.geteuid() == 0 else {}
    interpreter = "/usr/bin/python3" if os.geteuid() == 0 else sys.executable
    done = subprocess.run(
        [interpreter, "-c", program, str(daemon.socket_path)],
        capture_output=True,
        text=True,
        check=True,
        **options,  # type: ignore[call-overload]
    )
    assert done.stdout.strip() == ("403" if os.geteuid() == 0 else "200")
    newest = [
        record for record in read(daemon.state_directory / "audit") if record.operation == "audit.checkpoint"
    ][-1]
    assert newest.caller.uid == uid


# --- secrets ---------------------------------------------------------------------------------


def test_no_secret_is_in_logs_audit_metrics_or_records(tmp_path: Path) -> None:
    token = MemoryToken(tmp_path)
    planted: list[bytes] = [token.pin_file.read_bytes()]
    with Daemon(token) as daemon, daemon.http() as http:
        vaults = VaultHttp(http)
        vault = seal(vaults.cohort(), max_attempts=2)
        vaults.create(vault)
        right = vaults.claim(vault, vault.kf_hash)
        vaults.present(vault, right)
        guesses = [secrets.token_bytes(32) for _ in range(2)]
        for guess in guesses:
            with pytest.raises(WrongKnowledgeFactor):
                vaults.guess(vault, guess)
        pin = "typed-into-the-wrong-field-0417"
        for body in ({"pin": pin}, {pin: 1}, {"name": pin + "\n"}, {"challenge": pin, "claim": pin}, [pin]):
            for path in ("/v1/vaults", f"/v1/vaults/{handle_of(vault)}/open"):
                assert http.post(path, json=body).status_code in (400, 410)
        http.get(f"/v1/vaults/{pin}")
        http.get("/v1/vaults", params={"name": "x", pin: pin})
        metrics = http.get("/metrics").content
        daemon.kill_core()
        daemon.wait_until_ready()
        daemon.terminate()
        planted += [vault.kf_hash, vault.recovery_key, right.claimant_key, *guesses, pin.encode()]
        seen = metrics + daemon.log.encode()
        seen += b"".join(path.read_bytes() for path in daemon.state_directory.rglob("*") if path.is_file())
    for secret in planted:
        for form in (
            secret,
            secret.hex().encode(),
            base64.b64encode(secret),
            base64.urlsafe_b64encode(secret),
        ):
            assert form not in seen
