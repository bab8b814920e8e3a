"""What can be wrong with a backup file, beyond the errors of vaults and keys."""

from __future__ import annotations

from hwkm.errors import DecryptionError, FormatError, HwkmError


class BackupDamaged(DecryptionError):
    """The backup file was cut, changed, or reordered. Nothing was restored from it."""

    code = "backup_damaged"


class NotABackup(FormatError):
    """The file does not start as a backup of a version known here does."""

    code = "not_a_backup"


class BackupKeyMissing(HwkmError):
    """The vault holds no application key of the alias that the backup names."""

    code = "backup_key_missing"


class OutputExists(HwkmError):
    """The output exists already and is not overwritten."""

    code = "output_exists"


class SourceUnreadable(HwkmError):
    """Something that was to be backed up cannot be read, or changed while it was being read."""

    code = "source_unreadable"
