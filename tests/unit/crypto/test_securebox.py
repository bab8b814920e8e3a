"""SecureBox at its edges. What the bytes are is checked in ``tests/vectors``."""

from __future__ import annotations

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.crypto import p256, securebox
from hwkm.errors import DecryptionError, InvalidKeyError
from tests.vectors.reference import p256 as curve

SECRET, HEADER, PAYLOAD = b"a shared secret", b"a header", b"a payload"
SCALAR = (0x1234567890).to_bytes(32, "big")
POINT = curve.public_key(SCALAR)
ORDER = curve.N
OTHER_POINT = curve.public_key(bytes(31) + b"\2")


def coordinates(x: int, y: int) -> bytes:
    return b"\4" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def y_at_zero() -> int:
    """The curve has a point with x = 0, whose x has a second spelling: the field's prime itself."""
    root = curve.square_root(curve.B)
    assert root is not None
    return root


X, Y = int.from_bytes(OTHER_POINT[1:33], "big"), int.from_bytes(OTHER_POINT[33:], "big")
BAD_POINTS = {
    "off the curve": coordinates(X, Y ^ 1),
    "infinity as one byte, padded": bytes(65),
    "infinity as zero coordinates": coordinates(0, 0),
    "x not below the prime": coordinates(curve.P, y_at_zero()),
    "y not below the prime": coordinates(X, curve.P),
    "coordinates of ones": b"\4" + b"\xff" * 64,
    "hybrid, even": b"\6" + OTHER_POINT[1:],
    "hybrid, odd": b"\7" + OTHER_POINT[1:],
    "compressed, padded": bytes([2 + (Y & 1)]) + OTHER_POINT[1:33] + bytes(32),
    "form byte zero": b"\0" + OTHER_POINT[1:],
}
bad_points = pytest.mark.parametrize("point", BAD_POINTS.values(), ids=BAD_POINTS)

MODES = {
    "public key": (POINT, SCALAR, b""),
    "public key and secret": (POINT, SCALAR, SECRET),
    "secret": (None, None, SECRET),
}
modes = pytest.mark.parametrize(("public_key", "private_key", "secret"), MODES.values(), ids=MODES)


# --- opening what was sealed -----------------------------------------------------------------


@modes
@pytest.mark.parametrize("header", [b"", HEADER, bytes(10_000)], ids=len)
@pytest.mark.parametrize("payload", [b"", PAYLOAD, bytes(10_000)], ids=len)
def test_a_box_opens(
    public_key: bytes | None, private_key: bytes | None, secret: bytes, header: bytes, payload: bytes
) -> None:
    box = securebox.encrypt(public_key, secret, header, payload)
    assert securebox.decrypt(private_key, secret, header, box) == payload


def test_two_boxes_of_the_same_payload_share_nothing_but_the_version() -> None:
    first, second = (securebox.encrypt(POINT, SECRET, HEADER, PAYLOAD) for _ in range(2))
    assert first[:2] == second[:2] == securebox.VERSION
    assert first[2:67] != second[2:67]
    assert first[67:79] != second[67:79]
    assert first[79:] != second[79:]


def test_absent_and_empty_public_key_are_the_same() -> None:
    box = securebox.encrypt(b"", SECRET, HEADER, PAYLOAD)
    assert securebox.decrypt(None, SECRET, HEADER, box) == PAYLOAD
    assert securebox.decrypt(b"", SECRET, HEADER, box) == PAYLOAD


def test_the_point_that_has_a_zero_for_x_is_a_valid_key() -> None:
    assert len(securebox.encrypt(coordinates(0, y_at_zero()), b"", b"", b"")) == 95


# --- keys the caller gives -------------------------------------------------------------------


@pytest.mark.parametrize("absent", [None, b""])
def test_neither_key_nor_secret_is_refused(absent: bytes | None) -> None:
    with pytest.raises(InvalidKeyError):
        securebox.encrypt(absent, b"", HEADER, PAYLOAD)
    with pytest.raises(InvalidKeyError):
        securebox.decrypt(absent, b"", HEADER, bytes(100))


