"""Plaintext of the key service searched for after every path, in the memory of the core at rest.

Data keys, what was encrypted or decrypted, message keys, the halves of data key pairs: the core has them
for the time of one batch. After that nothing of them may be left, neither whole nor any 8 bytes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from hwkm.core.environment import FREED_MEMORY_OVERWRITTEN
from hwkm.formats.context import encode_context
from hwkm.wire import core_messages as wire
from hwkm.wire import key_messages as keys
from hwkm.wire.key_messages import PairSpec
from tests.core_keys import OTHER, TENANT, StoredKey, ask, create, decrypt, generate
from tests.core_process import CoreProcess
from tests.devices import REAL, Module, provisioned
from tests.harness.memory_dump import Hunt, readable_by_its_user

pytestmark = pytest.mark.attack

CONTEXT = encode_context(TENANT)
Seen = dict[str, bytes]
"""Every secret that passed, by a name that says what it is."""


@pytest.fixture(params=["memory", REAL[0]])
def module(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Module]:
    yield from provisioned(request.param, tmp_path)


@pytest.fixture
def core(module: Module) -> Iterator[CoreProcess]:
    """Started as hwkmd starts it."""
    environment = {**FREED_MEMORY_OVERWRITTEN, **readable_by_its_user()}
    with CoreProcess(module.device, environment) as core:
        core.serve(module.settings)
        yield core


def left_in(core: CoreProcess, seen: Mapping[str, bytes]) -> set[str]:
    assert isinstance(core.call(wire.ReadStatistics()), wire.Statistics)
    return Hunt(seen).in_memory(core.process.pid)


def a_data_key(core: CoreProcess, key: StoredKey) -> Seen:
    return {"data key": generate(core, key).plaintext}


def a_batch_of_data_keys(core: CoreProcess, key: StoredKey) -> Seen:
    items = tuple(keys.DataKeyItem(CONTEXT, 16 + n) for n in range(200))
    made = ask(core, keys.GenerateDataKeys(key=key.current, items=items), keys.DataKeys).items
    return {f"data key {n}": one.plaintext for n, one in enumerate(made)}


def data_keys_without_plaintext(core: CoreProcess, key: StoredKey) -> Seen:
    items = (keys.DataKeyItem(CONTEXT, 32, with_plaintext=False),) * 20
    made = ask(core, keys.GenerateDataKeys(key=key.current, items=items), keys.DataKeys).items
    plaintexts = [decrypt(core, key, one.ciphertext) for one in made]
    return {f"data key {n}": plaintext or b"" for n, plaintext in enumerate(plaintexts)}


def what_a_caller_encrypts(core: CoreProcess, key: StoredKey) -> Seen:
    plaintexts = [secrets.token_bytes(length) for length in (16, 100, 4096)]
    items = tuple(keys.EncryptItem(CONTEXT, plaintext) for plaintext in plaintexts)
    ask(core, keys.EncryptData(key=key.current, items=items), keys.Ciphertexts)
    return {f"plaintext {n}": plaintext for n, plaintext in enumerate(plaintexts)}


def what_is_reencrypted(core: CoreProcess, key: StoredKey) -> Seen:
    made = [generate(core, key) for _ in range(10)]
    items = tuple(keys.ReencryptItem(0, 0, CONTEXT, encode_context(OTHER), one.ciphertext) for one in made)
    ask(core, keys.ReencryptData(keys=(key.current,), items=items), keys.Ciphertexts)
    return {f"data key {n}": one.plaintext for n, one in enumerate(made)}


def what_does_not_decrypt(core: CoreProcess, key: StoredKey) -> Seen:
    made = generate(core, key)
    assert decrypt(core, key, made.ciphertext, OTHER) is None
    assert decrypt(core, key, made.ciphertext[:-1]) is None
    return {"data key": made.plaintext}


def a_pair(spec: PairSpec) -> Callable[[CoreProcess, StoredKey], Seen]:
    def made(core: CoreProcess, key: StoredKey) -> Seen:
        request = keys.GenerateDataKeyPair(key=key.current, context=CONTEXT, spec=spec)
        pair = ask(core, request, keys.DataKeyPair)
        private = load_der_private_key(pair.private_key, None)
        if isinstance(private, ec.EllipticCurvePrivateKey):
            scalar = private.private_numbers().private_value
        else:
            assert isinstance(private, rsa.RSAPrivateKey)
            scalar = private.private_numbers().d
        size = (scalar.bit_length() + 7) // 8
        return {"scalar": scalar.to_bytes(size, "big"), "turned round": scalar.to_bytes(size, "little")}

    return made


PATHS: dict[str, Callable[[CoreProcess, StoredKey], Seen]] = {
    "a data key": a_data_key,
    "a batch of data keys": a_batch_of_data_keys,
    "data keys without plaintext": data_keys_without_plaintext,
    "what a caller encrypts": what_a_caller_encrypts,
    "what is reencrypted": what_is_reencrypted,
    "what does not decrypt": what_does_not_decrypt,
    "a pair on P-256": a_pair(PairSpec.ECC_NIST_P256),
    "a pair of RSA": a_pair(PairSpec.RSA_2048),
}


@pytest.mark.parametrize("path", PATHS)
def test_core_at_rest_holds_no_plaintext_that_passed_it(core: CoreProcess, path: str) -> None:
    seen = PATHS[path](core, create(core))
    assert all(seen.values())
    assert left_in(core, seen) == set()


def test_search_finds_a_plaintext_that_the_core_still_holds(module: Module) -> None:
    """The search works: without overwriting, something of a batch is left."""
    plain = dict.fromkeys(FREED_MEMORY_OVERWRITTEN, "")
    with CoreProcess(module.device, {**plain, **readable_by_its_user()}) as core:
        core.serve(module.settings)
        seen = a_batch_of_data_keys(core, create(core)) | what_a_caller_encrypts(core, create(core))
        assert left_in(core, seen)
