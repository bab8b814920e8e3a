"""Whatever stands in a file of a transparency log is read as it would be written, or refused."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from hwkm.errors import FormatError, LogError
from hwkm.tlog.checkpoint import Checkpoint, verify_checkpoint
from hwkm.tlog.note import SignedNote
from hwkm.tlog.note_keys import NoteKey, PrivateNoteKey
from hwkm.tlog.proof_file import ProofFile
from hwkm.tlog.proofs import verify_consistency, verify_inclusion
from hwkm.tlog.tiles import encode_bundle, parse_bundle, parse_path
from hwkm.tlog.witness import WitnessRequest, check_request
from tests.fuzz.byte_strings import near
from tests.vectors.files import load

LOG = load("hwkm_log.json")
UPSTREAM = load("upstream_notes.json")
LOG_KEY, WITNESS_KEY = NoteKey.parse(LOG["log_vkey"]), NoteKey.parse(LOG["witness_vkey"])

notes = st.sampled_from([LOG["signed_checkpoint"], *(one["note"] for one in UPSTREAM["notes"])])
hashes = st.binary(min_size=30, max_size=33) | st.binary(min_size=32, max_size=32)
sizes = st.integers(-2, 20) | st.integers(2**62, 2**64)


def good(*texts: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from([text.encode() for text in texts])


@given(near(notes.map(str.encode), 2000))
def test_notes(data: bytes) -> None:
    with suppress(FormatError, LogError):
        note = SignedNote.parse(data)
        assert note.encode() == data
        assert Checkpoint.parse(note.text).text() == note.text
    with suppress(FormatError, LogError):
        assert verify_checkpoint(data, LOG_KEY, [WITNESS_KEY]).checkpoint.text() == LOG["checkpoint"]


@given(near(good(LOG["log_vkey"], LOG["witness_vkey"], *(one["vkey"] for one in UPSTREAM["notes"]))))
def test_keys(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(FormatError):
        assert str(NoteKey.parse(text)) == text


@given(near(good(LOG["witness_skey"])))
def test_private_keys(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(FormatError):
        assert PrivateNoteKey.parse(text).insecure_text() == text


@given(near(good(LOG["witness_request"]), 2000))
def test_requests_to_a_witness(data: bytes) -> None:
    with suppress(FormatError, LogError):
        request = WitnessRequest.parse(data)
        assert request.encode() == data
        checked = check_request(request, LOG_KEY, Checkpoint.parse(LOG["old_checkpoint"]))
        assert checked.checkpoint.text() == LOG["checkpoint"]


@given(near(good(LOG["proof_file"]), 2000))
def test_proof_files(data: bytes) -> None:
    with suppress(FormatError, LogError):
        proof = ProofFile.parse(data)
        assert proof.encode() == data
        proof.verify(b"entry 300", LOG_KEY)
        assert proof.index == 300


@given(near(good("tile/0/x001/x234/067", "tile/entries/000.p/9", "tile/1/000")))
def test_paths(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(FormatError):
        assert parse_path(text).path() == text


@given(near(st.lists(st.binary(max_size=20), min_size=1, max_size=8).map(encode_bundle)), st.integers(1, 9))
def test_bundles(data: bytes, width: int) -> None:
    with suppress(FormatError):
        assert encode_bundle(parse_bundle(data, width)) == data


@given(sizes, sizes, hashes, hashes, st.lists(hashes, max_size=70))
def test_proofs(first: int, second: int, one: bytes, other: bytes, proof: list[bytes]) -> None:
    with suppress(LogError):
        verify_inclusion(first, second, one, proof, other)
    with suppress(LogError):
        verify_consistency(first, second, one, other, proof)
