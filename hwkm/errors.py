"""The one exception tree of hwkm.

Every error has a stable ``code`` that travels over the wire and is documented in
``docs/errors.md``. Messages say what happened and what to do about it, and never contain a
secret. Nothing is ever parsed out of a message: facts that a caller needs are attributes.

An expected outcome inside the trusted core (a wrong PIN) is a *value* there
(:mod:`hwkm.thm.outcome`); it becomes one of these exceptions only at the client's edge.
"""

from __future__ import annotations

from typing import ClassVar


class HwkmError(Exception):
    """Base of every error that hwkm raises on purpose."""

    code: ClassVar[str] = "internal"


# --- input -----------------------------------------------------------------------------------


class FormatError(HwkmError):
    """Bytes or values from outside are not what the format demands. Nothing was changed."""

    code = "bad_format"


class InvalidKeyError(HwkmError, ValueError):
    """A key given by the caller is not a valid P-256 key, or no key and no secret were given."""

    code = "invalid_key"


class DecryptionError(HwkmError):
    """A ciphertext did not open. Deliberately one error for every reason."""

    code = "decryption_failed"


class ConfigError(HwkmError):
    """The configuration is wrong; the message names the file and the line."""

    code = "bad_config"


# --- token -----------------------------------------------------------------------------------


class TokenError(HwkmError):
    """The hardware refused or failed; what was asked for did not happen unless stated."""

    code = "token_error"


class EvidenceUnavailable(TokenError):
    """This module cannot make the evidence that was asked for; the message says why."""

    code = "evidence_unavailable"


class TokenUnavailable(TokenError):
    """The token is absent, was removed, or does not answer."""

    code = "token_unavailable"


class TokenBusy(TokenError):
    """The token asks to be left alone for now (NV rate limit, lockout). Nothing was applied."""

    code = "token_busy"


class TokenFull(TokenError):
    """No room is left in the token's non-volatile memory. Nothing was applied."""

    code = "token_full"


class TokenPinIncorrect(TokenError):
    """The user PIN was refused. It is never tried a second time: tokens lock."""

    code = "token_pin_incorrect"


class TokenPinLocked(TokenError):
    """The token has locked its user PIN."""

    code = "token_pin_locked"


class TokenNotProvisioned(TokenError):
    """The token holds no hwkm keys; ``hwkmd init`` makes them."""

    code = "token_not_provisioned"


class TokenAlreadyProvisioned(TokenError):
    """The token already holds hwkm keys; the message lists what would be destroyed."""

    code = "token_already_provisioned"


class TokenInUse(TokenError):
    """Another hwkm-thm on this machine holds this token."""

    code = "token_in_use"


class KeyExposedError(TokenError):
    """A key that must not leave the hardware is not protected against leaving it."""

    code = "token_key_exposed"


class AnchorUncertain(TokenError):
    """An anchor write failed and may or may not have been applied. The process must restart."""

    code = "anchor_uncertain"


class AnchorTampered(TokenError):
    """The anchor in the hardware is not the one that hwkm made. No vault is opened."""

    code = "anchor_tampered"


class HardwareFault(TokenError):
    """The hardware failed after the attempt was charged and before there was a verdict."""

    code = "hardware_fault"


class DomainNotProvisioned(TokenError):
    """The token holds no domain key, so it keeps no customer master keys."""

    code = "domain_not_provisioned"


class GenerationRefused(TokenError):
    """The domain key of that generation is the newest or is not there. Nothing was changed."""

    code = "generation_refused"


class WrappedKeyRefused(TokenError):
    """A stored key does not load: damaged, swapped with another's, or of another domain key."""

    code = "wrapped_key_refused"


class ExchangeRefused(TokenError):
    """What one module says to another is damaged, not authentic, or not by or for the one that was named."""

    code = "exchange_refused"


class ExchangeUnsupported(TokenError):
    """Keys cannot go between these modules: they differ in kind, or these keys may not leave."""

    code = "exchange_unsupported"


class CohortUnsealed(TokenError):
    """The cohort's first member can still let its key go to others; until it is sealed it serves nothing."""

    code = "cohort_unsealed"


class CohortSealed(TokenError):
    """The cohort's key cannot go to another member any more, or never could. Nothing was changed."""

    code = "cohort_sealed"


