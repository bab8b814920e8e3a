"""Keys, data keys and encryption with one daemon: :class:`KeyClient` blocks, :class:`AsyncKeyClient` awaits.

``key`` is a key id, a key ARN, ``alias/NAME`` or an alias ARN. ``context`` is the encryption context: a
map of strings bound to a ciphertext, which has to be the same when it is decrypted; it is logged and
not secret. Plaintexts come back as :class:`SecretBytes`; use them in a ``with``.

Methods raise what :mod:`hwkm.errors` says; among others KeyNotFound, KeyDisabled, KeyStateInvalid,
KeyUsageInvalid, AccessDenied, CiphertextInvalid (wrong context, wrong key and damage are one answer)
and Unavailable, after which the same call may be made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from hwkm.client import key_calls, key_procedures
from hwkm.client.agent import DEFAULT_SOCKET
from hwkm.client.calls import Call, T
from hwkm.client.data_key import DataKey, DataKeyPair
from hwkm.client.envelope import Sealed, open_sealed, seal
from hwkm.client.flow import Flow, R, run, run_async
from hwkm.client.key_procedures import NO_CONTEXT, Ciphertext, Context, ReEncrypted
from hwkm.client.transport import TIMEOUT_SECONDS, AsyncTransport, Transport
from hwkm.errors import HwkmError
from hwkm.formats.key_kind import KeyKind, SigningAlgorithm
from hwkm.secret import SecretBytes
from hwkm.wire import key_api
from hwkm.wire.key_messages import PairSpec


class KeyClient:
    """Keys of one daemon. May be shared by threads."""

    def __init__(
        self, socket_path: Path | str = DEFAULT_SOCKET, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._transport = Transport(Path(socket_path), timeout_seconds=timeout_seconds)

    def send(self, call: Call[T]) -> T:
        """Send one call."""
        answer: T = self._transport.send(call)
        return answer

    def run(self, flow: Flow[R]) -> R:
        """Run a procedure of several calls."""
        return run(flow, self._transport.send)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- the life of a key -------------------------------------------------------------------

    def create(
        self,
        alias: str | None = None,
        *,
        kind: KeyKind = KeyKind.SYMMETRIC,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        rotation_period_days: int | None = None,
        account: str | None = None,
    ) -> key_api.KeyInfo:
        """Make a key in the hardware; ``alias`` is ``alias/NAME``.

        Raises:
            AliasExists, TagInvalid, UnsupportedKind, LimitExceeded: nothing was made.
        """
        return self.send(
            key_calls.create(
                key_api.CreateKey(
                    kind=kind,
                    description=description,
                    alias=alias,
                    tags=dict(tags or {}),
                    rotation_period_days=rotation_period_days,
                    account=account,
                )
            )
        )

    def list(self, account: str | None = None) -> tuple[key_api.KeyListed, ...]:
        """Every key that the caller may list."""
        return self.run(key_procedures.list_keys(account))

    def show(self, key: str) -> key_api.KeyInfo:
        """What is known of a key."""
        return self.send(key_calls.show(key))

    def update(self, key: str, description: str) -> key_api.KeyInfo:
        """Change the description."""
        return self.send(key_calls.update(key, description))

    def enable(self, key: str) -> key_api.KeyInfo:
        """Let a key be used."""
        return self.send(key_calls.enable(key))

    def disable(self, key: str) -> key_api.KeyInfo:
        """Let a key not be used until it is enabled again."""
        return self.send(key_calls.disable(key))

    def schedule_deletion(self, key: str, days: int = key_api.PENDING_DAYS_MAX) -> key_api.DeletionScheduled:
        """Delete a key for good after 7 to 30 days: what was encrypted under it is lost then."""
        return self.send(key_calls.schedule_deletion(key, days))

    def cancel_deletion(self, key: str) -> key_api.KeyInfo:
        """Keep a key that is pending deletion; it is disabled then."""
        return self.send(key_calls.cancel_deletion(key))

    def rotate(self, key: str) -> key_api.KeyInfo:
        """Give a key a new version now; what is under older ones still decrypts."""
        return self.send(key_calls.rotate(key))

    def set_rotation(self, key: str, period_days: int | None) -> key_api.KeyInfo:
        """Rotate a key by itself every 90 to 2,560 days; None: no more."""
        return self.send(key_calls.set_rotation(key, period_days))

    def rotations(self, key: str) -> tuple[key_api.Rotation, ...]:
        """Every version of a key, oldest first."""
        return self.run(key_procedures.rotations(key))

    def tag(self, key: str, tags: Mapping[str, str]) -> key_api.KeyInfo:
        """Add or change tags."""
        return self.send(key_calls.tag(key, tags))

    def untag(self, key: str, names: Sequence[str]) -> key_api.KeyInfo:
        """Remove tags."""
        return self.send(key_calls.untag(key, names))

    def recorded(self, key: str) -> tuple[key_api.RecordedDataKey, ...]:
        """Every data key that was recorded under a label."""
        return self.run(key_procedures.recorded(key))

    def public_key(self, key: str) -> key_api.PublicKey:
        """The public half of a key pair."""
        return self.send(key_calls.public_key(key))

    # --- aliases -----------------------------------------------------------------------------

    def create_alias(self, alias: str, key: str) -> key_api.AliasInfo:
        """Name a key. Raises AliasExists."""
        return self.send(key_calls.create_alias(alias, key))

    def update_alias(self, alias: str, key: str) -> key_api.AliasInfo:
        """Let an alias name another key of the same usage."""
        return self.send(key_calls.update_alias(alias, key))

    def delete_alias(self, alias: str) -> None:
        """Remove an alias; its key stays."""
        self.send(key_calls.delete_alias(alias))

    def list_aliases(
        self, key: str | None = None, *, account: str | None = None
    ) -> tuple[key_api.AliasInfo, ...]:
        """Every alias, of all keys or of one."""
        return self.run(key_procedures.list_aliases(account, key))

    # --- data keys ---------------------------------------------------------------------------

    def generate_data_key(
        self, key: str, context: Context = NO_CONTEXT, *, length: int = 32, record: str = ""
    ) -> DataKey:
        """Make a data key of ``length`` bytes; use it in a ``with``, and keep ``wrapped``.

        ``record`` is a label under which it is listed when the key is to be deleted.
        """
        (made,) = self.generate_data_keys(
            key, [key_api.DataKeyWanted(context=dict(context), length=length, record=record)]
        )
        return made

    def generate_data_keys(self, key: str, wanted: Sequence[key_api.DataKeyWanted]) -> tuple[DataKey, ...]:
        """Up to 1,000 data keys at once, in the order asked for."""
        return self.run(key_procedures.generate_data_keys(key, wanted))

    def generate_wrapped_data_keys(
        self, key: str, wanted: Sequence[key_api.DataKeyWanted]
    ) -> tuple[bytes, ...]:
        """Data keys whose plaintext does not leave the core: their ciphertexts."""
        return self.run(key_procedures.generate_wrapped_data_keys(key, wanted))

    def generate_data_key_pair(
        self, key: str, spec: PairSpec, context: Context = NO_CONTEXT, *, record: str = ""
    ) -> DataKeyPair:
        """Make a data key pair; use it in a ``with``, and keep ``wrapped`` and ``public_key``."""
        return self.run(key_procedures.generate_data_key_pair(key, spec, context, record))

    def generate_wrapped_data_key_pair(
        self, key: str, spec: PairSpec, context: Context = NO_CONTEXT, *, record: str = ""
    ) -> key_api.WrappedDataKeyPair:
        """Make a data key pair whose private key does not leave the core."""
        return self.send(key_calls.generate_wrapped_data_key_pair(key, spec, context, record))

    # --- encrypt, decrypt, re-encrypt --------------------------------------------------------

    def encrypt(self, key: str, plaintext: bytes | SecretBytes, context: Context = NO_CONTEXT) -> bytes:
        """Encrypt 1 to 4,096 bytes; for more, see :mod:`hwkm.client.files`."""
        return self.run(key_procedures.encrypt(key, plaintext, context))

    def encrypt_many(
        self, key: str, items: Sequence[tuple[bytes | SecretBytes, Context]]
    ) -> tuple[bytes, ...]:
        """Up to 1,000 at once: pairs of plaintext and context."""
        return self.run(key_procedures.encrypt_many(key, items))

    def decrypt(
        self, ciphertext: bytes, context: Context = NO_CONTEXT, *, key: str | None = None
    ) -> SecretBytes:
        """Decrypt. The ciphertext names its key; ``key`` says which one it has to be (IncorrectKey)."""
        return self.run(key_procedures.decrypt(ciphertext, context, key))

    def decrypt_many(
        self, items: Sequence[Ciphertext], *, key: str | None = None
    ) -> tuple[SecretBytes | HwkmError, ...]:
        """Any number at once: the plaintext of each, or its error."""
        return self.run(key_procedures.decrypt_many(items, key))

    def re_encrypt(
        self,
        ciphertext: bytes,
        key: str,
        context: Context = NO_CONTEXT,
        *,
        new_context: Context | None = None,
        source_key: str | None = None,
    ) -> ReEncrypted:
        """Bring a ciphertext under (the newest version of) ``key``; the plaintext stays in the core."""
        return self.run(key_procedures.re_encrypt(ciphertext, key, context, new_context, source_key))

    def re_encrypt_many(
        self,
        key: str,
        items: Sequence[Ciphertext],
        *,
        new_context: Context | None = None,
        source_key: str | None = None,
        keep_record: bool = False,
    ) -> tuple[ReEncrypted | HwkmError, ...]:
        """Any number at once: the new ciphertext of each, or its error.

        The record of a data key goes on to its new ciphertext; ``keep_record`` if that will be thrown away.
        """
        flow = key_procedures.re_encrypt_many(
            key, items, new_context=new_context, source_key=source_key, keep_record=keep_record
        )
        return self.run(flow)

    def random(self, length: int) -> SecretBytes:
        """1 to 1,024 random bytes from the hardware."""
        return SecretBytes(self.send(key_calls.random(length)).random)

    # --- records -----------------------------------------------------------------------------

    def seal(self, key: str, plaintext: bytes, context: Context = NO_CONTEXT) -> Sealed:
        """Seal a record of any size under a new data key (:mod:`hwkm.client.envelope`)."""
        with self.generate_data_key(key, context) as data_key:
            return seal(data_key, plaintext, context)

    def open(self, sealed: Sealed, context: Context = NO_CONTEXT) -> SecretBytes:
        """Open a record.

        Raises:
            CiphertextInvalid: the data key is not wrapped under this context.
            DecryptionError: the ciphertext was changed, or is another record's.
        """
        with self.decrypt(sealed.wrapped, context) as data_key:
            return open_sealed(data_key, sealed.ciphertext, context)

    # --- domain keys -------------------------------------------------------------------------

    def domain(self) -> key_api.DomainInfo:
        """The domain keys of the hardware, the kinds of key it can make, and how far a rotation is."""
        return self.send(key_calls.domain_status())

    def rotate_domain(self) -> key_api.DomainInfo:
        """Begin to wrap all keys under a new domain key, while serving; no key changes. Raises DomainRotating."""
        return self.send(key_calls.domain_rotate())

    # --- MAC, signature, key agreement -------------------------------------------------------

    def generate_mac(self, key: str, message: bytes) -> bytes:
        """The HMAC of a message of up to 4,096 bytes, at full length."""
        (mac,) = self.send(key_calls.generate_macs(key, [message])).items
        return mac

    def verify_mac(self, key: str, message: bytes, mac: bytes) -> None:
        """Verify an HMAC. Raises MacInvalid."""
        self.send(key_calls.verify_macs(key, [key_api.MacItem(message=message, mac=mac)]))

    def sign(self, key: str, algorithm: SigningAlgorithm, item: key_api.SignItem) -> bytes:
        """Sign a message of up to 4,096 bytes, or a digest; an ECDSA signature is DER."""
        (signature,) = self.send(key_calls.sign(key, algorithm, [item])).items
        return signature

    def verify(self, key: str, algorithm: SigningAlgorithm, item: key_api.SignatureItem) -> None:
        """Verify a signature. Raises SignatureInvalid."""
        self.send(key_calls.verify(key, algorithm, [item]))

    def derive_shared_secret(self, key: str, public_key: bytes) -> SecretBytes:
        """ECDH with a public key (SPKI DER): the x coordinate, to derive keys from."""
        return SecretBytes(self.send(key_calls.derive_shared_secret(key, public_key)).secret)


class AsyncKeyClient:
    """The same for asyncio."""

    def __init__(
        self, socket_path: Path | str = DEFAULT_SOCKET, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._transport = AsyncTransport(Path(socket_path), timeout_seconds=timeout_seconds)

    async def send(self, call: Call[T]) -> T:
        """Send one call."""
        answer: T = await self._transport.send(call)
        return answer

    async def run(self, flow: Flow[R]) -> R:
        """Run a procedure of several calls."""
        return await run_async(flow, self._transport.send, in_thread=False)

    async def close(self) -> None:
        """Close the connection."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- the life of a key -------------------------------------------------------------------

    async def create(
        self,
        alias: str | None = None,
        *,
        kind: KeyKind = KeyKind.SYMMETRIC,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        rotation_period_days: int | None = None,
        account: str | None = None,
    ) -> key_api.KeyInfo:
        """As :meth:`KeyClient.create`."""
        return await self.send(
            key_calls.create(
                key_api.CreateKey(
                    kind=kind,
                    description=description,
                    alias=alias,
                    tags=dict(tags or {}),
                    rotation_period_days=rotation_period_days,
                    account=account,
                )
            )
        )

    async def list(self, account: str | None = None) -> tuple[key_api.KeyListed, ...]:
        """As :meth:`KeyClient.list`."""
        return await self.run(key_procedures.list_keys(account))

    async def show(self, key: str) -> key_api.KeyInfo:
        """As :meth:`KeyClient.show`."""
        return await self.send(key_calls.show(key))

    async def update(self, key: str, description: str) -> key_api.KeyInfo:
        """As :meth:`KeyClient.update`."""
        return await self.send(key_calls.update(key, description))

    async def enable(self, key: str) -> key_api.KeyInfo:
        """As :meth:`KeyClient.enable`."""
        return await self.send(key_calls.enable(key))

    async def disable(self, key: str) -> key_api.KeyInfo:
        """As :meth:`KeyClient.disable`."""
        return await self.send(key_calls.disable(key))

    async def schedule_deletion(
        self, key: str, days: int = key_api.PENDING_DAYS_MAX
    ) -> key_api.DeletionScheduled:
        """As :meth:`KeyClient.schedule_deletion`."""
        return await self.send(key_calls.schedule_deletion(key, days))

    async def cancel_deletion(self, key: str) -> key_api.KeyInfo:
        """As :meth:`KeyClient.cancel_deletion`."""
        return await self.send(key_calls.cancel_deletion(key))

    async def rotate(self, key: str) -> key_api.KeyInfo:
        """As :meth:`KeyClient.rotate`."""
        return await self.send(key_calls.rotate(key))

    async def set_rotation(self, key: str, period_days: int | None) -> key_api.KeyInfo:
        """As :meth:`KeyClient.set_rotation`."""
        return await self.send(key_calls.set_rotation(key, period_days))

    async def rotations(self, key: str) -> tuple[key_api.Rotation, ...]:
        """As :meth:`KeyClient.rotations`."""
        return await self.run(key_procedures.rotations(key))

    async def tag(self, key: str, tags: Mapping[str, str]) -> key_api.KeyInfo:
        """As :meth:`KeyClient.tag`."""
        return await self.send(key_calls.tag(key, tags))

    async def untag(self, key: str, names: Sequence[str]) -> key_api.KeyInfo:
        """As :meth:`KeyClient.untag`."""
        return await self.send(key_calls.untag(key, names))

    async def recorded(self, key: str) -> tuple[key_api.RecordedDataKey, ...]:
        """As :meth:`KeyClient.recorded`."""
        return await self.run(key_procedures.recorded(key))

    async def public_key(self, key: str) -> key_api.PublicKey:
        """As :meth:`KeyClient.public_key`."""
        return await self.send(key_calls.public_key(key))

    # --- aliases -----------------------------------------------------------------------------

    async def create_alias(self, alias: str, key: str) -> key_api.AliasInfo:
        """As :meth:`KeyClient.create_alias`."""
        return await self.send(key_calls.create_alias(alias, key))

    async def update_alias(self, alias: str, key: str) -> key_api.AliasInfo:
        """As :meth:`KeyClient.update_alias`."""
        return await self.send(key_calls.update_alias(alias, key))

    async def delete_alias(self, alias: str) -> None:
        """As :meth:`KeyClient.delete_alias`."""
        await self.send(key_calls.delete_alias(alias))

    async def list_aliases(
        self, key: str | None = None, *, account: str | None = None
    ) -> tuple[key_api.AliasInfo, ...]:
        """As :meth:`KeyClient.list_aliases`."""
        return await self.run(key_procedures.list_aliases(account, key))

    # --- data keys ---------------------------------------------------------------------------

    async def generate_data_key(
        self, key: str, context: Context = NO_CONTEXT, *, length: int = 32, record: str = ""
    ) -> DataKey:
        """As :meth:`KeyClient.generate_data_key`."""
        (made,) = await self.generate_data_keys(
            key, [key_api.DataKeyWanted(context=dict(context), length=length, record=record)]
        )
        return made

    async def generate_data_keys(
        self, key: str, wanted: Sequence[key_api.DataKeyWanted]
    ) -> tuple[DataKey, ...]:
        """As :meth:`KeyClient.generate_data_keys`."""
        return await self.run(key_procedures.generate_data_keys(key, wanted))

    async def generate_wrapped_data_keys(
        self, key: str, wanted: Sequence[key_api.DataKeyWanted]
    ) -> tuple[bytes, ...]:
        """As :meth:`KeyClient.generate_wrapped_data_keys`."""
        return await self.run(key_procedures.generate_wrapped_data_keys(key, wanted))

    async def generate_data_key_pair(
        self, key: str, spec: PairSpec, context: Context = NO_CONTEXT, *, record: str = ""
    ) -> DataKeyPair:
        """As :meth:`KeyClient.generate_data_key_pair`."""
        return await self.run(key_procedures.generate_data_key_pair(key, spec, context, record))

    async def generate_wrapped_data_key_pair(
        self, key: str, spec: PairSpec, context: Context = NO_CONTEXT, *, record: str = ""
    ) -> key_api.WrappedDataKeyPair:
        """As :meth:`KeyClient.generate_wrapped_data_key_pair`."""
        return await self.send(key_calls.generate_wrapped_data_key_pair(key, spec, context, record))

    # --- encrypt, decrypt, re-encrypt --------------------------------------------------------

    async def encrypt(self, key: str, plaintext: bytes | SecretBytes, context: Context = NO_CONTEXT) -> bytes:
        """As :meth:`KeyClient.encrypt`."""
        return await self.run(key_procedures.encrypt(key, plaintext, context))

    async def encrypt_many(
        self, key: str, items: Sequence[tuple[bytes | SecretBytes, Context]]
    ) -> tuple[bytes, ...]:
        """As :meth:`KeyClient.encrypt_many`."""
        return await self.run(key_procedures.encrypt_many(key, items))

    async def decrypt(
        self, ciphertext: bytes, context: Context = NO_CONTEXT, *, key: str | None = None
    ) -> SecretBytes:
        """As :meth:`KeyClient.decrypt`."""
        return await self.run(key_procedures.decrypt(ciphertext, context, key))

    async def decrypt_many(
        self, items: Sequence[Ciphertext], *, key: str | None = None
    ) -> tuple[SecretBytes | HwkmError, ...]:
        """As :meth:`KeyClient.decrypt_many`."""
        return await self.run(key_procedures.decrypt_many(items, key))

    async def re_encrypt(
        self,
        ciphertext: bytes,
        key: str,
        context: Context = NO_CONTEXT,
        *,
        new_context: Context | None = None,
        source_key: str | None = None,
    ) -> ReEncrypted:
        """As :meth:`KeyClient.re_encrypt`."""
        return await self.run(key_procedures.re_encrypt(ciphertext, key, context, new_context, source_key))

    async def re_encrypt_many(
        self,
        key: str,
        items: Sequence[Ciphertext],
        *,
        new_context: Context | None = None,
        source_key: str | None = None,
        keep_record: bool = False,
    ) -> tuple[ReEncrypted | HwkmError, ...]:
        """As :meth:`KeyClient.re_encrypt_many`."""
        flow = key_procedures.re_encrypt_many(
            key, items, new_context=new_context, source_key=source_key, keep_record=keep_record
        )
        return await self.run(flow)

    async def random(self, length: int) -> SecretBytes:
        """As :meth:`KeyClient.random`."""
        return SecretBytes((await self.send(key_calls.random(length))).random)

    # --- records -----------------------------------------------------------------------------

    async def seal(self, key: str, plaintext: bytes, context: Context = NO_CONTEXT) -> Sealed:
        """As :meth:`KeyClient.seal`."""
        with await self.generate_data_key(key, context) as data_key:
            return seal(data_key, plaintext, context)

    async def open(self, sealed: Sealed, context: Context = NO_CONTEXT) -> SecretBytes:
        """As :meth:`KeyClient.open`."""
        with await self.decrypt(sealed.wrapped, context) as data_key:
            return open_sealed(data_key, sealed.ciphertext, context)

    # --- domain keys -------------------------------------------------------------------------

    async def domain(self) -> key_api.DomainInfo:
        """As :meth:`KeyClient.domain`."""
        return await self.send(key_calls.domain_status())

    async def rotate_domain(self) -> key_api.DomainInfo:
        """As :meth:`KeyClient.rotate_domain`."""
        return await self.send(key_calls.domain_rotate())

    # --- MAC, signature, key agreement -------------------------------------------------------

    async def generate_mac(self, key: str, message: bytes) -> bytes:
        """As :meth:`KeyClient.generate_mac`."""
        (mac,) = (await self.send(key_calls.generate_macs(key, [message]))).items
        return mac

    async def verify_mac(self, key: str, message: bytes, mac: bytes) -> None:
        """As :meth:`KeyClient.verify_mac`."""
        await self.send(key_calls.verify_macs(key, [key_api.MacItem(message=message, mac=mac)]))

    async def sign(self, key: str, algorithm: SigningAlgorithm, item: key_api.SignItem) -> bytes:
        """As :meth:`KeyClient.sign`."""
        (signature,) = (await self.send(key_calls.sign(key, algorithm, [item]))).items
        return signature

    async def verify(self, key: str, algorithm: SigningAlgorithm, item: key_api.SignatureItem) -> None:
        """As :meth:`KeyClient.verify`."""
        await self.send(key_calls.verify(key, algorithm, [item]))

    async def derive_shared_secret(self, key: str, public_key: bytes) -> SecretBytes:
        """As :meth:`KeyClient.derive_shared_secret`."""
        return SecretBytes((await self.send(key_calls.derive_shared_secret(key, public_key))).secret)
