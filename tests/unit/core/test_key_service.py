"""Many requests at once: each is answered as if it were alone, also where the hardware refuses some."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwkm.core.key_service import KeyService
from hwkm.errors import LimitExceeded, TokenBusy, TokenUnavailable
from hwkm.formats.context import encode_context
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.server.core_link import CoreLink
from hwkm.thm.ports import LoadedKey
from hwkm.tokens.memory_domain import InsecureDomain
from hwkm.wire import key_messages as keys
from hwkm.wire.core_messages import Failed, RequestFrame
from hwkm.wire.framing import REQUEST_BYTES_MAX, encode_frame
from hwkm.wire.key_messages import KeyRef
from tests.key_world import Cmk, memory_domain

MEMORY = memory_domain()
CMKS = [Cmk(MEMORY) for _ in range(4)]
REFS = tuple(KeyRef(cmk.key_id, 1, cmk.kind, cmk.versions[1]) for cmk in CMKS)
CONTEXTS = [{"tenant": "mint"}, {"tenant": "acme"}, {}]
ENCODED = [encode_context(context) for context in CONTEXTS]


class SmallDomain:
    """The memory's domain, with room for two loaded keys; the keys in ``busy`` compute nothing."""

    loaded_max = 2

    def __init__(self, domain: InsecureDomain, busy: Sequence[bytes] = ()) -> None:
        self._domain, self._busy = domain, busy

    def load(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> LoadedKey:
        key = self._domain.load(name, kind, wrapped)
        return BusyKey() if name.key_id in self._busy else key  # type: ignore[return-value]


class BusyKey:
    def hmac(self, messages: Sequence[bytes]) -> list[bytes]:
        raise TokenBusy("later")

    def unload(self) -> None:
        pass


class Generator:
    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def random(self, length: int) -> bytes:
        if self._error is not None:
            raise self._error
        return os.urandom(length)


def service(busy: Sequence[bytes] = (), error: Exception | None = None) -> KeyService:
    return KeyService(SmallDomain(MEMORY, busy), Generator(error))  # type: ignore[arg-type]


def encrypting(cmk: int, context: int, plaintext: bytes) -> keys.EncryptData:
    return keys.EncryptData(key=REFS[cmk], items=(keys.EncryptItem(ENCODED[context], plaintext),))


def decrypting(*items: tuple[int, int, bytes]) -> keys.DecryptData:
    wanted = tuple(keys.DecryptItem(cmk, ENCODED[context], ciphertext) for cmk, context, ciphertext in items)
    return keys.DecryptData(keys=REFS, items=wanted)


def answers(service: KeyService, *requests: keys.KeyRequest) -> list[Any]:
    """The replies in the order of the requests."""
    by_number = {frame.number: frame.body for frame in service.answer(list(enumerate(requests)))}
    return [by_number[number] for number in range(len(requests))]


wanted = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.binary(min_size=1, max_size=40)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=80)
@given(wanted, st.randoms())
def test_a_crowd_of_requests_over_more_keys_than_fit(
    things: list[tuple[int, int, bytes]], random: Any
) -> None:
    core = service()
    made = [reply.items[0] for reply in answers(core, *(encrypting(*thing) for thing in things))]
    mixed = [(cmk, context, ciphertext) for (cmk, context, _), ciphertext in zip(things, made, strict=True)]
    order = list(range(len(things)))
    random.shuffle(order)
    together = answers(core, decrypting(*(mixed[n] for n in order)), *(decrypting(mixed[n]) for n in order))
    expected = tuple(things[n][2] for n in order)
    assert together[0].items == expected
    assert tuple(reply.items[0] for reply in together[1:]) == expected
    assert core.statistics().loaded <= 2


@given(wanted, st.integers(0, 3), st.integers(0, 2))
def test_reencrypted_together(things: list[tuple[int, int, bytes]], to: int, new_context: int) -> None:
    core = service()
    made = [reply.items[0] for reply in answers(core, *(encrypting(*thing) for thing in things))]
    items = tuple(
        keys.ReencryptItem(cmk, to, ENCODED[context], ENCODED[new_context], ciphertext)
        for (cmk, context, _), ciphertext in zip(things, made, strict=True)
    )
    (moved,) = answers(core, keys.ReencryptData(keys=REFS, items=items))
    assert len(set(moved.items)) == len(things)
    (back,) = answers(core, decrypting(*((to, new_context, ciphertext) for ciphertext in moved.items)))
    assert back.items == tuple(plaintext for _, _, plaintext in things)


