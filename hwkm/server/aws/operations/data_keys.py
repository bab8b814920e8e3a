"""Data keys, encryption, random bytes: what clients do thousands of times a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hwkm.server.aws import requests as asked
from hwkm.server.aws import responses as answered
from hwkm.server.aws.errors import AwsError, Unsupported, Validation
from hwkm.server.aws.key_facts import SYMMETRIC_DEFAULT
from hwkm.server.aws.validation import context_of
from hwkm.server.keys.principal import KeyCall
from hwkm.server.keys.service import KeyService
from hwkm.wire import key_api
from hwkm.wire.key_messages import PairSpec

CONTEXT: Final = "encryptionContext"

_SPEC_BYTES: Final = {"AES_256": 32, "AES_128": 16}


async def generate(service: KeyService, call: KeyCall, request: asked.GenerateDataKey) -> answered.DataKey:
    """GenerateDataKey."""
    _check_recipient(request.recipient)
    made = await service.generate_data_keys(call, request.key_id, (_wanted(request),))
    (item,) = made.items
    return answered.DataKey(ciphertext_blob=item.ciphertext, plaintext=item.plaintext, key_id=made.key)


async def generate_wrapped(
    service: KeyService, call: KeyCall, request: asked.GenerateDataKeyWithoutPlaintext
) -> answered.WrappedDataKey:
    """GenerateDataKeyWithoutPlaintext."""
    made = await service.generate_wrapped_data_keys(call, request.key_id, (_wanted(request),))
    return answered.WrappedDataKey(ciphertext_blob=made.items[0], key_id=made.key)


async def generate_pair(
    service: KeyService, call: KeyCall, request: asked.GenerateDataKeyPair
) -> answered.DataKeyPair:
    """GenerateDataKeyPair."""
    _check_recipient(request.recipient)
    context = context_of(request.encryption_context, CONTEXT)
    spec = _pair_spec(request.key_pair_spec)
    made = await service.generate_data_key_pair(call, request.key_id, spec, context)
    return answered.DataKeyPair(
        private_key_ciphertext_blob=made.ciphertext,
        private_key_plaintext=made.private_key,
        public_key=made.public_key,
        key_id=made.key,
        key_pair_spec=request.key_pair_spec,
    )


async def generate_wrapped_pair(
    service: KeyService, call: KeyCall, request: asked.GenerateDataKeyPairWithoutPlaintext
) -> answered.WrappedDataKeyPair:
    """GenerateDataKeyPairWithoutPlaintext."""
    context = context_of(request.encryption_context, CONTEXT)
    spec = _pair_spec(request.key_pair_spec)
    made = await service.generate_wrapped_data_key_pair(call, request.key_id, spec, context)
    return answered.WrappedDataKeyPair(
        private_key_ciphertext_blob=made.ciphertext,
        public_key=made.public_key,
        key_id=made.key,
        key_pair_spec=request.key_pair_spec,
    )


async def encrypt(service: KeyService, call: KeyCall, request: asked.Encrypt) -> answered.Encrypted:
    """Encrypt."""
    _check_algorithm(request.encryption_algorithm)
    item = key_api.PlaintextItem(
        plaintext=request.plaintext, context=context_of(request.encryption_context, CONTEXT)
    )
    made = await service.encrypt(call, request.key_id, (item,))
    return answered.Encrypted(
        ciphertext_blob=made.items[0], key_id=made.key, encryption_algorithm=SYMMETRIC_DEFAULT
    )


async def decrypt(service: KeyService, call: KeyCall, request: asked.Decrypt) -> answered.Decrypted:
    """Decrypt."""
    _check_recipient(request.recipient)
    _check_modifiers(request.dry_run_modifiers)
    _check_algorithm(request.encryption_algorithm)
    item = key_api.CiphertextItem(
        ciphertext=_ciphertext(request.ciphertext_blob),
        context=context_of(request.encryption_context, CONTEXT),
    )
    (opened,) = (await service.decrypt(call, request.key_id, (item,))).items
    assert opened.key is not None
    assert opened.plaintext is not None
    return answered.Decrypted(
        key_id=opened.key, plaintext=opened.plaintext, encryption_algorithm=SYMMETRIC_DEFAULT
    )


async def re_encrypt(service: KeyService, call: KeyCall, request: asked.ReEncrypt) -> answered.ReEncrypted:
    """ReEncrypt. A destination context that is left out is the empty one, not that of the source."""
    _check_modifiers(request.dry_run_modifiers)
    _check_algorithm(request.source_encryption_algorithm)
    _check_algorithm(request.destination_encryption_algorithm)
    item = key_api.ReEncryptItem(
        ciphertext=_ciphertext(request.ciphertext_blob),
        context=context_of(request.source_encryption_context, "sourceEncryptionContext"),
        new_context=context_of(request.destination_encryption_context, "destinationEncryptionContext"),
    )
    made = await service.re_encrypt(call, request.source_key_id, request.destination_key_id, (item,))
    (moved,) = made.items
    assert moved.source_key is not None
    assert moved.ciphertext is not None
    return answered.ReEncrypted(
        ciphertext_blob=moved.ciphertext,
        source_key_id=moved.source_key,
        key_id=made.key,
        source_encryption_algorithm=SYMMETRIC_DEFAULT,
        destination_encryption_algorithm=SYMMETRIC_DEFAULT,
    )


async def random(service: KeyService, call: KeyCall, request: asked.GenerateRandom) -> answered.RandomBytes:
    """GenerateRandom."""
    _check_recipient(request.recipient)
    if request.custom_key_store_id is not None:
        raise Unsupported("There are no custom key stores here.")
    if request.number_of_bytes is None:
        raise Validation("NumberOfBytes is required.")
    return answered.RandomBytes(plaintext=(await service.random(call, request.number_of_bytes)).random)


def _wanted(
    request: asked.GenerateDataKey | asked.GenerateDataKeyWithoutPlaintext,
) -> key_api.DataKeyWanted:
    if (request.number_of_bytes is None) is (request.key_spec is None):
        raise Validation("Please specify either number of bytes or key spec.")
    length = request.number_of_bytes or _SPEC_BYTES[request.key_spec or ""]
    return key_api.DataKeyWanted(context=context_of(request.encryption_context, CONTEXT), length=length)


def _pair_spec(name: str) -> PairSpec:
    try:
        return PairSpec(name)
    except ValueError:
        raise Unsupported(f"Data key pairs of KeyPairSpec {name} are not supported here.") from None


def _ciphertext(blob: bytes | None) -> bytes:
    if blob is None:
        raise Validation(
            "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must"
            " not be null"
        )
    return blob


def _check_algorithm(name: str | None) -> None:
    if name not in (None, SYMMETRIC_DEFAULT):
        raise AwsError(
            "InvalidKeyUsageException",
            f"Algorithm {name} is incompatible with key spec {SYMMETRIC_DEFAULT}.",
            code="key_usage_invalid",
        )


def _check_recipient(recipient: asked.Recipient | None) -> None:
    if recipient is not None:
        raise Unsupported("Recipient is for AWS Nitro Enclaves, which are not attested here.")


def _check_modifiers(modifiers: Sequence[str] | None) -> None:
    if modifiers:
        raise Unsupported("DryRunModifiers are not supported here.")  # a dry run needs the ciphertext
