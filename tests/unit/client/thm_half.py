"""The trusted core's half of the protocol with a key in memory: enough to answer a claim."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.client.cohort import by_hand
from hwkm.crypto import p256, securebox
from hwkm.formats import vault as boxes
from hwkm.wire.api import (
    ChallengeIssued,
    CohortInfo,
    CreateVault,
    OpenVault,
    ReplaceVault,
    VaultOpened,
    WrappedApplicationKey,
)


class ThmHalf:
    """Answers claims without counting anything."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self.cohort = CohortInfo(
            public_key=p256.encode_point(self._private.public_key()), max_attempts_limit=10
        )
        self.verified = by_hand(self.cohort.public_key)

    def agreed(self, box: bytes) -> bytes:
        return self._private.exchange(ec.ECDH(), p256.load_point(securebox.sender_point(box)))

    def challenge(self, stored: CreateVault | ReplaceVault, snapshot_version: int = 1) -> ChallengeIssued:
        return ChallengeIssued(
            challenge=secrets.token_bytes(boxes.CHALLENGE_BYTES),
            expires_in_ms=60_000,
            params=stored.params,
            knowledge_factor=stored.knowledge_factor,
            snapshot_version=snapshot_version,
            attempts_remaining=10,
            retry_after_ms=0,
        )

    def answer(
        self,
        stored: CreateVault | ReplaceVault,
        request: OpenVault,
        application_keys: Iterable[WrappedApplicationKey] | None = None,
    ) -> VaultOpened:
        """Raises DecryptionError for a wrong guess."""
        proof = boxes.open_claim(self.agreed(request.claim), stored.params, request.challenge, request.claim)
        inner = boxes.open_vault(self.agreed(stored.vault), proof.thm_kf_hash, stored.params, stored.vault)
        keys = stored.application_keys if application_keys is None else tuple(application_keys)
        return VaultOpened(
            response=boxes.seal_response(proof.claimant_key, stored.params, inner),
            attempts_remaining=10,
            application_keys=keys,
        )
