"""What only TPMs do with domain keys: owners, authorisation values, the bus, slots."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPMA_OBJECT
from tpm2_pytss.types import (
    TPM2B_DIGEST,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE,
    TPM2B_SENSITIVE_DATA,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
    TPMT_SYM_DEF_OBJECT,
    TPMU_PUBLIC_PARMS,
    TPMU_SENSITIVE_COMPOSITE,
)

from hwkm.errors import AnchorTampered, KeyExposedError, TokenError, TokenFull, WrappedKeyRefused
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.formats.wrapped_key import WrappedKey
from hwkm.secret import Pin, SecretBytes
from hwkm.thm.ports import Domain
from hwkm.tokens.tpm.authorisation import KeyServiceAuthorisations
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.customer_keys import TpmSecretKey
from hwkm.tokens.tpm.hmac_session import split_sized
from hwkm.tokens.tpm.key_templates import DUPLICATION_POLICY
from hwkm.tokens.tpm.objects import Handles
from hwkm.tokens.tpm.provisioning import esapi_session, make_key, remove
from hwkm.tokens.tpm.templates import STORAGE_ATTRIBUTES, storage_template
from hwkm.tokens.uri import TpmUri, parse_token_uri
from tests.contract.bus import Bus
from tests.contract.devices import SwtpmDevice, opened
from tests.contract.keys import domain_of, domain_on, loaded, mac, new_name

pytestmark = pytest.mark.needs("swtpm")

SYMMETRIC = KeyKind.SYMMETRIC
HASHES = {32: "sha256", 48: "sha384", 64: "sha512"}


def handles(device: SwtpmDevice) -> Handles:
    uri = parse_token_uri(device.uri)
    assert isinstance(uri, TpmUri)
    return Handles.of(uri)


def domain_value(device: SwtpmDevice, generation: int = 1) -> bytes:
    with Pin(device.pin) as pin:
        return KeyServiceAuthorisations(pin).domain_key(generation).expose()


def key_value(device: SwtpmDevice, name: KeyName) -> bytes:
    with Pin(device.pin) as pin:
        return KeyServiceAuthorisations(pin).customer_key(name, SYMMETRIC).expose()


@contextmanager
def owner(device: SwtpmDevice) -> Iterator[Connection]:
    connection = Connection(f"swtpm:path={device.socket_path}", alone=False)
    try:
        yield connection
    finally:
        connection.close()


def stolen_blob(wrapped: bytes) -> tuple[TPM2B_PRIVATE, TPM2B_PUBLIC]:
    """What a thief of the database has."""
    private, rest = split_sized(WrappedKey.parse(wrapped).blob)
    public, _ = split_sized(rest)
    area, _ = TPMT_PUBLIC.unmarshal(public)
    return TPM2B_PRIVATE(private), TPM2B_PUBLIC(area)


# --- owner and thief -------------------------------------------------------------------------


def test_an_owner_of_the_tpm_can_neither_use_nor_move_a_key(swtpm: SwtpmDevice) -> None:
    """He has the owner's authorisation and the database, then the domain key's value as well; not the key's."""
    name = new_name()
    with domain_on(swtpm) as domain:
        private, public = stolen_blob(domain.create(name, SYMMETRIC).wrapped)
    with owner(swtpm) as connection:
        esapi: Any = connection.esapi
        parent = esapi.tr_from_tpmpublic(handles(swtpm).domain(1))
        for guess in (b"", swtpm.pin[:32], domain_value(swtpm, 2)):
            esapi.tr_set_auth(parent, guess)
            with pytest.raises(TSS2_Exception):
                esapi.load(parent, private, public)
        esapi.tr_set_auth(parent, domain_value(swtpm))
        key = esapi.load(parent, private, public)
        for guess in (b"", domain_value(swtpm), key_value(swtpm, KeyName(name.key_id, 2))):
            esapi.tr_set_auth(key, guess)
            with pytest.raises(TSS2_Exception):
                esapi.hmac(key, b"message", TPM2_ALG.NULL)
            with pytest.raises(TSS2_Exception):
                esapi.duplicate(key, ESYS_TR.NULL, None, TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL))
            with pytest.raises(TSS2_Exception):
                esapi.object_change_auth(key, parent, b"mine")
        esapi.tr_set_auth(key, key_value(swtpm, name))
        assert len(bytes(esapi.hmac(key, b"message", TPM2_ALG.NULL))) == 32


def test_a_key_does_not_leave_without_a_parent_even_with_its_own_value(swtpm: SwtpmDevice) -> None:
    name = new_name()
    with domain_on(swtpm) as domain:
        private, public = stolen_blob(domain.create(name, SYMMETRIC).wrapped)
    with owner(swtpm) as connection:
        esapi: Any = connection.esapi
        parent = esapi.tr_from_tpmpublic(handles(swtpm).domain(1))
        esapi.tr_set_auth(parent, domain_value(swtpm))
        key = esapi.load(parent, private, public)
        esapi.tr_set_auth(key, key_value(swtpm, name))
        with pytest.raises(TSS2_Exception):
            esapi.duplicate(key, ESYS_TR.NULL, None, TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL))


