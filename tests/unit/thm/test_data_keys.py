"""The rules of the key service: what decrypts, what never does, and what each kind may do."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from hwkm.errors import DecryptionError, FormatError, KeyUsageInvalid
from hwkm.formats.ciphertext import OVERHEAD_BYTES, PLAINTEXT_BYTES_MAX, CiphertextHead
from hwkm.formats.context import EMPTY_CONTEXT, encode_context
from hwkm.formats.key_kind import KeyKind, KeyUsage, SigningAlgorithm
from hwkm.thm.data_keys import agree_key, begin_opening, begin_sealing, compute_macs, sign_digest
from tests.key_world import Cmk, memory_domain

NONCE = bytes(range(16))
CONTEXT = {"tenant": "mint", "file": "a"}
texts = st.text(max_size=12)
contexts = st.dictionaries(texts.filter(bool), texts, max_size=5)
plaintexts = st.binary(min_size=1, max_size=100)

DOMAIN = memory_domain()
CMK = Cmk(DOMAIN)
SEALED = CMK.encrypt(b"a data key", CONTEXT)


def of_usage(*usages: KeyUsage) -> list[KeyKind]:
    return [kind for kind in KeyKind if kind.usage in usages]


def other_than(*usages: KeyUsage) -> list[KeyKind]:
    return [kind for kind in KeyKind if kind.usage not in usages]


@given(plaintexts, contexts, st.randoms())
def test_a_ciphertext_opens_under_its_context_in_any_order(
    plaintext: bytes,
    context: dict[str, str],
    random: Any,
) -> None:
    ciphertext = CMK.encrypt(plaintext, context)
    pairs = list(context.items())
    random.shuffle(pairs)
    assert CMK.decrypt(ciphertext, dict(pairs)) == plaintext
    assert len(ciphertext) == len(plaintext) + OVERHEAD_BYTES == len(plaintext) + 53


@given(contexts, contexts)
def test_under_any_other_context_it_does_not(context: dict[str, str], other: dict[str, str]) -> None:
    ciphertext = CMK.encrypt(b"p", context)
    if other == context:
        assert CMK.decrypt(ciphertext, other) == b"p"
    else:
        with pytest.raises(DecryptionError):
            CMK.decrypt(ciphertext, other)


@pytest.mark.parametrize("place", range(len(SEALED)))
def test_damage_of_any_byte_is_refused(place: int) -> None:
    for bit in range(8):
        damaged = bytearray(SEALED)
        damaged[place] ^= 1 << bit
        with pytest.raises(DecryptionError) as refused:
            CMK.decrypt(bytes(damaged), CONTEXT)
        assert str(refused.value) == "the ciphertext does not decrypt"


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_a_ciphertext_cut_short_is_refused(length: int) -> None:
    with pytest.raises(DecryptionError):
        CMK.decrypt(SEALED[:length], CONTEXT)


@given(st.binary(min_size=1, max_size=100))
def test_a_ciphertext_with_more_after_it_is_refused(tail: bytes) -> None:
    with pytest.raises(DecryptionError):
        CMK.decrypt(SEALED + tail, CONTEXT)


steps = st.lists(st.sampled_from(["rotate", "rotate domain", "rewrap", "retire", "encrypt"]), max_size=12)


@settings(max_examples=60)
@given(steps)
def test_any_version_decrypts_after_any_history(history: list[str]) -> None:
    """Rotation of the key and of the domain, rewrapping, retiring what nothing is wrapped under."""
    domain = memory_domain()
    cmk = Cmk(domain)
    made = [(cmk.current, cmk.encrypt(b"first", CONTEXT), b"first")]
    for number, step in enumerate(history):
        match step:
            case "rotate":
                cmk.rotate()
            case "rotate domain":
                domain.rotate()
            case "rewrap":
                cmk.rewrap()
            case "retire":
                cmk.rewrap()
                for old in domain.generations()[:-1]:
                    domain.retire(old)
            case _:
                plaintext = b"plaintext %d" % number
                made.append((cmk.current, cmk.encrypt(plaintext, CONTEXT), plaintext))
    for version, ciphertext, plaintext in made:
        assert CiphertextHead.parse(ciphertext).name == cmk.name(version)
        assert cmk.decrypt(ciphertext, CONTEXT, version) == plaintext


def test_another_version_or_key_does_not_decrypt() -> None:
    cmk, other = Cmk(DOMAIN), Cmk(DOMAIN)
    ciphertext = cmk.encrypt(b"p", {})
    cmk.rotate()
    with pytest.raises(DecryptionError):
        cmk.decrypt(ciphertext, {})
    with pytest.raises(DecryptionError):
        other.decrypt(ciphertext, {})
    assert cmk.decrypt(ciphertext, {}, version=1) == b"p"


def test_a_head_altered_to_another_version_does_not_decrypt() -> None:
    """The version is authenticated: naming another one does not get its key tried with success."""
    cmk = Cmk(DOMAIN)
    cmk.rotate()
    ciphertext = bytearray(cmk.encrypt(b"p", {}))
    ciphertext[20] = 1
    with pytest.raises(DecryptionError):
        cmk.decrypt(bytes(ciphertext), {}, version=1)


def test_equal_plaintexts_have_other_keys_and_ciphertexts() -> None:
    sealings = [begin_sealing(CMK.name(), CMK.kind, EMPTY_CONTEXT, bytes([n]) * 16) for n in range(50)]
    assert len({CMK.hmac(1, sealing.derivation()) for sealing in sealings}) == 50


@pytest.mark.parametrize("length", [0, PLAINTEXT_BYTES_MAX + 1])
def test_plaintext_of_a_length_that_is_not_allowed(length: int) -> None:
    with pytest.raises(FormatError):
        CMK.encrypt(bytes(length), {})


def test_longest_plaintext_comes_back() -> None:
    assert CMK.decrypt(CMK.encrypt(bytes(PLAINTEXT_BYTES_MAX), {}), {}) == bytes(PLAINTEXT_BYTES_MAX)


def test_nonce_of_another_length_is_refused() -> None:
    with pytest.raises(FormatError):
        begin_sealing(CMK.name(), CMK.kind, EMPTY_CONTEXT, bytes(12))


class TestOneKindOneJob:
    @pytest.mark.parametrize("kind", other_than(KeyUsage.ENCRYPT_DECRYPT))
    def test_only_a_symmetric_key_encrypts_and_decrypts(self, kind: KeyKind) -> None:
        with pytest.raises(KeyUsageInvalid):
            begin_sealing(CMK.name(), kind, encode_context(CONTEXT), NONCE)
        with pytest.raises(KeyUsageInvalid):
            begin_opening(CMK.name(), kind, encode_context(CONTEXT), SEALED)

    @pytest.mark.parametrize("kind", other_than(KeyUsage.GENERATE_VERIFY_MAC))
    def test_only_an_hmac_key_computes_macs(self, kind: KeyKind) -> None:
        """Else whoever may ask a symmetric key for a MAC would be told message keys."""
        key = DOMAIN.load(CMK.name(), CMK.kind, CMK.versions[1])
        with pytest.raises(KeyUsageInvalid):
            compute_macs(kind, key, [b"message"])

    @pytest.mark.parametrize("kind", other_than(KeyUsage.SIGN_VERIFY))
    def test_only_a_signing_key_signs(self, kind: KeyKind) -> None:
        key = DOMAIN.load(CMK.name(), CMK.kind, CMK.versions[1])
        with pytest.raises(KeyUsageInvalid):
            sign_digest(kind, key, SigningAlgorithm.ECDSA_SHA_256, bytes(32))

    @pytest.mark.parametrize("kind", other_than(KeyUsage.KEY_AGREEMENT))
    def test_only_an_agreeing_key_agrees(self, kind: KeyKind) -> None:
        key = DOMAIN.load(CMK.name(), CMK.kind, CMK.versions[1])
        with pytest.raises(KeyUsageInvalid):
            agree_key(kind, key, bytes(65))

    @pytest.mark.parametrize("kind", of_usage(KeyUsage.SIGN_VERIFY))
    def test_a_signing_key_signs_by_its_own_algorithms_only(self, kind: KeyKind) -> None:
        cmk = Cmk(DOMAIN, kind)
        key = DOMAIN.load(cmk.name(), kind, cmk.versions[1])
        for algorithm in SigningAlgorithm:
            digest = bytes(algorithm.digest_bytes)
            if algorithm in kind.signing_algorithms:
                assert sign_digest(kind, key, algorithm, digest)
                with pytest.raises(FormatError):
                    sign_digest(kind, key, algorithm, digest + b"\0")
            else:
                with pytest.raises(KeyUsageInvalid):
                    sign_digest(kind, key, algorithm, digest)


class TestMacs:
    @pytest.mark.parametrize("kind", of_usage(KeyUsage.GENERATE_VERIFY_MAC))
    def test_a_mac_has_the_length_of_its_hash(self, kind: KeyKind) -> None:
        cmk = Cmk(DOMAIN, kind)
        key = DOMAIN.load(cmk.name(), kind, cmk.versions[1])
        macs = compute_macs(kind, key, [b"one", b"two", bytes(4096)])
        assert [len(mac) for mac in macs] == [kind.mac_bytes] * 3
        assert len(set(macs)) == 3

    @pytest.mark.parametrize("message", [b"", bytes(4097)])
    def test_message_of_a_length_that_is_not_allowed(self, message: bytes) -> None:
        cmk = Cmk(DOMAIN, KeyKind.HMAC_256)
        key = DOMAIN.load(cmk.name(), cmk.kind, cmk.versions[1])
        with pytest.raises(FormatError):
            compute_macs(cmk.kind, key, [b"fine", message])


class TestAgreement:
    @pytest.mark.parametrize(
        ("kind", "curve"),
        [
            (KeyKind.ECC_NIST_P256_AGREE, ec.SECP256R1()),
            (KeyKind.ECC_NIST_P384_AGREE, ec.SECP384R1()),
        ],
    )
    def test_a_point_off_the_curve_never_reaches_the_key(
        self, kind: KeyKind, curve: ec.EllipticCurve
    ) -> None:
        cmk = Cmk(DOMAIN, kind)
        key = DOMAIN.load(cmk.name(), kind, cmk.versions[1])
        public = ec.generate_private_key(curve).public_key()
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        assert len(agree_key(kind, key, point)) == curve.key_size // 8
        off = point[:-1] + bytes([point[-1] ^ 1])
        for bad in (off, point[:-1], bytes(len(point)), b"\2" + point[1:33], bytes(65), bytes(97)):
            with pytest.raises(FormatError):
                agree_key(kind, key, bad)
