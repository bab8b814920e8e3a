"""Notes, checkpoints and witnesses: who is believed, and what is refused."""

from __future__ import annotations

import pytest

from hwkm.errors import FormatError, InvalidKeyError, NotConsistent, NoteUnverified, NotIncluded, RolledBack
from hwkm.secret import SecretBytes
from hwkm.tlog.checkpoint import Checkpoint, verify_checkpoint, verify_follows
from hwkm.tlog.merkle import EMPTY_ROOT, root_of
from hwkm.tlog.note import SIGNATURES_MAX, NoteSignature, SignedNote
from hwkm.tlog.note_keys import KeyType, NoteKey, PrivateNoteKey, cosignature_time
from hwkm.tlog.proof_file import ProofFile
from hwkm.tlog.proofs import prove_consistency, prove_inclusion
from hwkm.tlog.witness import WitnessRequest, check_request, cosign
from tests.unit.tlog.trees import leaves_of, tile_hashes

ORIGIN = "log.example/one"
LOG = PrivateNoteKey(ORIGIN, SecretBytes(bytes(32)))
LOG_KEY = LOG.public(KeyType.ED25519)
WITNESSES = [PrivateNoteKey(f"witness.example/{n}", SecretBytes(bytes([n] * 32))) for n in (1, 2, 3)]
WITNESS_KEYS = [witness.public(KeyType.COSIGNATURE) for witness in WITNESSES]
LEAVES = leaves_of(20)
NOW = 1_767_225_599


def state(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root_of(LEAVES[:size]))


def signed(checkpoint: Checkpoint, key: PrivateNoteKey = LOG) -> SignedNote:
    public, text = key.public(KeyType.ED25519), checkpoint.text()
    return SignedNote(text, (NoteSignature(public.name, public.key_id, key.sign(text)),))


def cosigned(size: int, *numbers: int) -> SignedNote:
    checked = verify_checkpoint(signed(state(size)).encode(), LOG_KEY)
    return checked.note.with_signatures(cosign(checked, WITNESSES[n], NOW) for n in numbers)


def request(old: int, new: int) -> WitnessRequest:
    proof = prove_consistency(old, new, tile_hashes(LEAVES[:new]))
    return WitnessRequest(old, tuple(proof), signed(state(new)).encode())


# --- who is believed -------------------------------------------------------------------------


def test_a_checkpoint_is_believed_from_its_own_key_only() -> None:
    data = signed(state(7)).encode()
    assert verify_checkpoint(data, LOG_KEY).checkpoint == state(7)
    other = PrivateNoteKey(ORIGIN, SecretBytes(bytes([9] * 32))).public(KeyType.ED25519)
    with pytest.raises(NoteUnverified, match="no known key"):
        verify_checkpoint(data, other)


def test_a_checkpoint_of_another_log_by_the_same_key_is_refused() -> None:
    elsewhere = Checkpoint("log.example/two", 7, root_of(LEAVES[:7]))
    with pytest.raises(NoteUnverified, match=r"of log\.example/two"):
        verify_checkpoint(signed(elsewhere).encode(), LOG_KEY)


def test_a_cosignature_is_no_signature_of_the_log() -> None:
    with pytest.raises(FormatError):
        verify_checkpoint(cosigned(7, 0).encode(), WITNESS_KEYS[0])
    with pytest.raises(FormatError):
        verify_checkpoint(cosigned(7, 0).encode(), LOG_KEY, [LOG_KEY])


def test_witnesses_are_counted_once_each_and_unknown_ones_not_at_all() -> None:
    note = cosigned(7, 0, 1).encode()
    verified = verify_checkpoint(note, LOG_KEY, WITNESS_KEYS, quorum=2)
    assert verified.witnesses == tuple((key, NOW) for key in WITNESS_KEYS[:2])
    with pytest.raises(NoteUnverified, match="2 witnesses"):
        verify_checkpoint(note, LOG_KEY, WITNESS_KEYS, quorum=3)
    with pytest.raises(NoteUnverified, match="0 witnesses"):
        verify_checkpoint(note, LOG_KEY, [], quorum=1)


def test_one_party_under_two_names_is_one_witness() -> None:
    checked = verify_checkpoint(signed(state(7)).encode(), LOG_KEY)
    twin = PrivateNoteKey("witness.example/twin", SecretBytes(bytes([1] * 32)))
    note = checked.note.with_signatures(cosign(checked, key, NOW) for key in (WITNESSES[0], twin))
    keys = [WITNESS_KEYS[0], twin.public(KeyType.COSIGNATURE)]
    with pytest.raises(NoteUnverified, match="1 witnesses have cosigned, 2"):
        verify_checkpoint(note.encode(), LOG_KEY, keys, quorum=2)


