"""boto3 against hwkmd: every supported operation, by the scenarios in which they are used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from tests.interop.service import KeyService
from tests.interop.tenant import Tenant

SUPPORTED: Final = """
    CreateKey DescribeKey ListKeys CreateAlias ListAliases GenerateDataKey GenerateDataKeyWithoutPlaintext
    Encrypt Decrypt ReEncrypt GenerateRandom EnableKey DisableKey
    UpdateAlias DeleteAlias ScheduleKeyDeletion CancelKeyDeletion EnableKeyRotation DisableKeyRotation
    GetKeyRotationStatus RotateKeyOnDemand ListKeyRotations UpdateKeyDescription TagResource UntagResource
    ListResourceTags GetKeyPolicy PutKeyPolicy ListKeyPolicies
    GetPublicKey Sign Verify GenerateMac VerifyMac DeriveSharedSecret GetKeyLastUsage
    GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext
"""
CONTEXT: Final = {"tenant": "one", "file": "report.pdf"}

Scenario = Callable[[Any], None]


@dataclass(frozen=True)
class Named:
    operations: frozenset[str]
    play: Scenario


SCENARIOS: Final[dict[str, Named]] = {}


def scenario(operations: str) -> Callable[[Scenario], Scenario]:
    def register(play: Scenario) -> Scenario:
        SCENARIOS[play.__name__] = Named(frozenset(operations.split()), play)
        return play

    return register


def new_key(kms: Any, **options: Any) -> str:
    arn: str = kms.create_key(**options)["KeyMetadata"]["Arn"]
    return arn


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    code: str = caught.value.response["Error"]["Code"]
    return code


# --- the life of a key -----------------------------------------------------------------------


@scenario("CreateKey DescribeKey ListKeys UpdateKeyDescription GetKeyPolicy PutKeyPolicy ListKeyPolicies")
def a_key_is_made_and_described(kms: Any) -> None:
    made = kms.create_key(Description="first", Tags=[{"TagKey": "team", "TagValue": "blue"}])["KeyMetadata"]
    assert made["Arn"].endswith(f":key/{made['KeyId']}")
    for name in (made["KeyId"], made["Arn"]):
        assert kms.describe_key(KeyId=name)["KeyMetadata"]["Arn"] == made["Arn"]
    kms.update_key_description(KeyId=made["KeyId"], Description="second")
    described = kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"]
    assert (described["Description"], described["KeyState"], described["Enabled"]) == (
        "second",
        "Enabled",
        True,
    )
    pages = kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 1})
    assert made["KeyId"] in [key["KeyId"] for page in pages for key in page["Keys"]]
    assert kms.list_key_policies(KeyId=made["KeyId"])["PolicyNames"] == ["default"]
    policy = kms.get_key_policy(KeyId=made["KeyId"], PolicyName="default")["Policy"]
    kms.put_key_policy(KeyId=made["KeyId"], PolicyName="default", Policy=policy)


@scenario("CreateAlias ListAliases UpdateAlias DeleteAlias")
def an_alias_is_moved_from_key_to_key(kms: Any) -> None:
    first, second = new_key(kms), new_key(kms)
    kms.create_alias(AliasName="alias/moved", TargetKeyId=first)
    assert kms.encrypt(KeyId="alias/moved", Plaintext=b"x")["KeyId"] == first
    kms.update_alias(AliasName="alias/moved", TargetKeyId=second)
    listed = kms.list_aliases(KeyId=second)["Aliases"]
    assert [alias["AliasName"] for alias in listed] == ["alias/moved"]
    assert kms.encrypt(KeyId=listed[0]["AliasArn"], Plaintext=b"x")["KeyId"] == second
    kms.delete_alias(AliasName="alias/moved")
    assert refused(kms.describe_key, KeyId="alias/moved") == "NotFoundException"


@scenario("TagResource UntagResource ListResourceTags")
def a_key_is_tagged(kms: Any) -> None:
    key = new_key(kms)
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "1"}, {"TagKey": "b", "TagValue": "2"}])
    kms.untag_resource(KeyId=key, TagKeys=["a"])
    assert kms.list_resource_tags(KeyId=key)["Tags"] == [{"TagKey": "b", "TagValue": "2"}]


@scenario("DisableKey EnableKey ScheduleKeyDeletion CancelKeyDeletion")
def a_key_is_disabled_enabled_nearly_deleted_and_kept(kms: Any) -> None:
    key = new_key(kms)
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    assert refused(kms.decrypt, CiphertextBlob=blob) == "DisabledException"
    kms.enable_key(KeyId=key)
    scheduled = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert (scheduled["KeyState"], scheduled["PendingWindowInDays"]) == ("PendingDeletion", 7)
    assert refused(kms.decrypt, CiphertextBlob=blob) == "KMSInvalidStateException"
    assert kms.cancel_key_deletion(KeyId=key)["KeyId"] == key
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


@scenario(
    "EnableKeyRotation GetKeyRotationStatus RotateKeyOnDemand ListKeyRotations DisableKeyRotation GetKeyLastUsage"
)
def a_key_is_rotated_and_old_ciphertexts_still_decrypt(kms: Any) -> None:
    key = new_key(kms)
    blobs = [kms.encrypt(KeyId=key, Plaintext=b"version 1")["CiphertextBlob"]]
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    status = kms.get_key_rotation_status(KeyId=key)
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 90)
    kms.rotate_key_on_demand(KeyId=key)
    blobs.append(kms.encrypt(KeyId=key, Plaintext=b"version 2")["CiphertextBlob"])
    rotations = kms.list_key_rotations(KeyId=key)["Rotations"]
    assert [rotation["RotationType"] for rotation in rotations] == ["ON_DEMAND"]
    assert [kms.decrypt(CiphertextBlob=blob)["Plaintext"] for blob in blobs] == [b"version 1", b"version 2"]
    kms.disable_key_rotation(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    assert kms.get_key_last_usage(KeyId=key)["KeyLastUsage"]["Operation"] == "Decrypt"


# --- data keys and data ----------------------------------------------------------------------


@scenario("GenerateDataKey GenerateDataKeyWithoutPlaintext Decrypt GenerateRandom")
def data_keys_come_back_under_their_context_only(kms: Any) -> None:
    key = new_key(kms)
    made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=CONTEXT)
    assert (len(made["Plaintext"]), made["KeyId"]) == (32, key)
    shuffled = dict(reversed(CONTEXT.items()))
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=shuffled)
    assert (opened["Plaintext"], opened["KeyId"]) == (made["Plaintext"], key)
    other = {**CONTEXT, "tenant": "two"}
    for context in ({}, other, {**CONTEXT, "more": ""}):
        code = refused(kms.decrypt, CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
        assert code == "InvalidCiphertextException"
    wrapped = kms.generate_data_key_without_plaintext(KeyId=key, NumberOfBytes=64, EncryptionContext=CONTEXT)
    assert "Plaintext" not in wrapped
    opened = kms.decrypt(CiphertextBlob=wrapped["CiphertextBlob"], EncryptionContext=CONTEXT, KeyId=key)
    assert len(opened["Plaintext"]) == 64
    drawn = {kms.generate_random(NumberOfBytes=16)["Plaintext"] for _ in range(4)}
    assert {len(value) for value in drawn} == {16}
    assert len(drawn) == 4


@scenario("Encrypt Decrypt ReEncrypt")
def data_moves_to_another_key_and_context(kms: Any) -> None:
    old, new = new_key(kms), new_key(kms)
    plaintext = bytes(range(256)) * 16
    blob = kms.encrypt(KeyId=old, Plaintext=plaintext, EncryptionContext=CONTEXT)["CiphertextBlob"]
    moved = kms.re_encrypt(
        CiphertextBlob=blob,
        SourceEncryptionContext=CONTEXT,
        DestinationKeyId=new,
        DestinationEncryptionContext={"tenant": "two"},
    )
    assert (moved["SourceKeyId"], moved["KeyId"]) == (old, new)
    opened = kms.decrypt(
        CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"tenant": "two"}, KeyId=new
    )
    assert opened["Plaintext"] == plaintext
    wrong_key = refused(
        kms.decrypt, CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"tenant": "two"}, KeyId=old
    )
    assert wrong_key == "IncorrectKeyException"


@scenario("GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext Decrypt")
def a_data_key_pair_fits_together(kms: Any) -> None:
    key = new_key(kms)
    pair = kms.generate_data_key_pair(KeyId=key, KeyPairSpec="ECC_NIST_P256", EncryptionContext=CONTEXT)
    assert public_half(pair["PrivateKeyPlaintext"]) == pair["PublicKey"]
    pair = kms.generate_data_key_pair_without_plaintext(
        KeyId=key, KeyPairSpec="ECC_NIST_P256", EncryptionContext=CONTEXT
    )
    opened = kms.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"], EncryptionContext=CONTEXT)
    assert public_half(opened["Plaintext"]) == pair["PublicKey"]


def public_half(private_key: bytes) -> bytes:
    public = load_der_private_key(private_key, None).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# --- asymmetric keys and MACs ----------------------------------------------------------------


@scenario("Sign Verify GetPublicKey")
def a_signature_verifies_here_and_elsewhere(kms: Any) -> None:
    key = new_key(kms, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    asked = {"KeyId": key, "SigningAlgorithm": "ECDSA_SHA_256"}
    by_message = kms.sign(Message=b"contract", MessageType="RAW", **asked)["Signature"]
    digest = hashlib.sha256(b"contract").digest()
    by_digest = kms.sign(Message=digest, MessageType="DIGEST", **asked)["Signature"]
    public = load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    assert isinstance(public, ec.EllipticCurvePublicKey)
    for signature in (by_message, by_digest):
        public.verify(signature, b"contract", ec.ECDSA(SHA256()))
        assert kms.verify(Message=b"contract", MessageType="RAW", Signature=signature, **asked)[
            "SignatureValid"
        ]
    forged = refused(kms.verify, Message=b"forgery", MessageType="RAW", Signature=by_message, **asked)
    assert forged == "KMSInvalidSignatureException"


@scenario("GenerateMac VerifyMac")
def a_mac_verifies(kms: Any) -> None:
    key = new_key(kms, KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    asked = {"KeyId": key, "MacAlgorithm": "HMAC_SHA_256"}
    mac = kms.generate_mac(Message=b"order 7", **asked)["Mac"]
    assert kms.verify_mac(Message=b"order 7", Mac=mac, **asked)["MacValid"]
    assert refused(kms.verify_mac, Message=b"order 8", Mac=mac, **asked) == "KMSInvalidMacException"


@scenario("DeriveSharedSecret GetPublicKey")
def two_parties_derive_one_secret(kms: Any) -> None:
    key = new_key(kms, KeySpec="ECC_NIST_P256", KeyUsage="KEY_AGREEMENT")
    mine = ec.generate_private_key(ec.SECP256R1())
    public = mine.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    theirs = load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    assert isinstance(theirs, ec.EllipticCurvePublicKey)
    derived = kms.derive_shared_secret(KeyId=key, KeyAgreementAlgorithm="ECDH", PublicKey=public)
    assert derived["SharedSecret"] == mine.exchange(ec.ECDH(), theirs)


# --- tests -----------------------------------------------------------------------------------


def test_the_scenarios_use_every_supported_operation() -> None:
    assert frozenset().union(*(named.operations for named in SCENARIOS.values())) == set(SUPPORTED.split())


class TestBoto3:
    @pytest.mark.parametrize("name", SCENARIOS)
    def test_scenario(self, service: KeyService, name: str) -> None:
        kms = service.tenants[0].kms()
        called: set[str] = set()
        kms.meta.events.register("before-call.kms", lambda model, **_: called.add(model.name))
        SCENARIOS[name].play(kms)
        assert called >= SCENARIOS[name].operations

    def test_dry_run_does_nothing_and_says_so(self, service: KeyService) -> None:
        kms = service.tenants[0].kms()
        key = new_key(kms)
        assert (
            refused(kms.generate_data_key, KeyId=key, KeySpec="AES_256", DryRun=True)
            == "DryRunOperationException"
        )

    def test_a_tenant_cannot_use_the_key_of_another(self, service: KeyService) -> None:
        one, two = (tenant.kms() for tenant in service.tenants)
        key = new_key(one)
        made = one.generate_data_key(KeyId=key, KeySpec="AES_256")
        assert refused(two.decrypt, CiphertextBlob=made["CiphertextBlob"]) in CROSS_TENANT
        assert refused(two.generate_data_key, KeyId=key, KeySpec="AES_256") in CROSS_TENANT
        assert key not in [listed["KeyArn"] for listed in two.list_keys()["Keys"]]

    def test_a_bound_credential_must_bring_its_context_and_may_bring_more(self, service: KeyService) -> None:
        key, kms = service.new_key(service.tenants[0]), service.bound.kms()
        asked = {"KeyId": key, "KeySpec": "AES_256"}
        for context in ({}, {"tenant": "two"}, {"tenants": "one"}):
            refusal = refused(kms.generate_data_key, EncryptionContext=context, **asked)
            assert refusal == "AccessDeniedException"
        made = kms.generate_data_key(EncryptionContext=CONTEXT, **asked)
        opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
        assert opened["Plaintext"] == made["Plaintext"]
        one = service.tenants[0].kms()
        foreign = one.generate_data_key(EncryptionContext={"tenant": "two"}, **asked)["CiphertextBlob"]
        refusal = refused(kms.decrypt, CiphertextBlob=foreign, EncryptionContext={"tenant": "two"})
        assert refusal == "AccessDeniedException"

    def test_an_operation_that_is_not_there_says_so(self, service: KeyService) -> None:
        kms = service.tenants[0].kms()
        assert refused(kms.describe_custom_key_stores) == "UnsupportedOperationException"

    def test_a_wrong_secret_is_refused(self, service: KeyService) -> None:
        first = service.tenants[0]
        thief = Tenant("thief", first.account, first.access_key, "x" * 40, first.endpoint, first.home)
        assert refused(thief.kms().list_keys) == "InvalidSignatureException"


CROSS_TENANT: Final = {"AccessDeniedException", "NotFoundException"}
