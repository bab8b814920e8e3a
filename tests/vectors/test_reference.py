"""The second computation: right by the standards' own vectors, and the source of ours."""

from __future__ import annotations

import ast
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.crypto import p256 as hwkm_p256
from tests.vectors import independent
from tests.vectors.files import DIRECTORY, load, unhex
from tests.vectors.reference import aes_gcm, p256, securebox
from tests.vectors.reference.argon2id import Argon2id

STANDARDS = load("standards.json")


@pytest.mark.parametrize("name", independent.DOCUMENTS)
def test_committed_vectors_are_what_the_second_computation_gives(name: str) -> None:
    assert (DIRECTORY / name).read_text(encoding="utf-8") == independent.encoded(name)


def test_second_computation_imports_nothing_of_hwkm() -> None:
    sources = [DIRECTORY / "independent.py", *(DIRECTORY / "reference").glob("*.py")]
    assert len(sources) > 5
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "hwkm"], source


@pytest.mark.parametrize("name", ["aes_128", "aes_256"])
def test_aes_block(name: str) -> None:
    vector = STANDARDS[name]
    block = aes_gcm.encrypt_block(unhex(vector, "key"), unhex(vector, "plaintext"))
    assert block == unhex(vector, "ciphertext")


@pytest.mark.parametrize("name", ["aes_128_gcm", "aes_256_gcm"])
def test_aes_gcm(name: str) -> None:
    vector = STANDARDS[name]
    key, nonce, header = (unhex(vector, name) for name in ("key", "nonce", "associated_data"))
    plaintext, sealed = unhex(vector, "plaintext"), (unhex(vector, "ciphertext"), unhex(vector, "tag"))
    assert aes_gcm.encrypt(key, nonce, header, plaintext) == sealed
    assert aes_gcm.decrypt(key, nonce, header, *sealed) == plaintext


def test_ecdh() -> None:
    vector = STANDARDS["p256_ecdh"]
    private_key, point = unhex(vector, "our_private_key"), unhex(vector, "their_public_key")
    assert p256.agree(private_key, point) == unhex(vector, "x")
    assert p256.public_key(private_key) == unhex(vector, "our_public_key")


def test_ecdh_through_hwkm() -> None:
    vector = STANDARDS["p256_ecdh"]
    private_key = hwkm_p256.load_scalar(unhex(vector, "our_private_key"))
    point = hwkm_p256.load_point(unhex(vector, "their_public_key"))
    assert private_key.exchange(ec.ECDH(), point) == unhex(vector, "x")
    assert hwkm_p256.encode_point(private_key.public_key()) == unhex(vector, "our_public_key")


def test_group_order_times_generator_is_infinity() -> None:
    assert p256.multiply(p256.N, p256.G) is None


def test_hkdf() -> None:
    vector = STANDARDS["hkdf_sha256"]
    prk = securebox.hkdf_extract(unhex(vector, "salt"), unhex(vector, "key_material"))
    assert prk == unhex(vector, "prk")
    output = unhex(vector, "output")
    assert securebox.hkdf_expand(prk, unhex(vector, "info"), len(output)) == output


@pytest.mark.parametrize("vector", STANDARDS["scrypt"], ids=lambda vector: str(vector["source"]))
def test_scrypt(vector: dict[str, str]) -> None:
    n, r, p = (int(vector[name]) for name in ("n", "r", "p"))
    output = unhex(vector, "output")
    salt = unhex(vector, "salt")
    assert hashlib.scrypt(unhex(vector, "password"), salt=salt, n=n, r=r, p=p, dklen=64) == output


def test_argon2id() -> None:
    vector = STANDARDS["argon2id"]
    computation = Argon2id(
        unhex(vector, "password"),
        unhex(vector, "salt"),
        vector["memory"],
        vector["passes"],
        vector["lanes"],
        secret=unhex(vector, "secret"),
        associated=unhex(vector, "associated_data"),
    )
    assert computation.h0 == unhex(vector, "h0")
    assert computation.tag() == unhex(vector, "tag")