def test_a_wrong_cosignature_of_a_known_witness_refuses_the_whole() -> None:
    right, wrong = cosigned(7, 0, 1), cosigned(6, 1)
    note = right.with_signatures(wrong.signatures[1:])
    assert len(note.signatures) == len(right.signatures)
    with pytest.raises(NoteUnverified, match=r"witness\.example/2 is wrong"):
        verify_checkpoint(note.encode(), LOG_KEY, WITNESS_KEYS, quorum=1)
    assert verify_checkpoint(note.encode(), LOG_KEY, WITNESS_KEYS[:1], quorum=1).witnesses


def test_a_cosignature_is_bound_to_its_time() -> None:
    signature = cosigned(7, 0).signatures[1]
    later = (NOW + 1).to_bytes(8, "big") + signature.signature[8:]
    with pytest.raises(NoteUnverified):
        WITNESS_KEYS[0].verify(state(7).text(), later)
    for unfit in (b"", signature.signature[:-1], b"\xff" + signature.signature[1:]):
        assert cosignature_time(unfit) == -1
        with pytest.raises(NoteUnverified):
            WITNESS_KEYS[0].verify(state(7).text(), unfit)


def test_every_flipped_bit_of_a_cosigned_checkpoint_is_noticed() -> None:
    data = cosigned(7, 0).encode()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((FormatError, NoteUnverified)):
            verify_checkpoint(bytes(changed), LOG_KEY, WITNESS_KEYS, quorum=1)


def test_a_log_key_in_the_token_verifies_and_has_the_key_id_of_its_spki() -> None:
    with pytest.raises(InvalidKeyError):
        NoteKey.of_point(ORIGIN, b"\x04" + bytes(64))
    with pytest.raises(FormatError):
        NoteKey(ORIGIN, KeyType.ECDSA, LOG_KEY.public_key)
    with pytest.raises(FormatError):
        NoteKey(ORIGIN, KeyType.ED25519, b"short")


# --- what follows what -----------------------------------------------------------------------


def test_a_witness_goes_forward_from_what_it_cosigned_last() -> None:
    assert check_request(request(0, 5), LOG_KEY, None).checkpoint == state(5)
    assert check_request(request(5, 9), LOG_KEY, state(5)).checkpoint == state(9)
    assert check_request(request(9, 9), LOG_KEY, state(9)).checkpoint == state(9)


def test_a_witness_refuses_a_proof_from_elsewhere() -> None:
    with pytest.raises(NotConsistent, match="from size 4; cosigned last was size 5"):
        check_request(request(4, 9), LOG_KEY, state(5))
    with pytest.raises(NotConsistent, match="from size 5; cosigned last was size 0"):
        check_request(request(5, 9), LOG_KEY, None)


def test_a_witness_refuses_a_fork_and_a_rollback() -> None:
    forked = Checkpoint(ORIGIN, 5, LEAVES[0])
    with pytest.raises(NotConsistent):
        check_request(request(5, 9), LOG_KEY, forked)
    with pytest.raises(RolledBack, match="had 9 entries and now has 5"):
        check_request(WitnessRequest(9, (), signed(state(5)).encode()), LOG_KEY, state(9))
    with pytest.raises(NotConsistent):
        verify_follows(state(5), Checkpoint(ORIGIN, 5, LEAVES[0]), [])
    with pytest.raises(NotConsistent, match="two logs"):
        verify_follows(Checkpoint("other", 0, EMPTY_ROOT), state(5), [])


def test_a_proof_is_of_one_entry_at_one_index() -> None:
    hashes = tuple(prove_inclusion(3, 9, tile_hashes(LEAVES[:9])))
    proof = ProofFile(3, hashes, signed(state(9)).encode())
    assert proof.verify(b"entry 3", LOG_KEY).checkpoint == state(9)
    with pytest.raises(NotIncluded):
        proof.verify(b"entry 4", LOG_KEY)
    with pytest.raises(NotIncluded):
        ProofFile(4, hashes, proof.note).verify(b"entry 3", LOG_KEY)
    assert ProofFile.parse(proof.encode()) == proof


# --- what is refused -------------------------------------------------------------------------

