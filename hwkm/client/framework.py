"""The framework half of a client: it sees the knowledge factor and the recovery key.

It makes vaults and claims and finishes recoveries. It does no I/O: what it makes is carried by a
recovery agent (:mod:`hwkm.client.agent`), which sees neither secret. The bytes are those of
:mod:`hwkm.formats.vault` (``docs/spec/vault.md``). Everything that holds a secret is a context
manager that wipes it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from hwkm.client import cohort as cohorts
from hwkm.client.application_key import ApplicationKey, KeyRing, unwrap_all
from hwkm.client.cohort import VerifiedCohort
from hwkm.crypto.knowledge_factor import (
    SALT_BYTES,
    KfAlgorithm,
    KfParams,
    KfType,
    argon2id_params,
    hash_credential,
    scrypt_params,
    sha256_params,
    thm_kf_hash,
)
from hwkm.errors import DecryptionError, FormatError, ParamsRefused
from hwkm.formats import vault as boxes
from hwkm.formats.membership import ALONE, Membership
from hwkm.formats.vault_params import VaultParams
from hwkm.secret import SecretBytes
from hwkm.wire.api import (
    ChallengeIssued,
    CohortInfo,
    CreateVault,
    KnowledgeFactor,
    OpenVault,
    ReplaceVault,
    VaultOpened,
    WrappedApplicationKey,
)

MAX_ATTEMPTS_DEFAULT: Final = 10
HANDLE_TYPE: Final = 0x48
"""First byte of the handles we draw. In use elsewhere: 1 AOSP's tests, 2 ChromeOS, 3 passkey PINs."""

_HANDLE_RANDOM_BYTES: Final = 16
_PARAMS_OF: Final = {
    KfAlgorithm.ARGON2ID: argon2id_params,
    KfAlgorithm.SCRYPT: scrypt_params,
    KfAlgorithm.SHA256: sha256_params,
}


def fresh_kf_params(algorithm: KfAlgorithm = KfAlgorithm.ARGON2ID) -> KfParams:
    """The default cost of an algorithm with a new random salt (16 bytes)."""
    return _PARAMS_OF[algorithm](secrets.token_bytes(SALT_BYTES))


def fresh_handle(membership: Membership = ALONE) -> bytes:
    """A new vault handle, pinned to a member of the cohort: type byte and 16 random bytes."""
    while True:  # one of ``members`` fits
        handle = bytes([HANDLE_TYPE]) + secrets.token_bytes(_HANDLE_RANDOM_BYTES)
        if membership.owns(handle):
            return handle


def fresh_counter_id() -> int:
    """A new random counter id, u64."""
    return secrets.randbits(64)


