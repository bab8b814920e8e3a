"""Keys on their way from one module to another of the same kind (hwkm.thm.ports)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hwkm.errors import ExchangeRefused, ExchangeUnsupported, TokenError, WrappedKeyRefused
from hwkm.formats.domain_token import EXPORTED_KEYS_MAX, DomainToken, ExchangeStatement
from hwkm.formats.key_kind import KeyKind
from hwkm.formats.wrapped_key import Backend, WrappedKey
from hwkm.thm.ports import Domain, WrappedItem
from hwkm.tokens.token import Token
from tests.contract.devices import Device, opened
from tests.contract.keys import domain_of, loaded, mac, new_name, verify_signature

SYMMETRIC = KeyKind.SYMMETRIC
Pair = tuple[Device, Device]


@contextmanager
def token_on(device: Device) -> Iterator[Token]:
    """One token of a kind at a time: a process has one PKCS#11 library."""
    with device.activated(), opened(device) as token:
        yield token


@contextmanager
def domain_on(device: Device) -> Iterator[Domain]:
    with token_on(device) as token:
        yield domain_of(token)


def statement_of(device: Device) -> tuple[bytes, bytes]:
    """Statement and fingerprint of a receiver."""
    with domain_on(device) as domain:
        statement = domain.exchange_statement()
    return statement, ExchangeStatement.parse(statement).fingerprint()


def sender_of(device: Device) -> bytes:
    with token_on(device) as token:
        return hashlib.sha256(token.audit_key.public_key()).digest()


def one_key(domain: Domain) -> tuple[WrappedItem, bytes]:
    """A new symmetric key and an HMAC by it."""
    name = new_name()
    wrapped = domain.create(name, SYMMETRIC).wrapped
    return WrappedItem(name, SYMMETRIC, wrapped), mac(domain, name, wrapped)


def test_keys_of_every_kind_are_the_same_keys_in_the_other_module(pair: Pair) -> None:
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    items, public, macs = [], {}, {}
    with domain_on(sender) as domain:
        for kind in sorted(domain.kinds):
            created = domain.create(new_name(), kind)
            name = WrappedKey.parse(created.wrapped).name
            items.append(WrappedItem(name, kind, created.wrapped))
            public[name] = created.public_key
            if kind.is_secret_key:
                with loaded(domain, name, kind, created.wrapped) as key:
                    macs[name] = key.hmac([b"message"])
        token = domain.export_keys(statement, fingerprint, items)
    made_by = sender_of(sender)
    with domain_on(receiver) as domain:
        imported = domain.import_keys(token, made_by)
        assert [(item.name, item.kind) for item in imported] == [(item.name, item.kind) for item in items]
        for item in imported:
            assert WrappedKey.parse(item.wrapped).generation == domain.generation
            with loaded(domain, item.name, item.kind, item.wrapped) as key:
                if item.kind.is_secret_key:
                    assert key.hmac([b"message"]) == macs[item.name]
                for algorithm in sorted(item.kind.signing_algorithms):
                    digest = bytes(algorithm.digest_bytes)
                    verify_signature(public[item.name], algorithm, digest, key.sign(algorithm, digest))


def test_imported_keys_are_bound_and_rotate_like_others(pair: Pair) -> None:
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    with domain_on(sender) as domain:
        item, first = one_key(domain)
        token = domain.export_keys(statement, fingerprint, [item])
    made_by = sender_of(sender)
    with domain_on(receiver) as domain:
        (imported,) = domain.import_keys(token, made_by)
        with pytest.raises(WrappedKeyRefused):
            domain.load(new_name(), SYMMETRIC, imported.wrapped)
        with pytest.raises(WrappedKeyRefused):
            domain.load(imported.name, KeyKind.HMAC_256, imported.wrapped)
        domain.rotate()
        rewrapped = domain.rewrap(imported.name, SYMMETRIC, imported.wrapped)
        domain.retire(1)
        assert mac(domain, imported.name, rewrapped) == first
    with domain_on(sender) as domain:
        assert mac(domain, item.name, item.wrapped) == first  # the sender keeps its own
        with pytest.raises(WrappedKeyRefused):
            domain.load(imported.name, SYMMETRIC, imported.wrapped)


def test_a_statement_of_another_fingerprint_is_refused(pair: Pair) -> None:
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    with domain_on(sender) as domain:
        item, _ = one_key(domain)
        for wrong in (bytes(32), fingerprint[:-1], fingerprint[:-1] + bytes([fingerprint[-1] ^ 1])):
            with pytest.raises(ExchangeRefused, match=fingerprint.hex()):
                domain.export_keys(statement, wrong, [item])


def test_every_flipped_bit_of_a_statement_is_refused(pair: Pair) -> None:
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    with domain_on(sender) as domain:
        item, _ = one_key(domain)
        for position in range(len(statement)):
            damaged = bytearray(statement)
            damaged[position] ^= 1 << position % 8
            with pytest.raises((ExchangeRefused, ExchangeUnsupported)):
                domain.export_keys(bytes(damaged), fingerprint, [item])
        for data in (b"", statement[:-1], statement + b"\0"):
            with pytest.raises(ExchangeRefused):
                domain.export_keys(data, fingerprint, [item])


