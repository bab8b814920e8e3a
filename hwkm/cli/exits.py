"""Exit codes: one table from error class to code. ``docs/operations/exit-codes.md`` shows it."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from hwkm import errors
from hwkm.cli.pin import PinFileRefused
from hwkm.client.backup import BackupDamaged, BackupKeyMissing, NotABackup, OutputExists, SourceUnreadable
from hwkm.client.files.errors import ContextMismatch, FileDamaged, FileSigned, NotEncrypted, WrongFileKey
from hwkm.client.files.header_swap import FileBusy
from hwkm.errors import HwkmError


class ExitCode(IntEnum):
    """What a script can tell by the exit code alone. Codes keep their meaning for ever."""

    OK = 0
    FAILED = 1
    USAGE = 2
    BAD_INPUT = 3
    LOCAL_FILE = 4
    WRONG_PIN = 10
    VAULT_LOCKED = 11
    RATE_LIMITED = 12
    VAULT_SUSPENDED = 13
    NOT_FOUND = 14
    CONFLICT = 15
    COHORT_MISMATCH = 16
    DENIED = 17
    CLAIM_REFUSED = 18
    NOT_TRUSTED = 19
    UNAVAILABLE = 20
    TOKEN = 21
    STORAGE = 22
    DAMAGED = 23
    KEY_STATE = 24
    MISMATCH = 25
    ELSEWHERE = 26
    PROBLEMS_FOUND = 30
    SOME_FAILED = 31
    INTERRUPTED = 130


MEANING: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "it was done",
    ExitCode.FAILED: "it failed for a reason that has no code of its own; the message says which",
    ExitCode.USAGE: "the command line is wrong, or a PIN is needed and there is no terminal to ask it on",
    ExitCode.BAD_INPUT: "a value is malformed or out of range; nothing was done",
    ExitCode.LOCAL_FILE: "a local file is in the way, missing, unreadable or not private enough",
    ExitCode.WRONG_PIN: "wrong PIN, password or pattern; one attempt is gone",
    ExitCode.VAULT_LOCKED: "no attempts remain: the recovery key is gone for good",
    ExitCode.RATE_LIMITED: "too soon after a failed opening, or too many requests; nothing was charged",
    ExitCode.VAULT_SUSPENDED: "suspended after hardware faults; an operator must run `hwkm vault resume`",
    ExitCode.NOT_FOUND: "there is no such vault, key or alias, or the vault lacks the key of the backup",
    ExitCode.CONFLICT: "it exists already, or was changed by someone else meanwhile",
    ExitCode.COHORT_MISMATCH: "the cohort key is not the trusted one",
    ExitCode.DENIED: "the policy or the socket's permissions do not allow it",
    ExitCode.CLAIM_REFUSED: "challenge or claim was refused; nothing was charged; try again",
    ExitCode.NOT_TRUSTED: "a list of cohort keys, or evidence of one, is not to be trusted: signature, certificate, version",
    ExitCode.UNAVAILABLE: "no daemon, or its trusted core is restarting; `hwkm doctor` says more",
    ExitCode.TOKEN: "the token or TPM failed, is full, busy or not set up",
    ExitCode.STORAGE: "storage failed or is full, or does not match the token's anchor",
    ExitCode.DAMAGED: "a backup, file, key or audit log is damaged, or was made with another key or context",
    ExitCode.KEY_STATE: "the key is disabled, pending deletion or deleted, or is made for another use",
    ExitCode.MISMATCH: "it is not of the key, or not of the encryption context, that was asked for",
    ExitCode.ELSEWHERE: "the vault belongs to another member of its cohort; the message says to which",
    ExitCode.PROBLEMS_FOUND: "`hwkm doctor` found a problem",
    ExitCode.SOME_FAILED: "some of many files or rows failed; the messages say which and why",
    ExitCode.INTERRUPTED: "interrupted from the keyboard, or by SIGTERM or SIGHUP",
}

CODE_OF: Final[dict[type[HwkmError], ExitCode]] = {
    HwkmError: ExitCode.FAILED,
    errors.FormatError: ExitCode.BAD_INPUT,
    errors.InvalidKeyError: ExitCode.BAD_INPUT,
    errors.ParamsRefused: ExitCode.BAD_INPUT,
    errors.LimitExceeded: ExitCode.BAD_INPUT,
    NotABackup: ExitCode.DAMAGED,
    errors.ConfigError: ExitCode.LOCAL_FILE,
    PinFileRefused: ExitCode.LOCAL_FILE,
    OutputExists: ExitCode.LOCAL_FILE,
    SourceUnreadable: ExitCode.LOCAL_FILE,
    errors.WrongKnowledgeFactor: ExitCode.WRONG_PIN,
    errors.VaultLocked: ExitCode.VAULT_LOCKED,
    errors.RateLimited: ExitCode.RATE_LIMITED,
    errors.VaultSuspended: ExitCode.VAULT_SUSPENDED,
    errors.VaultNotFound: ExitCode.NOT_FOUND,
    BackupKeyMissing: ExitCode.NOT_FOUND,
    errors.VaultExists: ExitCode.CONFLICT,
    errors.SnapshotConflict: ExitCode.CONFLICT,
    errors.KeyNotFound: ExitCode.NOT_FOUND,
    errors.AliasExists: ExitCode.CONFLICT,
    errors.DomainRotating: ExitCode.CONFLICT,
    FileBusy: ExitCode.CONFLICT,
    errors.InvalidArn: ExitCode.BAD_INPUT,
    errors.TagInvalid: ExitCode.BAD_INPUT,
    errors.MarkerInvalid: ExitCode.BAD_INPUT,
    errors.DryRunSucceeded: ExitCode.FAILED,
    errors.KeyDisabled: ExitCode.KEY_STATE,
    errors.KeyStateInvalid: ExitCode.KEY_STATE,
    errors.KeyUsageInvalid: ExitCode.KEY_STATE,
    FileSigned: ExitCode.BAD_INPUT,
    NotEncrypted: ExitCode.DAMAGED,
    FileDamaged: ExitCode.DAMAGED,
    errors.CiphertextInvalid: ExitCode.DAMAGED,
    errors.IncorrectKey: ExitCode.MISMATCH,
    errors.MacInvalid: ExitCode.MISMATCH,
    errors.SignatureInvalid: ExitCode.MISMATCH,
    ContextMismatch: ExitCode.MISMATCH,
    WrongFileKey: ExitCode.MISMATCH,
    errors.CohortMismatch: ExitCode.COHORT_MISMATCH,
    errors.VaultElsewhere: ExitCode.ELSEWHERE,
    errors.AccessDenied: ExitCode.DENIED,
    errors.ChallengeRefused: ExitCode.CLAIM_REFUSED,
    errors.ClaimRefused: ExitCode.CLAIM_REFUSED,
    errors.FleetError: ExitCode.NOT_TRUSTED,
    errors.Unavailable: ExitCode.UNAVAILABLE,
    errors.TokenError: ExitCode.TOKEN,
    errors.StorageMismatch: ExitCode.STORAGE,
    errors.StorageUnavailable: ExitCode.STORAGE,
    errors.DecryptionError: ExitCode.DAMAGED,
    BackupDamaged: ExitCode.DAMAGED,
    errors.AuditError: ExitCode.DAMAGED,
    errors.LogError: ExitCode.DAMAGED,
}


def exit_code_of(error: HwkmError) -> ExitCode:
    """The code of the nearest class in the table."""
    return next(CODE_OF[cls] for cls in type(error).__mro__ if cls in CODE_OF)
