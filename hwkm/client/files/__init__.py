"""Encrypted files: each under a data key of its own, which a key of the daemon wraps.

The format is that of the AWS Encryption SDK (``docs/spec/file-format.md``): its libraries, given this
daemon in place of AWS KMS, read what is written here, and the other way round. Streamed, with the
memory of a frame. An output appears whole and verified, or not at all.

>>> from hwkm.client import KeyClient, files
>>> with KeyClient() as client:
...     files.encrypt_file(client, Path("report.pdf"), Path("report.pdf.encrypted"), "alias/documents")
...     files.decrypt_file(client, Path("report.pdf.encrypted"), Path("copy.pdf"))
"""

from hwkm.client.files.encryption import (
    Decrypted,
    Encrypted,
    decrypt_file,
    decrypt_stream,
    encrypt_file,
    encrypt_stream,
    read_header,
)
from hwkm.client.files.errors import (
    ContextMismatch,
    FileDamaged,
    FileSigned,
    NotEncrypted,
    WrongFileKey,
)
from hwkm.client.files.rewrap import FileResult, Outcome, Tally, rewrap_files
from hwkm.client.files.source import StreamSource, made, opened

__all__ = [
    "ContextMismatch",
    "Decrypted",
    "Encrypted",
    "FileDamaged",
    "FileResult",
    "FileSigned",
    "NotEncrypted",
    "Outcome",
    "StreamSource",
    "Tally",
    "WrongFileKey",
    "decrypt_file",
    "decrypt_stream",
    "encrypt_file",
    "encrypt_stream",
    "made",
    "opened",
    "read_header",
    "rewrap_files",
]
