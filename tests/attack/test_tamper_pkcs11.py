"""A SoftHSM token changed file by file, without its PIN (attack 3): refused, and attempts never come back.

What somebody with the PIN can do is in ``tests/contract/test_pkcs11.py``. Here the attacker holds a copy
of every file that the token ever had, of every epoch, and of every node store.
"""

from __future__ import annotations

import copy
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from hwkm.wire import core_messages as wire
from tests.core_process import CoreEnded, provision
from tests.hardware import SoftHsm
from tests.harness.history import History, Moment, refusal
from tests.harness.rig import Rig
from tests.harness.snapshot import DirectoryPart, Files
from tests.harness.trial import end, use_up
from tests.vault_clients import seal

pytestmark = [pytest.mark.attack, pytest.mark.needs("softhsm2-util")]

TAMPERED: Final = "anchor_tampered"
MISMATCH: Final = "storage_mismatch"


@pytest.fixture(scope="module")
def recorded(softhsm_rig: Rig) -> History:
    return History.make(softhsm_rig)


@pytest.fixture
def history(recorded: History) -> Iterator[History]:
    """As the script left it; afterwards nothing is gained and nothing lost, and the limit holds."""
    recorded.again()
    yield recorded
    witnesses = recorded.again()
    with recorded.rig.core() as core:
        assert recorded.remaining(core) == recorded.last.remaining
        use_up(core, recorded.vaults["spent"], witnesses["spent"])


@pytest.fixture
def token(history: History) -> SoftHsm:
    assert isinstance(history.rig.device, SoftHsm)
    return history.rig.device


def objects(files: Files) -> Files:
    """Those of keys and anchors; ``token.object`` is the token's own, with its PINs."""
    return {
        name: data
        for name, data in files.items()
        if name.endswith(".object") and not name.endswith("token.object")
    }


def anchor_file(history: History, moment: Moment) -> tuple[str, bytes]:
    """The object file of an epoch's anchor: the one that no other epoch has."""
    others = [objects(other.taken["device"]).keys() for other in history.moments if other is not moment]
    (found,) = objects(moment.taken["device"]).keys() - set(itertools.chain(*others))
    return found, moment.taken["device"][found]


def key_files(history: History) -> Files:
    """The object files that every epoch has: two pairs of keys."""
    common = set.intersection(*(set(objects(moment.taken["device"])) for moment in history.moments))
    return {name: history.last.taken["device"][name] for name in sorted(common)}


def put(token: SoftHsm, name: str, data: bytes) -> None:
    """Write an object file, and the lock file without which SoftHSM does not remove it."""
    for path, content in ((token.token_directory / name, data), (lock_of(token, name), b"")):
        path.write_bytes(content)
        path.chmod(0o600)


def lock_of(token: SoftHsm, name: str) -> Path:
    return (token.token_directory / name).with_suffix(".lock")


def remove(token: SoftHsm, name: str) -> None:
    (token.token_directory / name).unlink()


def check_true_state(history: History) -> None:
    """The core works, knows every attempt, and gives no more than the limit."""
    with history.rig.core() as core:
        assert history.remaining(core) == history.last.remaining
        use_up(core, history.vaults["spent"], copy.deepcopy(history.witnesses["spent"]))
        end(core)


# --- the anchor's object ---------------------------------------------------------------------


def test_anchor_object_deleted_is_refused(history: History, token: SoftHsm) -> None:
    remove(token, anchor_file(history, history.last)[0])
    assert [refusal(history.rig) for _ in range(2)] == [TAMPERED] * 2


def test_anchor_object_replaced_by_an_older_copy_does_not_find_its_nodes(
    history: History, token: SoftHsm
) -> None:
    """But for the last copy before the newest: what that is worth is shown in test_clone_states.py."""
    newest, _ = anchor_file(history, history.last)
    for moment in history.moments[1:-2]:
        history.again()
        remove(token, newest)
        put(token, *anchor_file(history, moment))
        assert refusal(history.rig) == MISMATCH, f"the anchor of epoch {moment.epoch} was taken"


def test_anchor_object_of_the_empty_tree_put_back_gives_attempts_back_only_with_the_whole_token(
    history: History, token: SoftHsm
) -> None:
    """An empty tree needs no nodes, so the first anchor of all fits every node store.

    A token directory that can be written to is no hardware: this is R4 of docs/threat-model.md, taken
    to its end, and the reason why SoftHSM is for development only.
    """
    remove(token, anchor_file(history, history.last)[0])
    put(token, *anchor_file(history, history.moments[0]))
    with history.rig.core() as core:
        assert history.remaining(core) == history.moments[0].remaining