@bad_points
def test_bad_public_key_is_refused(point: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        securebox.encrypt(point, SECRET, HEADER, PAYLOAD)


@pytest.mark.parametrize("point", [POINT[:-1], POINT + b"\0", POINT[1:], b"\4", b"\0", POINT[:33]])
def test_public_key_of_another_length_is_refused(point: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        securebox.encrypt(point, SECRET, HEADER, PAYLOAD)


@pytest.mark.parametrize("number", [0, ORDER, ORDER + 1, 2**256 - 1], ids=["0", "n", "n+1", "max"])
def test_private_key_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(InvalidKeyError):
        securebox.decrypt(number.to_bytes(32, "big"), SECRET, HEADER, bytes(200))


@pytest.mark.parametrize("number", [1, ORDER - 1], ids=["1", "n-1"])
def test_private_key_at_the_ends_of_the_range_opens(number: int) -> None:
    scalar = number.to_bytes(32, "big")
    public_key = p256.encode_point(p256.load_scalar(scalar).public_key())
    box = securebox.encrypt(public_key, SECRET, HEADER, PAYLOAD)
    assert securebox.decrypt(scalar, SECRET, HEADER, box) == PAYLOAD


@pytest.mark.parametrize("scalar", [SCALAR[1:], SCALAR + b"\0", b"\1", SCALAR + POINT], ids=len)
def test_private_key_of_another_length_is_refused(scalar: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        securebox.decrypt(scalar, SECRET, HEADER, bytes(200))


def test_a_bad_key_can_be_caught_as_a_value_error() -> None:
    with pytest.raises(ValueError, match="needs a key"):
        securebox.encrypt(None, b"", HEADER, PAYLOAD)


# --- what is wrong with the ciphertext -------------------------------------------------------


@modes
def test_every_single_bit_flip_is_refused(
    public_key: bytes | None, private_key: bytes | None, secret: bytes
) -> None:
    box = securebox.encrypt(public_key, secret, HEADER, PAYLOAD)
    for position, bit in itertools.product(range(len(box)), range(8)):
        flipped = bytearray(box)
        flipped[position] ^= 1 << bit
        with pytest.raises(DecryptionError):
            securebox.decrypt(private_key, secret, HEADER, bytes(flipped))


@modes
def test_every_truncation_and_an_extension_is_refused(
    public_key: bytes | None, private_key: bytes | None, secret: bytes
) -> None:
    box = securebox.encrypt(public_key, secret, HEADER, PAYLOAD)
    for other in (*(box[:length] for length in range(len(box))), box + b"\0", box + box):
        with pytest.raises(DecryptionError):
            securebox.decrypt(private_key, secret, HEADER, other)


@modes
@pytest.mark.parametrize("header", [b"", HEADER[:-1], HEADER + b"\0", b"A header"])
def test_another_header_does_not_open(
    public_key: bytes | None, private_key: bytes | None, secret: bytes, header: bytes
) -> None:
    box = securebox.encrypt(public_key, secret, HEADER, PAYLOAD)
    with pytest.raises(DecryptionError):
        securebox.decrypt(private_key, secret, header, box)


def test_another_key_or_secret_does_not_open() -> None:
    box = securebox.encrypt(POINT, SECRET, HEADER, PAYLOAD)
    for private_key, secret in (
        (SCALAR, b""),
        (SCALAR, SECRET + b"\0"),
        (bytes(31) + b"\1", SECRET),
        (None, SECRET),
    ):
        with pytest.raises(DecryptionError):
            securebox.decrypt(private_key, secret, HEADER, box)


def test_a_box_of_one_mode_does_not_open_in_another() -> None:
    shared = securebox.encrypt(None, SECRET, HEADER, bytes(100))
    with pytest.raises(DecryptionError):
        securebox.decrypt(SCALAR, SECRET, HEADER, shared)
    public = securebox.encrypt(POINT, b"", HEADER, PAYLOAD)
    with pytest.raises(DecryptionError):
        securebox.decrypt(None, SECRET, HEADER, public)


@bad_points
def test_bad_sender_point_is_one_more_box_that_does_not_open(point: bytes) -> None:
    box = securebox.encrypt(POINT, SECRET, HEADER, PAYLOAD)
    with pytest.raises(DecryptionError):
        securebox.decrypt(SCALAR, SECRET, HEADER, box[:2] + point + box[67:])


@bad_points
def test_bad_sender_point_never_reaches_the_hardware(point: bytes) -> None:
    """An invalid-curve attack reads a private key off the answers to such points."""
    box = securebox.encrypt(POINT, SECRET, HEADER, PAYLOAD)
    with pytest.raises(DecryptionError):
        securebox.sender_point(box[:2] + point + box[67:])


def test_every_failure_says_the_same() -> None:
    box = securebox.encrypt(POINT, SECRET, HEADER, PAYLOAD)
    wrong = {
        "short": box[:94],
        "version": b"\1\0" + box[2:],
        "point": box[:2] + bytes(65) + box[67:],
        "tag": box[:-1] + bytes([box[-1] ^ 1]),
    }
    messages = set()
    for other in wrong.values():
        with pytest.raises(DecryptionError) as caught:
            securebox.decrypt(SCALAR, SECRET, HEADER, other)
        messages.add(
            (str(caught.value), caught.value.__suppress_context__ or caught.value.__context__ is None)
        )
    assert messages == {("the box does not open", True)}


# --- the ECDH step done elsewhere ------------------------------------------------------------


def test_three_steps_open_what_one_does() -> None:
    box = securebox.encrypt(POINT, SECRET, HEADER, PAYLOAD)
    sender = securebox.sender_point(box)
    assert sender == box[2:67]
    agreed = p256.load_scalar(SCALAR).exchange(ec.ECDH(), p256.load_point(sender))
    assert securebox.decrypt_agreed(agreed, SECRET, HEADER, box) == PAYLOAD


@pytest.mark.parametrize("length", [0, 1, 66, 94])
def test_a_box_that_is_cut_short_has_no_sender(length: int) -> None:
    box = securebox.encrypt(POINT, SECRET, HEADER, PAYLOAD)
    with pytest.raises(DecryptionError):
        securebox.sender_point(box[:length])
    with pytest.raises(DecryptionError):
        securebox.decrypt_agreed(bytes(32), SECRET, HEADER, box[:length])
