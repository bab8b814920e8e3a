"""Non-volatile memory that is full, rate-limited, or locked out (attack 11).

The anchor cannot move, so nothing can be charged, so nothing is evaluated: claims get an error that says
why, everything that only reads goes on, and when the cause is gone the same core serves the same claims.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import pytest
from tpm2_pytss import ESAPI, TSS2_Exception
from tpm2_pytss.constants import TPM2_ALG, TPM2_RC, TPM2_RH, TPM2_ST, TPMA_NV
from tpm2_pytss.TCTILdr import TCTILdr
from tpm2_pytss.types import (
    TPM2B_NV_PUBLIC,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPMS_NV_PUBLIC,
    TPMS_SENSITIVE_CREATE,
    TPMT_SIG_SCHEME,
    TPMT_TK_HASHCHECK,
)

from hwkm.store.nodes import SqliteNodeStore
from hwkm.wire import core_messages as wire
from tests.core_process import CoreProcess, core_settings, provision
from tests.hardware import Swtpm
from tests.harness import pkcs11_shim as ckr
from tests.harness import tpm_proxy as rc
from tests.harness.invariant import Witness
from tests.harness.plan import Act, Plan
from tests.harness.rig import Rig
from tests.harness.trial import end, use_up, wrong
from tests.vault_clients import SealedVault, finish, seal

pytestmark = pytest.mark.attack


class Trouble(NamedTuple):
    """What the token answers to a write of the anchor, and what hwkm calls it."""

    kind: str
    code: int
    error: str


TROUBLES: Final = {
    "swtpm": {
        "full": Trouble("tpm.NV_Write", rc.RC_NV_SPACE, "token_full"),
        "rate-limited": Trouble("tpm.NV_Write", rc.RC_NV_RATE, "token_busy"),
        "locked-out": Trouble("tpm.NV_Write", rc.RC_LOCKOUT, "token_busy"),
        "unavailable": Trouble("tpm.NV_Write", rc.RC_NV_UNAVAILABLE, "token_busy"),
        "retry": Trouble("tpm.NV_Write", rc.RC_RETRY, "token_busy"),
    },
    "softhsm": {
        "full": Trouble("pkcs11.C_CreateObject", ckr.CKR_DEVICE_MEMORY, "token_full"),
        "write-protected": Trouble("pkcs11.C_CreateObject", ckr.CKR_TOKEN_WRITE_PROTECTED, "token_full"),
    },
}
NV_FIRST: Final = 0x01900000
NV_ATTRIBUTES: Final = TPMA_NV.OWNERREAD | TPMA_NV.OWNERWRITE
CASES: Final = [(kind, name) for kind, troubles in TROUBLES.items() for name in troubles]


@pytest.fixture(params=CASES, ids="-".join)
def troubled(request: pytest.FixtureRequest) -> tuple[Rig, Trouble]:
    kind, name = request.param
    rig: Rig = request.getfixturevalue(f"{kind}_rig")
    rig.reset()
    return rig, TROUBLES[kind][name]


def begin(rig: Rig, trouble: Trouble) -> None:
    rig.board.arm(Plan.always(Act.REFUSE, trouble.kind, code=trouble.code))


def state_of(core: CoreProcess, vault: SealedVault) -> tuple[int, bool]:
    counter = core.call(wire.ReadCounter(params=vault.params))
    assert isinstance(counter, wire.CounterRead)
    return counter.attempts_remaining, counter.suspended


def test_nothing_is_charged_while_the_anchor_cannot_move_and_the_same_claim_is_served_afterwards(
    troubled: tuple[Rig, Trouble],
) -> None:
    rig, trouble = troubled
    vault = seal(rig.cohort_public_key, max_attempts=3)
    witness = Witness.of(vault)
    with rig.core() as core:
        witness.guess(core, vault, wrong())
        right, bad = core.claim(vault, vault.kf_hash), core.claim(vault, wrong())
        begin(rig, trouble)
        for claimed in (bad, right, bad, right, bad):
            reply = witness.present(core, claimed)
            assert isinstance(reply, wire.Failed), reply
            assert reply.code == trouble.error
            assert state_of(core, vault) == (2, False)
        rig.board.arm()
        opened = witness.present(core, right)
        assert isinstance(opened, wire.VaultOpened)
        assert finish(vault, right, opened.response) == vault.recovery_key
        assert isinstance(witness.present(core, bad), wire.VaultWrong)
        use_up(core, vault, witness)
        end(core)
    assert len(witness.evaluated) == witness.limit


def test_reading_goes_on_while_the_anchor_cannot_move(troubled: tuple[Rig, Trouble]) -> None:
    rig, trouble = troubled
    vault = seal(rig.cohort_public_key)
    with rig.core() as core:
        core.guess(vault, wrong())
        begin(rig, trouble)
        assert isinstance(core.guess(vault, wrong()), wire.Failed)
        assert state_of(core, vault) == (9, False)
        statistics = core.call(wire.ReadStatistics())
        assert isinstance(statistics, wire.Statistics)
        assert not statistics.halted
        assert isinstance(
            core.call(wire.IssueChallenge(params=vault.params, vault=vault.blob)), wire.ChallengeIssued
        )
        refused = core.call(wire.ResumeVault(params=vault.params))
        assert isinstance(refused, wire.Failed)
        assert refused.code == trouble.error
        rig.board.arm()
        end(core)


def test_a_success_that_cannot_be_recorded_yet_is_recorded_when_the_cause_is_gone(
    troubled: tuple[Rig, Trouble],
) -> None:
    """The core keeps what it owes the owner, and does not end over it."""
    rig, trouble = troubled
    vault = seal(rig.cohort_public_key)
    with rig.core() as core:
        assert isinstance(core.guess(vault, vault.kf_hash), wire.VaultOpened)
        begin(rig, trouble)
        assert isinstance(core.guess(vault, wrong()), wire.Failed)
        rig.board.arm()
        end(core)
    with rig.core() as core:
        assert state_of(core, vault) == (10, False)
        end(core)


def test_a_core_that_is_stopped_in_trouble_ends_in_order_and_costs_at_most_the_last_attempt(
    troubled: tuple[Rig, Trouble],
) -> None:
    rig, trouble = troubled
    vault = seal(rig.cohort_public_key)
    witness = Witness.of(vault)
    with rig.core() as core:
        claimed = core.claim(vault, vault.kf_hash)
        assert isinstance(witness.present(core, claimed), wire.VaultOpened)
        begin(rig, trouble)
        end(core)
        assert core.process.returncode == 0
    rig.board.arm()
    with rig.core() as core:
        assert state_of(core, vault) == (9, False)
        assert isinstance(witness.present(core, claimed), wire.VaultOpened)
        end(core)


def test_claims_refused_in_trouble_leave_no_nodes_behind(troubled: tuple[Rig, Trouble]) -> None:
    """Storage does not fill up with states that never became true."""
    rig, trouble = troubled
    vault = seal(rig.cohort_public_key)

    def growth(refused: int) -> int:
        """How many nodes a life leaves that is refused so often and then serves one claim."""
        with SqliteNodeStore(rig.settings.nodes_path) as store:
            before = store.counters().nodes
        with rig.core() as core:
            begin(rig, trouble)
            for _ in range(refused):
                assert isinstance(core.guess(vault, wrong()), wire.Failed)
            rig.board.arm()
            assert isinstance(core.guess(vault, wrong()), wire.VaultWrong)
            end(core)
        with SqliteNodeStore(rig.settings.nodes_path) as store:
            return store.counters().nodes - before

    growth(0)
    assert growth(2 if trouble.code == rc.RC_RETRY else 20) <= growth(0)


# --- not imitated ----------------------------------------------------------------------------


@contextmanager
def owner_of(device: Swtpm) -> Iterator[Any]:
    """Somebody else who uses the TPM, while no core does."""
    tcti = TCTILdr("swtpm", f"path={device.socket_path}")
    esapi = ESAPI(tcti)
    try:
        yield esapi
    finally:
        esapi.close()
        tcti.close()


def fill_nv(esapi: Any) -> list[Any]:
    """Define indices of all sizes until not one byte is left."""
    defined: list[Any] = []
    for size in (2048, 512, 64, 1):
        while True:
            index = NV_FIRST + len(defined)
            public = TPM2B_NV_PUBLIC(
                TPMS_NV_PUBLIC(
                    nvIndex=index, nameAlg=TPM2_ALG.SHA256, attributes=NV_ATTRIBUTES, dataSize=size
                )
            )
            try:
                defined.append(esapi.nv_define_space(None, public))
            except TSS2_Exception as exc:
                if exc.error != TPM2_RC.NV_SPACE:
                    raise
                break
    return defined


def test_a_tpm_whose_memory_is_really_full_serves_as_before(swtpm_rig: Rig) -> None:
    """The anchor's place is taken at set-up; a commit needs no room."""
    rig = swtpm_rig
    assert isinstance(rig.device, Swtpm)
    vault = seal(rig.cohort_public_key)
    with owner_of(rig.device) as esapi:
        defined = fill_nv(esapi)
    with rig.core() as core:
        assert isinstance(core.guess(vault, wrong()), wire.VaultWrong)
        assert isinstance(core.guess(vault, vault.kf_hash), wire.VaultOpened)
        end(core)
    with owner_of(rig.device) as esapi:
        for number in range(len(defined)):
            esapi.nv_undefine_space(esapi.tr_from_tpmpublic(NV_FIRST + number))


