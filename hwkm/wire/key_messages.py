"""What the daemon asks of the trusted core for the key service, and the answers.

Whatever works on a customer master key brings the key along, wrapped: the core keeps nothing between
two lives. Most requests are lists, so that a batch is one frame and one run of the hardware; items
are answered in order. A *refused* item (wrong context, wrong key, damage: nobody is told which) is
``None``; anything else that goes wrong fails the whole request with ``Failed``, and nothing was done.
Every request may be repeated.

Contexts are canonical encodings (:mod:`hwkm.formats.context`); the core binds their bytes as they are.
Plaintext data keys, and what is encrypted and decrypted, do pass here, as they pass AWS KMS. Messages
that hold any do not print.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from hwkm.formats.domain_token import EXPORTED_KEYS_MAX
from hwkm.formats.key_kind import KeyKind, SigningAlgorithm
from hwkm.wire.message import Item, Message, SecretItem, SecretMessage

ITEMS_MAX: Final = 256
KEYS_MAX: Final = 256

KeyId = Annotated[bytes, Meta(min_length=16, max_length=16)]
Version = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Generation = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Wrapped = Annotated[bytes, Meta(min_length=1, max_length=8192)]
Context = Annotated[bytes, Meta(min_length=2, max_length=8192)]
Plaintext = Annotated[bytes, Meta(min_length=1, max_length=4096)]
Ciphertext = Annotated[bytes, Meta(max_length=8192)]
MacInput = Annotated[bytes, Meta(min_length=1, max_length=4096)]
DataKeyLength = Annotated[int, Meta(ge=1, le=1024)]
RandomLength = Annotated[int, Meta(ge=1, le=1024)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=64)]
Fingerprint = Annotated[bytes, Meta(min_length=32, max_length=32)]
Index = Annotated[int, Meta(ge=0, lt=KEYS_MAX)]


class PairSpec(StrEnum):
    """What kind of data key pair to make."""

    RSA_2048 = "RSA_2048"
    RSA_3072 = "RSA_3072"
    RSA_4096 = "RSA_4096"
    ECC_NIST_P256 = "ECC_NIST_P256"
    ECC_NIST_P384 = "ECC_NIST_P384"


class KeyRef(Item, frozen=True):
    """One version of a CMK, as the store keeps it."""

    key_id: KeyId
    version: Version
    kind: KeyKind
    wrapped: Wrapped


# --- requests --------------------------------------------------------------------------------


class CreateKey(Message, frozen=True, kw_only=True, tag="create_key"):
    """Make one version of a CMK in the hardware. Answer: KeyCreated."""

    key_id: KeyId
    version: Version
    kind: KeyKind


class DataKeyItem(Item, frozen=True):
    """A data key of ``length`` bytes; without its plaintext if that is not wanted."""

    context: Context
    length: DataKeyLength
    with_plaintext: bool = True


class GenerateDataKeys(Message, frozen=True, kw_only=True, tag="generate_data_keys"):
    """Make data keys under a symmetric CMK. Answer: DataKeys."""

    key: KeyRef
    items: Annotated[tuple[DataKeyItem, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class GenerateDataKeyPair(Message, frozen=True, kw_only=True, tag="generate_data_key_pair"):
    """Make a data key pair under a symmetric CMK. Answer: DataKeyPair."""

    key: KeyRef
    context: Context
    spec: PairSpec
    with_plaintext: bool = True


class EncryptItem(SecretItem, frozen=True):
    """Something to encrypt."""

    context: Context
    plaintext: Plaintext


class EncryptData(SecretMessage, frozen=True, kw_only=True, tag="encrypt_data"):
    """Encrypt under a symmetric CMK. Answer: Ciphertexts, none refused."""

    key: KeyRef
    items: Annotated[tuple[EncryptItem, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class DecryptItem(Item, frozen=True):
    """Something to decrypt with ``keys[key]``."""

    key: Index
    context: Context
    ciphertext: Ciphertext


class DecryptData(Message, frozen=True, kw_only=True, tag="decrypt_data"):
    """Decrypt with symmetric CMKs. Answer: Plaintexts."""

    keys: Annotated[tuple[KeyRef, ...], Meta(min_length=1, max_length=KEYS_MAX)]
    items: Annotated[tuple[DecryptItem, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class ReencryptItem(Item, frozen=True):
    """Decrypt with ``keys[source]`` and ``context``, encrypt with ``keys[destination]`` and ``new_context``."""

    source: Index
    destination: Index
    context: Context
    new_context: Context
    ciphertext: Ciphertext


class ReencryptData(Message, frozen=True, kw_only=True, tag="reencrypt_data"):
    """Encrypt anew; the plaintext stays in the core. Answer: Ciphertexts."""

    keys: Annotated[tuple[KeyRef, ...], Meta(min_length=1, max_length=KEYS_MAX)]
    items: Annotated[tuple[ReencryptItem, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class ComputeMacs(Message, frozen=True, kw_only=True, tag="compute_macs"):
    """HMAC with an ``hmac_*`` CMK; whoever verifies compares in constant time. Answer: Macs."""

    key: KeyRef
    messages: Annotated[tuple[MacInput, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class SignDigest(Message, frozen=True, kw_only=True, tag="sign_digest"):
    """Sign with a ``*_sign`` CMK. Answer: Signature."""

    key: KeyRef
    algorithm: SigningAlgorithm
    digest: Digest


class AgreeKey(Message, frozen=True, kw_only=True, tag="agree_key"):
    """ECDH with an ``*_agree`` CMK and a point (65 or 97 bytes, uncompressed). Answer: AgreedSecret."""

    key: KeyRef
    point: Annotated[bytes, Meta(min_length=65, max_length=97)]


class DrawRandom(Message, frozen=True, kw_only=True, tag="draw_random"):
    """Bytes from the hardware's random generator. Answer: RandomDrawn."""

    length: RandomLength


