"""Signs states of the audit log: checkpoints of one log only, each containing the one before."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from hwkm.crypto.signatures import ecdsa_der
from hwkm.tlog.audit_key import audit_log_key
from hwkm.tlog.checkpoint import Checkpoint, verify_follows
from hwkm.tokens.token import AuditKey


class CheckpointSigner:
    """Composes what is signed; the daemon names size and root only.

    The audit key signs besides only what modules tell each other when a domain key goes from one to
    the other (:mod:`hwkm.tokens.exchange`): digests under labels with which no checkpoint begins.
    """

    def __init__(self, key: AuditKey) -> None:
        self._key = key
        self._origin = audit_log_key(key.public_key()).name
        self._last: Checkpoint | None = None

    def sign(self, size: int, root: bytes, proof: Sequence[bytes]) -> bytes:
        """Return the DER signature under the checkpoint of this state.

        ``proof`` leads from the state signed last in this life; the first needs none.

        Raises:
            FormatError: size or root is out of range.
            RolledBack, NotConsistent: it does not contain the state signed last.
            TokenError: the hardware failed.
        """
        state = Checkpoint(self._origin, size, root)
        if self._last is not None:
            verify_follows(self._last, state, proof)
        self._last = state
        return ecdsa_der(self._key.sign(sha256(state.text().encode()).digest()))
