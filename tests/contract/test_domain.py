"""The contract of domain keys and customer master keys (hwkm.thm.ports)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hwkm.errors import (
    GenerationRefused,
    KeyUsageInvalid,
    TokenError,
    UnsupportedKind,
    WrappedKeyRefused,
)
from hwkm.formats.key_kind import KeyKind, KeyName, KeyUsage, SigningAlgorithm
from hwkm.formats.wrapped_key import WrappedKey
from hwkm.thm.ports import HMAC_MESSAGE_BYTES_MAX, Domain
from tests.contract.devices import Device, destroy, inventory, opened, provision
from tests.contract.keys import domain_of, domain_on, loaded, mac, new_name, point_of, verify_signature

SYMMETRIC = KeyKind.SYMMETRIC
# Two of one length, so that one could stand for the other if only lengths counted.
SECRET_PAIR = (KeyKind.SYMMETRIC, KeyKind.HMAC_256)


@pytest.fixture
def domain(device: Device) -> Iterator[Domain]:
    with domain_on(device) as opened_domain:
        yield opened_domain


def kinds_of(domain: Domain, usage: KeyUsage) -> list[KeyKind]:
    return sorted(kind for kind in domain.kinds if kind.usage == usage)


# --- what each kind does ---------------------------------------------------------------------


def test_a_new_domain_has_generation_one_and_does_symmetric_keys(domain: Domain) -> None:
    assert domain.generation == 1
    assert domain.generations() == (1,)
    assert KeyKind.SYMMETRIC in domain.kinds
    assert domain.loaded_max >= 2


def test_a_wrapped_key_says_what_it_is(domain: Domain) -> None:
    name = new_name(7)
    wrapped = WrappedKey.parse(domain.create(name, SYMMETRIC).wrapped)
    assert (wrapped.name, wrapped.kind, wrapped.generation) == (name, SYMMETRIC, 1)


def test_every_secret_kind_computes_macs_of_its_hash_in_order_whatever_the_batch(domain: Domain) -> None:
    messages = [bytes([size % 251]) * size for size in (1, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 4096)]
    assert len(messages[-1]) == HMAC_MESSAGE_BYTES_MAX
    for kind in (SYMMETRIC, *kinds_of(domain, KeyUsage.GENERATE_VERIFY_MAC)):
        name = new_name()
        created = domain.create(name, kind)
        assert created.public_key == b""
        with loaded(domain, name, kind, created.wrapped) as key:
            batch = key.hmac(messages)
            assert batch == [key.hmac([message])[0] for message in messages]
            assert key.hmac([]) == []
        assert {len(item) for item in batch} == {kind.mac_bytes}
        assert len(set(batch)) == len(messages)


def test_a_long_batch_comes_back_whole_and_in_order(domain: Domain) -> None:
    name = new_name()
    messages = [b"message %d" % number for number in range(200)]
    with loaded(domain, name, SYMMETRIC, domain.create(name, SYMMETRIC).wrapped) as key:
        batch = key.hmac(messages)
        assert len(set(batch)) == 200
        assert key.hmac(messages[::-1]) == batch[::-1]


def test_every_signing_kind_signs_by_each_of_its_algorithms(domain: Domain) -> None:
    for kind in kinds_of(domain, KeyUsage.SIGN_VERIFY):
        name = new_name()
        created = domain.create(name, kind)
        with loaded(domain, name, kind, created.wrapped) as key:
            for algorithm in sorted(kind.signing_algorithms):
                for filler in (0x00, 0x5A, 0xFF):
                    digest = bytes([filler]) * algorithm.digest_bytes
                    verify_signature(created.public_key, algorithm, digest, key.sign(algorithm, digest))


def test_every_public_key_is_of_its_kind(domain: Domain) -> None:
    for kind in sorted(domain.kinds - set(kinds_of(domain, KeyUsage.GENERATE_VERIFY_MAC)) - {SYMMETRIC}):
        public = load_der_public_key(domain.create(new_name(), kind).public_key)
        if isinstance(public, rsa.RSAPublicKey):
            assert kind.spec == f"RSA_{public.key_size}"
            assert public.public_numbers().e == 65537
        else:
            assert isinstance(public, ec.EllipticCurvePublicKey)
            assert kind.spec == f"ECC_NIST_P{public.curve.key_size}"


def test_every_agreeing_kind_agrees_with_software_ecdh(domain: Domain) -> None:
    for kind in kinds_of(domain, KeyUsage.KEY_AGREEMENT):
        name = new_name()
        created = domain.create(name, kind)
        public = load_der_public_key(created.public_key)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        with loaded(domain, name, kind, created.wrapped) as key:
            for _ in range(5):
                peer = ec.generate_private_key(public.curve)
                assert key.agree(point_of(peer.public_key())) == peer.exchange(ec.ECDH(), public)


def test_no_kind_does_another_kinds_job(domain: Domain) -> None:
    digest = bytes(32)
    for kind in sorted(domain.kinds):
        name = new_name()
        with loaded(domain, name, kind, domain.create(name, kind).wrapped) as key:
            if not kind.is_secret_key:
                with pytest.raises(KeyUsageInvalid):
                    key.hmac([b"message"])
            if kind.usage != KeyUsage.KEY_AGREEMENT:
                with pytest.raises(KeyUsageInvalid):
                    key.agree(point_of(ec.generate_private_key(ec.SECP256R1()).public_key()))
            for algorithm in sorted(set(SigningAlgorithm) - kind.signing_algorithms):
                with pytest.raises(KeyUsageInvalid):
                    key.sign(algorithm, digest)


def test_a_kind_that_the_hardware_has_not_is_refused(domain: Domain) -> None:
    for kind in sorted(set(KeyKind) - domain.kinds):
        with pytest.raises(UnsupportedKind, match=kind):
            domain.create(new_name(), kind)


# --- life of a wrapped key -------------------------------------------------------------------


def test_a_wrapped_key_is_the_same_key_after_reopening_and_restart(device: Device) -> None:
    name = new_name()
    with domain_on(device) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
        first = mac(domain, name, wrapped)
    with domain_on(device) as domain:
        assert mac(domain, name, wrapped) == first
    device.restart()
    with domain_on(device) as domain:
        assert mac(domain, name, wrapped) == first


def test_keys_take_no_room_in_the_token(device: Device) -> None:
    before = device.nv_objects()
    with domain_on(device) as domain:
        for _ in range(20):
            name = new_name()
            mac(domain, name, domain.create(name, SYMMETRIC).wrapped)
    assert device.nv_objects() == before
    assert len(inventory(device)) == len(set(inventory(device)))


def test_making_a_key_twice_makes_two(domain: Domain) -> None:
    name = new_name()
    first, second = domain.create(name, SYMMETRIC), domain.create(name, SYMMETRIC)
    assert mac(domain, name, first.wrapped) != mac(domain, name, second.wrapped)


def test_as_many_keys_as_are_promised_are_used_in_turn(domain: Domain) -> None:
    names = [new_name() for _ in range(min(domain.loaded_max, 12))]
    keys = [domain.load(name, SYMMETRIC, domain.create(name, SYMMETRIC).wrapped) for name in names]
    first = [key.hmac([b"message"]) for key in keys]
    assert len({tuple(item) for item in first}) == len(names)
    for _ in range(2):
        assert [key.hmac([b"message"]) for key in keys[::-1]] == first[::-1]
    for key in keys:
        key.unload()
        key.unload()


def test_a_key_is_loaded_twice_and_each_is_unloaded_by_itself(domain: Domain) -> None:
    name = new_name()
    wrapped = domain.create(name, SYMMETRIC).wrapped
    with loaded(domain, name, SYMMETRIC, wrapped) as one:
        with loaded(domain, name, SYMMETRIC, wrapped) as other:
            first = other.hmac([b"message"])
        assert one.hmac([b"message"]) == first


def test_a_key_in_use_outlasts_what_the_module_does_beside_it(device: Device) -> None:
    with opened(device) as token:
        domain = domain_of(token)
        name, old = new_name(), new_name()
        wrapped = domain.create(name, SYMMETRIC).wrapped
        under_the_old = domain.create(old, SYMMETRIC).wrapped
        peer = point_of(ec.generate_private_key(ec.SECP256R1()).public_key())
        with loaded(domain, name, SYMMETRIC, wrapped) as key:
            first = key.hmac([b"message"])
            domain.rotate()
            domain.rewrap(old, SYMMETRIC, under_the_old)
            domain.create(new_name(), SYMMETRIC)
            token.cohort_key.agree([peer])
            state = token.anchor.read()
            token.anchor.advance(dataclasses.replace(state, epoch=state.epoch + 1))
            token.audit_key.sign(bytes(32))
            assert key.hmac([b"message"]) == first


# --- what is refused -------------------------------------------------------------------------


def test_a_key_does_not_load_under_another_id_version_or_kind(domain: Domain) -> None:
    name = new_name()
    for kind, other_kind in (SECRET_PAIR, SECRET_PAIR[::-1]):
        wrapped = domain.create(name, kind).wrapped
        for use in (domain.load, domain.rewrap):
            for other in (new_name(), KeyName(name.key_id, 2)):
                with pytest.raises(WrappedKeyRefused):
                    use(other, kind, wrapped)
            with pytest.raises(WrappedKeyRefused):
                use(name, other_kind, wrapped)


def test_a_row_rewritten_to_another_key_does_not_load(domain: Domain) -> None:
    """The attacker writes the database: he copies a blob and makes every readable field fit."""
    name, other = new_name(), new_name()
    wrapped = WrappedKey.parse(domain.create(name, SYMMETRIC).wrapped)
    forged = (
        (other, SYMMETRIC, dataclasses.replace(wrapped, name=other)),
        (KeyName(name.key_id, 2), SYMMETRIC, dataclasses.replace(wrapped, name=KeyName(name.key_id, 2))),
        (name, KeyKind.HMAC_256, dataclasses.replace(wrapped, kind=KeyKind.HMAC_256)),
    )
    for as_name, kind, changed in forged:
        for use in (domain.load, domain.rewrap):
            with pytest.raises(WrappedKeyRefused):
                use(as_name, kind, changed.encode())
    assert mac(domain, name, wrapped.encode())


def test_a_blob_swapped_with_another_keys_does_not_load(domain: Domain) -> None:
    name, other = new_name(), new_name()
    mine = WrappedKey.parse(domain.create(name, SYMMETRIC).wrapped)
    theirs = WrappedKey.parse(domain.create(other, SYMMETRIC).wrapped)
    for swapped in (
        dataclasses.replace(mine, blob=theirs.blob),
        dataclasses.replace(mine, blob=theirs.blob, binding=theirs.binding),
        dataclasses.replace(mine, binding=theirs.binding),
    ):
        if swapped == mine:  # a TPM's key has no binding beside the blob
            continue
        for use in (domain.load, domain.rewrap):
            with pytest.raises(WrappedKeyRefused):
                use(name, SYMMETRIC, swapped.encode())


def test_every_flipped_bit_of_a_wrapped_key_is_refused(domain: Domain) -> None:
    name = new_name()
    wrapped = domain.create(name, SYMMETRIC).wrapped
    first = mac(domain, name, wrapped)
    for position in range(len(wrapped)):
        damaged = bytearray(wrapped)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(WrappedKeyRefused):
            domain.load(name, SYMMETRIC, bytes(damaged))
    for size in (0, 1, 28, 29, 30, len(wrapped) - 1):
        with pytest.raises(WrappedKeyRefused):
            domain.load(name, SYMMETRIC, wrapped[:size])
    assert mac(domain, name, wrapped) == first


def test_a_damaged_key_pair_is_refused(domain: Domain) -> None:
    for kind in sorted(domain.kinds):
        if kind.is_secret_key:
            continue
        name = new_name()
        wrapped = domain.create(name, kind).wrapped
        for position in range(29, len(wrapped), 61):
            damaged = bytearray(wrapped)
            damaged[position] ^= 0x10
            with pytest.raises(WrappedKeyRefused):
                domain.load(name, kind, bytes(damaged))


def test_a_refusal_names_the_key_and_shows_nothing_of_the_blob(domain: Domain) -> None:
    name = new_name()
    wrapped = bytearray(domain.create(name, SYMMETRIC).wrapped)
    wrapped[40] ^= 1
    with pytest.raises(WrappedKeyRefused) as refusal:
        domain.load(name, SYMMETRIC, bytes(wrapped))
    assert name.key_id.hex() in str(refusal.value)
    assert bytes(wrapped[29:45]).hex() not in str(refusal.value)


def test_a_key_of_a_module_made_anew_is_refused(device: Device) -> None:
    name = new_name()
    with domain_on(device) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
    destroy(device)
    provision(device)
    with domain_on(device) as domain:
        for use in (domain.load, domain.rewrap):
            with pytest.raises(WrappedKeyRefused):
                use(name, SYMMETRIC, wrapped)


# --- rotation --------------------------------------------------------------------------------


def test_rotation_makes_a_generation_and_the_old_one_still_unwraps(device: Device) -> None:
    name = new_name()
    with domain_on(device) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
        first = mac(domain, name, wrapped)
        assert domain.rotate() == domain.generation == 2
        assert domain.generations() == (1, 2)
        assert mac(domain, name, wrapped) == first
        assert WrappedKey.parse(domain.create(new_name(), SYMMETRIC).wrapped).generation == 2
    with domain_on(device) as domain:
        assert domain.generations() == (1, 2)
        assert mac(domain, name, wrapped) == first


def test_a_rewrapped_key_is_the_same_key_and_outlives_the_old_generation(device: Device) -> None:
    names = {kind: new_name() for kind in KeyKind}
    with domain_on(device) as domain:
        kinds = sorted(domain.kinds)
        created = {kind: domain.create(names[kind], kind) for kind in kinds}
        first = mac(domain, names[SYMMETRIC], created[SYMMETRIC].wrapped)
        domain.rotate()
        rewrapped = {kind: domain.rewrap(names[kind], kind, created[kind].wrapped) for kind in kinds}
        domain.retire(1)
        assert domain.generations() == (2,)
    with domain_on(device) as domain:
        assert domain.generations() == (2,)
        assert mac(domain, names[SYMMETRIC], rewrapped[SYMMETRIC]) == first
        for kind in kinds:
            assert WrappedKey.parse(rewrapped[kind]).generation == 2
            with loaded(domain, names[kind], kind, rewrapped[kind]) as key:
                for algorithm in sorted(kind.signing_algorithms):
                    digest = bytes(range(algorithm.digest_bytes))
                    signature = key.sign(algorithm, digest)
                    verify_signature(created[kind].public_key, algorithm, digest, signature)
            with pytest.raises(WrappedKeyRefused):
                domain.load(names[kind], kind, created[kind].wrapped)


def test_rewrapping_what_is_under_the_newest_key_keeps_it(domain: Domain) -> None:
    name = new_name()
    wrapped = domain.create(name, SYMMETRIC).wrapped
    first = mac(domain, name, wrapped)
    again = domain.rewrap(name, SYMMETRIC, wrapped)
    assert mac(domain, name, again) == first
    assert mac(domain, name, domain.rewrap(name, SYMMETRIC, again)) == first


def test_the_newest_generation_and_one_that_is_not_there_are_not_retired(domain: Domain) -> None:
    domain.rotate()
    for generation in (2, 3, 0):
        with pytest.raises(GenerationRefused):
            domain.retire(generation)
    assert domain.generations() == (1, 2)


def test_generations_are_never_given_out_again(device: Device) -> None:
    name = new_name()
    with domain_on(device) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
        for newest in (2, 3, 4):
            assert domain.rotate() == newest
            domain.retire(newest - 1)
    with domain_on(device) as domain:
        assert domain.generations() == (4,)
        assert domain.rotate() == 5
        with pytest.raises(WrappedKeyRefused):
            domain.load(name, SYMMETRIC, wrapped)


def test_domain_keys_are_listed_and_destroyed_with_the_rest(device: Device) -> None:
    with domain_on(device) as domain:
        domain.rotate()
    lines = [line for line in inventory(device) if "domain" in line]
    assert any("1" in line for line in lines)
    assert any("2" in line for line in lines)
    destroy(device)
    assert inventory(device) == []


def test_domain_keys_satisfy_the_key_policy(device: Device) -> None:
    with opened(device) as token:
        domain_of(token).rotate()
        token.verify_key_policy()
    with opened(device) as token:
        token.verify_key_policy()


# --- many ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_thousand_keys_are_loaded_in_turn(domain: Domain) -> None:
    keys = []
    for _ in range(2000):
        name = new_name()
        wrapped = domain.create(name, SYMMETRIC).wrapped
        keys.append((name, wrapped, mac(domain, name, wrapped)))
    assert len({first for _, _, first in keys}) == 2000
    for name, wrapped, first in reversed(keys):
        assert mac(domain, name, wrapped) == first


def test_an_unloaded_key_is_of_no_use(domain: Domain) -> None:
    name = new_name()
    key = domain.load(name, SYMMETRIC, domain.create(name, SYMMETRIC).wrapped)
    key.unload()
    with pytest.raises(TokenError):
        key.hmac([b"message"])
