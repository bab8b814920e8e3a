"""What only PKCS#11 tokens do with domain keys: the officer's mark, attributes, objects changed by others."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pkcs11
import pytest
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType, Mechanism

from hwkm.errors import (
    AnchorTampered,
    ConfigError,
    ExchangeUnsupported,
    KeyExposedError,
    TokenAlreadyProvisioned,
    TokenError,
    TokenFull,
    WrappedKeyRefused,
)
from hwkm.formats.domain_token import ExchangeStatement
from hwkm.formats.key_kind import KeyKind
from hwkm.formats.wrapped_key import WrappedKey
from hwkm.secret import Pin
from hwkm.thm.ports import WrappedItem
from hwkm.tokens import registry
from hwkm.tokens.pkcs11.ceremony import SPARES
from hwkm.tokens.pkcs11.domain_objects import WrappingKey
from hwkm.tokens.pkcs11.session import Session
from hwkm.tokens.uri import Pkcs11Uri, parse_token_uri
from tests.contract.devices import SoftHsmDevice, destroy, inventory, open_token, opened
from tests.contract.keys import domain_of, domain_on, loaded, mac, new_name, verify_signature

pytestmark = pytest.mark.needs("softhsm2-util")

SYMMETRIC = KeyKind.SYMMETRIC
PAD = Mechanism.AES_KEY_WRAP_PAD


@contextmanager
def user_session(device: SoftHsmDevice) -> Iterator[Any]:
    """A session of somebody who has the user PIN, and no hwkm."""
    uri = parse_token_uri(device.uri)
    assert isinstance(uri, Pkcs11Uri)
    with Pin(device.pin) as pin:
        session = Session(uri, pin)
    try:
        yield session.handle
    finally:
        session.close()


def labelled(session: Any, label: str) -> Any:
    (item,) = session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label})
    return item


def provision_trusted(device: SoftHsmDevice, so_pin: bytes | None = None) -> None:
    with Pin(device.pin) as pin, Pin(so_pin or device.so_pin_file.read_bytes()) as officer:
        registry.provision(device.uri, pin, officer)


def add_domain(device: SoftHsmDevice, *, by_officer: bool) -> None:
    with Pin(device.pin) as pin, Pin(device.so_pin_file.read_bytes()) as officer:
        registry.add_domain(device.uri, pin, officer if by_officer else None)


@pytest.fixture
def blank() -> Iterator[SoftHsmDevice]:
    device = SoftHsmDevice()
    try:
        with device.activated():
            yield device
    finally:
        device.stop()


@pytest.fixture
def trusted(blank: SoftHsmDevice) -> SoftHsmDevice:
    provision_trusted(blank)
    return blank


def trusted_mark(device: SoftHsmDevice) -> bool | None:
    with opened(device) as token:
        return token.describe().domain_trusted


# --- trusted domain keys ---------------------------------------------------------------------


def test_the_mark_of_the_officer_is_shown_and_checked(trusted: SoftHsmDevice, softhsm: SoftHsmDevice) -> None:
    with trusted.activated(), opened(trusted) as token:
        token.verify_key_policy()
        assert token.describe().domain_trusted is True
    with softhsm.activated():
        assert trusted_mark(softhsm) is False


def test_every_kind_lives_under_a_trusted_domain_key(trusted: SoftHsmDevice) -> None:
    with domain_on(trusted) as domain:
        for kind in sorted(domain.kinds - {KeyKind.RSA_4096_SIGN}):
            name = new_name()
            created = domain.create(name, kind)
            with loaded(domain, name, kind, created.wrapped) as key:
                if kind.is_secret_key:
                    assert len(key.hmac([b"message"])[0]) == kind.mac_bytes
                for algorithm in sorted(kind.signing_algorithms):
                    digest = bytes(algorithm.digest_bytes)
                    verify_signature(created.public_key, algorithm, digest, key.sign(algorithm, digest))


def test_a_thief_of_the_user_pin_gets_no_key_out_from_under_a_trusted_domain_key(
    trusted: SoftHsmDevice,
) -> None:
    with domain_on(trusted) as domain:
        blob = WrappedKey.parse(domain.create(new_name(), SYMMETRIC).wrapped).blob
    with user_session(trusted) as session:
        key = WrappingKey(labelled(session, "hwkm.domain.1").wrapper)
        own = WrappingKey(
            session.generate_key(
                KeyType.AES, 256, capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP
            ).wrapper
        )

        def unwrap(**changed: bool) -> Any:
            template = {"SENSITIVE": True, "EXTRACTABLE": True, "WRAP_WITH_TRUSTED": True, **changed}
            attributes = {Attribute[name]: value for name, value in template.items()}
            return key.unwrap_key(
                ObjectClass.SECRET_KEY, KeyType.AES, blob, mechanism=PAD, capabilities=0, template=attributes
            )

        for loosened in ("SENSITIVE", "WRAP_WITH_TRUSTED"):
            with pytest.raises(pkcs11.PKCS11Error):
                unwrap(**{loosened: False})
        item = unwrap()
        with pytest.raises(pkcs11.PKCS11Error):
            item[Attribute.VALUE]
        with pytest.raises(pkcs11.KeyNotWrappable):
            own.wrap_key(WrappingKey(item.wrapper), mechanism=PAD)
        for loosened in ("SENSITIVE", "WRAP_WITH_TRUSTED"):
            with pytest.raises(pkcs11.PKCS11Error):
                item.copy({Attribute[loosened]: False})
        with pytest.raises(pkcs11.PKCS11Error):
            own[Attribute.TRUSTED] = True


def test_without_the_officer_a_thief_of_the_user_pin_can_read_a_key(softhsm: SoftHsmDevice) -> None:
    """Why the ceremony is worth it; the threat model says so."""
    name = new_name()
    with domain_on(softhsm) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
    with user_session(softhsm) as session:
        key = WrappingKey(labelled(session, "hwkm.domain.1").wrapper)
        item = key.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.GENERIC_SECRET,
            WrappedKey.parse(wrapped).blob,
            mechanism=PAD,
            capabilities=0,
            template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True},
        )
        assert len(item[Attribute.VALUE]) == 32


def test_rotation_takes_spares_until_none_is_left_and_the_officer_makes_more(trusted: SoftHsmDevice) -> None:
    name = new_name()
    with domain_on(trusted) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
        first = mac(domain, name, wrapped)
        for _ in range(SPARES - 1):
            domain.rotate()
            wrapped = domain.rewrap(name, SYMMETRIC, wrapped)
            domain.retire(domain.generation - 1)
        with pytest.raises(TokenFull, match="so-pin-file"):
            domain.rotate()
        assert domain.generations() == (SPARES,)
        assert mac(domain, name, wrapped) == first
    add_domain(trusted, by_officer=True)
    with opened(trusted) as token:
        assert domain_of(token).rotate() == SPARES + 1
        token.verify_key_policy()
        assert mac(domain_of(token), name, wrapped) == first
    assert trusted_mark(trusted) is True


def test_a_domain_becomes_trusted_by_a_ceremony_and_a_rotation(softhsm: SoftHsmDevice) -> None:
    names = {kind: new_name() for kind in (SYMMETRIC, KeyKind.ECC_NIST_P256_SIGN)}
    with domain_on(softhsm) as domain:
        wrapped = {kind: domain.create(name, kind).wrapped for kind, name in names.items()}
        first = mac(domain, names[SYMMETRIC], wrapped[SYMMETRIC])
    add_domain(softhsm, by_officer=True)
    assert trusted_mark(softhsm) is False
    with domain_on(softhsm) as domain:
        domain.rotate()
        again = {kind: domain.rewrap(names[kind], kind, wrapped[kind]) for kind in names}
        domain.retire(1)
        assert mac(domain, names[SYMMETRIC], again[SYMMETRIC]) == first
    assert trusted_mark(softhsm) is True


def test_keys_of_a_trusted_domain_are_not_exported_but_imported(
    trusted: SoftHsmDevice, softhsm: SoftHsmDevice
) -> None:
    name = new_name()
    with trusted.activated(), domain_on(trusted) as domain:
        statement = domain.exchange_statement()
        fingerprint = ExchangeStatement.parse(statement).fingerprint()
        item = WrappedItem(name, SYMMETRIC, domain.create(name, SYMMETRIC).wrapped)
        with pytest.raises(ExchangeUnsupported, match="trusted"):
            domain.export_keys(statement, fingerprint, [item])
    with softhsm.activated(), opened(softhsm) as token:
        domain = domain_of(token)
        item = WrappedItem(name, SYMMETRIC, domain.create(name, SYMMETRIC).wrapped)
        first = mac(domain, name, item.wrapped)
        exported = domain.export_keys(statement, fingerprint, [item])
        sender = hashlib.sha256(token.audit_key.public_key()).digest()
    with trusted.activated(), domain_on(trusted) as domain:
        (imported,) = domain.import_keys(exported, sender)
        assert mac(domain, name, imported.wrapped) == first


def test_a_wrong_pin_of_the_officer_makes_nothing(blank: SoftHsmDevice) -> None:
    with pytest.raises(ConfigError, match="security officer"):
        provision_trusted(blank, b"not the officer's pin")
    assert inventory(blank) == []


def test_a_domain_is_not_added_twice(softhsm: SoftHsmDevice) -> None:
    before = inventory(softhsm)
    with pytest.raises(TokenAlreadyProvisioned):
        add_domain(softhsm, by_officer=False)
    assert inventory(softhsm) == before


def test_a_domain_is_added_to_a_token_set_up_without_one(softhsm: SoftHsmDevice) -> None:
    with user_session(softhsm) as session:
        for label in ("hwkm.domain.1", "hwkm.domain-mac.1"):
            labelled(session, label).destroy()
    with opened(softhsm) as token:
        assert token.domain is None
        token.verify_key_policy()
    add_domain(softhsm, by_officer=False)
    with domain_on(softhsm) as domain:
        name = new_name()
        assert mac(domain, name, domain.create(name, SYMMETRIC).wrapped)


# --- objects changed by someone else ---------------------------------------------------------


def replace_domain_key(device: SoftHsmDevice, label: str, **changed: object) -> None:
    """Somebody with the user PIN puts a key of his own in place of ours."""
    with user_session(device) as session:
        labelled(session, label).destroy()
        wraps = "mac" not in label
        template = {
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.MODIFIABLE: False,
            **{Attribute[name]: value for name, value in changed.items()},
        }
        session.generate_key(
            KeyType.AES if wraps else KeyType.GENERIC_SECRET,
            256,
            label=label,
            id=bytes(16),
            store=True,
            capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP if wraps else MechanismFlag.SIGN,
            template=template,
        )


@pytest.mark.parametrize("label", ["hwkm.domain.1", "hwkm.domain-mac.1"])
@pytest.mark.parametrize(
    "changed",
    [
        {"SENSITIVE": False},
        {"EXTRACTABLE": True},
        {"MODIFIABLE": True},
        {"PRIVATE": False},
        {"ENCRYPT": True},
        {"DECRYPT": True},
        {"DERIVE": True},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_domain_key_that_could_leave_or_do_more_is_exposed(
    softhsm: SoftHsmDevice, label: str, changed: dict[str, object]
) -> None:
    replace_domain_key(softhsm, label, **changed)
    with opened(softhsm) as token, pytest.raises(KeyExposedError, match=next(iter(changed))):
        token.verify_key_policy()


@pytest.mark.parametrize("label", ["hwkm.domain.1", "hwkm.domain-mac.1"])
def test_a_domain_key_put_in_place_of_ours_loads_nothing(softhsm: SoftHsmDevice, label: str) -> None:
    name = new_name()
    with domain_on(softhsm) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
    replace_domain_key(softhsm, label)
    with domain_on(softhsm) as domain, pytest.raises(TokenError):
        domain.load(name, SYMMETRIC, wrapped)


def test_a_generation_that_is_not_whole_is_tampering(softhsm: SoftHsmDevice) -> None:
    with user_session(softhsm) as session:
        labelled(session, "hwkm.domain-mac.1").destroy()
    with pytest.raises(AnchorTampered, match="generation 1"):
        open_token(softhsm)


def test_a_domain_key_removed_is_tampering_until_another_is_added(softhsm: SoftHsmDevice) -> None:
    name = new_name()
    with domain_on(softhsm) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
    with user_session(softhsm) as session:
        labelled(session, "hwkm.domain.1").destroy()
    with pytest.raises(AnchorTampered, match="no domain key"):
        open_token(softhsm)
    add_domain(softhsm, by_officer=False)
    with domain_on(softhsm) as domain:
        assert domain.generations() == (1,)
        with pytest.raises(WrappedKeyRefused):
            domain.load(name, SYMMETRIC, wrapped)


def test_two_domain_keys_of_one_generation_are_tampering(softhsm: SoftHsmDevice) -> None:
    with user_session(softhsm) as session:
        session.generate_key(
            KeyType.AES, 256, label="hwkm.domain.1", store=True, capabilities=MechanismFlag.WRAP
        )
    with pytest.raises(AnchorTampered, match="2 domain keys"):
        open_token(softhsm)


def test_what_an_interrupted_rotation_left_is_removed_at_opening(softhsm: SoftHsmDevice) -> None:
    before = inventory(softhsm)
    with user_session(softhsm) as session:
        session.generate_key(
            KeyType.GENERIC_SECRET,
            256,
            label="hwkm.domain-mac.2",
            store=True,
            capabilities=MechanismFlag.SIGN,
        )
    assert len(inventory(softhsm)) == len(before) + 1
    with domain_on(softhsm) as domain:
        assert domain.generations() == (1,)
    assert inventory(softhsm) == before


def test_keys_of_others_in_the_same_token_are_left_alone(softhsm: SoftHsmDevice) -> None:
    with user_session(softhsm) as session:
        for label in ("other.domain.1", "hwkm.domain.x", "hwkm.domain.01", "hwkm.domain-macs.1", ""):
            session.generate_key(KeyType.AES, 256, label=label, store=True)
    with domain_on(softhsm) as domain:
        assert domain.generations() == (1,)
    destroy(softhsm)
    with user_session(softhsm) as session:
        assert len(list(session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY}))) == 5


def test_a_key_loaded_for_use_can_be_neither_read_nor_wrapped(softhsm: SoftHsmDevice) -> None:
    with opened(softhsm) as token:
        domain = domain_of(token)
        name = new_name()
        with loaded(domain, name, SYMMETRIC, domain.create(name, SYMMETRIC).wrapped) as key:
            item: Any = key._item  # type: ignore[attr-defined]
            assert item[Attribute.SENSITIVE]
            assert not item[Attribute.EXTRACTABLE]
            assert not item[Attribute.TOKEN]
            with pytest.raises(pkcs11.PKCS11Error):
                item[Attribute.VALUE]
            wrapping = WrappingKey(labelled(item.session, "hwkm.domain.1").wrapper)
            with pytest.raises(pkcs11.KeyUnextractable):
                wrapping.wrap_key(item, mechanism=PAD)


def test_no_session_object_is_left_behind(softhsm: SoftHsmDevice) -> None:
    with opened(softhsm) as token:
        domain = domain_of(token)
        session: Any = token._session.handle  # type: ignore[attr-defined]

        def count() -> int:
            return len(list(session.get_objects({Attribute.TOKEN: False})))

        assert count() == 0
        for kind in (SYMMETRIC, KeyKind.ECC_NIST_P256_SIGN):
            name = new_name()
            wrapped = domain.create(name, kind).wrapped
            with loaded(domain, name, kind, wrapped):
                assert count() == 1
            assert count() == 0
            damaged = dataclasses.replace(WrappedKey.parse(wrapped), binding=bytes(32)).encode()
            with pytest.raises(WrappedKeyRefused):
                domain.load(name, kind, damaged)
            domain.rotate()
            domain.rewrap(name, kind, wrapped)
            assert count() == 0
