"""Public keys, signatures, HMACs, key agreement."""

from __future__ import annotations

from hwkm.errors import InvalidKeyError
from hwkm.formats.key_kind import SigningAlgorithm
from hwkm.server.aws import key_facts
from hwkm.server.aws import requests as asked
from hwkm.server.aws import responses as answered
from hwkm.server.aws.errors import Unsupported, Validation
from hwkm.server.keys.principal import KeyCall
from hwkm.server.keys.service import KeyService
from hwkm.wire import key_api


async def get_public_key(
    service: KeyService, call: KeyCall, request: asked.GetPublicKey
) -> answered.PublicKey:
    """GetPublicKey."""
    found = await service.public_key(call, request.key_id)
    kind = found.kind
    return answered.PublicKey(
        key_id=found.key,
        public_key=found.public_key,
        customer_master_key_spec=kind.spec,
        key_spec=kind.spec,
        key_usage=kind.usage.value,
        signing_algorithms=key_facts.signing_algorithms(kind),
        key_agreement_algorithms=key_facts.key_agreement_algorithms(kind),
    )


async def sign(service: KeyService, call: KeyCall, request: asked.Sign) -> answered.Signature:
    """Sign."""
    algorithm = _algorithm(request.signing_algorithm)
    message, digest = _message_or_digest(request.message, request.message_type, algorithm)
    item = key_api.SignItem(message=message, digest=digest)
    made = await service.sign(call, request.key_id, algorithm, (item,))
    return answered.Signature(
        key_id=made.key, signature=made.items[0], signing_algorithm=request.signing_algorithm
    )


async def verify(service: KeyService, call: KeyCall, request: asked.Verify) -> answered.SignatureVerified:
    """Verify."""
    algorithm = _algorithm(request.signing_algorithm)
    message, digest = _message_or_digest(request.message, request.message_type, algorithm)
    item = key_api.SignatureItem(message=message, digest=digest, signature=request.signature)
    found = await service.verify(call, request.key_id, algorithm, (item,))
    return answered.SignatureVerified(
        key_id=found.key, signature_valid=True, signing_algorithm=request.signing_algorithm
    )


async def generate_mac(service: KeyService, call: KeyCall, request: asked.GenerateMac) -> answered.Mac:
    """GenerateMac."""
    made = await service.generate_macs(call, request.key_id, (request.message,), request.mac_algorithm)
    return answered.Mac(mac=made.items[0], mac_algorithm=request.mac_algorithm, key_id=made.key)


async def verify_mac(service: KeyService, call: KeyCall, request: asked.VerifyMac) -> answered.MacVerified:
    """VerifyMac."""
    item = key_api.MacItem(message=request.message, mac=request.mac)
    found = await service.verify_macs(call, request.key_id, (item,), request.mac_algorithm)
    return answered.MacVerified(key_id=found.key, mac_valid=True, mac_algorithm=request.mac_algorithm)


async def derive_shared_secret(
    service: KeyService, call: KeyCall, request: asked.DeriveSharedSecret
) -> answered.SharedSecret:
    """DeriveSharedSecret."""
    if request.recipient is not None:
        raise Unsupported("Recipient is for AWS Nitro Enclaves, which are not attested here.")
    try:
        made = await service.derive_shared_secret(call, request.key_id, request.public_key)
    except InvalidKeyError:
        raise Validation("PublicKey is not the DER of a public key on the curve of this key.") from None
    return answered.SharedSecret(
        key_id=made.key, shared_secret=made.secret, key_agreement_algorithm="ECDH", key_origin="AWS_KMS"
    )


def _algorithm(name: str) -> SigningAlgorithm:
    try:
        return SigningAlgorithm(name)
    except ValueError:
        raise Unsupported(f"SigningAlgorithm {name} is not supported here.") from None


def _message_or_digest(
    message: bytes, message_type: str | None, algorithm: SigningAlgorithm
) -> tuple[bytes | None, bytes | None]:
    if message_type in (None, "RAW"):
        return message, None
    if message_type != "DIGEST":
        raise Unsupported(f"MessageType {message_type} is not supported here.")
    if len(message) != algorithm.digest_bytes:
        raise Validation(f"Digest is invalid length for algorithm {algorithm.value}.")
    return None, message