def replace_domain_key(device: SwtpmDevice, template: TPM2B_PUBLIC, value: bytes) -> None:
    with owner(device) as connection:
        remove(connection, handles(device).domain(1))
        storage = connection.esapi.tr_from_tpmpublic(handles(device).storage)
        with esapi_session(connection, storage) as session:
            make_key(connection, storage, session, template, SecretBytes(value), handles(device).domain(1))


@pytest.mark.parametrize("value", [None, b"the owner's"])
def test_a_domain_key_removed_or_replaced_by_the_owner_loads_nothing(
    swtpm: SwtpmDevice, value: bytes | None
) -> None:
    """None: even with our value he has another key."""
    name = new_name()
    with domain_on(swtpm) as domain:
        wrapped = domain.create(name, SYMMETRIC).wrapped
    replace_domain_key(swtpm, storage_template(), value or domain_value(swtpm))
    with opened(swtpm) as token:
        with pytest.raises(TokenError):
            domain_of(token).load(name, SYMMETRIC, wrapped)
        if value:
            with pytest.raises(AnchorTampered, match="generation 1"):
                token.verify_key_policy()
    with owner(swtpm) as connection:
        remove(connection, handles(swtpm).domain(1))
    with opened(swtpm) as token:
        assert token.domain is None


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        (STORAGE_ATTRIBUTES & ~TPMA_OBJECT.FIXEDPARENT & ~TPMA_OBJECT.FIXEDTPM, "fixedTPM"),
        (STORAGE_ATTRIBUTES & ~TPMA_OBJECT.NODA, "noDA"),
        (STORAGE_ATTRIBUTES | TPMA_OBJECT.ADMINWITHPOLICY, "adminWithPolicy"),
    ],
)
def test_a_domain_key_with_a_loose_attribute_is_refused_by_name(
    swtpm: SwtpmDevice, attributes: int, named: str
) -> None:
    template = storage_template()
    template.publicArea.objectAttributes = attributes
    replace_domain_key(swtpm, template, domain_value(swtpm))
    with opened(swtpm) as token, pytest.raises(KeyExposedError, match=f"generation 1 has {named}"):
        token.verify_key_policy()


def test_a_key_of_looser_attributes_under_our_domain_key_does_not_load(swtpm: SwtpmDevice) -> None:
    """Somebody with all values makes a key that is not as ours, and puts it into a row."""
    name = new_name()
    with opened(swtpm) as token:
        domain = domain_of(token)
        wrapped = WrappedKey.parse(domain.create(name, SYMMETRIC).wrapped)
        blob = bytearray(wrapped.blob)
        at = blob.index(DUPLICATION_POLICY)
        for position in (at - 3, at - 5, at, at + 33):  # attributes, policy, scheme
            changed = bytearray(blob)
            changed[position] ^= 1
            row = WrappedKey(wrapped.backend, SYMMETRIC, 1, name, bytes(changed)).encode()
            with pytest.raises(WrappedKeyRefused):
                domain.load(name, SYMMETRIC, row)


# --- the bus ---------------------------------------------------------------------------------


def test_a_listener_on_the_bus_learns_no_customer_master_key(swtpm: SwtpmDevice) -> None:
    name, mac_name = new_name(), new_name()
    message = b"a message that is nobody's business, long enough to be found"
    with Bus(swtpm) as bus:
        uri, swtpm.uri = swtpm.uri, bus.uri
        with opened(swtpm) as token:
            domain = domain_of(token)
            wrapped = domain.create(name, SYMMETRIC).wrapped
            mac_wrapped = domain.create(mac_name, KeyKind.HMAC_256).wrapped
            derived = mac(domain, name, wrapped)
            with loaded(domain, mac_name, KeyKind.HMAC_256, mac_wrapped) as key:
                macs = key.hmac([message, message * 40])
            domain.rotate()
            domain.rewrap(name, SYMMETRIC, wrapped)
            domain.exchange_statement()
        swtpm.uri = uri
    heard = b"".join(bus.traffic)
    with Pin(swtpm.pin) as pin:
        values = KeyServiceAuthorisations(pin)
        secrets = [
            pin.expose(),
            values.customer_key(name, SYMMETRIC).expose(),
            values.customer_key(mac_name, KeyKind.HMAC_256).expose(),
            domain_value(swtpm, 1),
            domain_value(swtpm, 2),
            message,
            derived,
            *macs,
        ]
    assert len(heard) > 10_000
    assert [secret for secret in secrets if secret in heard] == []


# --- results ---------------------------------------------------------------------------------