class CodeChanged(TokenError):
    """Code, settings or boot are not those that the cohort key is bound to; the message says what differs."""

    code = "code_changed"


class UnsupportedKind(TokenError):
    """This hardware has no keys of that kind."""

    code = "unsupported_kind"


# --- state -----------------------------------------------------------------------------------


class StorageMismatch(HwkmError):
    """Attempt state on disk does not match the anchor. No vault is opened, nothing is repaired."""

    code = "storage_mismatch"


class StorageUnavailable(HwkmError):
    """Storage failed (disk full, I/O error). Nothing was applied."""

    code = "storage_unavailable"


class AuditError(HwkmError):
    """The audit log is damaged; the message names the first bad record."""

    code = "audit_damaged"


# --- transparency logs -----------------------------------------------------------------------


class LogError(HwkmError):
    """A log, or what somebody says about it, is not to be believed."""

    code = "log_error"


class NoteUnverified(LogError):
    """No known key has signed, too few witnesses have, or the signature of a known key is wrong."""

    code = "note_unverified"


class NotIncluded(LogError):
    """The proof does not show that the entry is in the log."""

    code = "not_included"


class NotConsistent(LogError):
    """The proof does not show that the later state of the log contains the earlier: changed, or forked."""

    code = "not_consistent"


class RolledBack(LogError):
    """The log is shorter than it was."""

    code = "rolled_back"


# --- vaults ----------------------------------------------------------------------------------


class WrongKnowledgeFactor(HwkmError):
    """The PIN, password or pattern was wrong; one attempt is gone."""

    code = "wrong_knowledge_factor"

    def __init__(self, attempts_remaining: int, retry_after_ms: int = 0) -> None:
        super().__init__(f"wrong PIN, password or pattern; attempts remaining: {attempts_remaining}")
        self.attempts_remaining = attempts_remaining
        self.retry_after_ms = retry_after_ms


class VaultLocked(HwkmError):
    """The attempt limit was reached. The recovery key is gone for good."""

    code = "vault_locked"


class VaultSuspended(HwkmError):
    """Too many charges in a row ended without a verdict; an operator must resume the vault."""

    code = "vault_suspended"


class RateLimited(HwkmError):
    """Too soon after a failed opening, or too many requests. Nothing was charged."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms

    @property
    def retry_after(self) -> float:
        """Seconds to wait before the next try."""
        return self.retry_after_ms / 1000


class CohortMismatch(HwkmError):
    """Vault params name another cohort's public key."""

    code = "cohort_mismatch"


class VaultElsewhere(HwkmError):
    """The vault is pinned to another member of its cohort. Nothing was charged; ask that one.

    ``member`` (counted from 0) of ``members`` is the one to ask; None where only the message tells.
    """

    code = "vault_elsewhere"

    def __init__(self, message: str, member: int | None = None, members: int | None = None) -> None:
        super().__init__(message)
        self.member = member
        self.members = members


class ParamsRefused(HwkmError):
    """Vault params are well formed but not acceptable here (max attempts over the limit)."""

    code = "params_refused"


class ChallengeRefused(HwkmError):
    """The challenge is unknown, expired, used, or belongs to another vault. Nothing was charged."""

    code = "challenge_refused"


class ClaimRefused(HwkmError):
    """The claim does not open under the cohort key and this vault. Nothing was charged."""

    code = "claim_refused"


class VaultNotFound(HwkmError):
    """No vault by this handle is visible to the caller."""

    code = "vault_not_found"


class VaultExists(HwkmError):
    """A vault by this handle exists already."""

    code = "vault_exists"


class SnapshotConflict(HwkmError):
    """The vault was replaced by someone else since it was read; read it again."""

    code = "snapshot_conflict"


# --- keys ------------------------------------------------------------------------------------


class KeyUsageInvalid(HwkmError):
    """The key is of a kind that is not made for this operation or algorithm."""

    code = "key_usage_invalid"


class KeyNotFound(HwkmError):
    """No key or alias by this name is there for the caller."""

    code = "key_not_found"


class InvalidArn(HwkmError):
    """An ARN is not one of a key or alias of this daemon."""

    code = "invalid_arn"


class KeyDisabled(HwkmError):
    """The key is disabled."""

    code = "key_disabled"


