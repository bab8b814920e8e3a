"""The key service of the real core, over its channel, on every kind of token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from hwkm.formats.context import encode_context
from hwkm.formats.key_kind import KeyKind, KeyUsage, SigningAlgorithm
from hwkm.wire import core_messages as wire
from hwkm.wire import key_messages as keys
from hwkm.wire.key_messages import KeyRef, PairSpec
from tests.contract.keys import verify_signature
from tests.core_keys import OTHER, TENANT, StoredKey, ask, create, decrypt, decrypting, generate, refusal
from tests.core_process import CoreEnded, CoreProcess, opening
from tests.devices import ALL, Module, provisioned
from tests.hardware import Swtpm
from tests.vault_clients import seal

C = encode_context(TENANT)


@pytest.fixture(params=ALL)
def module(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Module]:
    yield from provisioned(request.param, tmp_path)


@pytest.fixture
def core(module: Module) -> Iterator[CoreProcess]:
    with module.core() as core:
        yield core


@pytest.fixture
def memory_core(tmp_path: Path) -> Iterator[CoreProcess]:
    for module in provisioned("memory", tmp_path):
        with module.core() as core:
            yield core


def kinds(core: CoreProcess) -> frozenset[KeyKind]:
    return ask(core, keys.ReadDomain(), keys.DomainRead).kinds


def making(kind: KeyKind) -> keys.CreateKey:
    return keys.CreateKey(key_id=bytes(16), version=1, kind=kind)


class TestDataKeys:
    def test_a_data_key_comes_back_under_its_context_only(self, core: CoreProcess) -> None:
        key = create(core)
        made = generate(core, key)
        assert len(made.plaintext) == 32
        assert len(made.ciphertext) == 32 + 53
        assert decrypt(core, key, made.ciphertext) == made.plaintext
        assert decrypt(core, key, made.ciphertext, OTHER) is None
        assert decrypt(core, key, made.ciphertext, {}) is None

    def test_a_batch_is_answered_in_order_and_every_data_key_is_another(self, core: CoreProcess) -> None:
        key = create(core)
        contexts = [encode_context({"row": str(row)}) for row in range(100)]
        items = tuple(
            keys.DataKeyItem(context, 1 + row, row % 2 == 0) for row, context in enumerate(contexts)
        )
        made = ask(core, keys.GenerateDataKeys(key=key.current, items=items), keys.DataKeys).items
        wanted = tuple(keys.DecryptItem(0, c, m.ciphertext) for c, m in zip(contexts, made, strict=True))
        plaintexts = ask(core, keys.DecryptData(keys=(key.current,), items=wanted), keys.Plaintexts).items
        assert [len(p or b"") for p in plaintexts] == list(range(1, 101))
        assert [m.plaintext for m in made] == [p if n % 2 == 0 else b"" for n, p in enumerate(plaintexts)]
        assert len({p[:16] for p in plaintexts if p and len(p) >= 16}) == 85

    def test_a_refused_item_does_not_spoil_its_batch(self, core: CoreProcess) -> None:
        key, other = create(core), create(core)
        good, damaged = generate(core, key).ciphertext, bytearray(generate(core, key).ciphertext)
        damaged[-1] ^= 1
        items = (
            keys.DecryptItem(0, C, good),
            keys.DecryptItem(0, C, bytes(damaged)),
            keys.DecryptItem(1, C, good),
            keys.DecryptItem(0, encode_context(OTHER), good),
            keys.DecryptItem(0, C, b""),
            keys.DecryptItem(0, C, good),
        )
        request = keys.DecryptData(keys=(key.current, other.current), items=items)
        first, *refused, last = ask(core, request, keys.Plaintexts).items
        assert first == last
        assert first is not None
        assert refused == [None] * 4

    def test_encrypt_and_decrypt_the_longest(self, core: CoreProcess) -> None:
        key = create(core)
        items = tuple(keys.EncryptItem(C, plaintext) for plaintext in (b"x", bytes(4096)))
        short, long = ask(core, keys.EncryptData(key=key.current, items=items), keys.Ciphertexts).items
        assert short is not None
        assert long is not None
        assert decrypt(core, key, short) == b"x"
        assert decrypt(core, key, long) == bytes(4096)

    def test_random_bytes_of_the_hardware(self, core: CoreProcess) -> None:
        drawn = [
            ask(core, keys.DrawRandom(length=length), keys.RandomDrawn).random for length in (1, 64, 1024)
        ]
        assert [len(random) for random in drawn] == [1, 64, 1024]
        assert drawn[1] != drawn[2][:64]

    @pytest.mark.parametrize("spec", PairSpec)
    def test_a_data_key_pair(self, memory_core: CoreProcess, spec: PairSpec) -> None:
        key = create(memory_core)
        request = keys.GenerateDataKeyPair(key=key.current, context=C, spec=spec)
        pair = ask(memory_core, request, keys.DataKeyPair)
        assert decrypt(memory_core, key, pair.ciphertext) == pair.private_key
        private = load_der_private_key(pair.private_key, None)
        assert isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert spki == pair.public_key
        assert str(private.key_size) in spec.value

    def test_a_data_key_pair_without_its_plaintext(self, core: CoreProcess) -> None:
        key = create(core)
        request = keys.GenerateDataKeyPair(
            key=key.current, context=C, spec=PairSpec.ECC_NIST_P256, with_plaintext=False
        )
        pair = ask(core, request, keys.DataKeyPair)
        assert pair.private_key == b""
        private = load_der_private_key(decrypt(core, key, pair.ciphertext) or b"", None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)

    def test_data_keys_are_served_while_rsa_pairs_are_made(self, memory_core: CoreProcess) -> None:
        key = create(memory_core)
        request = keys.GenerateDataKeyPair(key=key.current, context=C, spec=PairSpec.RSA_4096)
        pairs = [memory_core.send(request) for _ in range(3)]
        data_key = memory_core.send(keys.GenerateDataKeys(key=key.current, items=(keys.DataKeyItem(C, 32),)))
        number, reply = memory_core.next_reply()
        assert number == data_key
        assert isinstance(reply, keys.DataKeys)
        answered = dict(memory_core.next_reply() for _ in pairs)
        assert set(answered) == set(pairs)
        assert all(isinstance(pair, keys.DataKeyPair) for pair in answered.values())

    def test_too_many_rsa_pairs_at_once_are_refused(self, memory_core: CoreProcess) -> None:
        key = create(memory_core)
        request = keys.GenerateDataKeyPair(key=key.current, context=C, spec=PairSpec.RSA_3072)
        numbers = [memory_core.send(request) for _ in range(24)]
        replies = [memory_core.reply(number) for number in numbers]
        made = [reply for reply in replies if isinstance(reply, keys.DataKeyPair)]
        refused = [reply for reply in replies if isinstance(reply, wire.Failed)]
        assert len(made) >= 16
        assert len(made) + len(refused) == 24
        assert {reply.code for reply in refused} <= {"rate_limited"}


class TestReencrypt:
    def test_to_another_key_and_context(self, core: CoreProcess) -> None:
        source, destination = create(core), create(core)
        made = generate(core, source)
        item = keys.ReencryptItem(0, 1, C, encode_context(OTHER), made.ciphertext)
        request = keys.ReencryptData(keys=(source.current, destination.current), items=(item,))
        (moved,) = ask(core, request, keys.Ciphertexts).items
        assert moved is not None
        assert decrypt(core, destination, moved, OTHER) == made.plaintext
        assert decrypt(core, destination, moved, TENANT) is None
        assert decrypt(core, source, made.ciphertext) == made.plaintext

    def test_what_does_not_decrypt_is_refused_item_by_item(self, core: CoreProcess) -> None:
        key = create(core)
        good = generate(core, key).ciphertext
        items = tuple(
            keys.ReencryptItem(0, 0, context, C, ciphertext)
            for context, ciphertext in ((C, good), (encode_context(OTHER), good), (C, good[:-1]))
        )
        moved, *refused = ask(
            core, keys.ReencryptData(keys=(key.current,), items=items), keys.Ciphertexts
        ).items
        assert moved is not None
        assert refused == [None, None]

    def test_killed_in_the_middle_nothing_is_lost(self, module: Module) -> None:
        """Whatever moment the core dies at, the old ciphertext decrypts and the request may be repeated."""
        with module.core() as core:
            source, destination = create(core), create(core)
            made = [generate(core, source) for _ in range(20)]
        items = tuple(keys.ReencryptItem(0, 1, C, C, one.ciphertext) for one in made)
        request = keys.ReencryptData(keys=(source.current, destination.current), items=items)
        for life in range(4):
            with module.core() as core:
                for _ in range(10):
                    core.send(request)
                time.sleep(0.001 * life)
                core.kill()
        with module.core() as core:
            moved = ask(core, request, keys.Ciphertexts).items
            for one, new in zip(made, moved, strict=True):
                assert new is not None
                assert (
                    decrypt(core, destination, new) == one.plaintext == decrypt(core, source, one.ciphertext)
                )


class TestStoredKeys:
    def test_keys_survive_the_core_and_a_restart_of_the_device(self, module: Module) -> None:
        with module.core() as core:
            key = create(core)
            made = generate(core, key)
            core.kill()
        module.device.restart()
        with module.core() as core:
            assert decrypt(core, key, made.ciphertext) == made.plaintext

    def test_every_version_decrypts_and_the_newest_encrypts(self, core: CoreProcess) -> None:
        key = create(core)
        made = [generate(core, key)]
        for _ in range(4):
            key.rotate(core)
            made.append(generate(core, key))
        assert [int.from_bytes(one.ciphertext[17:21], "big") for one in made] == [1, 2, 3, 4, 5]
        assert [decrypt(core, key, one.ciphertext) for one in made] == [one.plaintext for one in made]

    def test_a_row_swapped_with_another_is_refused(self, core: CoreProcess) -> None:
        """Another tenant's blob, an old version, another kind: whoever writes the database gains nothing."""
        key, other = create(core), create(core)
        key.rotate(core)
        first, second = key.refs
        damaged = bytearray(second.wrapped)
        damaged[40] ^= 1
        swapped = [
            KeyRef(second.key_id, 2, second.kind, other.current.wrapped),
            KeyRef(second.key_id, 2, second.kind, first.wrapped),
            KeyRef(second.key_id, 3, second.kind, second.wrapped),
            KeyRef(other.key_id, 2, second.kind, second.wrapped),
            KeyRef(second.key_id, 2, second.kind, bytes(damaged)),
            KeyRef(second.key_id, 2, second.kind, second.wrapped[:-1]),
            KeyRef(second.key_id, 2, second.kind, second.wrapped + b"\0"),
        ]
        generate(core, key)
        for ref in swapped:
            items = (keys.DataKeyItem(C, 32),)
            assert refusal(core, keys.GenerateDataKeys(key=ref, items=items)) == "wrapped_key_refused"
            assert ask(core, keys.RewrapKeys(keys=(ref, second)), keys.KeysRewrapped).items[0] is None
        assert generate(core, key).ciphertext

    def test_a_key_of_one_kind_does_not_load_as_another(self, core: CoreProcess) -> None:
        key, mac_key = create(core), create(core, KeyKind.HMAC_256)
        as_mac = KeyRef(key.key_id, 1, KeyKind.HMAC_256, key.current.wrapped)
        as_symmetric = KeyRef(mac_key.key_id, 1, KeyKind.SYMMETRIC, mac_key.current.wrapped)
        items = (keys.DataKeyItem(C, 32),)
        assert refusal(core, keys.ComputeMacs(key=as_mac, messages=(b"m",))) == "wrapped_key_refused"
        assert refusal(core, keys.GenerateDataKeys(key=as_symmetric, items=items)) == "wrapped_key_refused"

    def test_many_more_keys_than_the_hardware_holds_at_once(self, module: Module) -> None:
        with module.core() as core:
            loaded_max = ask(core, keys.ReadDomain(), keys.DomainRead).loaded_max
            count = min(loaded_max + 3, 300)
            stored = [create(core) for _ in range(count)]
            made = [generate(core, key) for key in stored]
            for key, one in reversed(list(zip(stored, made, strict=True))):
                assert decrypt(core, key, one.ciphertext) == one.plaintext
            statistics = core.call(wire.ReadStatistics())
            assert isinstance(statistics, wire.Statistics)
            assert statistics.keys.loaded <= loaded_max
            assert statistics.keys.loads >= count

    def test_a_batch_over_many_keys(self, core: CoreProcess) -> None:
        stored = [create(core) for _ in range(6)]
        made = [generate(core, key) for key in stored for _ in range(3)]
        items = tuple(keys.DecryptItem(n // 3, C, one.ciphertext) for n, one in enumerate(made))
        request = keys.DecryptData(keys=tuple(key.current for key in stored), items=items)
        assert ask(core, request, keys.Plaintexts).items == tuple(one.plaintext for one in made)

    def test_a_key_that_was_used_is_found_loaded(self, core: CoreProcess) -> None:
        key = create(core)
        for _ in range(5):
            generate(core, key)
        statistics = core.call(wire.ReadStatistics())
        assert isinstance(statistics, wire.Statistics)
        assert (statistics.keys.loads, statistics.keys.cache_hits) == (1, 4)
        assert statistics.keys.operations == {"create_key": 1, "generate_data_keys": 5}
        assert core.call(keys.ForgetKey(key_id=key.key_id)) == wire.Done()
        after = core.call(wire.ReadStatistics())
        assert isinstance(after, wire.Statistics)
        assert after.keys.loaded == 0


class TestOtherKinds:
    @pytest.mark.parametrize("kind", [kind for kind in KeyKind if kind.usage is KeyUsage.GENERATE_VERIFY_MAC])
    def test_macs(self, core: CoreProcess, kind: KeyKind) -> None:
        if kind not in kinds(core):
            assert refusal(core, making(kind)) == "unsupported_kind"
            return
        key = create(core, kind)
        messages = (b"one", bytes(4096), b"one")
        macs = ask(core, keys.ComputeMacs(key=key.current, messages=messages), keys.Macs).items
        assert [len(mac) for mac in macs] == [kind.mac_bytes] * 3
        assert macs[0] == macs[2] != macs[1]

    @pytest.mark.parametrize("kind", [kind for kind in KeyKind if kind.usage is KeyUsage.SIGN_VERIFY])
    def test_signatures(self, core: CoreProcess, kind: KeyKind) -> None:
        if kind not in kinds(core):
            assert refusal(core, making(kind)) == "unsupported_kind"
            return
        key = create(core, kind)
        for algorithm in sorted(kind.signing_algorithms):
            digest = bytes(range(algorithm.digest_bytes))
            request = keys.SignDigest(key=key.current, algorithm=algorithm, digest=digest)
            reply = core.call(request)
            if isinstance(reply, wire.Failed):
                assert (reply.code, algorithm[:6]) == ("unsupported_kind", "RSASSA")
                continue
            assert isinstance(reply, keys.Signature)
            verify_signature(key.public_key, algorithm, digest, reply.signature)

    @pytest.mark.parametrize("kind", [kind for kind in KeyKind if kind.usage is KeyUsage.KEY_AGREEMENT])
    def test_agreement(self, core: CoreProcess, kind: KeyKind) -> None:
        if kind not in kinds(core):
            assert refusal(core, making(kind)) == "unsupported_kind"
            return
        key = create(core, kind)
        public = load_der_public_key(key.public_key)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        ours = ec.generate_private_key(public.curve)
        point = ours.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        agreed = ask(core, keys.AgreeKey(key=key.current, point=point), keys.AgreedSecret)
        assert agreed.secret == ours.exchange(ec.ECDH(), public)
        off = point[:-1] + bytes([point[-1] ^ 1])
        assert refusal(core, keys.AgreeKey(key=key.current, point=off)) == "bad_format"

    def test_a_key_does_nothing_but_its_job(self, core: CoreProcess) -> None:
        key, mac_key = create(core), create(core, KeyKind.HMAC_256)
        signs = create(core, KeyKind.ECC_NIST_P256_SIGN)
        algorithm = SigningAlgorithm.ECDSA_SHA_256
        for ref in (key.current, signs.current):
            assert refusal(core, keys.ComputeMacs(key=ref, messages=(b"m",))) == "key_usage_invalid"
        for ref in (mac_key.current, signs.current):
            items = (keys.DataKeyItem(C, 32),)
            assert refusal(core, keys.GenerateDataKeys(key=ref, items=items)) == "key_usage_invalid"
            pair = keys.GenerateDataKeyPair(key=ref, context=C, spec=PairSpec.RSA_4096)
            assert refusal(core, pair) == "key_usage_invalid"
        for ref in (key.current, mac_key.current):
            request = keys.SignDigest(key=ref, algorithm=algorithm, digest=bytes(32))
            assert refusal(core, request) == "key_usage_invalid"
            assert refusal(core, keys.AgreeKey(key=ref, point=bytes(65))) == "key_usage_invalid"


class TestDomain:
    def test_rotation_rewrapping_and_retirement(self, module: Module) -> None:
        with module.core() as core:
            key = create(core)
            made = [generate(core, key)]
            assert ask(core, keys.RotateDomain(), keys.DomainRead).generations == (1, 2)
            key.rotate(core)
            made.append(generate(core, key))
            core.kill()
        with module.core() as core:
            old = list(key.refs)
            assert [decrypt(core, key, one.ciphertext) for one in made] == [one.plaintext for one in made]
            assert key.rewrap(core) == 2
            assert [decrypt(core, key, one.ciphertext) for one in made] == [one.plaintext for one in made]
            assert refusal(core, keys.RetireDomain(generation=2)) == "generation_refused"
            assert refusal(core, keys.RetireDomain(generation=9)) == "generation_refused"
            assert ask(core, keys.RetireDomain(generation=1), keys.DomainRead).generations == (2,)
            assert [decrypt(core, key, one.ciphertext) for one in made] == [one.plaintext for one in made]
            left_behind = StoredKey(key.kind, key.key_id, old)
            assert refusal(core, decrypting(left_behind, made[0].ciphertext)) == "wrapped_key_refused"

    def test_an_item_that_names_no_key_fails_the_request(self, memory_core: CoreProcess) -> None:
        key = create(memory_core)
        item = keys.DecryptItem(1, C, generate(memory_core, key).ciphertext)
        assert refusal(memory_core, keys.DecryptData(keys=(key.current,), items=(item,))) == "bad_format"

    def test_killed_at_any_moment_of_a_rotation(self, module: Module) -> None:
        """The next domain key is there or not; whatever was wrapped loads; rewrapping begins anew."""
        with module.core() as core:
            key = create(core)
            made = generate(core, key)
        known: tuple[int, ...] = (1,)
        for life in range(5):
            with module.core() as core:
                core.send(keys.RotateDomain())
                core.send(keys.RewrapKeys(keys=tuple(key.refs)))
                time.sleep(0.002 * life)
                core.kill()
            with module.core() as core:
                read = ask(core, keys.ReadDomain(), keys.DomainRead)
                assert read.generations in {known, (*known, known[-1] + 1)}
                known = read.generations
                assert decrypt(core, key, made.ciphertext) == made.plaintext
                assert key.rewrap(core) == read.generation
                assert decrypt(core, key, made.ciphertext) == made.plaintext


class TestTogetherWithVaults:
    def test_a_claim_among_many_data_keys_is_not_answered_last(self, module: Module) -> None:
        with module.core() as core:
            key, vault = create(core), seal(module.cohort_public_key)
            request = keys.GenerateDataKeys(key=key.current, items=(keys.DataKeyItem(C, 32),) * 16)
            claim = opening(core.claim(vault, vault.kf_hash))
            numbers = core.send_together([*[request] * 20, claim, *[request] * 20])
            replies = [core.next_reply() for _ in numbers]
            assert isinstance(replies[-1][1], keys.DataKeys)
            assert isinstance(dict(replies)[numbers[20]], wire.VaultOpened)

    def test_a_data_key_among_many_claims_is_not_answered_last(self, module: Module) -> None:
        with module.core() as core:
            key = create(core)
            claims = []
            for _ in range(200):
                vault = seal(module.cohort_public_key)
                claims.append(opening(core.claim(vault, vault.kf_hash)))
            request = keys.GenerateDataKeys(key=key.current, items=(keys.DataKeyItem(C, 32),))
            numbers = core.send_together([*claims, request])
            replies = [core.next_reply() for _ in numbers]
            assert isinstance(replies[-1][1], wire.VaultOpened)
            assert isinstance(dict(replies)[numbers[-1]], keys.DataKeys)

    def test_a_lost_key_request_costs_no_attempt(self, module: Module) -> None:
        with module.core() as core:
            key, vault = create(core), seal(module.cohort_public_key)
            core.send(keys.GenerateDataKeys(key=key.current, items=(keys.DataKeyItem(C, 32),)))
            core.kill()
        with module.core() as core:
            assert core.attempts_remaining(vault) == 10
            assert generate(core, key).ciphertext


class TestTokenGone:
    @pytest.mark.needs("swtpm")
    def test_pulled_in_the_middle_then_back(self, tmp_path: Path) -> None:
        for module in provisioned("swtpm", tmp_path):
            assert isinstance(module.device, Swtpm)
            with module.core() as core:
                key = create(core)
                made = generate(core, key)
                module.device.power_off()
                assert refusal(core, decrypting(key, made.ciphertext)) == "token_unavailable"
                with pytest.raises(CoreEnded):
                    decrypt(core, key, made.ciphertext)
                assert core.process.wait(10) == 75
            module.device.start()
            with module.core() as core:
                assert decrypt(core, key, made.ciphertext) == made.plaintext

    @pytest.mark.needs("swtpm")
    def test_everything_that_waits_is_told(self, tmp_path: Path) -> None:
        for module in provisioned("swtpm", tmp_path):
            assert isinstance(module.device, Swtpm)
            with module.core() as core:
                key = create(core)
                module.device.power_off()
                request = keys.GenerateDataKeys(key=key.current, items=(keys.DataKeyItem(C, 32),))
                for _ in range(5):
                    core.send(request)
                replies = []
                with suppress(CoreEnded):
                    while True:
                        replies.append(core.next_reply()[1])
                assert replies
                assert {isinstance(reply, wire.Failed) and reply.code for reply in replies} == {
                    "token_unavailable"
                }
                assert core.process.wait(10) == 75