def test_a_statement_that_the_attacker_made_for_his_own_key_is_refused(pair: Pair) -> None:
    """He cannot sign for the module, and if he signs for himself the fingerprint is another."""
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    own, _ = statement_of(sender)
    with domain_on(sender) as domain:
        item, _ = one_key(domain)
        theirs, mine = ExchangeStatement.parse(statement), ExchangeStatement.parse(own)
        for forged in (
            dataclasses.replace(theirs, exchange_key=mine.exchange_key),
            dataclasses.replace(theirs, exchange_key=mine.exchange_key, claims=mine.claims),
            dataclasses.replace(mine, identity_key=theirs.identity_key),
        ):
            for named in (fingerprint, forged.fingerprint()):
                with pytest.raises(ExchangeRefused):
                    domain.export_keys(forged.encode(), named, [item])


def test_a_statement_of_another_kind_of_module_is_unsupported(pair: Pair) -> None:
    sender, receiver = pair
    statement = ExchangeStatement.parse(statement_of(receiver)[0])
    with domain_on(sender) as domain:
        item, _ = one_key(domain)
        for backend in set(Backend) - {statement.backend}:
            other = dataclasses.replace(statement, backend=backend)
            with pytest.raises(ExchangeUnsupported):
                domain.export_keys(other.encode(), other.fingerprint(), [item])


def test_a_domain_token_is_for_its_receiver_only(pair: Pair) -> None:
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    statement_of(sender)
    with domain_on(sender) as domain:
        item, _ = one_key(domain)
        token = domain.export_keys(statement, fingerprint, [item])
    made_by = sender_of(sender)
    with domain_on(sender) as domain, pytest.raises(ExchangeRefused, match="another module"):
        domain.import_keys(token, made_by)


def test_a_domain_token_of_another_sender_is_refused(pair: Pair) -> None:
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    with domain_on(sender) as domain:
        item, _ = one_key(domain)
        token = domain.export_keys(statement, fingerprint, [item])
    with domain_on(receiver) as domain:
        for wrong in (bytes(32), b""):
            with pytest.raises(ExchangeRefused):
                domain.import_keys(token, wrong)


def test_a_damaged_domain_token_is_refused_wherever_the_damage_is(pair: Pair) -> None:
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    with domain_on(sender) as domain:
        item, _ = one_key(domain)
        token = domain.export_keys(statement, fingerprint, [item])
    made_by = sender_of(sender)
    with domain_on(receiver) as domain:
        for position in range(len(token)):
            damaged = bytearray(token)
            damaged[position] ^= 1 << position % 8
            with pytest.raises((ExchangeRefused, ExchangeUnsupported)):
                domain.import_keys(bytes(damaged), made_by)
        for data in (b"", token[:-1], token + b"\0"):
            with pytest.raises(ExchangeRefused):
                domain.import_keys(data, made_by)


def test_sixty_four_keys_go_at_a_time_and_no_more(pair: Pair) -> None:
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    with domain_on(sender) as domain:
        made = [one_key(domain) for _ in range(EXPORTED_KEYS_MAX)]
        items = [item for item, _ in made]
        for count in ([], [*items, items[0]]):
            with pytest.raises(ExchangeRefused):
                domain.export_keys(statement, fingerprint, count)
        token = domain.export_keys(statement, fingerprint, items)
    assert len(DomainToken.parse(token).keys) == EXPORTED_KEYS_MAX
    made_by = sender_of(sender)
    with domain_on(receiver) as domain:
        imported = domain.import_keys(token, made_by)
        assert [mac(domain, item.name, item.wrapped) for item in imported] == [first for _, first in made]


def test_a_key_that_does_not_load_stops_the_export(pair: Pair) -> None:
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    with domain_on(sender) as domain:
        item, _ = one_key(domain)
        damaged = dataclasses.replace(item, wrapped=item.wrapped[:-1])
        with pytest.raises(WrappedKeyRefused):
            domain.export_keys(statement, fingerprint, [item, damaged])


def test_the_statement_is_of_the_same_key_after_a_restart(pair: Pair) -> None:
    _, receiver = pair
    _, first = statement_of(receiver)
    receiver.restart()
    assert statement_of(receiver)[1] == first


def test_a_domain_token_is_imported_after_a_restart_and_again(pair: Pair) -> None:
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    with domain_on(sender) as domain:
        item, first = one_key(domain)
        token = domain.export_keys(statement, fingerprint, [item])
    made_by = sender_of(sender)
    receiver.restart()
    for _ in range(2):
        with domain_on(receiver) as domain:
            (imported,) = domain.import_keys(token, made_by)
            assert mac(domain, item.name, imported.wrapped) == first


def test_the_token_shows_no_key(pair: Pair) -> None:
    sender, receiver = pair
    statement, fingerprint = statement_of(receiver)
    with domain_on(sender) as domain:
        item, _ = one_key(domain)
        token = domain.export_keys(statement, fingerprint, [item])
        blob = WrappedKey.parse(item.wrapped).blob
    assert blob not in token
    with domain_on(receiver) as domain, pytest.raises(TokenError):
        domain.load(item.name, SYMMETRIC, item.wrapped)
