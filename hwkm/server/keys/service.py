"""What can be asked of the key service: the contract that its HTTP interfaces are built on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from hwkm.formats.key_kind import SigningAlgorithm
from hwkm.server.keys.principal import Context, KeyCall
from hwkm.wire import key_api as api
from hwkm.wire.key_messages import PairSpec


class KeyService(Protocol):
    """The one application layer over store, policy and core.

    ``key`` is any of the four forms of an identifier. Every method checks, in this order: that the
    identifier is one (InvalidArn, KeyNotFound), that the policy grants it (AccessDenied), that the key
    can do it (KeyUsageInvalid, KeyDisabled, KeyStateInvalid), sizes (LimitExceeded, FormatError); then
    it ends with DryRunSucceeded if the call is a dry run. All raise Unavailable while the core
    restarts: nothing is half done, the same call may be made again. StorageUnavailable: nothing was
    applied. What is changed is durable on return. ``call.uses`` is filled in either case.
    """

    # --- the life of a key -------------------------------------------------------------------

    async def create(self, call: KeyCall, new: api.CreateKey) -> api.KeyInfo:
        """Make a key. Raises AliasExists, TagInvalid, LimitExceeded, UnsupportedKind."""
        ...

    async def list_keys(
        self, call: KeyCall, account: str | None, after: str | None, limit: int
    ) -> api.KeyList:
        """List the keys that the caller may list, by key id. Raises MarkerInvalid."""
        ...

    async def show(self, call: KeyCall, key: str) -> api.KeyInfo:
        """Return what is known of a key; also of one that is pending deletion or deleted."""
        ...

    async def update(self, call: KeyCall, key: str, description: str) -> api.KeyInfo:
        """Change the description."""
        ...

    async def enable(self, call: KeyCall, key: str) -> api.KeyInfo:
        """Let the key be used. May be repeated."""
        ...

    async def disable(self, call: KeyCall, key: str) -> api.KeyInfo:
        """Let the key not be used, nor rotated. May be repeated."""
        ...

    async def schedule_deletion(self, call: KeyCall, key: str, days: int) -> api.DeletionScheduled:
        """Delete the key for good after so many days. Raises KeyStateInvalid if it is pending already."""
        ...

    async def cancel_deletion(self, call: KeyCall, key: str) -> api.KeyInfo:
        """Keep the key; it is disabled then. Raises KeyStateInvalid if it is not pending."""
        ...

    async def rotate(self, call: KeyCall, key: str) -> api.KeyInfo:
        """Give a symmetric key a new version now. Raises LimitExceeded if it has too many."""
        ...

    async def set_rotation(self, call: KeyCall, key: str, period_days: int | None) -> api.KeyInfo:
        """Rotate a symmetric key by itself every so many days, from now; None: no more."""
        ...

    async def rotations(self, call: KeyCall, key: str, after: int, limit: int) -> api.RotationList:
        """List the versions of a key; ``after`` is a version number."""
        ...

    async def tag(self, call: KeyCall, key: str, tags: Mapping[str, str]) -> api.KeyInfo:
        """Add or change tags. Raises TagInvalid."""
        ...

    async def untag(self, call: KeyCall, key: str, names: Sequence[str]) -> api.KeyInfo:
        """Remove tags. Raises TagInvalid."""
        ...

    async def recorded(self, call: KeyCall, key: str, after: int, limit: int) -> api.RecordedDataKeys:
        """List the data keys that were recorded under labels."""
        ...

    async def public_key(self, call: KeyCall, key: str) -> api.PublicKey:
        """Return the public half of a key pair."""
        ...

    # --- aliases -----------------------------------------------------------------------------

    async def create_alias(self, call: KeyCall, alias: str, key: str) -> api.AliasInfo:
        """Name a key. ``alias`` is ``alias/NAME``. Raises AliasExists, FormatError, LimitExceeded."""
        ...

    async def update_alias(self, call: KeyCall, alias: str, key: str) -> api.AliasInfo:
        """Let an alias name another key of the same usage. Raises KeyNotFound, KeyUsageInvalid."""
        ...

    async def delete_alias(self, call: KeyCall, alias: str) -> None:
        """Remove an alias (``alias/NAME`` or its ARN). Raises KeyNotFound."""
        ...

    async def list_aliases(
        self, call: KeyCall, account: str | None, key: str | None, after: str | None, limit: int
    ) -> api.AliasList:
        """List aliases by name, of all keys or of one. Raises MarkerInvalid."""
        ...

    # --- data keys, encryption ---------------------------------------------------------------

    async def generate_data_keys(
        self, call: KeyCall, key: str, items: Sequence[api.DataKeyWanted]
    ) -> api.DataKeys:
        """Make data keys."""
        ...

    async def generate_wrapped_data_keys(
        self, call: KeyCall, key: str, items: Sequence[api.DataKeyWanted]
    ) -> api.WrappedDataKeys:
        """Make data keys whose plaintext does not leave the core."""
        ...

    async def generate_data_key_pair(
        self, call: KeyCall, key: str, spec: PairSpec, context: Context, record: str = ""
    ) -> api.DataKeyPair:
        """Make a data key pair."""
        ...

    async def generate_wrapped_data_key_pair(
        self, call: KeyCall, key: str, spec: PairSpec, context: Context, record: str = ""
    ) -> api.WrappedDataKeyPair:
        """Make a data key pair whose private key does not leave the core."""
        ...

    async def encrypt(self, call: KeyCall, key: str, items: Sequence[api.PlaintextItem]) -> api.Encrypted:
        """Encrypt up to 4,096 bytes an item."""
        ...

    async def decrypt(
        self, call: KeyCall, key: str | None, items: Sequence[api.CiphertextItem]
    ) -> api.Decrypted:
        """Decrypt. Errors of items are in the answer, that of a sole item is raised.

        Raises:
            CiphertextInvalid, IncorrectKey, AccessDenied, KeyDisabled, KeyStateInvalid.
        """
        ...

    async def re_encrypt(
        self,
        call: KeyCall,
        source_key: str | None,
        key: str,
        items: Sequence[api.ReEncryptItem],
        *,
        keep_records: bool = False,
    ) -> api.ReEncrypted:
        """Decrypt and encrypt under ``key`` inside the core. Errors as in :meth:`decrypt`.

        Records of data keys go on to the new ciphertexts unless ``keep_records``.
        """
        ...

    async def random(self, call: KeyCall, length: int) -> api.Random:
        """Return 1 to 1,024 bytes from the hardware."""
        ...

    # --- MAC, signature, key agreement -------------------------------------------------------

    async def generate_macs(
        self, call: KeyCall, key: str, messages: Sequence[bytes], algorithm: str | None = None
    ) -> api.Macs:
        """Compute HMACs of messages of up to 4,096 bytes; ``algorithm``, if given, must be the key's."""
        ...

    async def verify_macs(
        self, call: KeyCall, key: str, items: Sequence[api.MacItem], algorithm: str | None = None
    ) -> api.Verified:
        """Verify HMACs at full length; ``algorithm`` as above. Raises MacInvalid if any is wrong."""
        ...

    async def sign(
        self, call: KeyCall, key: str, algorithm: SigningAlgorithm, items: Sequence[api.SignItem]
    ) -> api.Signatures:
        """Sign messages or digests."""
        ...

    async def verify(
        self, call: KeyCall, key: str, algorithm: SigningAlgorithm, items: Sequence[api.SignatureItem]
    ) -> api.Verified:
        """Verify signatures, outside of the hardware. Raises SignatureInvalid if any is wrong."""
        ...

    async def derive_shared_secret(self, call: KeyCall, key: str, public_key: bytes) -> api.SharedSecret:
        """ECDH with a public key (SPKI DER) on the same curve. Raises InvalidKeyError."""
        ...
