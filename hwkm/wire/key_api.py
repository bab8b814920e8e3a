"""Requests and responses of the key service in the native HTTP interface. Strict, like :mod:`hwkm.wire.api`.

``key`` is any of the four forms: key id (a UUID), key ARN, ``alias/NAME``, alias ARN. Answers name a key
by its ARN, which never changes. Times are milliseconds since 1970, UTC. Most verbs take a list of
items and answer them in order. Bodies that hold secrets do not print them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from hwkm.formats.key_kind import KeyKind, SigningAlgorithm
from hwkm.wire.key_messages import PairSpec
from hwkm.wire.problems import Problem

ITEMS_MAX: Final = 1000
PLAINTEXT_BYTES_MAX: Final = 4096
CIPHERTEXT_BYTES_MAX: Final = 6144
CONTEXT_PAIRS_MAX: Final = 64
TAGS_MAX: Final = 50
ALIAS_PREFIX: Final = "alias/"
ALIAS_PATTERN: Final = r"^alias/[A-Za-z0-9/_-]{1,250}$(?!\n)"
ACCOUNT_PATTERN: Final = r"^[0-9]{12}$(?!\n)"
KEY_ID_PATTERN: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$(?!\n)"
PENDING_DAYS_MIN, PENDING_DAYS_MAX = 7, 30
PERIOD_DAYS_MIN, PERIOD_DAYS_MAX = 90, 2560
PAGE_MAX: Final = 1000

KeyName = Annotated[
    str, Meta(min_length=1, max_length=2048, description="key id, key ARN, alias/NAME or alias ARN")
]
Arn = Annotated[str, Meta(description="key ARN")]
KeyId = Annotated[str, Meta(pattern=KEY_ID_PATTERN, description="key id, a UUID")]
AliasName = Annotated[str, Meta(pattern=ALIAS_PATTERN, description="alias/NAME")]
Account = Annotated[str, Meta(pattern=ACCOUNT_PATTERN, description="account (tenant), 12 digits")]
Description = Annotated[str, Meta(max_length=8192)]
ContextText = Annotated[str, Meta(max_length=8192)]
Context = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=8192)], ContextText],
    Meta(max_length=CONTEXT_PAIRS_MAX, description="encryption context: authenticated, logged, not secret"),
]
TagName = Annotated[str, Meta(min_length=1, max_length=128)]
Tags = Annotated[dict[TagName, Annotated[str, Meta(max_length=256)]], Meta(max_length=TAGS_MAX)]
Plaintext = Annotated[bytes, Meta(min_length=1, max_length=PLAINTEXT_BYTES_MAX)]
Ciphertext = Annotated[bytes, Meta(min_length=1, max_length=CIPHERTEXT_BYTES_MAX)]
Message = Annotated[bytes, Meta(min_length=1, max_length=4096)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=64)]
Label = Annotated[str, Meta(max_length=256, description="name under which a data key is recorded")]
Version = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Period = Annotated[int, Meta(ge=PERIOD_DAYS_MIN, le=PERIOD_DAYS_MAX, description="days")]
KeyState = Literal["enabled", "disabled", "pending_deletion", "deleted"]
LivingState = Literal["enabled", "disabled", "pending_deletion"]
RotationCause = Literal["created", "automatic", "on_demand"]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class _Secret(_Body, frozen=True, kw_only=True):
    """Holds secret bytes: its repr names the type only."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


# --- the life of a key: requests -------------------------------------------------------------


class CreateKey(_Body, frozen=True, kw_only=True):
    """A new key. ``account`` is that of the caller if it is left out."""

    kind: KeyKind = KeyKind.SYMMETRIC
    description: Description = ""
    alias: AliasName | None = None
    tags: Tags = {}
    rotation_period_days: Period | None = None
    account: Account | None = None


class ListKeys(_Body, frozen=True, kw_only=True):
    """A page of keys; ``after`` is the ``next`` of the page before. ``account`` is the caller's if left out."""

    account: Account | None = None
    after: KeyId | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 100


class ListAliases(_Body, frozen=True, kw_only=True):
    """A page of aliases, of an account or of one key; otherwise as in ListKeys."""

    account: Account | None = None
    key: KeyName | None = None
    after: AliasName | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 100


class KeyNamed(_Body, frozen=True, kw_only=True):
    """The key that the operation is about."""

    key: KeyName


class UpdateKey(_Body, frozen=True, kw_only=True):
    """Another description."""

    key: KeyName
    description: Description


class ScheduleDeletion(_Body, frozen=True, kw_only=True):
    """Delete the key for good after a waiting period, in days."""

    key: KeyName
    days: Annotated[int, Meta(ge=PENDING_DAYS_MIN, le=PENDING_DAYS_MAX)] = PENDING_DAYS_MAX


