"""Proofs from the files of a log: that a record is in it, and that it only ever grew."""

from __future__ import annotations

from pathlib import Path

from hwkm.audit.published import Published, state_of
from hwkm.audit.segments import unreadable
from hwkm.audit.tree import entries_between
from hwkm.errors import AuditError, FormatError, NotConsistent
from hwkm.tlog.checkpoint import Checkpoint, verify_checkpoint, verify_follows
from hwkm.tlog.note import SignedNote
from hwkm.tlog.note_keys import NoteKey
from hwkm.tlog.proof_file import ProofFile
from hwkm.tlog.proofs import prove_consistency, prove_inclusion
from hwkm.tlog.witness import WitnessRequest


def newest_note(published: Published) -> SignedNote:
    """Return the newest checkpoint, unchecked.

    Raises:
        AuditError: nothing was signed yet, or it is damaged.
        StorageUnavailable: it cannot be read.
    """
    note = published.checkpoint()
    if note is None:
        raise AuditError(f"{published.directory} has no checkpoint yet")
    return note


def prove_record(directory: Path, index: int, log_key: NoteKey, note: SignedNote | None = None) -> ProofFile:
    """Return a proof, with the record itself in it, that a stranger can check.

    ``note`` is a checkpoint to prove it for, such as one that is cosigned; without one, the newest.

    Raises:
        NotIncluded: the checkpoint does not cover the record yet, or the log is damaged.
        AuditError: the log is damaged; LogError: the checkpoint is not the log's.
        StorageUnavailable: something cannot be read.
    """
    published = Published(directory)
    note = newest_note(published) if note is None else note
    state = verify_checkpoint(note.encode(), log_key).checkpoint
    try:
        hashes = prove_inclusion(index, state.size, published.hashes(state.size))
    except FormatError as exc:
        raise AuditError(f"the tiles are damaged: {exc}") from exc
    ((_, entry),) = entries_between(directory, index, index + 1)
    proof = ProofFile(index, tuple(hashes), note.encode(), entry)
    proof.verify(entry, log_key)
    return proof


def prove_growth(directory: Path, old: Checkpoint, note: SignedNote, log_key: NoteKey) -> WitnessRequest:
    """Return what shows a witness, or anybody who kept ``old``, that the log only grew since.

    Raises:
        RolledBack, NotConsistent: it did not.
        AuditError: the log is damaged; LogError: the checkpoint is not the log's.
        StorageUnavailable: something cannot be read.
    """
    new = verify_checkpoint(note.encode(), log_key).checkpoint
    try:
        proof = prove_consistency(old.size, max(old.size, new.size), Published(directory).hashes(new.size))
    except FormatError as exc:
        raise AuditError(f"the tiles are damaged: {exc}") from exc
    verify_follows(old, new, proof)
    return WitnessRequest(old.size, tuple(proof), note.encode())


def accept_cosigned(directory: Path, data: bytes, log_key: NoteKey, witness: NoteKey) -> int:
    """Keep a checkpoint of this log that a witness has cosigned; return the size it is of.

    Raises:
        FormatError: it is no checkpoint, or the key is not that of a witness.
        LogError: log or witness has not signed it, or the log has another past.
        StorageUnavailable: it cannot be written.
    """
    published = Published(directory)
    verified = verify_checkpoint(data, log_key, [witness], quorum=1)
    state = verified.checkpoint
    if published.hashes(state.size).frontier().root() != state.root:
        raise NotConsistent("the log here has another root at this size")
    cosigned = [one for one in verified.note.signatures if one.is_by(witness)]
    kept = {state_of(note, name).size: note for name, note in published.witnessed()}
    by_log = tuple(one for one in verified.note.signatures if one.is_by(log_key))
    note = kept.get(state.size, SignedNote(verified.note.text, by_log))
    try:
        published.put_witnessed(note.with_signatures(cosigned), state.size)
    except OSError as exc:
        raise unreadable(directory, exc) from exc
    return state.size
