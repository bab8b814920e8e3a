"""The framework against the trusted core's half of the protocol."""

from __future__ import annotations

import pickle  # only to see that secrets refuse it
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwkm.client import framework
from hwkm.client.application_key import ApplicationKey, unwrap_all
from hwkm.client.framework import NewVault, Recovered
from hwkm.crypto.knowledge_factor import (
    KfAlgorithm,
    KfParams,
    KfType,
    encode_credential,
    scrypt_params,
    sha256_params,
)
from hwkm.errors import CohortMismatch, DecryptionError, FormatError, ParamsRefused
from hwkm.formats.vault_params import VaultParams
from hwkm.secret import SecretBytes
from hwkm.wire.api import CreateVault, ReplaceVault, WrappedApplicationKey
from tests.unit.client.thm_half import ThmHalf

QUICK = sha256_params(bytes(16))
SALT = bytes(range(16))


@pytest.fixture(scope="module")
def thm() -> ThmHalf:
    return ThmHalf()


def made(
    thm: ThmHalf, pin: str = "0417", kf_params: KfParams = QUICK, keys: Sequence[ApplicationKey] = ()
) -> NewVault:
    return framework.new_vault(
        thm.verified,
        framework.fresh_params(thm.verified, thm.cohort),
        encode_credential(pin),
        KfType.PIN,
        name="phone",
        kf_params=kf_params,
        application_keys=keys,
    )


def opened(
    thm: ThmHalf, stored: CreateVault | ReplaceVault, pin: str = "0417", snapshot_version: int = 1
) -> Recovered:
    challenge = thm.challenge(stored, snapshot_version)
    with framework.claim(challenge, encode_credential(pin), thm.verified) as claim:
        return claim.finish(thm.answer(stored, claim.request))


class TestCreateAndOpen:
    @pytest.mark.parametrize(
        "kf_params",
        [
            QUICK,
            scrypt_params(SALT),
            KfParams(KfAlgorithm.ARGON2ID, SALT, memory=64, iterations=1, lanes=2),
            framework.fresh_kf_params(),
        ],
        ids=["sha256", "scrypt", "argon2id", "default"],
    )
    def test_right_pin_gives_back_the_recovery_key(self, thm: ThmHalf, kf_params: KfParams) -> None:
        vault = made(thm, kf_params=kf_params)
        with opened(thm, vault.request) as recovered:
            assert recovered.recovery_key == vault.recovery_key
            assert recovered.handle == VaultParams.parse(vault.request.params).handle.hex()

    def test_wrong_pin_does_not_open_the_vault(self, thm: ThmHalf) -> None:
        with pytest.raises(DecryptionError):
            opened(thm, made(thm).request, "0418")

    def test_leading_zeros_count(self, thm: ThmHalf) -> None:
        with pytest.raises(DecryptionError):
            opened(thm, made(thm, "0417").request, "417")

    def test_the_same_letters_typed_in_two_ways_are_the_same(self, thm: ThmHalf) -> None:
        vault = made(thm, "caf\N{LATIN SMALL LETTER E WITH ACUTE}")
        with opened(thm, vault.request, "cafe\N{COMBINING ACUTE ACCENT}") as recovered:
            assert recovered.recovery_key == vault.recovery_key

    @settings(max_examples=20)
    @given(pin=st.text(min_size=1, max_size=40).filter(lambda text: len(text.encode("utf-8", "ignore")) > 0))
    def test_any_text_is_a_knowledge_factor(self, thm: ThmHalf, pin: str) -> None:
        vault = made(thm, pin)
        with opened(thm, vault.request, pin) as recovered:
            assert recovered.recovery_key == vault.recovery_key

    def test_every_vault_has_its_own_recovery_key_counter_and_handle(self, thm: ThmHalf) -> None:
        one, other = made(thm), made(thm)
        first, second = VaultParams.parse(one.request.params), VaultParams.parse(other.request.params)
        assert one.recovery_key != other.recovery_key
        assert first.counter_id != second.counter_id
        assert first.handle != second.handle

    @pytest.mark.parametrize("max_attempts", [0, 11, -1])
    def test_max_attempts_over_the_limit_is_refused_before_anything_is_sent(
        self, thm: ThmHalf, max_attempts: int
    ) -> None:
        with pytest.raises(ParamsRefused):
            framework.fresh_params(thm.verified, thm.cohort, max_attempts=max_attempts)

    def test_default_attempts_follow_a_lower_limit(self, thm: ThmHalf) -> None:
        strict = msgspec.structs.replace(thm.cohort, max_attempts_limit=3)
        assert framework.fresh_params(thm.verified, strict).max_attempts == 3