def test_older_anchor_objects_put_beside_the_newest_change_nothing_and_are_removed(
    history: History, token: SoftHsm
) -> None:
    for moment in history.moments[:-1]:
        put(token, *anchor_file(history, moment))
    check_true_state(history)
    left = objects(DirectoryPart(token.token_directory).take())
    assert not left.keys() & {anchor_file(history, moment)[0] for moment in history.moments[:-1]}


def test_anchor_object_duplicated_is_refused(history: History, token: SoftHsm) -> None:
    name, data = anchor_file(history, history.last)
    put(token, str(Path(name).with_name("00000000-0000-0000-0000-000000000000.object")), data)
    assert [refusal(history.rig) for _ in range(2)] == [TAMPERED] * 2


def test_anchor_object_with_any_byte_altered_is_refused_or_means_the_same(
    history: History, token: SoftHsm, record_property: Callable[[str, object], None]
) -> None:
    """SoftHSM encrypts private objects without authenticating them: a changed byte may go unnoticed by it."""
    name, data = anchor_file(history, history.last)
    outcomes = dict.fromkeys(("true", "refused", "ended"), 0)
    for position in range(0, len(data), 5):
        put(
            token, name, data[:position] + bytes((data[position] ^ 1 << position % 8,)) + data[position + 1 :]
        )
        with history.rig.nursery.core() as core:
            try:
                started = core.start(wire.Serve(settings=history.rig.settings))
            except CoreEnded:
                outcomes["ended"] += 1
                continue
            if isinstance(started, wire.Failed):
                outcomes["refused"] += 1
                continue
            assert history.remaining(core) == history.last.remaining, f"byte {position}"
            outcomes["true"] += 1
    assert outcomes["refused"] > outcomes["true"]
    for outcome, count in outcomes.items():
        record_property(outcome, count)


# --- the keys --------------------------------------------------------------------------------


def test_any_key_object_deleted_is_refused(history: History, token: SoftHsm) -> None:
    assert len(key_files(history)) == 6  # cohort and audit pairs; domain key and the one that binds
    for name in key_files(history):
        history.again()
        remove(token, name)
        assert refusal(history.rig) == TAMPERED


def test_any_key_object_put_in_place_of_another_is_refused(history: History, token: SoftHsm) -> None:
    for name, other in itertools.permutations(key_files(history), 2):
        history.again()
        put(token, name, history.last.taken["device"][other])
        assert refusal(history.rig) == TAMPERED


def test_key_objects_of_another_token_are_refused(history: History, token: SoftHsm) -> None:
    """They are encrypted under the other token's key, so this one cannot even read them."""
    with SoftHsm() as other:
        settings = msgspec.structs.replace(
            history.rig.direct, token_uri=other.uri, pin_file=str(other.pin_file)
        )
        assert isinstance(provision(other, settings), wire.Inventory)
        foreign = objects(DirectoryPart(other.token_directory).take())
    for name, data in zip(key_files(history), foreign.values(), strict=False):
        put(token, name, data)
    assert refusal(history.rig) in {TAMPERED, "token_unavailable"}


# --- the whole token -------------------------------------------------------------------------


def test_token_emptied_and_set_up_anew_opens_no_old_vault(history: History, token: SoftHsm) -> None:
    for name in objects(DirectoryPart(token.token_directory).take()):
        remove(token, name)
    assert refusal(history.rig) == "token_not_provisioned"
    made = provision(token, history.rig.direct)
    assert isinstance(made, wire.Inventory), made
    with history.rig.core() as core:
        for vault in history.vaults.values():
            reply = core.call(wire.IssueChallenge(params=vault.params, vault=vault.blob))
            assert isinstance(reply, wire.Failed)
            assert reply.code == "cohort_mismatch"
        new = seal(made.cohort_public_key)
        assert isinstance(core.guess(new, new.kf_hash), wire.VaultOpened)


def test_token_removed_is_refused(history: History, token: SoftHsm) -> None:
    for entry in token.token_directory.iterdir():
        shutil.rmtree(entry)
    assert refusal(history.rig) == "token_unavailable"
