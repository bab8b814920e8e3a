"""MACs, signatures, key agreement. Signatures are verified here, by the public key: the hardware is not asked."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from hwkm.errors import (
    FormatError,
    InvalidKeyError,
    KeyUsageInvalid,
    MacInvalid,
    SignatureInvalid,
    StorageMismatch,
)
from hwkm.formats.key_kind import KeyUsage, SigningAlgorithm
from hwkm.server.keys.book import KeyEntry
from hwkm.server.keys.data import in_chunks
from hwkm.server.keys.desk import Part, require_usable, stop_dry_run
from hwkm.server.keys.principal import KeyCall
from hwkm.wire import key_api as api
from hwkm.wire import key_messages as core
from hwkm.wire.key_messages import KeyRef

GENERATE_MAC: Final = "key.generate_mac"
VERIFY_MAC: Final = "key.verify_mac"
SIGN: Final = "key.sign"
VERIFY: Final = "key.verify"
DERIVE: Final = "key.derive_shared_secret"

_VERIFIED_AT_ONCE: Final = 8
_SIGNED_AT_ONCE: Final = 32
_CURVE_OF_SPEC: Final = {"ECC_NIST_P256": "secp256r1", "ECC_NIST_P384": "secp384r1"}


class Signing(Part):
    """MACs, signatures, key agreement; see :class:`~hwkm.server.keys.service.KeyService`."""

    async def generate_macs(
        self, call: KeyCall, key: str, messages: Sequence[bytes], algorithm: str | None = None
    ) -> api.Macs:
        entry, ref = await self._find_usable(call, GENERATE_MAC, key, KeyUsage.GENERATE_VERIFY_MAC)
        _require_mac_algorithm(entry, algorithm)
        stop_dry_run(call)
        macs = await self._compute(ref, messages)
        self._note_use(entry, GENERATE_MAC)
        return api.Macs(key=entry.arn, version=ref.version, items=tuple(macs))

    async def verify_macs(
        self, call: KeyCall, key: str, items: Sequence[api.MacItem], algorithm: str | None = None
    ) -> api.Verified:
        entry, ref = await self._find_usable(call, VERIFY_MAC, key, KeyUsage.GENERATE_VERIFY_MAC)
        _require_mac_algorithm(entry, algorithm)
        stop_dry_run(call)
        macs = await self._compute(ref, [item.message for item in items])
        right = [hmac.compare_digest(mac, item.mac) for mac, item in zip(macs, items, strict=True)]
        if not all(right):
            raise MacInvalid("an HMAC is not that of its message under this key")
        self._note_use(entry, VERIFY_MAC)
        return api.Verified(key=entry.arn, version=ref.version)

    async def sign(
        self, call: KeyCall, key: str, algorithm: SigningAlgorithm, items: Sequence[api.SignItem]
    ) -> api.Signatures:
        entry, ref = await self._find_usable(call, SIGN, key, KeyUsage.SIGN_VERIFY)
        _require_algorithm(entry, algorithm)
        digests = [_digest(algorithm, item) for item in items]
        stop_dry_run(call)
        signatures: list[bytes] = []
        for start in range(0, len(digests), _SIGNED_AT_ONCE):
            requests = [
                self._desk.core.ask(
                    core.SignDigest(key=ref, algorithm=algorithm, digest=digest), core.Signature
                )
                for digest in digests[start : start + _SIGNED_AT_ONCE]
            ]
            signatures += [signed.signature for signed in await asyncio.gather(*requests)]
        self._note_use(entry, SIGN)
        return api.Signatures(key=entry.arn, version=ref.version, items=tuple(signatures))

    async def verify(
        self, call: KeyCall, key: str, algorithm: SigningAlgorithm, items: Sequence[api.SignatureItem]
    ) -> api.Verified:
        entry, ref = await self._find_usable(call, VERIFY, key, KeyUsage.SIGN_VERIFY)
        _require_algorithm(entry, algorithm)
        digests = [_digest(algorithm, item) for item in items]
        stop_dry_run(call)
        public_key = _stored_public_key(entry)
        for number, (digest, item) in enumerate(zip(digests, items, strict=True), 1):
            verify_signature(public_key, algorithm, digest, item.signature)
            if number % _VERIFIED_AT_ONCE == 0:
                await asyncio.sleep(0)  # let others have their turn
        self._note_use(entry, VERIFY)
        return api.Verified(key=entry.arn, version=ref.version)

    async def derive_shared_secret(self, call: KeyCall, key: str, public_key: bytes) -> api.SharedSecret:
        entry, ref = await self._find_usable(call, DERIVE, key, KeyUsage.KEY_AGREEMENT)
        point = point_of(public_key, _CURVE_OF_SPEC[entry.record.kind.spec])
        stop_dry_run(call)
        agreed = await self._desk.core.ask(core.AgreeKey(key=ref, point=point), core.AgreedSecret)
        self._note_use(entry, DERIVE)
        return api.SharedSecret(key=entry.arn, version=ref.version, secret=agreed.secret)

    # --- inside ------------------------------------------------------------------------------

    async def _find_usable(
        self, call: KeyCall, operation: str, key: str, usage: KeyUsage
    ) -> tuple[KeyEntry, KeyRef]:
        entry = await self._find(call, operation, key)
        return entry, require_usable(entry, usage, operation)

    async def _compute(self, ref: KeyRef, messages: Sequence[bytes]) -> Sequence[bytes]:
        async def ask(chunk: Sequence[bytes]) -> Sequence[bytes]:
            request = core.ComputeMacs(key=ref, messages=tuple(chunk))
            return (await self._desk.core.ask(request, core.Macs)).items

        return await in_chunks(messages, ask)

    def _note_use(self, entry: KeyEntry, operation: str) -> None:
        self._desk.book.used(entry, operation, self._desk.now_ms())


def verify_signature(public_key: Any, algorithm: SigningAlgorithm, digest: bytes, signature: bytes) -> None:
    """Verify one signature of a digest.

    Raises:
        SignatureInvalid: it is not right.
    """
    try:
        _verify(public_key, algorithm, digest, signature)
    except InvalidSignature:
        raise SignatureInvalid("a signature is not that of its message under this key") from None


def _verify(public_key: Any, algorithm: SigningAlgorithm, digest: bytes, signature: bytes) -> None:
    hashed = _hash_of(algorithm)
    prehashed = Prehashed(hashed)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(signature, digest, ec.ECDSA(prehashed))
    elif isinstance(public_key, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(hashed), len(digest))
        pkcs1 = padding.PKCS1v15()
        public_key.verify(signature, digest, pss if "PSS" in algorithm else pkcs1, prehashed)
    else:
        raise _damaged()


def point_of(public_key: bytes, curve: str) -> bytes:
    """Return the uncompressed point (65 or 97 bytes) of a public key in DER (SubjectPublicKeyInfo).

    Raises:
        InvalidKeyError: it is no public key, not on this curve (SEC 2's name), or no point of it.
    """
    try:
        loaded = load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKeyError("the public key is not the DER of a SubjectPublicKeyInfo") from None
    if not isinstance(loaded, ec.EllipticCurvePublicKey) or loaded.curve.name != curve:
        raise InvalidKeyError(f"the public key is not one on {curve}")
    return loaded.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _stored_public_key(entry: KeyEntry) -> Any:
    try:
        return load_der_public_key(entry.snapshot.current.public_key)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise _damaged() from exc


def _damaged() -> StorageMismatch:
    return StorageMismatch("a public key in the record database is damaged")


def _require_algorithm(entry: KeyEntry, algorithm: SigningAlgorithm) -> None:
    if algorithm not in entry.record.kind.signing_algorithms:
        raise KeyUsageInvalid(
            f"Algorithm {algorithm} is incompatible with key spec {entry.record.kind.spec}."
        )


def _require_mac_algorithm(entry: KeyEntry, algorithm: str | None) -> None:
    if algorithm not in (None, entry.record.kind.mac_algorithm):
        raise KeyUsageInvalid(
            f"Algorithm {algorithm} is incompatible with key spec {entry.record.kind.spec}."
        )


def _digest(algorithm: SigningAlgorithm, item: api.SignItem | api.SignatureItem) -> bytes:
    """The digest that is signed: given, or that of the message."""
    if (item.message is None) == (item.digest is None):
        raise FormatError("give a message or a digest, one of the two")
    if item.message is not None:
        return hashlib.new(f"sha{algorithm.digest_bytes * 8}", item.message).digest()
    assert item.digest is not None, "one of the two is there"
    if len(item.digest) != algorithm.digest_bytes:
        raise FormatError(f"Digest is invalid length for algorithm {algorithm}.")
    return item.digest


def _hash_of(algorithm: SigningAlgorithm) -> hashes.HashAlgorithm:
    match algorithm.digest_bytes:
        case 32:
            return hashes.SHA256()
        case 48:
            return hashes.SHA384()
        case _:
            return hashes.SHA512()
