"""Every call of the key service as data, like :mod:`hwkm.client.calls`. No I/O.

Verbs that take a list have a list here too; :mod:`hwkm.client.key_procedures` makes single ones of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwkm.client.calls import Call, call_of
from hwkm.formats.key_kind import SigningAlgorithm
from hwkm.wire import api, key_api, operations
from hwkm.wire.key_messages import PairSpec

Context = Mapping[str, str]

# --- the life of a key -----------------------------------------------------------------------


def create(new: key_api.CreateKey) -> Call[key_api.KeyInfo]:
    """Make a key."""
    return call_of(operations.KEY_CREATE, key_api.KeyInfo, new)


def list_keys(*, account: str | None = None, after: str | None = None) -> Call[key_api.KeyList]:
    """A page of keys."""
    body = key_api.ListKeys(account=account, after=after, limit=key_api.PAGE_MAX)
    return call_of(operations.KEY_LIST, key_api.KeyList, body)


def show(key: str) -> Call[key_api.KeyInfo]:
    """What is known of a key."""
    return call_of(operations.KEY_SHOW, key_api.KeyInfo, _named(key))


def update(key: str, description: str) -> Call[key_api.KeyInfo]:
    """Change the description."""
    body = key_api.UpdateKey(key=key, description=description)
    return call_of(operations.KEY_UPDATE, key_api.KeyInfo, body)


def enable(key: str) -> Call[key_api.KeyInfo]:
    """Let a key be used."""
    return call_of(operations.KEY_ENABLE, key_api.KeyInfo, _named(key))


def disable(key: str) -> Call[key_api.KeyInfo]:
    """Let a key not be used."""
    return call_of(operations.KEY_DISABLE, key_api.KeyInfo, _named(key))


def schedule_deletion(key: str, days: int) -> Call[key_api.DeletionScheduled]:
    """Delete a key for good after so many days."""
    body = key_api.ScheduleDeletion(key=key, days=days)
    return call_of(operations.KEY_SCHEDULE_DELETION, key_api.DeletionScheduled, body)


def cancel_deletion(key: str) -> Call[key_api.KeyInfo]:
    """Keep a key that is pending deletion; it is disabled then."""
    return call_of(operations.KEY_CANCEL_DELETION, key_api.KeyInfo, _named(key))


def rotate(key: str) -> Call[key_api.KeyInfo]:
    """Give a key a new version now."""
    return call_of(operations.KEY_ROTATE, key_api.KeyInfo, _named(key))


def set_rotation(key: str, period_days: int | None) -> Call[key_api.KeyInfo]:
    """Rotate a key by itself every so many days; None: no more."""
    body = key_api.SetRotation(key=key, period_days=period_days)
    return call_of(operations.KEY_SET_ROTATION, key_api.KeyInfo, body)


def rotations(key: str, *, after: int = 0) -> Call[key_api.RotationList]:
    """A page of the versions of a key."""
    body = key_api.ListOfKey(key=key, after=after, limit=key_api.PAGE_MAX)
    return call_of(operations.KEY_ROTATIONS, key_api.RotationList, body)


def tag(key: str, tags: Mapping[str, str]) -> Call[key_api.KeyInfo]:
    """Add or change tags."""
    return call_of(operations.KEY_TAG, key_api.KeyInfo, key_api.TagKey(key=key, tags=dict(tags)))


def untag(key: str, names: Sequence[str]) -> Call[key_api.KeyInfo]:
    """Remove tags."""
    return call_of(operations.KEY_UNTAG, key_api.KeyInfo, key_api.UntagKey(key=key, names=tuple(names)))


def recorded(key: str, *, after: int = 0) -> Call[key_api.RecordedDataKeys]:
    """A page of the data keys that were recorded under labels."""
    body = key_api.ListOfKey(key=key, after=after, limit=key_api.PAGE_MAX)
    return call_of(operations.KEY_RECORDED, key_api.RecordedDataKeys, body)


def public_key(key: str) -> Call[key_api.PublicKey]:
    """The public half of a key pair."""
    return call_of(operations.KEY_PUBLIC_KEY, key_api.PublicKey, _named(key))


# --- aliases ---------------------------------------------------------------------------------


def create_alias(alias: str, key: str) -> Call[key_api.AliasInfo]:
    """Name a key."""
    body = key_api.PutAlias(alias=alias, key=key)
    return call_of(operations.KEY_CREATE_ALIAS, key_api.AliasInfo, body)


def update_alias(alias: str, key: str) -> Call[key_api.AliasInfo]:
    """Let an alias name another key."""
    body = key_api.PutAlias(alias=alias, key=key)
    return call_of(operations.KEY_UPDATE_ALIAS, key_api.AliasInfo, body)


def delete_alias(alias: str) -> Call[api.Nothing]:
    """Remove an alias."""
    return call_of(operations.KEY_DELETE_ALIAS, api.Nothing, key_api.AliasNamed(alias=alias))


def list_aliases(
    *, account: str | None = None, key: str | None = None, after: str | None = None
) -> Call[key_api.AliasList]:
    """A page of aliases."""
    body = key_api.ListAliases(account=account, key=key, after=after, limit=key_api.PAGE_MAX)
    return call_of(operations.KEY_LIST_ALIASES, key_api.AliasList, body)


# --- data keys, encryption -------------------------------------------------------------------


def generate_data_keys(key: str, wanted: Sequence[key_api.DataKeyWanted]) -> Call[key_api.DataKeys]:
    """Make data keys."""
    body = key_api.GenerateDataKeys(key=key, items=tuple(wanted))
    return call_of(operations.KEY_GENERATE_DATA_KEY, key_api.DataKeys, body)


def generate_wrapped_data_keys(
    key: str, wanted: Sequence[key_api.DataKeyWanted]
) -> Call[key_api.WrappedDataKeys]:
    """Make data keys whose plaintext does not leave the core."""
    body = key_api.GenerateDataKeys(key=key, items=tuple(wanted))
    return call_of(operations.KEY_GENERATE_WRAPPED_DATA_KEY, key_api.WrappedDataKeys, body)


def generate_data_key_pair(
    key: str, spec: PairSpec, context: Context, record: str
) -> Call[key_api.DataKeyPair]:
    """Make a data key pair."""
    body = key_api.GenerateDataKeyPair(key=key, spec=spec, context=dict(context), record=record)
    return call_of(operations.KEY_GENERATE_DATA_KEY_PAIR, key_api.DataKeyPair, body)


def generate_wrapped_data_key_pair(
    key: str, spec: PairSpec, context: Context, record: str
) -> Call[key_api.WrappedDataKeyPair]:
    """Make a data key pair whose private key does not leave the core."""
    body = key_api.GenerateDataKeyPair(key=key, spec=spec, context=dict(context), record=record)
    return call_of(operations.KEY_GENERATE_WRAPPED_DATA_KEY_PAIR, key_api.WrappedDataKeyPair, body)


def encrypt(key: str, items: Sequence[key_api.PlaintextItem]) -> Call[key_api.Encrypted]:
    """Encrypt."""
    return call_of(operations.KEY_ENCRYPT, key_api.Encrypted, key_api.Encrypt(key=key, items=tuple(items)))


def decrypt(items: Sequence[key_api.CiphertextItem], key: str | None = None) -> Call[key_api.Decrypted]:
    """Decrypt; ``key`` says which key it has to be."""
    return call_of(operations.KEY_DECRYPT, key_api.Decrypted, key_api.Decrypt(key=key, items=tuple(items)))


def re_encrypt(
    key: str,
    items: Sequence[key_api.ReEncryptItem],
    source_key: str | None = None,
    *,
    keep_record: bool = False,
) -> Call[key_api.ReEncrypted]:
    """Encrypt anew inside the core."""
    body = key_api.ReEncrypt(key=key, source_key=source_key, keep_record=keep_record, items=tuple(items))
    return call_of(operations.KEY_RE_ENCRYPT, key_api.ReEncrypted, body)


def random(length: int) -> Call[key_api.Random]:
    """Random bytes from the hardware."""
    return call_of(operations.KEY_RANDOM, key_api.Random, key_api.GenerateRandom(length=length))


# --- MAC, signature, key agreement -----------------------------------------------------------


def generate_macs(key: str, messages: Sequence[bytes]) -> Call[key_api.Macs]:
    """HMACs of messages."""
    body = key_api.GenerateMacs(key=key, messages=tuple(messages))
    return call_of(operations.KEY_GENERATE_MAC, key_api.Macs, body)


def verify_macs(key: str, items: Sequence[key_api.MacItem]) -> Call[key_api.Verified]:
    """Verify HMACs."""
    body = key_api.VerifyMacs(key=key, items=tuple(items))
    return call_of(operations.KEY_VERIFY_MAC, key_api.Verified, body)


def sign(
    key: str, algorithm: SigningAlgorithm, items: Sequence[key_api.SignItem]
) -> Call[key_api.Signatures]:
    """Sign messages or digests."""
    body = key_api.Sign(key=key, algorithm=algorithm, items=tuple(items))
    return call_of(operations.KEY_SIGN, key_api.Signatures, body)


def verify(
    key: str, algorithm: SigningAlgorithm, items: Sequence[key_api.SignatureItem]
) -> Call[key_api.Verified]:
    """Verify signatures."""
    body = key_api.VerifySignatures(key=key, algorithm=algorithm, items=tuple(items))
    return call_of(operations.KEY_VERIFY, key_api.Verified, body)


def derive_shared_secret(key: str, public_key: bytes) -> Call[key_api.SharedSecret]:
    """ECDH with a public key (SPKI DER)."""
    body = key_api.DeriveSharedSecret(key=key, public_key=public_key)
    return call_of(operations.KEY_DERIVE_SHARED_SECRET, key_api.SharedSecret, body)


# --- domain keys -----------------------------------------------------------------------------


def domain_status() -> Call[key_api.DomainInfo]:
    """The domain keys, and how far a rotation is."""
    return call_of(operations.DOMAIN_STATUS, key_api.DomainInfo)


def domain_rotate() -> Call[key_api.DomainInfo]:
    """Rotate the domain key."""
    return call_of(operations.DOMAIN_ROTATE, key_api.DomainInfo)


def _named(key: str) -> key_api.KeyNamed:
    return key_api.KeyNamed(key=key)