SIGNATURE = signed(state(1)).signatures[0].line()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        f"text\n{SIGNATURE}".encode(),
        f"text\n\n{SIGNATURE}"[:-1].encode(),
        f"text\n\n{SIGNATURE}\n".encode(),
        f"text\n\n{SIGNATURE}x".encode(),
        f"text\r\n\n{SIGNATURE}".encode(),
        f"te\0xt\n\n{SIGNATURE}".encode(),
        f"text\n\n{SIGNATURE}".encode().replace("—".encode(), b"-"),
        f"text\n\n{SIGNATURE}".encode().replace(b"text", b"\xff\xfe"),
        f"text\n\n{SIGNATURE.replace('example/one', 'example one')}".encode(),
        f"text\n\n{SIGNATURE.replace('example/one', 'exa+mple')}".encode(),
        f"text\n\n{SIGNATURE.replace('log.example/one', '')}".encode(),
        "text\n\n— name AAAAAA==\n".encode(),
        "text\n\n— name AAAAAAB=\n".encode(),
        "text\n\n— name AAAAAAA\n".encode(),
        "text\n\n— name\n".encode(),
        f"text\n\n{SIGNATURE * (SIGNATURES_MAX + 1)}".encode(),
        b"x" * 300_000 + f"\n\n{SIGNATURE}".encode(),
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        SignedNote.parse(data)


def test_the_text_of_a_note_may_have_empty_lines() -> None:
    note = SignedNote.parse(f"one\n\ntwo\n\n{SIGNATURE}".encode())
    assert note.text == "one\n\ntwo\n"


@pytest.mark.parametrize(
    "text",
    [
        *("", "o\n1\n", "o\n1\nAAAA\n", "\n1\n" + "A" * 43 + "=\n", "o\n01\n" + "A" * 43 + "=\n"),
        *("o\n-1\n" + "A" * 43 + "=\n", "o\n1\n" + "A" * 43 + "=", "o\n1\n" + "A" * 42 + "B=\n"),
        *(f"o\n{2**63}\n" + "A" * 43 + "=\n", "o\n1\n" + "A" * 43 + "=\n\n", "o\n1 \n" + "A" * 43 + "=\n"),
        "o\n" + "9" * 5000 + "\n" + "A" * 43 + "=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Checkpoint.parse(text)


def test_extension_lines_are_kept_as_they_are() -> None:
    text = "o\n1\n" + "A" * 43 + "=\nextension one\nextension two\n"
    assert Checkpoint.parse(text).extensions == ("extension one", "extension two")
    assert Checkpoint.parse(text).text() == text


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"old 1\n", b"old x\n\nnote", b"new 1\n\nnote", b"old 01\n\nnote", b"old 1\nshort\n\nnote"),
        *("öld 1\n\nnote".encode(), b"old 1\n" + b"A" * 43 + b"=" + b"\n\n" + b"x" * 300_000),
        b"old 1\n" + (b"A" * 43 + b"=\n") * 64 + b"\nnote",
    ],
)
def test_what_is_no_request_to_a_witness_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        WitnessRequest.parse(data)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"c2sp.org/tlog-proof@v1\n\nnote", b"c2sp.org/tlog-proof@v2\nindex 1\n\nnote"),
        *(b"c2sp.org/tlog-proof@v1\nindex -5\n\nnote", b"c2sp.org/tlog-proof@v1\nindex 5\nAAAA\n\nnote"),
        b"c2sp.org/tlog-proof@v1\nextra !!\nindex 5\n\nnote",
        b"c2sp.org/tlog-proof@v1\nindex 5\nextra AAAA\n\nnote",
        b"c2sp.org/tlog-proof@v1\nindex 5\n" + (b"A" * 43 + b"=\n") * 65 + b"\nnote",
        "c2sp.org/tlog-proof@v1\nindex ٥\n\nnote".encode(),
    ],
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        ProofFile.parse(data)


def test_a_private_key_is_read_strictly_and_never_quoted() -> None:
    text = LOG.insecure_text()
    assert PrivateNoteKey.parse(text).insecure_text() == text
    key_id = LOG_KEY.key_id.hex()
    for wrong in (
        text.removeprefix("PRIVATE+"),
        text.replace(key_id, "00000000"),
        text[:-8] + "AAAA====",
        text.replace("AQAA", "AgAA"),
        text + "AAAA",
    ):
        with pytest.raises(FormatError) as refused:
            PrivateNoteKey.parse(wrong)
        assert "AAAA" not in str(refused.value)
    for name, seed in (("", bytes(32)), ("a b", bytes(32)), ("x" * 256, bytes(32)), ("name", bytes(31))):
        with pytest.raises(FormatError):
            PrivateNoteKey(name, SecretBytes(seed))
    with pytest.raises(FormatError):
        LOG.cosign("text\n", -1)