def test_a_tpm_whose_memory_is_really_full_cannot_be_set_up_and_says_so() -> None:
    with Swtpm() as device:
        with owner_of(device) as esapi:
            fill_nv(esapi)
        refused = provision(device, core_settings(device, device.directory / "nodes.db"))
    assert isinstance(refused, wire.Failed)
    assert refused.code == "token_full"


def test_a_tpm_in_real_dictionary_attack_lockout_serves_as_before(swtpm_rig: Rig) -> None:
    """Anybody who may talk to the TPM can lock it out; hwkm's objects take no part in that."""
    rig = swtpm_rig
    assert isinstance(rig.device, Swtpm)
    vault = seal(rig.cohort_public_key)
    with owner_of(rig.device) as esapi:
        lock_out(esapi)
    with rig.core() as core:
        assert isinstance(core.guess(vault, wrong()), wire.VaultWrong)
        assert isinstance(core.guess(vault, vault.kf_hash), wire.VaultOpened)
        end(core)
    rig.device.restart()
    with owner_of(rig.device) as esapi:
        esapi.dictionary_attack_lock_reset()


def lock_out(esapi: Any) -> None:
    """Fail the authorisation of a protected object until the TPM is in lockout."""
    esapi.dictionary_attack_parameters(2, 100_000, 100_000)
    sensitive = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=b"right"))
    template = TPM2B_PUBLIC.parse(
        "ecc:ecdsa-sha256:null", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
    )
    key, *_ = esapi.create_primary(sensitive, template)
    esapi.tr_set_auth(key, b"wrong")
    scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
    ticket = TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL)
    codes: list[int] = []
    while TPM2_RC.LOCKOUT not in codes:
        with pytest.raises(TSS2_Exception) as refused:
            esapi.sign(key, bytes(32), scheme, ticket)
        codes.append(refused.value.error)
        assert len(codes) < 10, codes
    esapi.flush_context(key)