class TestClaim:
    def test_a_vault_of_another_cohort_is_refused_before_the_pin_is_used(self, thm: ThmHalf) -> None:
        challenge = thm.challenge(made(thm).request)
        with pytest.raises(CohortMismatch):
            framework.claim(challenge, encode_credential("0417"), ThmHalf().verified)

    def test_a_challenge_for_another_vault_is_refused(self, thm: ThmHalf) -> None:
        challenge = thm.challenge(made(thm).request)
        with pytest.raises(FormatError):
            framework.claim(challenge, encode_credential("0417"), thm.verified, bytes(17))

    def test_a_cost_that_would_exhaust_the_client_is_refused(self, thm: ThmHalf) -> None:
        challenge = thm.challenge(made(thm).request)
        factor = msgspec.structs.replace(challenge.knowledge_factor, algorithm=KfAlgorithm.ARGON2ID,
                                         memory=2**31, iterations=1, lanes=1)  # fmt: skip
        with pytest.raises(FormatError):
            framework.claim(
                msgspec.structs.replace(challenge, knowledge_factor=factor),
                encode_credential("0417"),
                thm.verified,
            )

    def test_one_claim_allows_one_response(self, thm: ThmHalf) -> None:
        vault = made(thm)
        claim = framework.claim(thm.challenge(vault.request), encode_credential("0417"), thm.verified)
        answer = thm.answer(vault.request, claim.request)
        claim.finish(answer)
        with pytest.raises(ValueError, match="wiped"):
            claim.finish(answer)

    def test_a_failed_response_uses_the_claim_up_too(self, thm: ThmHalf) -> None:
        vault = made(thm)
        claim = framework.claim(thm.challenge(vault.request), encode_credential("0417"), thm.verified)
        answer = thm.answer(vault.request, claim.request)
        with pytest.raises(DecryptionError):
            claim.finish(msgspec.structs.replace(answer, response=bytes(92)))
        with pytest.raises(ValueError, match="wiped"):
            claim.finish(answer)

    def test_a_response_to_another_claim_is_refused(self, thm: ThmHalf) -> None:
        vault = made(thm)
        one, other = (
            framework.claim(thm.challenge(vault.request), encode_credential("0417"), thm.verified)
            for _ in range(2)
        )
        with pytest.raises(DecryptionError):
            one.finish(thm.answer(vault.request, other.request))

    def test_leaving_a_claim_wipes_it(self, thm: ThmHalf) -> None:
        vault = made(thm)
        challenge = thm.challenge(vault.request)
        with framework.claim(challenge, encode_credential("0417"), thm.verified) as claim:
            answer = thm.answer(vault.request, claim.request)
        with pytest.raises(ValueError, match="wiped"):
            claim.finish(answer)


