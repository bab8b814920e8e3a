"""What people do with keys, as flows of calls; run with or without ``await`` (:mod:`hwkm.client.flow`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from hwkm import errors
from hwkm.client import key_calls
from hwkm.client.calls import Call, T
from hwkm.client.data_key import DataKey, DataKeyPair
from hwkm.client.flow import Flow, ask, pause
from hwkm.errors import FormatError, HwkmError, LimitExceeded, RateLimited, Unavailable
from hwkm.secret import SecretBytes
from hwkm.wire import key_api
from hwkm.wire.key_messages import PairSpec
from hwkm.wire.problems import Problem, error_of

Context = Mapping[str, str]

NO_CONTEXT: Final[Context] = {}
UNAVAILABLE_PAUSES_SECONDS: Final = (0.25, 2.0, 5.0)
"""A restarted core is back within two seconds."""
RATE_PAUSES_MAX: Final = 20

_OF_AN_ITEM: Final = (
    errors.CiphertextInvalid,
    errors.IncorrectKey,
    errors.AccessDenied,
    errors.KeyNotFound,
    errors.InvalidArn,
    errors.KeyDisabled,
    errors.KeyStateInvalid,
    errors.KeyUsageInvalid,
)

P = TypeVar("P")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """What is to be decrypted, and the context that it was encrypted with."""

    ciphertext: bytes
    context: Context


@dataclass(frozen=True, slots=True)
class ReEncrypted:
    """A new ciphertext, and which version of which key (ARN) it is under."""

    ciphertext: bytes
    key: str
    version: int


def patiently(call: Call[T]) -> Flow[T]:
    """Make a call that may be repeated; wait while the core restarts or the daemon has too much to do."""
    pauses = list(UNAVAILABLE_PAUSES_SECONDS)
    for _ in range(RATE_PAUSES_MAX):
        try:
            return (yield from ask(call))
        except RateLimited as busy:
            yield from pause(busy.retry_after)
        except Unavailable:
            if not pauses:
                raise
            yield from pause(pauses.pop(0))
    return (yield from ask(call))


def pages(
    make: Callable[[P | None], Call[T]], items: Callable[[T], Sequence[Item]], after: Callable[[T], P | None]
) -> Flow[tuple[Item, ...]]:
    """Every item of a list, page by page."""
    found: list[Item] = []
    place: P | None = None
    while True:
        page = yield from ask(make(place))
        found += items(page)
        following = after(page)
        if following is None:
            return tuple(found)
        if following == place or not items(page):
            raise FormatError("the daemon lists in circles")
        place = following


# --- lists -----------------------------------------------------------------------------------


def list_keys(account: str | None = None) -> Flow[tuple[key_api.KeyListed, ...]]:
    """Every key that the caller may list."""
    return pages(
        lambda after: key_calls.list_keys(account=account, after=after), lambda p: p.keys, lambda p: p.next
    )


def list_aliases(account: str | None = None, key: str | None = None) -> Flow[tuple[key_api.AliasInfo, ...]]:
    """Every alias, of all keys or of one."""
    return pages(
        lambda after: key_calls.list_aliases(account=account, key=key, after=after),
        lambda p: p.aliases,
        lambda p: p.next,
    )


def rotations(key: str) -> Flow[tuple[key_api.Rotation, ...]]:
    """Every version of a key, oldest first."""
    return pages(
        lambda after: key_calls.rotations(key, after=after or 0), lambda p: p.items, lambda p: p.next
    )


def recorded(key: str) -> Flow[tuple[key_api.RecordedDataKey, ...]]:
    """Every data key that was recorded under a label, oldest first."""
    return pages(lambda after: key_calls.recorded(key, after=after or 0), lambda p: p.items, lambda p: p.next)


# --- data keys -------------------------------------------------------------------------------


def generate_data_keys(key: str, wanted: Sequence[key_api.DataKeyWanted]) -> Flow[tuple[DataKey, ...]]:
    """Data keys with their plaintexts."""
    answer = yield from ask(key_calls.generate_data_keys(key, wanted))
    return _as_many(DataKey.all_of(answer), wanted)


def generate_wrapped_data_keys(key: str, wanted: Sequence[key_api.DataKeyWanted]) -> Flow[tuple[bytes, ...]]:
    """Data keys whose plaintext does not leave the core."""
    answer = yield from ask(key_calls.generate_wrapped_data_keys(key, wanted))
    return _as_many(answer.items, wanted)


def generate_data_key_pair(key: str, spec: PairSpec, context: Context, record: str) -> Flow[DataKeyPair]:
    """A data key pair."""
    made = yield from ask(key_calls.generate_data_key_pair(key, spec, context, record))
    return DataKeyPair(
        made.public_key, SecretBytes(made.private_key), made.ciphertext, made.key, made.version
    )


# --- encrypt, decrypt, re-encrypt ------------------------------------------------------------


def encrypt(key: str, plaintext: bytes | SecretBytes, context: Context) -> Flow[bytes]:
    """The ciphertext of 1 to 4,096 bytes."""
    return (yield from encrypt_many(key, [(plaintext, context)]))[0]


def encrypt_many(key: str, items: Sequence[tuple[bytes | SecretBytes, Context]]) -> Flow[tuple[bytes, ...]]:
    """Ciphertexts in the order of the plaintexts."""
    plain = [
        key_api.PlaintextItem(plaintext=_exposed(plaintext), context=dict(context))
        for plaintext, context in items
    ]
    answer = yield from ask(key_calls.encrypt(key, plain))
    return _as_many(answer.items, items)


def decrypt(ciphertext: bytes, context: Context, key: str | None) -> Flow[SecretBytes]:
    """The plaintext."""
    (result,) = yield from decrypt_many([Ciphertext(ciphertext, context)], key)
    return raised(result)


def decrypt_many(
    items: Sequence[Ciphertext], key: str | None = None
) -> Flow[tuple[SecretBytes | HwkmError, ...]]:
    """Plaintexts in the order of the ciphertexts, or the error of each."""
    return in_parts(items, lambda part: _decrypt_part(part, key))


def _decrypt_part(items: Sequence[Ciphertext], key: str | None) -> Flow[tuple[SecretBytes | HwkmError, ...]]:
    call = key_calls.decrypt([_item(item) for item in items], key)
    try:
        answer = yield from patiently(call)
    except HwkmError as exc:
        return _sole(exc, items)
    return _as_many([_plaintext(item) for item in answer.items], items)


def re_encrypt(
    ciphertext: bytes, key: str, context: Context, new_context: Context | None, source_key: str | None
) -> Flow[ReEncrypted]:
    """A ciphertext under another key, version or context; the plaintext stays in the core."""
    (result,) = yield from re_encrypt_many(
        key, [Ciphertext(ciphertext, context)], new_context=new_context, source_key=source_key
    )
    return raised(result)


def re_encrypt_many(
    key: str,
    items: Sequence[Ciphertext],
    *,
    new_context: Context | None = None,
    source_key: str | None = None,
    keep_record: bool = False,
) -> Flow[tuple[ReEncrypted | HwkmError, ...]]:
    """New ciphertexts in the order of the old ones, or the error of each."""
    wanted = None if new_context is None else dict(new_context)
    return in_parts(items, lambda part: _re_encrypt_part(key, part, wanted, source_key, keep_record))


def _re_encrypt_part(
    key: str,
    items: Sequence[Ciphertext],
    new_context: dict[str, str] | None,
    source_key: str | None,
    keep_record: bool,
) -> Flow[tuple[ReEncrypted | HwkmError, ...]]:
    again = [
        key_api.ReEncryptItem(ciphertext=item.ciphertext, context=dict(item.context), new_context=new_context)
        for item in items
    ]
    try:
        answer = yield from patiently(key_calls.re_encrypt(key, again, source_key, keep_record=keep_record))
    except HwkmError as exc:
        return _sole(exc, items)
    return _as_many([_re_encrypted(item, answer) for item in answer.items], items)


def in_parts(
    items: Sequence[Item], ask_for: Callable[[Sequence[Item]], Flow[tuple[Result, ...]]]
) -> Flow[tuple[Result, ...]]:
    """Ask for all items at once, or for halves of them where that is more than the daemon takes."""
    if len(items) <= key_api.ITEMS_MAX:
        try:
            return (yield from ask_for(items)) if items else ()
        except LimitExceeded:
            if len(items) < 2:
                raise
    middle = len(items) // 2
    first = yield from in_parts(items[:middle], ask_for)
    return first + (yield from in_parts(items[middle:], ask_for))


def raised(result: Result | HwkmError) -> Result:
    """A result, or its error raised."""
    if isinstance(result, HwkmError):
        raise result
    return result


# --- answers ---------------------------------------------------------------------------------


def _as_many(answers: Sequence[Item], asked: Sequence[object]) -> tuple[Item, ...]:
    """Results by position: one too few would put every other to the wrong item."""
    if len(answers) != len(asked):
        raise FormatError(f"the daemon answered {len(answers)} items of {len(asked)}")
    return tuple(answers)


def _sole(error: HwkmError, items: Sequence[object]) -> tuple[HwkmError]:
    """The error of a sole item is that of the whole request; any other fails all of them."""
    if len(items) != 1 or not isinstance(error, _OF_AN_ITEM):
        raise error
    return (error,)


def _exposed(plaintext: bytes | SecretBytes) -> bytes:
    return plaintext.expose() if isinstance(plaintext, SecretBytes) else plaintext


def _item(item: Ciphertext) -> key_api.CiphertextItem:
    return key_api.CiphertextItem(ciphertext=item.ciphertext, context=dict(item.context))


def _plaintext(item: key_api.DecryptedItem) -> SecretBytes | HwkmError:
    if item.plaintext is None:
        return _error(item.error)
    return SecretBytes(item.plaintext)


def _re_encrypted(item: key_api.ReEncryptedItem, answer: key_api.ReEncrypted) -> ReEncrypted | HwkmError:
    if item.ciphertext is None:
        return _error(item.error)
    return ReEncrypted(item.ciphertext, answer.key, answer.version)


def _error(problem: Problem | None) -> HwkmError:
    return error_of(problem) if problem else FormatError("the daemon answered an item with nothing")
