"""Keys of a ceremony: made, exported, and used, from files or from a PKCS#11 token.

Key files are PEM (PKCS #8), encrypted under a passphrase; keys of logs and witnesses are in the form
of C2SP's signed notes. Keys in tokens: :mod:`hwkm.cli.fleet.token_keys`.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from hwkm.cli.fleet import KeyPurpose
from hwkm.cli.fleet.token_keys import HSM_PREFIX, TokenKey, TokenPin
from hwkm.cli.pin import obtain_new_pin, obtain_pin
from hwkm.cli.printing import print_line
from hwkm.errors import ConfigError
from hwkm.fleet.signing_keys import PUBLIC_KEY_BYTES_MAX, material
from hwkm.secret import SecretBytes
from hwkm.tlog.note_keys import KeyType, NoteKey, PrivateNoteKey


def keygen(out: Path, purpose: KeyPurpose, name: str | None, passphrase_file: Path | None) -> None:
    """Make a key for a ceremony."""
    if purpose in (KeyPurpose.LOG, KeyPurpose.WITNESS, KeyPurpose.PERSON):
        private, public = _note_key(purpose, name)
    else:
        passphrase = (
            obtain_new_pin("passphrase", passphrase_file, option="--passphrase-file")
            if (purpose is KeyPurpose.SIGNING)
            else None
        )
        private, public = _signing_key(passphrase)
    write_new(out, private, 0o600)
    write_new(out.with_name(out.name + ".pub"), public, 0o644)
    print_line(f"Private key: {out}")
    print_line(f"Public key:  {out}.pub")


def public_key(key: str, out: Path, module: Path | None, passphrase_file: Path | None) -> None:
    """Export the public key of a signing key in a PKCS#11 token."""
    with TokenPin(passphrase_file) as pin:
        public = TokenKey.parse(key).public(module, pin)
    write_new(out, material(public).encode() + b"\n", 0o644)
    print_line(f"Public key: {out}")


def load_signer(key: str, candidates: list[Key], module: Path | None, passphrase_file: Path | None) -> Signer:
    """Return a signer for one of the ``candidates``, asking for the passphrase or the PIN.

    Raises:
        ConfigError: the key cannot be read, its passphrase is wrong, or it is none of the candidates.
        TokenError: the token does not have it, or refuses the PIN.
    """
    if key.startswith(HSM_PREFIX):
        pin, named = TokenPin(passphrase_file), TokenKey.parse(key)
        return named.signer(_among(named.public(module, pin), candidates), pin)
    private = _load_private(Path(key), passphrase_file)
    return CryptoSigner(private, _among(CryptoSigner(private).public_key, candidates))


def load_online_signer(path: Path, candidates: list[Key]) -> Signer:
    """Return the signer of the online role; its file has no passphrase.

    Raises:
        ConfigError: it cannot be read, or is none of the candidates.
    """
    private = _load_private(path, None, ask=False)
    return CryptoSigner(private, _among(CryptoSigner(private).public_key, candidates))


def read_public(path: Path) -> bytes:
    """Read a public key file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(PUBLIC_KEY_BYTES_MAX + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc


def read_note_key(path: Path) -> NoteKey:
    """Read the public key of a log or a witness.

    Raises:
        ConfigError: it cannot be read.
        FormatError: it is none.
    """
    return NoteKey.parse(read_public(path).decode("utf-8", "replace").strip())


def read_private_note_key(path: Path) -> PrivateNoteKey:
    """Read the private key of a log or a witness.

    Raises:
        ConfigError: it cannot be read.
        FormatError: it is none.
    """
    return PrivateNoteKey.parse(read_public(path).decode("utf-8", "replace").strip())


def _note_key(purpose: KeyPurpose, name: str | None) -> tuple[bytes, bytes]:
    if name is None:
        raise typer.BadParameter("keys of logs, witnesses and persons have a name", param_hint="--name")
    key = PrivateNoteKey(name, SecretBytes(secrets.token_bytes(32)))
    kind = KeyType.COSIGNATURE if purpose is KeyPurpose.WITNESS else KeyType.ED25519
    return f"{key.insecure_text()}\n".encode(), f"{key.public(kind)}\n".encode()


def _signing_key(passphrase: SecretBytes | None) -> tuple[bytes, bytes]:
    key = Ed25519PrivateKey.generate()
    if passphrase is None:
        private = CryptoSigner(key).private_bytes
    else:
        with passphrase:
            encryption = BestAvailableEncryption(passphrase.expose())
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _load_private(path: Path, passphrase_file: Path | None, *, ask: bool = True) -> Ed25519PrivateKey:
    pem = read_public(path)
    encrypted = b"ENCRYPTED" in pem
    if encrypted and not ask:
        raise ConfigError(f"{path}: an online key has no passphrase")
    passphrase = (
        obtain_pin(f"passphrase of {path}", passphrase_file, option="--passphrase-file")
        if encrypted
        else None
    )
    try:
        private = load_pem_private_key(pem, passphrase.expose() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{path}: not a private key in PEM, or the passphrase is wrong") from None
    finally:
        if passphrase is not None:
            passphrase.wipe()
    return private  # type: ignore[return-value]  # CryptoSigner takes every kind that it knows


def _among(key: SSlibKey, candidates: list[Key]) -> SSlibKey:
    """The key as the root names it, with its owner."""
    for known in candidates:
        if isinstance(known, SSlibKey) and material(known) == material(key):
            return known
    raise ConfigError("this key is none of those that the fleet's root names for this")


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is not there yet.

    Raises:
        ConfigError: it is there, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
