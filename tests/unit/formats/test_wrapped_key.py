"""What the store keeps of a customer master key."""

from __future__ import annotations

import pytest

from hwkm.errors import FormatError
from hwkm.formats.key_kind import KeyKind, KeyName, KeyUsage
from hwkm.formats.wrapped_key import BLOB_BYTES_MAX, Backend, WrappedKey

NAME = KeyName(bytes(range(16)), 3)
WRAPPED = WrappedKey(Backend.PKCS11, KeyKind.SYMMETRIC, 2, NAME, b"blob", bytes(32))


def test_it_comes_back() -> None:
    assert WrappedKey.parse(WRAPPED.encode()) == WRAPPED
    bare = WrappedKey(Backend.TPM, KeyKind.HMAC_512, 2**32 - 1, NAME, bytes(BLOB_BYTES_MAX))
    assert WrappedKey.parse(bare.encode()) == bare


def test_what_is_bound_is_every_byte_before_the_binding() -> None:
    assert WRAPPED.bound() + WRAPPED.binding == WRAPPED.encode()
    assert len(WRAPPED.bound()) == 29 + 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        WRAPPED.encode()[:29],
        WRAPPED.encode()[:-1],
        WRAPPED.encode() + b"\0",
        b"\2" + WRAPPED.encode()[1:],
        b"\1\0" + WRAPPED.encode()[2:],
        b"\1\2\xff" + WRAPPED.encode()[3:],
        WRAPPED.encode()[:3] + bytes(4) + WRAPPED.encode()[7:],
        WRAPPED.encode()[:23] + bytes(4) + WRAPPED.encode()[27:],
        WRAPPED.encode()[:27] + b"\xff\xff" + WRAPPED.encode()[29:],
        WRAPPED.encode()[:27] + b"\0\0" + WRAPPED.encode()[33:],
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        WrappedKey.parse(data)


@pytest.mark.parametrize("changes", [{"generation": 0}, {"blob": b""}, {"binding": b"short"}])
def test_what_cannot_be_encoded_cannot_be_made(changes: dict[str, object]) -> None:
    values = {"backend": Backend.TPM, "kind": KeyKind.SYMMETRIC, "generation": 1, "name": NAME, "blob": b"b"}
    with pytest.raises(FormatError):
        WrappedKey(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key_id", "version"), [(bytes(15), 1), (bytes(17), 1), (bytes(16), 0), (bytes(16), 2**32)]
)
def test_a_name_is_sixteen_bytes_and_a_version(key_id: bytes, version: int) -> None:
    with pytest.raises(FormatError):
        KeyName(key_id, version)


class TestKinds:
    def test_every_kind_has_a_number_of_its_own(self) -> None:
        assert {kind.code: KeyKind.of_code(kind.code) for kind in KeyKind} == {k.code: k for k in KeyKind}
        assert len({kind.code for kind in KeyKind}) == len(KeyKind)

    @pytest.mark.parametrize("kind", KeyKind)
    def test_a_kind_does_one_job(self, kind: KeyKind) -> None:
        assert bool(kind.signing_algorithms) == (kind.usage is KeyUsage.SIGN_VERIFY)
        assert kind.is_secret_key == (kind.usage in {KeyUsage.ENCRYPT_DECRYPT, KeyUsage.GENERATE_VERIFY_MAC})
        assert kind.secret_bytes == kind.mac_bytes

    @pytest.mark.parametrize("kind", KeyKind)
    def test_algorithms_sign_digests_of_their_hash(self, kind: KeyKind) -> None:
        assert all(f"_SHA_{a.digest_bytes * 8}" in a.value for a in kind.signing_algorithms)