class RewrapKeys(Message, frozen=True, kw_only=True, tag="rewrap_keys"):
    """Wrap keys under the newest domain key. Answer: KeysRewrapped."""

    keys: Annotated[tuple[KeyRef, ...], Meta(min_length=1, max_length=KEYS_MAX)]


class ForgetKey(Message, frozen=True, kw_only=True, tag="forget_key"):
    """Unload every version of a key that was deleted. Answer: Done."""

    key_id: KeyId


class ReadDomain(Message, frozen=True, kw_only=True, tag="read_domain"):
    """What the hardware can do, and its domain keys. Answer: DomainRead."""


class RotateDomain(Message, frozen=True, kw_only=True, tag="rotate_domain"):
    """Make the next domain key; the older ones still unwrap. Answer: DomainRead.

    Repeated after a lost answer it would make one more: ask ReadDomain first.
    """


class RetireDomain(Message, frozen=True, kw_only=True, tag="retire_domain"):
    """Destroy an older domain key, and with it all that is still wrapped under it. Answer: DomainRead."""

    generation: Generation


class ReadExchange(Message, frozen=True, kw_only=True, tag="read_exchange"):
    """What another module needs to send keys here. Answer: ExchangeRead."""


class ExportKeys(Message, frozen=True, kw_only=True, tag="export_keys"):
    """Wrap keys to the module of ``statement``, whose fingerprint its operator vouched for. Answer: KeysExported."""

    statement: Annotated[bytes, Meta(min_length=1, max_length=8192)]
    fingerprint: Fingerprint
    keys: Annotated[tuple[KeyRef, ...], Meta(min_length=1, max_length=EXPORTED_KEYS_MAX)]


class ImportKeys(Message, frozen=True, kw_only=True, tag="import_keys"):
    """Take keys from ``sender`` (SHA-256 of its audit public key). Answer: KeysImported, to be stored."""

    domain_token: Annotated[bytes, Meta(min_length=1, max_length=512 * 1024)]
    sender: Fingerprint


