"""TPM commands that fail while domain keys and customer master keys are used, on the bus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hwkm.errors import TokenBusy, TokenError, TokenUnavailable, WrappedKeyRefused
from hwkm.formats.key_kind import KeyKind
from hwkm.thm.ports import Domain, LoadedKey
from tests.contract.bus import Bus, command_code, refusal
from tests.contract.devices import SwtpmDevice, opened
from tests.contract.keys import domain_of, domain_on, mac, new_name

pytestmark = pytest.mark.needs("swtpm")

SYMMETRIC = KeyKind.SYMMETRIC
HMAC, CREATE, LOAD, DUPLICATE, IMPORT, START_SESSION = 0x155, 0x153, 0x157, 0x14B, 0x156, 0x176
CONTEXT_SAVE, CONTEXT_LOAD, EVICT_CONTROL, SEQUENCE_COMPLETE = 0x162, 0x161, 0x120, 0x13E
RETRY, TESTING, YIELDED = 0x922, 0x90A, 0x908
LOCKOUT, OBJECT_MEMORY, SESSION_MEMORY = 0x921, 0x902, 0x903
FAILURE = 0x101


class Refusals:
    """Refuses commands of one kind: those numbered, counted from 1 since it was armed."""

    def __init__(self) -> None:
        self.arm(0, 0, ())

    def arm(self, command: int, code: int, numbers: tuple[int, ...] | range = range(1, 10**6)) -> None:
        self.command, self.code, self.numbers = command, code, numbers
        self.seen = 0

    def __call__(self, frame: bytes) -> bytes | None:
        if command_code(frame) != self.command:
            return None
        self.seen += 1
        return refusal(self.code) if self.seen in self.numbers else None


@contextmanager
def refused(swtpm: SwtpmDevice) -> Iterator[tuple[Domain, Refusals]]:
    refusals = Refusals()
    with Bus(swtpm) as bus:
        uri, swtpm.uri = swtpm.uri, bus.uri
        try:
            with opened(swtpm) as token:
                bus.answer = refusals
                yield domain_of(token), refusals
        finally:
            swtpm.uri = uri


def new_key(domain: Domain) -> tuple[Callable[[], LoadedKey], bytes]:
    """A key's loader and its HMAC of a message."""
    name = new_name()
    wrapped = domain.create(name, SYMMETRIC).wrapped
    return lambda: domain.load(name, SYMMETRIC, wrapped), mac(domain, name, wrapped)


@pytest.mark.parametrize("code", [RETRY, TESTING, YIELDED])
@pytest.mark.parametrize("numbers", [(1,), (2,), (7,), (19, 20), (20,)])
def test_a_tpm_that_asks_again_in_a_batch_is_asked_again(
    swtpm: SwtpmDevice, code: int, numbers: tuple[int, ...]
) -> None:
    with refused(swtpm) as (domain, refusals):
        load, first = new_key(domain)
        key = load()
        refusals.arm(HMAC, code, numbers)
        assert key.hmac([b"message"] * 20) == [first] * 20
        refusals.arm(0, 0)
        assert key.hmac([b"message"] * 20) == [first] * 20  # both sessions live on


@pytest.mark.parametrize("code", [LOCKOUT, OBJECT_MEMORY, SESSION_MEMORY])
def test_a_busy_tpm_is_busy_and_everything_works_after_it(swtpm: SwtpmDevice, code: int) -> None:
    with refused(swtpm) as (domain, refusals):
        load, first = new_key(domain)
        key, name = load(), new_name()
        wrapped = domain.create(name, SYMMETRIC).wrapped
        domain.rotate()
        uses: list[tuple[int, Callable[[], object]]] = [
            (HMAC, lambda: key.hmac([b"message"] * 5)),
            (HMAC, load),
            (SEQUENCE_COMPLETE, lambda: key.hmac([bytes(3000)])),
            (CREATE, lambda: domain.create(new_name(), SYMMETRIC)),
            (LOAD, load),
            (DUPLICATE, lambda: domain.rewrap(name, SYMMETRIC, wrapped)),
            (IMPORT, lambda: domain.rewrap(name, SYMMETRIC, wrapped)),
            (START_SESSION, lambda: domain.rewrap(name, SYMMETRIC, wrapped)),
            (EVICT_CONTROL, domain.rotate),
        ]
        for command, use in uses:
            for number in (1, 2):
                refusals.arm(command, code, (number,))
                try:
                    use()
                except TokenBusy:
                    assert refusals.seen >= number  # in a batch the next one is under way
                else:
                    assert refusals.seen < number, "a refusal went unnoticed"
            refusals.arm(0, 0)
            assert key.hmac([b"message"]) == [first]
            assert mac(domain, name, wrapped)