class SetRotation(_Body, frozen=True, kw_only=True):
    """Rotate the key by itself every so many days; null: no more."""

    key: KeyName
    period_days: Period | None


class TagKey(_Body, frozen=True, kw_only=True):
    """Tags to add, or to change."""

    key: KeyName
    tags: Tags


class UntagKey(_Body, frozen=True, kw_only=True):
    """Tags to remove; one that is not there is passed over."""

    key: KeyName
    names: Annotated[tuple[TagName, ...], Meta(max_length=TAGS_MAX)]


class ListOfKey(_Body, frozen=True, kw_only=True):
    """A page of what belongs to a key; ``after`` is the ``next`` of the page before."""

    key: KeyName
    after: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 100


class PutAlias(_Body, frozen=True, kw_only=True):
    """An alias and the key that it is to stand for, both of one account."""

    alias: AliasName
    key: KeyName


class AliasNamed(_Body, frozen=True, kw_only=True):
    """An alias: ``alias/NAME`` or its ARN."""

    alias: KeyName


# --- the life of a key: responses ------------------------------------------------------------


class LastUse(_Body, frozen=True, kw_only=True):
    """The newest successful cryptographic operation with a key."""

    operation: str
    at_ms: int


class KeyInfo(_Body, frozen=True, kw_only=True):
    """All that is known of a key but the key."""

    key_id: KeyId
    arn: Arn
    account: Account
    kind: KeyKind
    state: KeyState
    description: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    version: Version
    created_at_ms: int
    deletion_at_ms: int | None
    rotation_period_days: int | None
    next_rotation_at_ms: int | None
    rotated_at_ms: int | None
    last_use: LastUse | None


class KeyListed(_Body, frozen=True, kw_only=True):
    """A key in a list."""

    key_id: KeyId
    arn: Arn
    kind: KeyKind
    state: KeyState
    aliases: tuple[str, ...]


class KeyList(_Body, frozen=True, kw_only=True):
    """A page of keys by key id; ``next`` is the ``after`` of the next request."""

    keys: tuple[KeyListed, ...]
    next: str | None


class RecordedDataKey(_Body, frozen=True, kw_only=True):
    """A data key that was recorded when it was made; ``digest`` is SHA-256 of its ciphertext."""

    label: str
    digest: bytes
    version: Version
    created_at_ms: int


class RecordedDataKeys(_Body, frozen=True, kw_only=True):
    """A page of recorded data keys, oldest first; ``total`` is of all pages."""

    key: Arn
    total: int
    items: tuple[RecordedDataKey, ...]
    next: int | None


class DeletionScheduled(_Body, frozen=True, kw_only=True):
    """A key that will be deleted, and the recorded data keys that nobody can decrypt after that."""

    key: KeyInfo
    orphans: RecordedDataKeys


class Rotation(_Body, frozen=True, kw_only=True):
    """A version of a key."""

    version: Version
    created_at_ms: int
    cause: RotationCause


class RotationList(_Body, frozen=True, kw_only=True):
    """A page of the versions of a key, oldest first."""

    key: Arn
    items: tuple[Rotation, ...]
    next: int | None


class AliasInfo(_Body, frozen=True, kw_only=True):
    """An alias."""

    alias: str
    arn: str
    key_id: KeyId
    created_at_ms: int
    updated_at_ms: int


class AliasList(_Body, frozen=True, kw_only=True):
    """A page of aliases by name."""

    aliases: tuple[AliasInfo, ...]
    next: str | None


class PublicKey(_Body, frozen=True, kw_only=True):
    """The public half: DER of its SubjectPublicKeyInfo."""

    key: Arn
    kind: KeyKind
    public_key: bytes
    signing_algorithms: tuple[SigningAlgorithm, ...]


# --- data keys -------------------------------------------------------------------------------


class DataKeyWanted(_Body, frozen=True, kw_only=True):
    """A data key to make, of ``length`` bytes; recorded under a label if one is given."""

    context: Context = {}
    length: Annotated[int, Meta(ge=1, le=1024)] = 32
    record: Label = ""