def load_known_key(connection: Connection, kind: KeyKind, secret: bytes) -> Any:
    """Load an HMAC key whose bytes the test knows."""
    scheme = TPMT_KEYEDHASH_SCHEME(scheme=TPM2_ALG.HMAC)
    scheme.details.hmac.hashAlg = {32: TPM2_ALG.SHA256, 48: TPM2_ALG.SHA384, 64: TPM2_ALG.SHA512}[
        kind.mac_bytes
    ]
    area = TPMT_PUBLIC(
        type=TPM2_ALG.KEYEDHASH,
        nameAlg=TPM2_ALG.SHA256,
        objectAttributes=TPMA_OBJECT.USERWITHAUTH | TPMA_OBJECT.NODA | TPMA_OBJECT.SIGN_ENCRYPT,
        parameters=TPMU_PUBLIC_PARMS(),
    )
    area.parameters.keyedHashDetail.scheme = scheme
    seed = bytes(32)
    area.unique.keyedHash = TPM2B_DIGEST(hashlib.sha256(seed + secret).digest())
    sensitive = TPMT_SENSITIVE(
        sensitiveType=TPM2_ALG.KEYEDHASH,
        seedValue=TPM2B_DIGEST(seed),
        sensitive=TPMU_SENSITIVE_COMPOSITE(bits=TPM2B_SENSITIVE_DATA(secret)),
    )
    sensitive.authValue = b"value"
    return connection.esapi.load_external(TPM2B_PUBLIC(area), TPM2B_SENSITIVE(sensitive), ESYS_TR.RH_NULL)


@pytest.mark.parametrize("kind", [KeyKind.HMAC_256, KeyKind.HMAC_384, KeyKind.HMAC_512])
def test_hmacs_are_those_of_software_whatever_the_length(swtpm: SwtpmDevice, kind: KeyKind) -> None:
    secret = bytes(range(kind.secret_bytes))
    messages = [bytes([size % 256]) * size for size in (1, 63, 1023, 1024, 1025, 2048, 2049, 4095, 4096)]
    with opened(swtpm) as token:
        domain: Any = domain_of(token)
        connection: Connection = token._connection  # type: ignore[attr-defined]
        known = load_known_key(connection, kind, secret)
        name = bytes(connection.esapi.tr_get_name(known))
        (handle,) = [item for item in connection.handles(0x80000000) if item < 0x81000000]
        item = domain._engine.slots.add(handle, name, SecretBytes(b"value"))
        key = TpmSecretKey(domain._engine, kind, item)
        expected = [hmac.digest(secret, message, HASHES[kind.mac_bytes]) for message in messages]
        assert key.hmac(messages) == expected
        key.unload()


# --- room ------------------------------------------------------------------------------------


def test_no_more_than_two_keys_stay_in_the_slots_and_none_is_left_behind(swtpm: SwtpmDevice) -> None:
    with opened(swtpm) as token:
        domain = domain_of(token)
        connection: Connection = token._connection  # type: ignore[attr-defined]
        names = [new_name() for _ in range(6)]
        keys = [domain.load(name, SYMMETRIC, domain.create(name, SYMMETRIC).wrapped) for name in names]
        for key in keys:
            key.hmac([b"message", bytes(3000)])
            assert len(connection.handles(0x80000000)) <= 2
        for key in keys:
            key.unload()
        assert connection.handles(0x80000000) == []
        domain.rotate()
        domain.exchange_statement()
        assert connection.handles(0x80000000) == []
        assert len(connection.handles(0x02000000)) == 2  # sessions


def rotate_for_ever(domain: Domain) -> None:
    for _ in range(200):
        domain.rotate()


def test_a_tpm_without_room_for_another_domain_key_says_so_and_goes_on(swtpm: SwtpmDevice) -> None:
    name = new_name()
    with opened(swtpm) as token:
        domain = domain_of(token)
        wrapped = domain.create(name, SYMMETRIC).wrapped
        first = mac(domain, name, wrapped)
        with pytest.raises(TokenFull):
            rotate_for_ever(domain)
        assert mac(domain, name, wrapped) == first
        assert domain.generations() == tuple(range(1, domain.generation + 1))
        domain.retire(1)
        assert domain.rotate() == domain.generation
    with opened(swtpm) as token:
        token.verify_key_policy()


def test_rotating_under_an_owner_with_a_password_is_refused_and_changes_nothing(swtpm: SwtpmDevice) -> None:
    name = new_name()
    with opened(swtpm) as token:
        domain = domain_of(token)
        wrapped = domain.create(name, SYMMETRIC).wrapped
        token._connection.esapi.hierarchy_change_auth(ESYS_TR.OWNER, b"password")  # type: ignore[attr-defined]
        token._connection.esapi.tr_set_auth(ESYS_TR.OWNER, b"")  # type: ignore[attr-defined]
        with pytest.raises(TokenError):
            domain.rotate()
        assert domain.generations() == (1,)
        assert mac(domain, name, wrapped)