def test_a_tpm_in_failure_mode_is_unavailable(swtpm: SwtpmDevice) -> None:
    with refused(swtpm) as (domain, refusals):
        load, _ = new_key(domain)
        key = load()
        for command, use in (
            (HMAC, lambda: key.hmac([b"message"])),
            (CREATE, lambda: domain.create(new_name(), SYMMETRIC)),
            (LOAD, load),
        ):
            refusals.arm(command, FAILURE)
            with pytest.raises(TokenUnavailable):
                use()


def test_a_refused_parameter_is_the_blobs_and_a_refused_value_the_rows(swtpm: SwtpmDevice) -> None:
    with refused(swtpm) as (domain, refusals):
        load, _ = new_key(domain)
        for command, code in ((LOAD, 0x1DF), (LOAD, 0x2D5), (HMAC, 0x9A2), (HMAC, 0x98E)):
            refusals.arm(command, code)
            with pytest.raises(WrappedKeyRefused):
                load()


def test_objects_saved_and_loaded_again_may_fail_too(swtpm: SwtpmDevice) -> None:
    with refused(swtpm) as (domain, refusals):
        keys = [new_key(domain) for _ in range(5)]
        held = [load() for load, _ in keys]
        for command in (CONTEXT_SAVE, CONTEXT_LOAD):
            for key, (_, first) in zip(held, keys, strict=True):
                refusals.arm(command, OBJECT_MEMORY, (1,))
                try:
                    assert key.hmac([b"message"]) == [first]
                except TokenBusy:
                    assert refusals.seen == 1
                refusals.arm(0, 0)
                assert key.hmac([b"message"]) == [first]


@pytest.mark.parametrize("position", [13, 14, 20, -1, -10, -40])
def test_an_hmac_altered_on_the_bus_is_never_believed(swtpm: SwtpmDevice, position: int) -> None:
    name = new_name()
    with domain_on(swtpm) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped

    def alter(frame: bytes, answer: bytes) -> bytes:
        changed = bytearray(answer)
        if command_code(frame) == HMAC and len(frame) > 200:
            changed[position] ^= 1
        return bytes(changed)

    with Bus(swtpm) as bus:
        uri, swtpm.uri = swtpm.uri, bus.uri
        with opened(swtpm) as token:
            key = domain_of(token).load(name, SYMMETRIC, wrapped)
            bus.alter = alter
            with pytest.raises(TokenUnavailable):
                key.hmac([bytes(200)])
        swtpm.uri = uri


def test_a_tpm_that_loses_power_is_unavailable_and_keys_load_again_after_it(swtpm: SwtpmDevice) -> None:
    name = new_name()
    with opened(swtpm) as token:
        domain = domain_of(token)
        wrapped = domain.create(name, SYMMETRIC).wrapped
        key = domain.load(name, SYMMETRIC, wrapped)
        (first,) = key.hmac([b"message"])
        swtpm.power_off()
        for use in (
            lambda: key.hmac([b"message"]),
            lambda: domain.create(name, SYMMETRIC),
            lambda: domain.load(name, SYMMETRIC, wrapped),
            lambda: domain.rewrap(name, SYMMETRIC, wrapped),
            domain.rotate,
        ):
            with pytest.raises(TokenUnavailable):
                use()
        key.unload()
    swtpm.start()
    with domain_on(swtpm) as domain:
        assert domain.generations() == (1,)
        assert mac(domain, name, wrapped) == first


def test_a_key_of_before_a_restart_of_the_tpm_is_of_no_use_after_it(swtpm: SwtpmDevice) -> None:
    name = new_name()
    with opened(swtpm) as token:
        domain = domain_of(token)
        key = domain.load(name, SYMMETRIC, domain.create(name, SYMMETRIC).wrapped)
        swtpm.restart()
        with pytest.raises(TokenError):
            key.hmac([b"message"])