KeyRequest = (
    CreateKey
    | GenerateDataKeys
    | GenerateDataKeyPair
    | EncryptData
    | DecryptData
    | ReencryptData
    | ComputeMacs
    | SignDigest
    | AgreeKey
    | DrawRandom
    | RewrapKeys
    | ForgetKey
    | ReadDomain
    | RotateDomain
    | RetireDomain
    | ReadExchange
    | ExportKeys
    | ImportKeys
)


# --- replies ---------------------------------------------------------------------------------


class KeyCreated(Message, frozen=True, kw_only=True, tag="key_created"):
    """A new key: to be stored before it is used. ``public_key`` is SPKI DER, empty for a secret key."""

    wrapped: bytes
    public_key: bytes
    generation: int


class DataKey(SecretItem, frozen=True):
    """A data key; ``plaintext`` is empty where it was not wanted."""

    plaintext: bytes
    ciphertext: bytes


class DataKeys(SecretMessage, frozen=True, kw_only=True, tag="data_keys"):
    """Data keys, in the order asked for."""

    items: tuple[DataKey, ...]


class DataKeyPair(SecretMessage, frozen=True, kw_only=True, tag="data_key_pair"):
    """``private_key`` is PKCS#8 DER, empty where it was not wanted; ``ciphertext`` is of that same DER."""

    public_key: bytes
    private_key: bytes
    ciphertext: bytes


class Ciphertexts(Message, frozen=True, kw_only=True, tag="ciphertexts"):
    """Ciphertexts; None stands for what was refused."""

    items: tuple[bytes | None, ...]


class Plaintexts(SecretMessage, frozen=True, kw_only=True, tag="plaintexts"):
    """Plaintexts; None stands for what was refused."""

    items: tuple[bytes | None, ...]


class Macs(SecretMessage, frozen=True, kw_only=True, tag="macs"):
    """HMACs at full length. Not for the eyes of whoever only asked to verify one."""

    items: tuple[bytes, ...]


class Signature(Message, frozen=True, kw_only=True, tag="signature"):
    """A signature in the algorithm's own form."""

    signature: bytes


class AgreedSecret(SecretMessage, frozen=True, kw_only=True, tag="agreed_secret"):
    """The x coordinate."""

    secret: bytes


class RandomDrawn(SecretMessage, frozen=True, kw_only=True, tag="random_drawn"):
    """Random bytes."""

    random: bytes


class KeysRewrapped(Message, frozen=True, kw_only=True, tag="keys_rewrapped"):
    """Keys wrapped under ``generation``; None stands for what was refused."""

    generation: int
    items: tuple[bytes | None, ...]


class DomainRead(Message, frozen=True, kw_only=True, tag="domain_read"):
    """The domain keys and what the hardware can do."""

    generation: int
    generations: tuple[int, ...]
    kinds: frozenset[KeyKind]
    loaded_max: int


class ExchangeRead(Message, frozen=True, kw_only=True, tag="exchange_read"):
    """An encoded ExchangeStatement."""

    statement: bytes


class KeysExported(Message, frozen=True, kw_only=True, tag="keys_exported"):
    """An encoded DomainToken."""

    domain_token: bytes


class KeysImported(Message, frozen=True, kw_only=True, tag="keys_imported"):
    """Every key of a domain token, wrapped under ``generation``."""

    generation: int
    keys: tuple[KeyRef, ...]


class KeyStatistics(Item, frozen=True):
    """Counts since the core started. ``operations`` maps tags of requests to items asked for."""

    operations: dict[str, int]
    refused: int
    hmacs: int
    loads: int
    cache_hits: int
    loaded: int
    random_draws: int


KeyReply = (
    KeyCreated
    | DataKeys
    | DataKeyPair
    | Ciphertexts
    | Plaintexts
    | Macs
    | Signature
    | AgreedSecret
    | RandomDrawn
    | KeysRewrapped
    | DomainRead
    | ExchangeRead
    | KeysExported
    | KeysImported
)
