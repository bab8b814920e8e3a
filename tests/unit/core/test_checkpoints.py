"""The audit key signs checkpoints of one log, each of which contains the one before, and nothing else."""

from __future__ import annotations

from hashlib import sha256

import pytest

from hwkm.core.checkpoints import CheckpointSigner
from hwkm.crypto.p256 import encode_point, load_scalar
from hwkm.errors import FormatError, NotConsistent, RolledBack
from hwkm.tlog.audit_key import audit_log_key
from hwkm.tlog.checkpoint import Checkpoint, verify_checkpoint
from hwkm.tlog.merkle import EMPTY_ROOT, root_of
from hwkm.tlog.note import NoteSignature, SignedNote
from hwkm.tlog.proofs import prove_consistency
from hwkm.tokens.memory import InsecureAuditKey
from tests.unit.tlog.trees import leaves_of, tile_hashes

SCALAR = bytes(31) + b"\7"
POINT = encode_point(load_scalar(SCALAR).public_key())
LOG_KEY = audit_log_key(POINT)
LEAVES = leaves_of(20)


@pytest.fixture
def signer() -> CheckpointSigner:
    return CheckpointSigner(InsecureAuditKey(SCALAR))


def proof(old: int, new: int) -> list[bytes]:
    return prove_consistency(old, new, tile_hashes(LEAVES[:new]))


def root(size: int) -> bytes:
    return root_of(LEAVES[:size])


def test_the_name_of_the_log_is_made_from_its_key(signer: CheckpointSigner) -> None:
    assert LOG_KEY.name == "hwkm.audit/" + sha256(POINT).hexdigest()[:32]
    state = Checkpoint(LOG_KEY.name, 7, root(7))
    signature = NoteSignature(LOG_KEY.name, LOG_KEY.key_id, signer.sign(7, root(7), []))
    note = SignedNote(state.text(), (signature,))
    assert verify_checkpoint(note.encode(), LOG_KEY).checkpoint == state


def test_it_goes_forward_with_a_proof(signer: CheckpointSigner) -> None:
    signer.sign(0, EMPTY_ROOT, [])
    signer.sign(5, root(5), [])
    signer.sign(9, root(9), proof(5, 9))
    signer.sign(9, root(9), [])
    signer.sign(20, root(20), proof(9, 20))


def test_in_one_life_it_signs_neither_a_fork_nor_a_smaller_log(signer: CheckpointSigner) -> None:
    signer.sign(9, root(9), [])
    with pytest.raises(RolledBack):
        signer.sign(5, root(5), [])
    for size, other, path in [
        (9, root(8), []),
        (20, root(20), []),
        (20, root(20), proof(8, 20)),
        (20, root(19), proof(9, 20)),
    ]:
        with pytest.raises(NotConsistent):
            signer.sign(size, other, path)
    signer.sign(20, root(20), proof(9, 20))


@pytest.mark.parametrize(("size", "other"), [(-1, bytes(32)), (2**63, bytes(32)), (3, bytes(31))])
def test_what_is_no_state_is_not_signed(signer: CheckpointSigner, size: int, other: bytes) -> None:
    with pytest.raises(FormatError):
        signer.sign(size, other, [])