def test_a_key_that_the_hardware_refuses_now_fails_its_own_requests_only() -> None:
    core = service(busy=[CMKS[1].key_id])
    first, refused, last = answers(core, *(encrypting(cmk, 0, b"p") for cmk in (0, 1, 2)))
    assert isinstance(first, keys.Ciphertexts)
    assert isinstance(last, keys.Ciphertexts)
    assert refused == Failed(code="token_busy", message="later")


def test_a_batch_with_one_such_key_fails_whole_and_may_be_repeated() -> None:
    ciphertexts = [answers(service(), encrypting(cmk, 0, b"p"))[0].items[0] for cmk in (0, 1)]
    request = decrypting((0, 0, ciphertexts[0]), (1, 0, ciphertexts[1]))
    (refused,) = answers(service(busy=[CMKS[1].key_id]), request)
    assert refused == Failed(code="token_busy", message="later")
    assert answers(service(), request)[0].items == (b"p", b"p")


def test_a_generator_that_is_busy_fails_what_needs_it_only() -> None:
    ciphertext = answers(service(), encrypting(0, 0, b"p"))[0].items[0]
    core = service(error=TokenBusy("later"))
    pair = keys.GenerateDataKeyPair(key=REFS[0], context=ENCODED[0], spec=keys.PairSpec.ECC_NIST_P256)
    *refused, opened = answers(core, encrypting(0, 0, b"p"), pair, decrypting((0, 0, ciphertext)))
    assert {reply.code for reply in refused} == {"token_busy"}
    assert opened.items == (b"p",)


def test_hardware_that_is_gone_ends_it() -> None:
    with pytest.raises(TokenUnavailable):
        answers(service(error=TokenUnavailable("gone")), encrypting(0, 0, b"p"))


@pytest.mark.parametrize(
    "request_",
    [
        encrypting(0, 0, b"p"),
        decrypting((0, 0, bytes(60))),
        keys.ReadDomain(),
        keys.CreateKey(key_id=bytes(16), version=1, kind=KeyKind.SYMMETRIC),
        keys.ForgetKey(key_id=bytes(16)),
    ],
    ids=lambda request: type(request).__name__,
)
def test_a_token_without_a_domain_key_refuses_all_but_randomness(request_: keys.KeyRequest) -> None:
    core = KeyService(None, Generator())
    refused, drawn = answers(core, request_, keys.DrawRandom(length=5))
    assert refused.code == "domain_not_provisioned"
    assert len(drawn.random) == 5


class TestSizes:
    """A request is bounded before it is sent, so that its reply always fits a frame."""

    async def test_a_request_over_the_limit_is_not_sent(self) -> None:
        items = (keys.EncryptItem(ENCODED[0], bytes(4096)),) * 256
        with pytest.raises(LimitExceeded, match=str(REQUEST_BYTES_MAX)):
            await CoreLink().call(keys.EncryptData(key=REFS[0], items=items))

    @pytest.mark.parametrize(
        "request_",
        [
            keys.EncryptData(key=REFS[0], items=(keys.EncryptItem(ENCODED[2], bytes(4080)),) * 255),
            keys.EncryptData(key=REFS[0], items=(keys.EncryptItem(ENCODED[2], b"x"),) * 256),
            keys.GenerateDataKeys(key=REFS[0], items=(keys.DataKeyItem(ENCODED[2], 1024),) * 256),
        ],
        ids=["as long as it may be", "most overhead", "longest data keys"],
    )
    def test_the_longest_reply_fits(self, request_: keys.KeyRequest) -> None:
        assert len(msgspec.msgpack.encode(RequestFrame(1, request_))) <= REQUEST_BYTES_MAX
        (frame,) = service().answer([(1, request_)])
        assert encode_frame(msgspec.msgpack.encode(frame))
