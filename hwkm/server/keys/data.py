"""Data keys, encryption, decryption: one frame to the core and back, nothing else on the way."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from hwkm.errors import (
    AccessDenied,
    CiphertextInvalid,
    FormatError,
    HwkmError,
    IncorrectKey,
    KeyDisabled,
    KeyNotFound,
    KeyStateInvalid,
    KeyUsageInvalid,
    LimitExceeded,
)
from hwkm.formats.ciphertext import CiphertextHead
from hwkm.formats.context import encode_context
from hwkm.formats.key_kind import KeyUsage
from hwkm.server.keys.book import KeyEntry
from hwkm.server.keys.desk import Part, require_usable, stop_dry_run
from hwkm.server.keys.principal import Context, KeyCall
from hwkm.store.key_record import RecordedKey
from hwkm.store.keys import KeyStore, ReEncrypted
from hwkm.wire import key_api as api
from hwkm.wire import key_messages as core
from hwkm.wire.key_messages import KeyRef, PairSpec
from hwkm.wire.problems import Problem, problem_of

GENERATE: Final = "key.generate_data_key"
GENERATE_WRAPPED: Final = "key.generate_wrapped_data_key"
GENERATE_PAIR: Final = "key.generate_data_key_pair"
GENERATE_WRAPPED_PAIR: Final = "key.generate_wrapped_data_key_pair"
ENCRYPT: Final = "key.encrypt"
DECRYPT: Final = "key.decrypt"
RE_ENCRYPT: Final = "key.re_encrypt"
RANDOM: Final = "key.random"

CHUNK: Final = 32
"""Items in one message to the core, which takes up to 256: it works on one chunk while the next is made
ready and the one before is read. Each item may be under a key of its own, and there is one to encrypt with."""

# One text for every reason, so that nobody is told which it was.
_NO_REASON: Final = "the ciphertext does not decrypt: wrong context, wrong key or damage"

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class _Item:
    """A ciphertext on its way through the core: either ``answer`` or ``error`` is there at its end."""

    ciphertext: bytes
    context: Context
    new_context: bytes = b""
    entry: KeyEntry | None = None
    version: int = 0
    ref: KeyRef | None = None
    encoded: bytes = b""
    answer: bytes = b""
    error: HwkmError | None = None

    @property
    def outcome(self) -> str:
        """What the audit log says became of it."""
        return "ok" if self.error is None else self.error.code


_Ask = Callable[[Sequence[_Item]], Coroutine[Any, Any, Sequence[bytes | None]]]


class DataKeys(Part):
    """Data keys and small data; see :class:`~hwkm.server.keys.service.KeyService`."""

    # --- making data keys --------------------------------------------------------------------

    async def generate_data_keys(
        self, call: KeyCall, key: str, items: Sequence[api.DataKeyWanted]
    ) -> api.DataKeys:
        entry, made = await self._generate(call, GENERATE, key, items)
        return api.DataKeys(
            key=entry.arn,
            version=entry.record.version,
            items=tuple([api.DataKey(plaintext=item.plaintext, ciphertext=item.ciphertext) for item in made]),
        )

    async def generate_wrapped_data_keys(
        self, call: KeyCall, key: str, items: Sequence[api.DataKeyWanted]
    ) -> api.WrappedDataKeys:
        entry, made = await self._generate(call, GENERATE_WRAPPED, key, items)
        ciphertexts = tuple([item.ciphertext for item in made])
        return api.WrappedDataKeys(key=entry.arn, version=entry.record.version, items=ciphertexts)

    async def _generate(
        self, call: KeyCall, operation: str, key: str, items: Sequence[api.DataKeyWanted]
    ) -> tuple[KeyEntry, Sequence[core.DataKey]]:
        entry, ref = await self._prepare(call, operation, key, [item.context for item in items])
        with_plaintext = operation == GENERATE

        async def ask(chunk: Sequence[api.DataKeyWanted]) -> Sequence[core.DataKey]:
            wanted = [
                core.DataKeyItem(encode_context(item.context), item.length, with_plaintext) for item in chunk
            ]
            stop_dry_run(call)
            request = core.GenerateDataKeys(key=ref, items=tuple(wanted))
            return (await self._desk.core.ask(request, core.DataKeys)).items

        made = await in_chunks(items, ask)
        labels = [item.record for item in items]
        await self._record(entry, ref.version, labels, [item.ciphertext for item in made])
        self._used(entry, operation)
        return entry, made

    async def generate_data_key_pair(
        self, call: KeyCall, key: str, spec: PairSpec, context: Context, record: str = ""
    ) -> api.DataKeyPair:
        entry, made = await self._generate_pair(call, GENERATE_PAIR, key, spec, context, record)
        return api.DataKeyPair(
            key=entry.arn,
            version=entry.record.version,
            public_key=made.public_key,
            private_key=made.private_key,
            ciphertext=made.ciphertext,
        )

    async def generate_wrapped_data_key_pair(
        self, call: KeyCall, key: str, spec: PairSpec, context: Context, record: str = ""
    ) -> api.WrappedDataKeyPair:
        entry, made = await self._generate_pair(call, GENERATE_WRAPPED_PAIR, key, spec, context, record)
        return api.WrappedDataKeyPair(
            key=entry.arn,
            version=entry.record.version,
            public_key=made.public_key,
            ciphertext=made.ciphertext,
        )

    async def _generate_pair(
        self, call: KeyCall, operation: str, key: str, spec: PairSpec, context: Context, record: str
    ) -> tuple[KeyEntry, core.DataKeyPair]:
        entry, ref = await self._prepare(call, operation, key, [context])
        request = core.GenerateDataKeyPair(
            key=ref, context=encode_context(context), spec=spec, with_plaintext=operation == GENERATE_PAIR
        )
        stop_dry_run(call)
        made = await self._desk.core.ask(request, core.DataKeyPair)
        await self._record(entry, ref.version, [record], [made.ciphertext])
        self._used(entry, operation)
        return entry, made

    # --- encrypting --------------------------------------------------------------------------

    async def encrypt(self, call: KeyCall, key: str, items: Sequence[api.PlaintextItem]) -> api.Encrypted:
        entry, ref = await self._prepare(call, ENCRYPT, key, [item.context for item in items])
        wanted = [core.EncryptItem(encode_context(item.context), item.plaintext) for item in items]
        stop_dry_run(call)

        async def ask(chunk: Sequence[core.EncryptItem]) -> Sequence[bytes | None]:
            request = core.EncryptData(key=ref, items=tuple(chunk))
            return (await self._desk.core.ask(request, core.Ciphertexts)).items

        made = await in_chunks(wanted, ask)
        self._used(entry, ENCRYPT)
        return api.Encrypted(key=entry.arn, version=ref.version, items=tuple(map(_whole, made)))

    # --- decrypting --------------------------------------------------------------------------

    async def decrypt(
        self, call: KeyCall, key: str | None, items: Sequence[api.CiphertextItem]
    ) -> api.Decrypted:
        found = [_Item(item.ciphertext, item.context) for item in items]
        await self._open(call, DECRYPT, key, found, self._ask_to_decrypt)
        return api.Decrypted(items=tuple([_decrypted(item) for item in found]))

    async def re_encrypt(
        self,
        call: KeyCall,
        source_key: str | None,
        key: str,
        items: Sequence[api.ReEncryptItem],
        *,
        keep_records: bool = False,
    ) -> api.ReEncrypted:
        new_contexts = [item.context if item.new_context is None else item.new_context for item in items]
        aside = KeyCall(call.principal)
        try:
            entry, ref = await self._prepare(aside, RE_ENCRYPT, key, new_contexts)
        except HwkmError:
            call.adopt(aside)  # nothing else will be noted
            raise
        found = [
            _Item(item.ciphertext, item.context, encode_context(new_context))
            for item, new_context in zip(items, new_contexts, strict=True)
        ]

        async def ask(chunk: Sequence[_Item]) -> Sequence[bytes | None]:
            refs, places = _places([ref, *(item.ref for item in chunk)])
            wanted = [
                core.ReencryptItem(places[item.ref], 0, item.encoded, item.new_context, item.ciphertext)
                for item in chunk
            ]
            request = core.ReencryptData(keys=refs, items=tuple(wanted))
            return (await self._desk.core.ask(request, core.Ciphertexts)).items

        try:
            await self._open(call, RE_ENCRYPT, source_key, found, ask)
        finally:
            for item, new_context in zip(found, new_contexts, strict=True):
                call.note(entry.arn, ref.version, new_context, item.outcome)
        if not keep_records:
            await self._move_records(entry, ref.version, found)
        self._used(entry, RE_ENCRYPT)
        return api.ReEncrypted(
            key=entry.arn, version=ref.version, items=tuple([_re_encrypted(item) for item in found])
        )

    async def _ask_to_decrypt(self, chunk: Sequence[_Item]) -> Sequence[bytes | None]:
        refs, places = _places([item.ref for item in chunk])
        wanted = [core.DecryptItem(places[item.ref], item.encoded, item.ciphertext) for item in chunk]
        request = core.DecryptData(keys=refs, items=tuple(wanted))
        return (await self._desk.core.ask(request, core.Plaintexts)).items

    async def _open(
        self, call: KeyCall, operation: str, key: str | None, found: Sequence[_Item], ask: _Ask
    ) -> None:
        """Have the core open what may be opened; every item has its answer or its error then."""
        try:
            named = None if key is None else await self._find_named(call, operation, key)

            async def open_chunk(chunk: Sequence[_Item]) -> Sequence[_Item]:
                for item in chunk:
                    await self._locate(call, operation, named, item)
                _raise_sole(found)
                stop_dry_run(call)
                to_open = [item for item in chunk if item.error is None]
                self._settle(operation, to_open, await ask(to_open) if to_open else ())
                return chunk

            await in_chunks(found, open_chunk)
            _raise_sole(found)
        finally:
            for item in found:
                if item.entry is not None:
                    call.note(item.entry.arn, item.version, item.context, item.outcome)
                elif item.error is not None:
                    call.note("", 0, item.context, item.outcome)

    def _settle(self, operation: str, opened: Sequence[_Item], answers: Sequence[bytes | None]) -> None:
        for item, answer in zip(opened, answers, strict=True):
            if answer is None:
                item.error = CiphertextInvalid(_NO_REASON)
            else:
                item.answer = answer
                assert item.entry is not None, "it was located"
                self._used(item.entry, operation)

    async def random(self, call: KeyCall, length: int) -> api.Random:
        call.principal.check(RANDOM, call.principal.account)
        if not 1 <= length <= 1024:
            raise FormatError(f"1 to 1024 random bytes are drawn at once, not {length}")
        stop_dry_run(call)
        drawn = await self._desk.core.ask(core.DrawRandom(length=length), core.RandomDrawn)
        return api.Random(random=drawn.random)

    # --- inside ------------------------------------------------------------------------------

    async def _prepare(
        self, call: KeyCall, operation: str, key: str, contexts: Sequence[Context]
    ) -> tuple[KeyEntry, KeyRef]:
        entry = await self._find(call, operation, key, contexts)
        return entry, require_usable(entry, KeyUsage.ENCRYPT_DECRYPT, operation)

    async def _find_named(self, call: KeyCall, operation: str, key: str) -> KeyEntry:
        """The key that all ciphertexts have to be under. What is noted is each ciphertext's own key."""
        aside = KeyCall(call.principal)
        try:
            entry = await self._find(aside, operation, key)
            require_usable(entry, KeyUsage.ENCRYPT_DECRYPT, operation)
        except HwkmError:
            call.adopt(aside)  # nothing else will be noted
            raise
        return entry

    async def _locate(self, call: KeyCall, operation: str, named: KeyEntry | None, item: _Item) -> None:
        """Find the key of a ciphertext and whether it may be used, or leave an error in the item."""
        try:
            name = CiphertextHead.parse(item.ciphertext).name
            book = self._desk.book
            item.entry = entry = book.known(name.key_id) or await book.load(name.key_id)
            item.version = name.version
            if named is not None and named.record.key_id != name.key_id:
                raise IncorrectKey(
                    "The key ID in the request does not identify a CMK that can perform this operation."
                )
            call.principal.check(operation, entry.record.account, entry.names, (item.context,))
            require_usable(entry, KeyUsage.ENCRYPT_DECRYPT, operation)
            item.encoded = encode_context(item.context)
            item.ref = book.known_version(entry, name.version)
            if item.ref is None:
                item.ref = await book.load_version(entry, name.version)
        except (FormatError, KeyNotFound):
            # Bytes that are no ciphertext, or that name no key that is there: damage, like any other.
            item.error = CiphertextInvalid(_NO_REASON)
        except (IncorrectKey, AccessDenied, KeyDisabled, KeyStateInvalid, KeyUsageInvalid) as exc:
            item.error = exc

    async def _record(
        self, entry: KeyEntry, version: int, labels: Sequence[str], ciphertexts: Sequence[bytes]
    ) -> None:
        """Record the data keys that have a label, before anybody gets them."""
        if not any(labels):
            return
        now, key_id = self._desk.now_ms(), entry.record.key_id
        recorded = [
            RecordedKey(0, version, _digest(ciphertext), label, now)
            for label, ciphertext in zip(labels, ciphertexts, strict=True)
            if label
        ]
        await self._desk.book.change(
            key_id, _record_within, key_id, recorded, self._desk.limits.recorded_per_key
        )

    async def _move_records(self, entry: KeyEntry, version: int, found: Sequence[_Item]) -> None:
        """Let the records of data keys follow them under their new key."""
        key_id = entry.record.key_id
        moves = [
            ReEncrypted(
                item.entry.record.key_id, _digest(item.ciphertext), key_id, version, _digest(item.answer)
            )
            for item in found
            if item.error is None and item.entry is not None and item.entry.has_recorded
        ]
        if moves:
            for move in moves:
                self._desk.book.forget(move.key_id)
            await self._desk.book.change(key_id, KeyStore.move_recorded, moves)

    def _used(self, entry: KeyEntry, operation: str) -> None:
        self._desk.book.used(entry, operation, self._desk.now_ms())