class KeyStateInvalid(HwkmError):
    """The key is in a state in which this cannot be done: pending deletion, deleted, or not pending."""

    code = "key_state_invalid"


class CiphertextInvalid(HwkmError):
    """A ciphertext does not decrypt: wrong context, wrong key or damage. Nobody is told which."""

    code = "ciphertext_invalid"


class IncorrectKey(HwkmError):
    """The ciphertext is under another key than the request names."""

    code = "incorrect_key"


class MacInvalid(HwkmError):
    """An HMAC is not that of the message under this key."""

    code = "mac_invalid"


class SignatureInvalid(HwkmError):
    """A signature is not that of the message under this key."""

    code = "signature_invalid"


class AliasExists(HwkmError):
    """The account has an alias of this name already."""

    code = "alias_exists"


class TagInvalid(HwkmError):
    """A tag is not acceptable: its name is reserved, or the key has too many."""

    code = "tag_invalid"


class MarkerInvalid(HwkmError):
    """The place to go on listing from is not one that a list has named."""

    code = "marker_invalid"


class DryRunSucceeded(HwkmError):
    """The request would have succeeded; it was a dry run, so nothing was done."""

    code = "dry_run_succeeded"


class DomainRotating(HwkmError):
    """The domain key is being rotated already; ask how far it is."""

    code = "domain_rotating"


# --- service ---------------------------------------------------------------------------------


class AccessDenied(HwkmError):
    """The policy does not allow this caller this operation."""

    code = "access_denied"


class LimitExceeded(HwkmError):
    """A size or count is over its limit; the message names both."""

    code = "limit_exceeded"


class Unavailable(HwkmError):
    """The daemon or its trusted core is not there or is restarting; try again shortly."""

    code = "unavailable"


# --- lists of cohort keys --------------------------------------------------------------------


class FleetError(HwkmError):
    """A list of cohort keys is not to be trusted. Nothing was stored, nothing is trusted by it."""

    code = "fleet_error"


class CertificateInvalid(FleetError):
    """A certificate has no valid path to the trusted root, or a key that is not suitable."""

    code = "certificate_invalid"


class ListSignatureInvalid(FleetError):
    """The signature of a list is not over these bytes, or not by who may sign it."""

    code = "list_signature_invalid"


class ListDowngrade(FleetError):
    """The list is older than one that was accepted before."""

    code = "list_downgrade"


class ListConflict(FleetError):
    """Another list of the same version was accepted before: somebody shows different lists."""

    code = "list_conflict"


class WeakKey(FleetError):
    """A key that signs lists is too weak, or of a kind that is not known."""

    code = "weak_key"


class FleetRulesBroken(FleetError):
    """The root of a fleet would let one party act without the other."""

    code = "fleet_rules_broken"


class SignatureMissing(FleetError):
    """Not all who have to sign a list have signed it."""

    code = "signature_missing"


class SignatureRefused(FleetError):
    """A signature was not made: the wrong key, a second time, or out of turn."""

    code = "signature_refused"


class ListExpired(FleetError):
    """A list, or what vouches for it, is past its time: somebody may be holding back a newer one."""

    code = "list_expired"


class ListNotLogged(FleetError):
    """A root or a list is not in the fleet's public log: others may be shown another one."""

    code = "list_not_logged"


class EpochReused(FleetError):
    """The fleet's log announces two roots or lists of one number, or an older one after a newer."""

    code = "epoch_reused"


class LogForked(FleetError):
    """The fleet's log does not contain what this client saw in it before."""

    code = "log_forked"


class LogRolledBack(FleetError):
    """The fleet's log is shorter than this client has seen it."""

    code = "log_rolled_back"


class EvidenceRefused(FleetError):
    """Evidence of a cohort does not show what it should; the message names the member and what is wrong."""

    code = "evidence_refused"


class ListMalformed(FleetError, FormatError):
    """A file of a list, or of what vouches for it, is not in its form: damaged, cut, or not what it seems."""

    code = "list_malformed"


class ListTooLarge(ListMalformed):
    """A file of a list is larger than it may be; reading it was broken off."""

    code = "list_too_large"


class ListUnavailable(FleetError):
    """A list could not be fetched. What was trusted before stays as it was."""

    code = "list_unavailable"