class GenerateDataKeys(_Body, frozen=True, kw_only=True):
    """Data keys under one symmetric key."""

    key: KeyName
    items: Annotated[tuple[DataKeyWanted, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class DataKey(_Secret, frozen=True, kw_only=True):
    """A data key and its ciphertext: use and forget the one, keep the other."""

    plaintext: bytes
    ciphertext: bytes


class DataKeys(_Secret, frozen=True, kw_only=True):
    """Data keys in the order asked for."""

    key: Arn
    version: Version
    items: tuple[DataKey, ...]


class WrappedDataKeys(_Body, frozen=True, kw_only=True):
    """Ciphertexts of data keys in the order asked for."""

    key: Arn
    version: Version
    items: tuple[bytes, ...]


class GenerateDataKeyPair(_Body, frozen=True, kw_only=True):
    """A data key pair under a symmetric key."""

    key: KeyName
    spec: PairSpec
    context: Context = {}
    record: Label = ""


class DataKeyPair(_Secret, frozen=True, kw_only=True):
    """Public key: SPKI DER; private key: PKCS#8 DER, and its ciphertext."""

    key: Arn
    version: Version
    public_key: bytes
    private_key: bytes
    ciphertext: bytes


class WrappedDataKeyPair(_Body, frozen=True, kw_only=True):
    """The same without the private key."""

    key: Arn
    version: Version
    public_key: bytes
    ciphertext: bytes


# --- encrypt, decrypt, re-encrypt ------------------------------------------------------------


class PlaintextItem(_Secret, frozen=True, kw_only=True):
    """Something to encrypt, 1 to 4,096 bytes."""

    plaintext: Plaintext
    context: Context = {}


class Encrypt(_Secret, frozen=True, kw_only=True):
    """Encrypt under one symmetric key."""

    key: KeyName
    items: Annotated[tuple[PlaintextItem, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class Encrypted(_Body, frozen=True, kw_only=True):
    """Ciphertexts in the order asked for."""

    key: Arn
    version: Version
    items: tuple[bytes, ...]


class CiphertextItem(_Body, frozen=True, kw_only=True):
    """Something to decrypt, with the context that it was encrypted with."""

    ciphertext: Ciphertext
    context: Context = {}


class Decrypt(_Body, frozen=True, kw_only=True):
    """Decrypt. The ciphertext names its key; ``key`` says which one it has to be."""

    key: KeyName | None = None
    items: Annotated[tuple[CiphertextItem, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class DecryptedItem(_Secret, frozen=True, kw_only=True, omit_defaults=True):
    """A plaintext and the key that it was under, or why there is none."""

    plaintext: bytes | None = None
    key: Arn | None = None
    version: Version | None = None
    error: Problem | None = None


class Decrypted(_Secret, frozen=True, kw_only=True):
    """Answers in the order asked for. The error of a sole item is that of the whole request."""

    items: tuple[DecryptedItem, ...]


class ReEncryptItem(_Body, frozen=True, kw_only=True):
    """Something to encrypt anew; ``new_context`` is ``context`` if it is left out."""

    ciphertext: Ciphertext
    context: Context = {}
    new_context: Context | None = None


class ReEncrypt(_Body, frozen=True, kw_only=True):
    """Decrypt and encrypt under ``key``; the plaintext never leaves the core. ``source_key`` as in Decrypt.

    The record of a data key goes on to its new ciphertext, unless ``keep_record``: for a trial.
    """

    key: KeyName
    source_key: KeyName | None = None
    keep_record: bool = False
    items: Annotated[tuple[ReEncryptItem, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class ReEncryptedItem(_Body, frozen=True, kw_only=True, omit_defaults=True):
    """A new ciphertext and the key of the old one, or why there is none."""

    ciphertext: bytes | None = None
    source_key: Arn | None = None
    source_version: Version | None = None
    error: Problem | None = None


class ReEncrypted(_Body, frozen=True, kw_only=True):
    """Answers in the order asked for. The error of a sole item is that of the whole request."""

    key: Arn
    version: Version
    items: tuple[ReEncryptedItem, ...]


class GenerateRandom(_Body, frozen=True, kw_only=True):
    """So many random bytes from the hardware."""

    length: Annotated[int, Meta(ge=1, le=1024)]


class Random(_Secret, frozen=True, kw_only=True):
    """Random bytes."""

    random: bytes


# --- MAC, signature, key agreement -----------------------------------------------------------


class GenerateMacs(_Secret, frozen=True, kw_only=True):
    """HMACs of messages with an ``hmac_*`` key; the hash is that of the key."""

    key: KeyName
    messages: Annotated[tuple[Message, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class Macs(_Body, frozen=True, kw_only=True):
    """HMACs at full length, in the order asked for."""

    key: Arn
    version: Version
    items: tuple[bytes, ...]


class MacItem(_Secret, frozen=True, kw_only=True):
    """A message and its supposed HMAC."""

    message: Message
    mac: Annotated[bytes, Meta(min_length=1, max_length=64)]


class VerifyMacs(_Secret, frozen=True, kw_only=True):
    """Verify HMACs: all are right, or the answer is an error."""

    key: KeyName
    items: Annotated[tuple[MacItem, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class Verified(_Body, frozen=True, kw_only=True):
    """All were right."""

    key: Arn
    version: Version


class SignItem(_Secret, frozen=True, kw_only=True):
    """A message of up to 4,096 bytes, or a digest of the algorithm's hash: one of the two."""

    message: Message | None = None
    digest: Digest | None = None


class Sign(_Secret, frozen=True, kw_only=True):
    """Sign with a ``*_sign`` key."""

    key: KeyName
    algorithm: SigningAlgorithm
    items: Annotated[tuple[SignItem, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class Signatures(_Body, frozen=True, kw_only=True):
    """Signatures in the order asked for; ECDSA in DER."""

    key: Arn
    version: Version
    items: tuple[bytes, ...]


class SignatureItem(_Secret, frozen=True, kw_only=True):
    """A message or a digest, and its supposed signature."""

    message: Message | None = None
    digest: Digest | None = None
    signature: Annotated[bytes, Meta(min_length=1, max_length=6144)]


class VerifySignatures(_Secret, frozen=True, kw_only=True):
    """Verify signatures: all are right, or the answer is an error."""

    key: KeyName
    algorithm: SigningAlgorithm
    items: Annotated[tuple[SignatureItem, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class DeriveSharedSecret(_Body, frozen=True, kw_only=True):
    """ECDH of an ``*_agree`` key with a public key (DER of its SubjectPublicKeyInfo) on the same curve."""

    key: KeyName
    public_key: Annotated[bytes, Meta(min_length=1, max_length=8192)]


class SharedSecret(_Secret, frozen=True, kw_only=True):
    """The x coordinate: 32 or 48 bytes. Not uniformly random: derive keys from it."""

    key: Arn
    version: Version
    secret: bytes


# --- domain ----------------------------------------------------------------------------------


class DomainInfo(_Body, frozen=True, kw_only=True):
    """The domain keys of the hardware, and how far keys are wrapped under the newest.

    ``versions`` are those of all keys, ``versions_left`` those under an older domain key. While the
    hardware refuses to unwrap one of them (``refused``), the state is ``blocked`` and no domain key is
    retired. ``detail`` says why it does not go on, or nothing.
    """

    generation: int
    generations: tuple[int, ...]
    kinds: tuple[KeyKind, ...]
    state: Literal["idle", "rotating", "blocked"]
    detail: str
    versions: int
    versions_left: int
    refused: int


# --- keys on their way to another module -----------------------------------------------------

Fingerprint = Annotated[bytes, Meta(min_length=32, max_length=32)]
KeyIdBytes = Annotated[bytes, Meta(min_length=16, max_length=16)]
Statement = Annotated[bytes, Meta(min_length=1, max_length=8192)]


class ExchangeInfo(_Body, frozen=True, kw_only=True):
    """What two operators tell each other before keys move.

    The receiver gives ``statement``, and ``fingerprint`` by another way; the sender gives ``sender``
    (SHA-256 of its audit public key) by another way.
    """

    statement: Statement
    fingerprint: Fingerprint
    sender: Fingerprint


class ExportPlace(_Body, frozen=True, kw_only=True):
    """Where to go on: after this version of this key."""

    key_id: KeyIdBytes
    version: Version


class ExportKeys(_Body, frozen=True, kw_only=True):
    """A page of all keys, wrapped to another module; ``after`` is the ``next`` of the page before."""

    statement: Statement
    fingerprint: Fingerprint
    after: ExportPlace | None = None


class MovedVersion(_Body, frozen=True, kw_only=True):
    """A version of a key; the key itself is in the domain token beside it."""

    key_id: KeyIdBytes
    version: Version
    public_key: Annotated[bytes, Meta(max_length=8192)]
    created_at_ms: int
    cause: RotationCause


class MovedKey(_Body, frozen=True, kw_only=True):
    """A key with its life and names."""

    key_id: KeyIdBytes
    account: Account
    kind: KeyKind
    state: LivingState
    description: Description
    version: Version
    rotation_period_days: Period | None
    next_rotation_at_ms: int | None
    created_at_ms: int
    deletion_at_ms: int | None
    aliases: Annotated[tuple[AliasName, ...], Meta(max_length=1000)]
    tags: Tags


class MovedKeys(_Body, frozen=True, kw_only=True):
    """A page of keys on their way. Nothing in it is secret; only the domain token is signed."""

    keys: Annotated[tuple[MovedKey, ...], Meta(max_length=64)]
    versions: Annotated[tuple[MovedVersion, ...], Meta(min_length=1, max_length=64)]
    domain_token: Annotated[bytes, Meta(min_length=1, max_length=512 * 1024)]
    next: ExportPlace | None


class ExportedKeys(_Body, frozen=True, kw_only=True):
    """A page, or nothing if there are no keys (left)."""

    page: MovedKeys | None


class ImportKeys(_Body, frozen=True, kw_only=True):
    """Take a page of keys from ``sender``. May be repeated: what is there already stays as it is."""

    sender: Fingerprint
    page: MovedKeys


class ImportedKeys(_Body, frozen=True, kw_only=True):
    """How many keys and versions were new, and which aliases name other keys here and were left out."""

    keys: int
    versions: int
    aliases_left_out: tuple[str, ...]
