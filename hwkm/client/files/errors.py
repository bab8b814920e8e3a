"""What can be wrong with an encrypted file, beyond the errors of keys."""

from __future__ import annotations

from hwkm.errors import DecryptionError, FormatError, HwkmError


class FileDamaged(DecryptionError):
    """The encrypted file was cut or changed, or its header is of another data key."""

    code = "file_damaged"


class NotEncrypted(FormatError):
    """The file is none that hwkm or an AWS Encryption SDK encrypted, or of a form that is not read."""

    code = "not_encrypted"


class FileSigned(HwkmError):
    """The file is signed: what was asked for cannot be done without its signing key."""

    code = "file_signed"


class ContextMismatch(HwkmError):
    """The file's encryption context lacks a pair that was asked for. Nothing was decrypted."""

    code = "context_mismatch"


class WrongFileKey(HwkmError):
    """The file is under another key than the one that was asked for. Nothing was decrypted."""

    code = "wrong_file_key"