def _record_within(
    store: KeyStore, key_id: bytes, recorded: Sequence[RecordedKey], recorded_max: int
) -> None:
    there = store.count_recorded(key_id)
    if there + len(recorded) > recorded_max:
        raise LimitExceeded(f"{there} data keys of the key are recorded; at most {recorded_max} are")
    store.record(key_id, recorded)


async def in_chunks(
    items: Sequence[T], ask: Callable[[Sequence[T]], Coroutine[Any, Any, Sequence[R]]]
) -> Sequence[R]:
    """Ask the core about many items, chunk by chunk. All are answered, or the first error is raised at the end."""
    if len(items) <= CHUNK:
        return await ask(items) if items else []
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    answers: list[R] = []
    for answered in await asyncio.gather(*map(ask, chunks), return_exceptions=True):
        if isinstance(answered, BaseException):
            raise answered
        answers += answered
    return answers


def _places(wanted: Sequence[KeyRef | None]) -> tuple[tuple[KeyRef, ...], dict[KeyRef | None, int]]:
    """The different keys of a request, and where each is among them."""
    refs = tuple(dict.fromkeys(ref for ref in wanted if ref is not None))
    return refs, {ref: place for place, ref in enumerate(refs)}


def _raise_sole(found: Sequence[_Item]) -> None:
    if len(found) == 1 and found[0].error is not None:
        raise found[0].error


def _decrypted(item: _Item) -> api.DecryptedItem:
    if item.error is not None or item.entry is None:
        return api.DecryptedItem(error=_problem(item.error))
    return api.DecryptedItem(plaintext=item.answer, key=item.entry.arn, version=item.version)


def _re_encrypted(item: _Item) -> api.ReEncryptedItem:
    if item.error is not None or item.entry is None:
        return api.ReEncryptedItem(error=_problem(item.error))
    return api.ReEncryptedItem(ciphertext=item.answer, source_key=item.entry.arn, source_version=item.version)


def _problem(error: HwkmError | None) -> Problem:
    return problem_of(error or CiphertextInvalid(_NO_REASON))


def _whole(ciphertext: bytes | None) -> bytes:
    if ciphertext is None:
        raise HwkmError("the trusted core refused to encrypt and did not say why")
    return ciphertext


def _digest(ciphertext: bytes) -> bytes:
    return hashlib.sha256(ciphertext).digest()