class _Wiped:
    """A context manager that wipes on the way out."""

    __slots__ = ()

    def wipe(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.wipe()


# --- making ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class NewVault(_Wiped):
    """A request for the recovery agent to carry, and the recovery key (32 bytes) it seals."""

    request: CreateVault
    recovery_key: SecretBytes

    def wipe(self) -> None:
        """Wipe the recovery key."""
        self.recovery_key.wipe()


def fresh_params(
    cohort: VerifiedCohort,
    offer: CohortInfo,
    *,
    max_attempts: int | None = None,
    handle: bytes | None = None,
    counter_id: int | None = None,
) -> VaultParams:
    """Params of a new vault: by default a new handle and counter id, and 10 attempts or the cohort's limit.

    ``offer`` is what the daemon says of its cohort, which must be the verified one.

    Raises:
        CohortMismatch: it is another one.
        ParamsRefused: ``max_attempts`` is 0 or over the cohort's limit.
        FormatError: the handle or the counter id has no valid form, or the cohort has no such member.
        VaultElsewhere: the handle is another member's.
    """
    cohorts.require(cohort, offer.public_key)
    membership = offer.membership
    if handle is None:
        handle = fresh_handle(membership)
    membership.verify_owns(handle)
    return VaultParams(
        cohort.public_key,
        fresh_counter_id() if counter_id is None else counter_id,
        _checked_max_attempts(max_attempts, offer.max_attempts_limit),
        handle,
    )


def new_vault(
    cohort: VerifiedCohort,
    params: VaultParams,
    credential: SecretBytes,
    kf_type: KfType,
    *,
    name: str,
    kf_params: KfParams | None = None,
    application_keys: Iterable[ApplicationKey] = (),
) -> NewVault:
    """Draw a recovery key and seal it to a verified cohort, that in ``params``, under a knowledge factor.

    ``credential`` comes from :func:`hwkm.crypto.knowledge_factor.encode_credential`. Stretched by
    Argon2id unless told otherwise.

    Raises:
        CohortMismatch: the params name another cohort's key.
    """
    cohorts.require(cohort, params.cohort_public_key)
    stretch = kf_params or fresh_kf_params()
    recovery_key = _fresh_recovery_key()
    with hash_credential(credential, stretch) as kf_hash:
        request = CreateVault(
            name=name,
            params=params.encode(),
            vault=_seal(params, kf_hash, recovery_key),
            knowledge_factor=KnowledgeFactor.of(kf_type, stretch),
            application_keys=_wrapped(recovery_key, application_keys),
        )
    return NewVault(request, recovery_key)


def _fresh_recovery_key() -> SecretBytes:
    return SecretBytes(secrets.token_bytes(boxes.RECOVERY_KEY_BYTES))


def _checked_max_attempts(wanted: int | None, limit: int) -> int:
    if wanted is None:
        return min(MAX_ATTEMPTS_DEFAULT, limit)
    if not 1 <= wanted <= limit:
        raise ParamsRefused(f"max attempts is {wanted}; allowed here: 1 to {limit}")
    return wanted


def _seal(params: VaultParams, kf_hash: SecretBytes, recovery_key: SecretBytes) -> bytes:
    hashed = kf_hash.expose()
    inner = boxes.seal_recovery_key(hashed, recovery_key.expose())
    return boxes.seal_vault(params.cohort_public_key, thm_kf_hash(hashed), params.encode(), inner)


def _wrapped(recovery_key: SecretBytes, keys: Iterable[ApplicationKey]) -> tuple[WrappedApplicationKey, ...]:
    return tuple(key.wrap(recovery_key) for key in keys)


# --- opening ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Recovered(_Wiped):
    """An opened vault: recovery key (32 bytes), application keys, and what it takes to replace it."""

    params: VaultParams
    knowledge_factor: KnowledgeFactor
    snapshot_version: int
    attempts_remaining: int
    recovery_key: SecretBytes
    key_ring: KeyRing
    kf_hash: SecretBytes

    @property
    def handle(self) -> str:
        """The vault's handle, 34 hex digits."""
        return self.params.handle.hex()

    def wipe(self) -> None:
        """Wipe the recovery key, the application keys and the stretched hash."""
        self.recovery_key.wipe()
        self.kf_hash.wipe()
        self.key_ring.wipe()


class PendingClaim(_Wiped):
    """A claim under way. ``request`` is carried to the vault; its answer goes into :meth:`finish`.

    The same request may be sent again when the answer was lost: same claim, same answer, one
    attempt. One claim allows one response.
    """

    __slots__ = ("_challenge", "_claimant_key", "_kf_hash", "_params", "request")

    def __init__(self, challenge: ChallengeIssued, params: VaultParams, kf_hash: SecretBytes) -> None:
        self._challenge = challenge
        self._params = params
        self._kf_hash = kf_hash
        self._claimant_key = SecretBytes(secrets.token_bytes(boxes.CLAIMANT_KEY_BYTES))
        proof = boxes.OpenedClaim(thm_kf_hash(kf_hash.expose()), self._claimant_key.expose())
        sealed = boxes.seal_claim(params.cohort_public_key, challenge.params, challenge.challenge, proof)
        self.request = OpenVault(challenge=challenge.challenge, claim=sealed)

    def wipe(self) -> None:
        """Forget the claim; its response can no longer be opened."""
        self._claimant_key.wipe()
        self._kf_hash.wipe()

    def finish(self, opened: VaultOpened) -> Recovered:
        """Open the response. The claim is used up, whatever comes of it.

        Raises:
            DecryptionError: the response is not for this claim, or no application key opens.
            ValueError: the claim is used up.
        """
        with self._claimant_key as claimant_key:
            inner = boxes.open_response(claimant_key.expose(), self._challenge.params, opened.response)
        kf_hash = SecretBytes(self._kf_hash.expose())
        self._kf_hash.wipe()
        try:
            recovery_key = SecretBytes(boxes.open_recovery_key(kf_hash.expose(), inner))
            key_ring = unwrap_all(recovery_key, opened.application_keys)
        except DecryptionError:
            kf_hash.wipe()
            raise
        return Recovered(
            params=self._params,
            knowledge_factor=self._challenge.knowledge_factor,
            snapshot_version=self._challenge.snapshot_version,
            attempts_remaining=opened.attempts_remaining,
            recovery_key=recovery_key,
            key_ring=key_ring,
            kf_hash=kf_hash,
        )


def claim(
    challenge: ChallengeIssued,
    credential: SecretBytes,
    cohort: VerifiedCohort,
    expected_handle: bytes | None = None,
) -> PendingClaim:
    """Make a claim on the vault that a challenge was issued for.

    A claim sealed to another key than a verified cohort's would tell its holder ``thm_kf_hash``, from
    which a PIN can be guessed.

    Raises:
        CohortMismatch: the vault is for another cohort key.
        FormatError: the challenge is for another vault, or not well formed.
    """
    params = VaultParams.parse(challenge.params)
    cohorts.require(cohort, params.cohort_public_key)
    if expected_handle is not None and params.handle != expected_handle:
        raise FormatError("the challenge is for another vault than the one asked for")
    kf_hash = hash_credential(credential, challenge.knowledge_factor.params())
    return PendingClaim(challenge, params, kf_hash)


# --- replacing -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Replacement(_Wiped):
    """A request that replaces a vault, and the new recovery key (32 bytes) it seals."""

    request: ReplaceVault
    recovery_key: SecretBytes

    def wipe(self) -> None:
        """Wipe the new recovery key."""
        self.recovery_key.wipe()


def rotation(recovered: Recovered, application_keys: Iterable[ApplicationKey]) -> Replacement:
    """A new recovery key under the same knowledge factor, and so the same counter id.

    ``application_keys`` are wrapped anew; a key that is left out is gone with the replacement.
    """
    return _replacement(
        recovered, recovered.params, recovered.kf_hash, recovered.knowledge_factor, application_keys
    )


def pin_change(
    recovered: Recovered,
    credential: SecretBytes,
    application_keys: Iterable[ApplicationKey],
    *,
    kf_type: KfType | None = None,
    kf_params: KfParams | None = None,
    counter_id: int | None = None,
) -> Replacement:
    """A new recovery key under a new knowledge factor: new salt, new counter id.

    Only here is a new counter id drawn: with the old knowledge factor it would be a second set of
    attempts at the same PIN.
    """
    old = recovered.params
    new_id = fresh_counter_id() if counter_id is None else counter_id
    params = VaultParams(old.cohort_public_key, new_id, old.max_attempts, old.handle)
    stretch = kf_params or fresh_kf_params()
    factor = KnowledgeFactor.of(kf_type or recovered.knowledge_factor.type, stretch)
    with hash_credential(credential, stretch) as kf_hash:
        return _replacement(recovered, params, kf_hash, factor, application_keys)


def _replacement(
    recovered: Recovered,
    params: VaultParams,
    kf_hash: SecretBytes,
    factor: KnowledgeFactor,
    application_keys: Iterable[ApplicationKey],
) -> Replacement:
    recovery_key = _fresh_recovery_key()
    request = ReplaceVault(
        expected_snapshot_version=recovered.snapshot_version,
        params=params.encode(),
        vault=_seal(params, kf_hash, recovery_key),
        knowledge_factor=factor,
        application_keys=_wrapped(recovery_key, application_keys),
    )
    return Replacement(request, recovery_key)
