"""The transitions of an attempt counter, and time across boots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwkm.errors import FormatError
from hwkm.formats.counter import MAX_ATTEMPTS_CEILING, ClaimEntry, Counter, Instant, counter_key
from hwkm.formats.vault_params import VaultParams
from tests.vectors.reference import p256 as curve

BOOT, OTHER_BOOT = bytes(range(16)), bytes(range(16, 32))
NOW = Instant(BOOT, 1_000_000)
BLOB, OTHER_BLOB = b"\1" * 32, b"\2" * 32


def entry(number: int) -> ClaimEntry:
    return ClaimEntry(bytes([number]) * 32, Instant(BOOT, 1_000_000 + number))


def charged(*numbers: int) -> Counter:
    counter = Counter(BLOB)
    for number in numbers:
        counter = counter.charged(entry(number), NOW).failed(entry(number))
    return counter


# --- Instant ---------------------------------------------------------------------------------


def test_time_of_one_boot_is_a_difference() -> None:
    assert Instant(BOOT, 500).ms_since(Instant(BOOT, 200)) == 300
    assert Instant(BOOT, 500).ms_since(Instant(BOOT, 500)) == 0


def test_after_a_reboot_only_the_time_since_it_is_certain() -> None:
    assert Instant(OTHER_BOOT, 500).ms_since(Instant(BOOT, 200)) == 500
    assert Instant(OTHER_BOOT, 500).ms_since(Instant(BOOT, 9_999_999)) == 500


def test_clock_that_went_back_gives_no_time() -> None:
    assert Instant(BOOT, 200).ms_since(Instant(BOOT, 500)) == 0


def test_deadline_is_over_the_moment_it_is_reached() -> None:
    assert Instant(BOOT, 99).is_before(Instant(BOOT, 100))
    assert not Instant(BOOT, 100).is_before(Instant(BOOT, 100))
    assert not Instant(BOOT, 101).is_before(Instant(BOOT, 100))


def test_deadline_of_another_boot_is_over() -> None:
    assert not Instant(OTHER_BOOT, 0).is_before(Instant(BOOT, 100))


@pytest.mark.parametrize(
    ("boot_id", "ms"), [(b"", 0), (bytes(15), 0), (bytes(17), 0), (BOOT, -1), (BOOT, 2**64)]
)
def test_instant_that_cannot_be_encoded_is_refused(boot_id: bytes, ms: int) -> None:
    with pytest.raises(FormatError):
        Instant(boot_id, ms)


# --- charging --------------------------------------------------------------------------------


def test_charge_counts_at_once_and_its_verdict_is_unknown() -> None:
    counter = charged(1).charged(entry(2), NOW)
    assert (counter.attempts, counter.unresolved, counter.charged_at) == (2, 1, NOW)
    assert counter.charges == (entry(1), entry(2))


def test_charges_without_a_verdict_add_up_until_one_is_known() -> None:
    counter = Counter(BLOB).charged(entry(1), NOW).charged(entry(2), NOW)
    assert counter.unresolved == 2
    assert counter.failed(entry(2)).unresolved == 0
    assert counter.failed(entry(1)).unresolved == 1
    assert counter.succeeded(entry(2)).unresolved == 0
    assert counter.resumed() == replace(counter, unresolved=0)


def test_wrong_verdict_keeps_the_charge() -> None:
    assert charged(1, 2).attempts == 2


def test_the_hundredth_attempt_is_counted_and_the_next_refused() -> None:
    counter = charged(*range(1, MAX_ATTEMPTS_CEILING + 1))
    assert Counter.parse(counter.encode()).attempts == MAX_ATTEMPTS_CEILING
    with pytest.raises(FormatError):
        counter.charged(entry(101), NOW)


# --- success ---------------------------------------------------------------------------------


def test_success_clears_its_own_charge_and_those_before_it() -> None:
    counter = charged(1, 2, 3).succeeded(entry(3))
    assert (counter.attempts, counter.opened) == (0, entry(3))


def test_success_of_an_older_claim_does_not_clear_later_guesses() -> None:
    counter = charged(1, 2, 3, 4).succeeded(entry(2))
    assert (counter.charges, counter.opened) == ((entry(3), entry(4)), entry(2))


def test_success_clears_nothing_that_was_carried_over() -> None:
    counter = charged(1, 2).bound_to(OTHER_BLOB).charged(entry(3), NOW).succeeded(entry(3))
    assert (counter.attempts, counter.carried) == (2, 2)


def test_success_keeps_the_time_of_the_newest_charge() -> None:
    assert charged(1).succeeded(entry(1)).charged_at == NOW


def test_claim_that_was_not_charged_cannot_succeed() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        charged(1).succeeded(entry(2))
    with pytest.raises(ValueError, match="not in tuple"):
        charged(1).succeeded(replace(entry(1), expires=Instant(BOOT, 9)))


# --- replacing the blob ----------------------------------------------------------------------


def test_counter_of_the_same_blob_is_unchanged() -> None:
    counter = charged(1, 2)
    assert counter.bound_to(BLOB) is counter


def test_another_blob_inherits_every_attempt_for_good() -> None:
    counter = charged(1).charged(entry(2), NOW).bound_to(OTHER_BLOB)
    assert counter == Counter(OTHER_BLOB, carried=2, unresolved=1, charged_at=NOW)


def test_claim_that_opened_the_old_blob_is_forgotten_with_it() -> None:
    """Presented again, it would be evaluated against the new blob without a charge."""
    counter = charged(1).succeeded(entry(1)).bound_to(OTHER_BLOB)
    assert (counter.opened, counter.attempts) == (None, 0)


def test_blob_that_comes_back_does_not_bring_its_charges_back_as_clearable() -> None:
    counter = charged(1, 2).bound_to(OTHER_BLOB).bound_to(BLOB)
    assert (counter.carried, counter.charges, counter.opened) == (2, (), None)


def test_attempts_are_never_lost_by_swapping_blobs_and_opening_the_swapped_one() -> None:
    counter = charged(1, 2, 3)
    for number in range(10, 20):
        counter = counter.bound_to(OTHER_BLOB).charged(entry(number), NOW).succeeded(entry(number))
        counter = counter.bound_to(BLOB)
    assert counter.attempts == 3


# --- values that no bytes stand for ----------------------------------------------------------


@pytest.mark.parametrize("digest", [b"", bytes(32), b"\1" * 31, b"\1" * 33])
def test_claim_entry_needs_a_digest(digest: bytes) -> None:
    with pytest.raises(FormatError):
        ClaimEntry(digest, NOW)


@pytest.mark.parametrize("size", [0, 55, 57, 112])
def test_claim_entry_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(FormatError):
        ClaimEntry.parse(b"\1" * size)


@pytest.mark.parametrize(
    ("blob", "carried", "unresolved"),
    [(b"", 0, 0), (bytes(31), 0, 0), (BLOB, -1, 0), (BLOB, 101, 0), (BLOB, 0, -1), (BLOB, 0, 101)],
)
def test_counter_out_of_range_is_refused(blob: bytes, carried: int, unresolved: int) -> None:
    with pytest.raises(FormatError):
        Counter(blob, carried, unresolved)


# --- its name --------------------------------------------------------------------------------


def test_counter_is_named_by_counter_id_and_handle_alone() -> None:
    params = VaultParams(curve.public_key(bytes(31) + b"\1"), 5, 10, bytes(17))
    key = counter_key(params)
    assert counter_key(replace(params, max_attempts=9)) == key
    assert counter_key(replace(params, cohort_public_key=curve.public_key(bytes(31) + b"\2"))) == key
    assert counter_key(replace(params, counter_id=6)) != key
    assert counter_key(replace(params, handle=bytes(16) + b"\1")) != key
