"""The transparency log against vectors of others and of the independent computation."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from hwkm.errors import FormatError, NotConsistent, NoteUnverified, NotIncluded
from hwkm.secret import SecretBytes
from hwkm.tlog.checkpoint import Checkpoint, verify_checkpoint
from hwkm.tlog.merkle import EMPTY_ROOT, Frontier, leaf_hash, root_of
from hwkm.tlog.note import NoteSignature, SignedNote
from hwkm.tlog.note_keys import KeyType, NoteKey, PrivateNoteKey, cosignature_time
from hwkm.tlog.proof_file import ProofFile
from hwkm.tlog.proofs import prove_consistency, prove_inclusion, verify_consistency, verify_inclusion
from hwkm.tlog.tiles import encode_bundle, parse_path
from hwkm.tlog.witness import WitnessRequest, check_request, cosign
from tests.unit.tlog.trees import tile_bytes, tile_hashes
from tests.vectors.files import Vector, label, load, unhex
from tests.vectors.reference import ed25519, transparency
from tests.vectors.reference import p256 as reference_p256

MERKLE = load("upstream_merkle.json")
NOTES = load("upstream_notes.json")
LOG = load("hwkm_log.json")

SOME_HASH = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")
LEAVES = [leaf_hash(bytes.fromhex(leaf)) for leaf in MERKLE["leaves"]]
ROOTS = [EMPTY_ROOT, *map(bytes.fromhex, MERKLE["roots"])]
ENTRIES = [f"entry {number}".encode() for number in range(LOG["size"])]
ENTRY_LEAVES = [leaf_hash(entry) for entry in ENTRIES]

inclusions = pytest.mark.parametrize("vector", MERKLE["inclusion"], ids=str)
consistencies = pytest.mark.parametrize("vector", MERKLE["consistency"], ids=str)


def proof_of(vector: Vector) -> list[bytes]:
    return [bytes.fromhex(one) for one in vector["proof"]]


# --- transparency-dev/merkle -----------------------------------------------------------------


def test_upstream_roots() -> None:
    assert bytes.fromhex(MERKLE["empty_root"]) == EMPTY_ROOT
    assert [root_of(LEAVES[:size]) for size in range(9)] == ROOTS


@inclusions
def test_upstream_inclusion_proofs_are_made_and_verify(vector: Vector) -> None:
    index, size = vector["index"], vector["size"]
    assert prove_inclusion(index, size, tile_hashes(LEAVES[:size])) == proof_of(vector)
    verify_inclusion(index, size, LEAVES[index], proof_of(vector), ROOTS[size])


@inclusions
def test_upstream_ways_to_corrupt_an_inclusion_proof(vector: Vector) -> None:
    index, size, proof = vector["index"], vector["size"], proof_of(vector)
    leaf, root = LEAVES[index], ROOTS[size]
    flipped = [
        [*proof[:at], bytes([proof[at][0] ^ 8]) + proof[at][1:], *proof[at + 1 :]] for at in range(len(proof))
    ]
    corrupt: list[tuple[Any, ...]] = [
        *((other, size, leaf, proof, root) for other in (index - 1, index + 1, index ^ 2)),
        *((index, other, leaf, proof, root) for other in (size * 2, size // 2)),
        (index, size, b"WrongLeaf", proof, root),
        *((index, size, leaf, proof, other) for other in (EMPTY_ROOT, SOME_HASH)),
        *((index, size, leaf, other, root) for other in ([*proof, b""], [*proof, root])),
        *((index, size, leaf, other, root) for other in ([b"", *proof], [root, *proof], proof[:-1])),
        (index, size, leaf, [proof[0], SOME_HASH, *proof[1:]], root),
        *((index, size, leaf, other, root) for other in flipped),
    ]
    for arguments in corrupt:
        with pytest.raises(NotIncluded):
            verify_inclusion(*arguments)


@consistencies
def test_upstream_consistency_proofs_are_made_and_verify(vector: Vector) -> None:
    old, new = vector["old"], vector["new"]
    assert prove_consistency(old, new, tile_hashes(LEAVES[:new])) == proof_of(vector)
    verify_consistency(old, new, ROOTS[old], ROOTS[new], proof_of(vector))


@pytest.mark.parametrize("vector", [one for one in MERKLE["consistency"] if one["proof"]], ids=str)
def test_upstream_ways_to_corrupt_a_consistency_proof(vector: Vector) -> None:
    old, new, proof = vector["old"], vector["new"], proof_of(vector)
    first, second = ROOTS[old], ROOTS[new]
    flipped = [
        [*proof[:at], bytes([proof[at][0] ^ 16]) + proof[at][1:], *proof[at + 1 :]]
        for at in range(len(proof))
    ]
    proofs = [
        [],
        *([*proof, other] for other in (b"", first, second)),
        *([other, *proof] for other in (b"", first, second, proof[0])),
        proof[:-1],
        *flipped,
    ]
    corrupt: list[tuple[Any, ...]] = [
        *((other, new, first, second, proof) for other in (old - 1, old + 1, old ^ 2)),
        *((old, other, first, second, proof) for other in (new * 2, new // 2)),
        (old, new, b"WrongRoot", second, proof),
        (old, new, first, b"WrongRoot", proof),
        (old, new, second, first, proof),
        *((old, new, first, second, other) for other in proofs),
    ]
    for arguments in corrupt:
        with pytest.raises(NotConsistent):
            verify_consistency(*arguments)


# --- signed notes of others ------------------------------------------------------------------


@pytest.mark.parametrize("vector", NOTES["notes"], ids=label)
def test_upstream_notes_verify_and_are_written_as_they_were(vector: Vector) -> None:
    key, note = NoteKey.parse(vector["vkey"]), SignedNote.parse(vector["note"].encode())
    assert [found for found, _ in note.verify([key])] == [key]
    assert (str(key), note.encode().decode()) == (vector["vkey"], vector["note"])


@pytest.mark.parametrize("vector", NOTES["notes"], ids=label)
def test_upstream_notes_with_a_word_changed_do_not_verify(vector: Vector) -> None:
    key, note = NoteKey.parse(vector["vkey"]), SignedNote.parse(vector["note"].encode())
    changed = SignedNote("x" + note.text, note.signatures)
    with pytest.raises(NoteUnverified, match="wrong"):
        changed.verify([key])


def test_upstream_private_key_signs_as_it_did() -> None:
    vector = NOTES["notes"][1]
    key, note = PrivateNoteKey.parse(vector["skey"]), SignedNote.parse(vector["note"].encode())
    assert str(key.public(KeyType.ED25519)) == vector["vkey"]
    assert key.sign(note.text) == note.signatures[0].signature
    assert key.insecure_text() == vector["skey"]


def test_upstream_checkpoint_with_its_witnesses() -> None:
    vector = NOTES["cosigned"]
    witnesses = [NoteKey.parse(witness["vkey"]) for witness in vector["witnesses"]]
    log_key = NoteKey.parse(vector["log_vkey"])
    verified = verify_checkpoint(vector["note"].encode(), log_key, witnesses, quorum=4)
    assert verified.checkpoint.size == 1432088532
    assert verified.witnesses == tuple((key, vector["time"]) for key in witnesses)
    with pytest.raises(NoteUnverified, match="3 witnesses have cosigned, 4"):
        verify_checkpoint(vector["note"].encode(), log_key, witnesses[:3], quorum=4)


@pytest.mark.parametrize("vector", NOTES["refused_vkeys"], ids=label)
def test_upstream_keys_that_are_refused(vector: Vector) -> None:
    with pytest.raises(FormatError):
        NoteKey.parse(vector["text"])


# --- the independent computation -------------------------------------------------------------


def test_the_reference_is_right_about_what_others_published() -> None:
    entries = [bytes.fromhex(leaf) for leaf in MERKLE["leaves"]]
    assert [transparency.mth(entries[:size]) for size in range(9)] == ROOTS
    assert all(
        transparency.path(one["index"], entries[: one["size"]]) == proof_of(one)
        for one in MERKLE["inclusion"]
    )
    assert all(
        transparency.proof(one["old"], entries[: one["new"]]) == proof_of(one)
        for one in MERKLE["consistency"]
    )
    key = PrivateNoteKey.parse(NOTES["notes"][1]["skey"])
    seed = key._seed.expose()
    text = SignedNote.parse(NOTES["notes"][1]["note"].encode()).text.encode()
    assert ed25519.sign(seed, text) == key.sign(text.decode())


def test_roots() -> None:
    for size, root in LOG["roots"].items():
        frontier = Frontier()
        frontier.extend(ENTRY_LEAVES[: int(size)])
        assert frontier.root().hex() == root


@pytest.mark.parametrize("vector", LOG["inclusion"], ids=lambda one: f"{one['index']} of {one['size']}")
def test_inclusion(vector: Vector) -> None:
    index, size = vector["index"], vector["size"]
    leaves = ENTRY_LEAVES[:size]
    assert prove_inclusion(index, size, tile_hashes(leaves)) == proof_of(vector)
    verify_inclusion(index, size, leaves[index], proof_of(vector), root_of(leaves))


@pytest.mark.parametrize("vector", LOG["consistency"], ids=lambda one: f"{one['old']} to {one['new']}")
def test_consistency(vector: Vector) -> None:
    old, new = vector["old"], vector["new"]
    assert prove_consistency(old, new, tile_hashes(ENTRY_LEAVES[:new])) == proof_of(vector)
    older, newer = root_of(ENTRY_LEAVES[:old]), root_of(ENTRY_LEAVES[:new])
    verify_consistency(old, new, older, newer, proof_of(vector))


@pytest.mark.parametrize("vector", LOG["tiles"], ids=lambda one: str(one["path"]))
def test_tiles(vector: Vector) -> None:
    tile = parse_path(vector["path"])
    content = tile_bytes(tile, ENTRY_LEAVES)
    if tile.level is None:
        content = encode_bundle(ENTRIES[tile.first : tile.first + tile.width])
    assert (tile.path(), sha256(content).hexdigest()) == (vector["path"], vector["sha256"])


def test_keys() -> None:
    point = unhex(LOG, "log_point")
    log_key = NoteKey.of_point("hwkm.example/log", point)
    witness = PrivateNoteKey("witness.example/w1", SecretBytes(unhex(LOG, "witness_seed")))
    assert point == reference_p256.public_key(unhex(LOG, "log_private_key"))
    assert (str(log_key), NoteKey.parse(LOG["log_vkey"])) == (LOG["log_vkey"], log_key)
    assert str(witness.public(KeyType.COSIGNATURE)) == LOG["witness_vkey"]
    assert witness.insecure_text() == LOG["witness_skey"]


def test_signed_checkpoint() -> None:
    data, witness = LOG["signed_checkpoint"].encode(), NoteKey.parse(LOG["witness_vkey"])
    for name in ("log_vkey", "log_ed25519_vkey"):
        verified = verify_checkpoint(data, NoteKey.parse(LOG[name]), [witness], quorum=1)
        assert verified.checkpoint == Checkpoint("hwkm.example/log", 600, root_of(ENTRY_LEAVES))
        assert verified.checkpoint.text() == LOG["checkpoint"]
        assert verified.witnesses == ((witness, LOG["cosignature_time"]),)


def test_a_witness_of_ours_cosigns_as_the_reference_does() -> None:
    request = WitnessRequest.parse(LOG["witness_request"].encode())
    last = Checkpoint.parse(LOG["old_checkpoint"])
    checked = check_request(request, NoteKey.parse(LOG["log_vkey"]), last)
    key = PrivateNoteKey.parse(LOG["witness_skey"])
    made = cosign(checked, key, LOG["cosignature_time"])
    assert made == checked.note.signatures[-1]
    assert cosignature_time(made.signature) == LOG["cosignature_time"]
    assert NoteSignature.parse(made.line().rstrip("\n")) == made
    assert request.encode().decode() == LOG["witness_request"]


def test_proof_file() -> None:
    proof = ProofFile.parse(LOG["proof_file"].encode())
    verified = proof.verify(ENTRIES[300], NoteKey.parse(LOG["log_vkey"]))
    assert (proof.index, proof.extra, verified.checkpoint.size) == (300, ENTRIES[300], 600)
    assert proof.encode().decode() == LOG["proof_file"]