class TestApplicationKeys:
    def test_they_come_back_with_their_metadata(self, thm: ThmHalf) -> None:
        keys = [ApplicationKey.generate("photos", b"v1"), ApplicationKey.generate("notes")]
        with opened(thm, made(thm, keys=keys).request) as recovered:
            ring = recovered.key_ring
            assert {alias: key.key for alias, key in ring.keys.items()} == {k.alias: k.key for k in keys}
            assert ring.keys["photos"].metadata == b"v1"

    def test_other_metadata_does_not_open(self) -> None:
        recovery_key = SecretBytes(bytes(32))
        wrapped = ApplicationKey.generate("photos", b"v1").wrap(recovery_key)
        with pytest.raises(DecryptionError):
            ApplicationKey.unwrap(recovery_key, msgspec.structs.replace(wrapped, metadata=b"v2"))

    def test_one_that_fails_its_tag_is_skipped(self) -> None:
        recovery_key = SecretBytes(bytes(32))
        good = ApplicationKey.generate("good").wrap(recovery_key)
        ring = unwrap_all(recovery_key, [_damaged("bad"), good])
        assert list(ring.keys) == ["good"]
        assert ring.damaged == ("bad",)

    def test_only_when_all_fail_it_is_an_error(self) -> None:
        with pytest.raises(DecryptionError):
            unwrap_all(SecretBytes(bytes(32)), [_damaged("one"), _damaged("two")])

    def test_none_at_all_is_no_error(self) -> None:
        assert unwrap_all(SecretBytes(bytes(32)), []).keys == {}

    def test_a_key_of_another_length_is_refused(self) -> None:
        with pytest.raises(FormatError):
            ApplicationKey("short", SecretBytes(bytes(31)))

    def test_metadata_over_the_limit_is_refused(self) -> None:
        with pytest.raises(FormatError):
            ApplicationKey.generate("big", bytes(4097))


class TestReplacement:
    def test_rotation_keeps_counter_pin_and_application_keys(self, thm: ThmHalf) -> None:
        key = ApplicationKey.generate("photos", b"v1")
        old = made(thm, keys=[key])
        with opened(thm, old.request, snapshot_version=4) as recovered:
            new = framework.rotation(recovered, recovered.key_ring.keys.values())
        assert new.request.params == old.request.params
        assert new.request.knowledge_factor == old.request.knowledge_factor
        assert new.request.expected_snapshot_version == 4
        assert new.recovery_key != old.recovery_key
        with opened(thm, new.request) as again:
            assert again.recovery_key == new.recovery_key
            assert again.key_ring.keys["photos"].key == key.key

    def test_pin_change_draws_a_new_counter_and_salt(self, thm: ThmHalf) -> None:
        key = ApplicationKey.generate("photos")
        old = made(thm, keys=[key])
        quick = sha256_params(SALT)
        with opened(thm, old.request) as recovered:
            new = framework.pin_change(
                recovered, encode_credential("1234"), recovered.key_ring.keys.values(), kf_params=quick
            )
        before, after = VaultParams.parse(old.request.params), VaultParams.parse(new.request.params)
        assert after.counter_id != before.counter_id
        assert (after.handle, after.max_attempts) == (before.handle, before.max_attempts)
        assert new.request.knowledge_factor.salt == SALT
        with opened(thm, new.request, "1234") as again:
            assert again.key_ring.keys["photos"].key == key.key
        with pytest.raises(DecryptionError):
            opened(thm, new.request, "0417")

    def test_pin_change_salts_differ_by_default(self) -> None:
        assert framework.fresh_kf_params().salt != framework.fresh_kf_params().salt


class TestSecrets:
    def test_nothing_that_holds_a_secret_prints_it(self, thm: ThmHalf) -> None:
        vault = made(thm, keys=[ApplicationKey.generate("photos")])
        with opened(thm, vault.request) as recovered:
            secret = recovered.recovery_key.expose()
            for holder in (vault, recovered, recovered.key_ring, recovered.key_ring.keys["photos"]):
                text = f"{holder!r} {holder!s}"
                assert secret.hex() not in text
                assert repr(secret) not in text

    def test_leaving_an_opened_vault_wipes_every_key(self, thm: ThmHalf) -> None:
        with opened(thm, made(thm, keys=[ApplicationKey.generate("photos")]).request) as recovered:
            held = [
                recovered.recovery_key,
                recovered.kf_hash,
                recovered.key_ring.keys["photos"].key,
            ]
        assert [len(secret) for secret in held] == [0, 0, 0]

    def test_an_opened_vault_cannot_be_pickled(self, thm: ThmHalf) -> None:
        with opened(thm, made(thm).request) as recovered, pytest.raises(TypeError):
            pickle.dumps(recovered)


def _damaged(alias: str) -> WrappedApplicationKey:
    return WrappedApplicationKey(alias=alias, wrapped=bytes(62))
