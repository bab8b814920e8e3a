"""The client library for keys against a real daemon, blocking and awaiting."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from hwkm import errors
from hwkm.client import AsyncKeyClient, Ciphertext, KeyClient, ReEncrypted, Sealed, SecretBytes
from hwkm.errors import HwkmError
from hwkm.formats.key_kind import KeyKind, SigningAlgorithm
from hwkm.wire import key_api
from hwkm.wire.key_messages import PairSpec
from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.devices import REAL, make_device

TENANT = {"tenant": "a"}


@pytest.fixture(scope="module", params=REAL)
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with ExitStack() as stack:
        device = make_device(request.param, tmp_path_factory.mktemp("token"), stack)
        running = stack.enter_context(Daemon(device))
        running.wait_until_ready()
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[KeyClient]:
    with KeyClient(daemon.socket_path) as made:
        yield made


@pytest.fixture
def key(client: KeyClient) -> str:
    return client.create().arn


def test_a_data_key_comes_back_for_its_context_only(client: KeyClient, key: str) -> None:
    with client.generate_data_key(key, TENANT) as made:
        assert len(made.plaintext) == 32
        assert made.key == key
        assert client.decrypt(made.wrapped, TENANT) == made.plaintext
        for context in ({}, {"tenant": "b"}, {**TENANT, "more": ""}):
            with pytest.raises(errors.CiphertextInvalid):
                client.decrypt(made.wrapped, context)
    with pytest.raises(ValueError, match="wiped"):
        made.plaintext.expose()


def test_no_two_data_keys_are_equal_and_their_order_is_that_asked_for(client: KeyClient, key: str) -> None:
    wanted = [key_api.DataKeyWanted(context={"n": str(n)}, length=n) for n in (16, 32, 64, 1024)]
    made = client.generate_data_keys(key, wanted)
    assert [len(one.plaintext) for one in made] == [16, 32, 64, 1024]
    opened = client.decrypt_many(
        [Ciphertext(one.wrapped, w.context) for one, w in zip(made, wanted, strict=True)]
    )
    assert list(opened) == [one.plaintext for one in made]
    wrapped = client.generate_wrapped_data_keys(key, wanted)
    assert len({*wrapped, *(one.wrapped for one in made)}) == 8
    assert [len(plain) for plain in decrypted(client, wrapped, wanted)] == [16, 32, 64, 1024]


def decrypted(
    client: KeyClient, wrapped: tuple[bytes, ...], wanted: list[key_api.DataKeyWanted]
) -> list[SecretBytes]:
    return [client.decrypt(one, w.context) for one, w in zip(wrapped, wanted, strict=True)]


def test_what_is_encrypted_comes_back_after_rotations(client: KeyClient, key: str) -> None:
    kept = [client.encrypt(key, b"x" * size, TENANT) for size in (1, 4096)]
    for _ in range(3):
        client.rotate(key)
        kept.append(client.encrypt(key, SecretBytes(b"later"), TENANT))
    plain = [client.decrypt(one, TENANT, key=key).expose() for one in kept]
    assert plain == [b"x", b"x" * 4096, b"later", b"later", b"later"]
    assert [rotation.version for rotation in client.rotations(key)] == [1, 2, 3, 4]


def test_each_item_of_a_batch_has_its_own_error(client: KeyClient, key: str) -> None:
    good, damaged = client.encrypt_many(key, [(b"one", TENANT), (b"two", {})])
    results = client.decrypt_many(
        [
            Ciphertext(good, TENANT),
            Ciphertext(damaged[:-1], {}),
            Ciphertext(good, {}),
            Ciphertext(good, TENANT),
        ]
    )
    assert [r.expose() if isinstance(r, SecretBytes) else type(r) for r in results] == [
        b"one", errors.CiphertextInvalid, errors.CiphertextInvalid, b"one",
    ]  # fmt: skip
    sole = client.decrypt_many([Ciphertext(good, {})])
    assert [type(result) for result in sole] == [errors.CiphertextInvalid]
    other = client.create().arn
    again = client.re_encrypt_many(other, [Ciphertext(good, TENANT), Ciphertext(good, {})])
    assert isinstance(again[0], ReEncrypted)
    assert (again[0].key, again[0].version) == (other, 1)
    assert isinstance(again[1], errors.CiphertextInvalid)


def test_a_ciphertext_goes_to_another_key_and_context(client: KeyClient, key: str) -> None:
    old = client.encrypt(key, b"secret", TENANT)
    other = client.create().arn
    new = client.re_encrypt(old, other, TENANT, new_context={"tenant": "b"}, source_key=key)
    assert client.decrypt(new.ciphertext, {"tenant": "b"}, key=other).expose() == b"secret"
    with pytest.raises(errors.IncorrectKey):
        client.decrypt(new.ciphertext, {"tenant": "b"}, key=key)
    with pytest.raises(errors.IncorrectKey):
        client.re_encrypt(old, other, TENANT, source_key=other)


def test_the_life_of_a_key(client: KeyClient, request: pytest.FixtureRequest) -> None:
    name = f"alias/{hashlib.sha256(request.node.name.encode()).hexdigest()[:20]}"
    made = client.create(name, description="letters", tags={"team": "post"}, rotation_period_days=90)
    assert (made.aliases, made.tags, made.rotation_period_days) == ((name,), {"team": "post"}, 90)
    assert client.show(name) == client.show(made.arn) == client.show(made.key_id)
    assert made.key_id in {listed.key_id for listed in client.list()}
    with pytest.raises(errors.AliasExists):
        client.create(name)
    assert client.update(name, "mail").description == "mail"
    assert client.tag(name, {"cost": "7"}).tags == {"team": "post", "cost": "7"}
    assert client.untag(name, ["team"]).tags == {"cost": "7"}
    assert client.set_rotation(name, None).next_rotation_at_ms is None
    assert client.create_alias(f"{name}-2", name).key_id == made.key_id
    other = client.create()
    assert client.update_alias(f"{name}-2", other.arn).key_id == other.key_id
    assert [alias.alias for alias in client.list_aliases(other.arn)] == [f"{name}-2"]
    client.delete_alias(f"{name}-2")
    with pytest.raises(errors.KeyNotFound):
        client.show(f"{name}-2")
    client.disable(name)
    with pytest.raises(errors.KeyDisabled):
        client.generate_data_key(name)
    client.enable(name)
    client.generate_data_key(name, record="letter 1").wipe()
    assert [recorded.label for recorded in client.recorded(name)] == ["letter 1"]
    scheduled = client.schedule_deletion(name, 7)
    assert (scheduled.key.state, scheduled.orphans.total) == ("pending_deletion", 1)
    with pytest.raises(errors.KeyStateInvalid):
        client.generate_data_key(name)
    assert client.cancel_deletion(name).state == "disabled"


def test_a_data_key_pair_has_both_halves(client: KeyClient, key: str) -> None:
    with client.generate_data_key_pair(key, PairSpec.ECC_NIST_P256, TENANT) as pair:
        private = load_der_private_key(pair.private_key.expose(), None)
        spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert spki == pair.public_key
        assert client.decrypt(pair.wrapped, TENANT) == pair.private_key
    wrapped = client.generate_wrapped_data_key_pair(key, PairSpec.ECC_NIST_P256, TENANT)
    private = load_der_private_key(client.decrypt(wrapped.ciphertext, TENANT).expose(), None)
    assert private.public_key() == load_der_public_key(wrapped.public_key)


def test_macs_signatures_agreement_and_randomness(client: KeyClient) -> None:
    mac_key = client.create(kind=KeyKind.HMAC_256).arn
    mac = client.generate_mac(mac_key, b"message")
    client.verify_mac(mac_key, b"message", mac)
    with pytest.raises(errors.MacInvalid):
        client.verify_mac(mac_key, b"messagf", mac)

    signer = client.create(kind=KeyKind.ECC_NIST_P256_SIGN).arn
    signature = client.sign(signer, SigningAlgorithm.ECDSA_SHA_256, key_api.SignItem(message=b"m"))
    public = load_der_public_key(client.public_key(signer).public_key)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signature, b"m", ec.ECDSA(SHA256()))
    right = key_api.SignatureItem(message=b"m", signature=signature)
    client.verify(signer, SigningAlgorithm.ECDSA_SHA_256, right)
    wrong = key_api.SignatureItem(message=b"n", signature=signature)
    with pytest.raises(errors.SignatureInvalid):
        client.verify(signer, SigningAlgorithm.ECDSA_SHA_256, wrong)

    agreeing = client.create(kind=KeyKind.ECC_NIST_P256_AGREE).arn
    ours = ec.generate_private_key(ec.SECP256R1())
    spki = ours.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    theirs = load_der_public_key(client.public_key(agreeing).public_key)
    assert isinstance(theirs, ec.EllipticCurvePublicKey)
    agreed = ours.exchange(ec.ECDH(), theirs)
    assert hmac.compare_digest(client.derive_shared_secret(agreeing, spki).expose(), agreed)
    assert len(client.random(1024)) == 1024
    assert client.random(32) != client.random(32)
    with pytest.raises(errors.KeyUsageInvalid):
        client.generate_data_key(mac_key)


def test_what_is_out_of_range_is_not_sent(client: KeyClient, key: str) -> None:
    for refused in (
        lambda: client.encrypt(key, b"x" * 4097),
        lambda: client.generate_data_key(key, length=1025),
        lambda: client.generate_data_key(key, {"": "no name"}),
        lambda: client.schedule_deletion(key, 6),
        lambda: client.random(0),
        lambda: client.create("documents"),
    ):
        with pytest.raises(errors.FormatError):
            refused()


def test_a_record_opens_in_its_place_only_also_after_it_was_rewrapped(client: KeyClient, key: str) -> None:
    here, there = {"table": "letters", "id": "17"}, {"table": "letters", "id": "18"}
    for text in (b"", b"Dear Sir", b"x" * 100_000):
        sealed = client.seal(key, text, here)
        assert len(sealed.ciphertext) == len(text) + 28
        again = Sealed(client.re_encrypt(sealed.wrapped, key, here).ciphertext, sealed.ciphertext)
        for one in (sealed, again):
            with client.open(one, here) as opened:
                assert (opened.expose() if text else b"") == text
            with pytest.raises(errors.CiphertextInvalid):
                client.open(one, there)
    sealed, other = client.seal(key, b"one", here), client.seal(key, b"other", here)
    for wrong in (other.ciphertext, sealed.ciphertext[:-1], sealed.ciphertext[:27]):
        with pytest.raises(errors.DecryptionError):
            client.open(Sealed(sealed.wrapped, wrong), here)


def test_threads_share_a_client(client: KeyClient, key: str) -> None:
    def one(number: int) -> bool:
        context = {"n": str(number)}
        with client.generate_data_key(key, context) as made:
            return client.decrypt(made.wrapped, context) == made.plaintext

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(40)))


def test_a_batch_waits_for_a_core_that_comes_back(daemon: Daemon, client: KeyClient, key: str) -> None:
    ciphertext = client.encrypt(key, b"secret", TENANT)
    daemon.kill_core()
    (plain,) = client.decrypt_many([Ciphertext(ciphertext, TENANT)])
    assert isinstance(plain, SecretBytes)
    assert plain.expose() == b"secret"


def test_the_domain_says_what_the_hardware_can_make(client: KeyClient) -> None:
    info = client.domain()
    assert KeyKind.SYMMETRIC in info.kinds
    assert info.generation == max(info.generations)


def test_without_a_daemon_a_call_fails_at_once(client: KeyClient, tmp_path: object) -> None:
    with KeyClient(f"{tmp_path}/nobody") as lonely, pytest.raises(errors.Unavailable, match="no socket"):
        lonely.generate_data_key("alias/x")


async def test_the_awaiting_client_does_the_same(daemon: Daemon) -> None:
    async with AsyncKeyClient(daemon.socket_path) as client:
        key = (await client.create()).arn
        with await client.generate_data_key(key, TENANT) as made:
            assert await client.decrypt(made.wrapped, TENANT) == made.plaintext
        await client.rotate(key)
        again = await client.re_encrypt(made.wrapped, key, TENANT)
        assert again.version == 2
        results = await client.decrypt_many([Ciphertext(again.ciphertext, TENANT), Ciphertext(b"x" * 60, {})])
        assert [isinstance(result, HwkmError) for result in results] == [False, True]
        assert key in {listed.arn for listed in await client.list()}
        assert len(await client.random(7)) == 7
        with await client.open(await client.seal(key, b"record", TENANT), TENANT) as record:
            assert record.expose() == b"record"
        mac_key = (await client.create(kind=KeyKind.HMAC_256)).arn
        mac = await client.generate_mac(mac_key, b"m")
        await client.verify_mac(mac_key, b"m", mac)
        with pytest.raises(errors.CiphertextInvalid):
            await client.decrypt(made.wrapped, {})


def test_both_clients_have_the_same_methods() -> None:
    def public(cls: type) -> set[str]:
        return {name for name in vars(cls) if not name.startswith("_")}

    assert public(KeyClient) == public(AsyncKeyClient)


def test_more_than_a_request_may_hold_is_asked_for_in_parts(tmp_path: Path) -> None:
    small = {"limits": {"body_bytes": 16 * 1024}}
    with (
        Daemon(MemoryToken(tmp_path), settings=small) as daemon,
        KeyClient(daemon.socket_path) as client,
    ):
        daemon.wait_until_ready()
        key = client.create().arn
        contexts = [{"n": str(n), "filling": "x" * 500} for n in range(150)]
        kept = [Ciphertext(client.encrypt(key, b"x", context), context) for context in contexts]
        client.rotate(key)
        again = client.re_encrypt_many(key, kept)
        assert {one.version for one in again if isinstance(one, ReEncrypted)} == {2}
        opened = client.decrypt_many([*kept, Ciphertext(b"y" * 60, {})])
        assert [isinstance(one, SecretBytes) for one in opened] == [True] * 150 + [False]
        assert client.decrypt_many([]) == ()
        with pytest.raises(errors.LimitExceeded):
            client.decrypt(b"x" * 60, {str(n): "x" * 1300 for n in range(14)})
