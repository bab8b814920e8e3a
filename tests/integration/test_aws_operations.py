"""Every operation of the AWS wire through botocore, on a real daemon and core, against the recorded behaviour of AWS.

The answers are checked against botocore's own service model (:mod:`tests.aws_daemon`).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.aws_daemon import ACCOUNT_A, REGION, AwsDaemon, refusal
from tests.core_process import MemoryToken

CONTEXT = {"tenant": "a", "purpose": "test"}
ABSENT = "1234abcd-12ab-34cd-56ef-1234567890ab"
ABSENT_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT_A}:key/{ABSENT}"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsDaemon]:
    with AwsDaemon(MemoryToken(tmp_path_factory.mktemp("token"))) as running:
        yield running


@pytest.fixture(scope="module")
def kms(daemon: AwsDaemon) -> Any:
    return daemon.client()


@pytest.fixture(scope="module")
def unchecked(daemon: AwsDaemon) -> Any:
    """A client that does not look at what it sends."""
    return daemon.client(parameter_validation=False)


@pytest.fixture(scope="module")
def key(kms: Any) -> str:
    return str(kms.create_key(Description="shared")["KeyMetadata"]["Arn"])


@pytest.fixture
def own_key(kms: Any) -> str:
    """A key that the test may change."""
    return str(kms.create_key()["KeyMetadata"]["Arn"])


def refused(act: Callable[..., Any], **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        act(**members)
    return refusal(caught.value)


def create(kms: Any, spec: str, usage: str) -> str:
    return str(kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"])


# --- life of a key ---------------------------------------------------------------------------


def test_a_new_key_is_described_as_aws_does(kms: Any) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    made = kms.create_key(Description="test key 123", Tags=[{"TagKey": "team", "TagValue": "blue"}])[
        "KeyMetadata"
    ]
    assert before < made.pop("CreationDate") < datetime.now(UTC) + timedelta(seconds=1)
    key_id = made["KeyId"]
    assert str(uuid.UUID(key_id)) == key_id
    assert made == {
        "AWSAccountId": ACCOUNT_A,
        "Arn": f"arn:aws:kms:{REGION}:{ACCOUNT_A}:key/{key_id}",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "Description": "test key 123",
        "Enabled": True,
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "KeyId": key_id,
        "KeyManager": "CUSTOMER",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyState": "Enabled",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "MultiRegion": False,
        "Origin": "AWS_KMS",
    }
    described = kms.describe_key(KeyId=key_id)["KeyMetadata"]
    assert described.pop("CreationDate")
    assert described == made


@pytest.mark.parametrize(
    ("spec", "usage", "member", "algorithms"),
    [
        ("HMAC_256", "GENERATE_VERIFY_MAC", "MacAlgorithms", ["HMAC_SHA_256"]),
        ("ECC_NIST_P256", "SIGN_VERIFY", "SigningAlgorithms", ["ECDSA_SHA_256"]),
        ("ECC_NIST_P384", "SIGN_VERIFY", "SigningAlgorithms", ["ECDSA_SHA_384"]),
        ("ECC_NIST_P256", "KEY_AGREEMENT", "KeyAgreementAlgorithms", ["ECDH"]),
        (
            "RSA_2048",
            "SIGN_VERIFY",
            "SigningAlgorithms",
            [
                "RSASSA_PKCS1_V1_5_SHA_256",
                "RSASSA_PKCS1_V1_5_SHA_384",
                "RSASSA_PKCS1_V1_5_SHA_512",
                "RSASSA_PSS_SHA_256",
                "RSASSA_PSS_SHA_384",
                "RSASSA_PSS_SHA_512",
            ],
        ),
    ],
)
def test_other_kinds_of_keys_say_what_they_do(
    kms: Any, spec: str, usage: str, member: str, algorithms: list[str]
) -> None:
    made = kms.create_key(CustomerMasterKeySpec=spec, KeyUsage=usage)["KeyMetadata"]
    assert (made["KeySpec"], made["KeyUsage"], made[member]) == (spec, usage, algorithms)
    assert [name for name in made if name.endswith("Algorithms")] == [member]


@pytest.mark.parametrize(
    ("members", "name", "text"),
    [
        (
            {"KeySpec": "HMAC_256"},
            "ValidationException",
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
        ),
        (
            {"KeySpec": "HMAC_256", "KeyUsage": "SIGN_VERIFY"},
            "ValidationException",
            "KeyUsage SIGN_VERIFY is not compatible with KeySpec HMAC_256",
        ),
        ({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}, "UnsupportedOperationException", "RSA_2048"),
        ({"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"}, "UnsupportedOperationException", "SM2"),
        (
            {"KeySpec": "ML_KEM_512", "KeyUsage": "ENCAPSULATE_DECAPSULATE"},
            "UnsupportedOperationException",
            "ML_KEM",
        ),
        (
            {"KeySpec": "HMAC_random"},
            "ValidationException",
            "Value 'HMAC_random' at 'keySpec' failed to satisfy",
        ),
        ({"KeyUsage": "RANDOM"}, "ValidationException", "Value 'RANDOM' at 'keyUsage' failed to satisfy"),
        ({"Origin": "EXTERNAL"}, "UnsupportedOperationException", "Origin"),
        ({"MultiRegion": True}, "UnsupportedOperationException", "multi-Region"),
        ({"Policy": "{"}, "MalformedPolicyDocumentException", "policy"),
        ({"Policy": '{"Version":"2012-10-17","Statement":[]}'}, "UnsupportedOperationException", "policies"),
        ({"Description": "x" * 8193}, "ValidationException", "less than or equal to 8192"),
        (
            {"KeySpec": "RSA_2048", "CustomerMasterKeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"},
            "ValidationException",
            "KeySpec and CustomerMasterKeySpec",
        ),
        (
            {"Tags": [{"TagKey": "a", "TagValue": "1"}, {"TagKey": "a", "TagValue": "2"}]},
            "TagException",
            "Duplicate tag keys",
        ),
        (
            {"Tags": [{"TagKey": "aws:x", "TagValue": "1"}]},
            "TagException",
            "Tags beginning with aws: are reserved",
        ),
        (
            {"Tags": [{"TagKey": f"k{number}", "TagValue": "1"} for number in range(51)]},
            "TagException",
            "Too many tags",
        ),
    ],
)
def test_impossible_keys_are_refused(unchecked: Any, members: dict[str, Any], name: str, text: str) -> None:
    found = refused(unchecked.create_key, **members)
    assert found[0] == name
    assert text in found[1]


def test_the_policy_of_a_new_key_may_be_the_default_one(kms: Any, key: str) -> None:
    policy = kms.get_key_policy(KeyId=key, PolicyName="default")
    assert policy["PolicyName"] == "default"
    (statement,) = json.loads(policy["Policy"])["Statement"]
    assert statement["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT_A}:root"}
    kms.create_key(Policy=policy["Policy"], BypassPolicyLockoutSafetyCheck=True)
    kms.put_key_policy(KeyId=key, Policy=policy["Policy"])
    statement["Principal"] = "*"
    other = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    assert refused(kms.put_key_policy, KeyId=key, Policy=other)[0] == "UnsupportedOperationException"
    assert refused(kms.get_key_policy, KeyId=key, PolicyName="other")[0] == "NotFoundException"
    listed = kms.list_key_policies(KeyId=key)
    assert (listed["PolicyNames"], listed["Truncated"]) == (["default"], False)


def test_keys_are_listed_in_pages(kms: Any) -> None:
    made = {kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(3)}
    found: list[str] = []
    page = kms.list_keys(Limit=2)
    while True:
        assert len(page["Keys"]) <= 2
        assert all(entry["KeyArn"].endswith(entry["KeyId"]) for entry in page["Keys"])
        found += [entry["KeyId"] for entry in page["Keys"]]
        assert page["Truncated"] == ("NextMarker" in page)
        if not page["Truncated"]:
            break
        page = kms.list_keys(Limit=2, Marker=page["NextMarker"])
    assert made <= set(found)
    assert len(found) == len(set(found))
    assert set(found) == {
        entry["KeyId"] for found in kms.get_paginator("list_keys").paginate() for entry in found["Keys"]
    }


@pytest.mark.parametrize("operation", ["list_keys", "list_aliases"])
def test_a_made_up_marker_is_refused(kms: Any, operation: str) -> None:
    assert refused(getattr(kms, operation), Marker="bm90OmE")[0] == "InvalidMarkerException"


def test_a_disabled_key_does_nothing_until_it_is_enabled(kms: Any, own_key: str) -> None:
    blob = kms.encrypt(KeyId=own_key, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=own_key)
    described = kms.describe_key(KeyId=own_key)["KeyMetadata"]
    assert (described["Enabled"], described["KeyState"]) == (False, "Disabled")
    disabled = ("DisabledException", f"{own_key} is disabled.")
    assert refused(kms.encrypt, KeyId=own_key, Plaintext=b"x") == disabled
    assert refused(kms.decrypt, CiphertextBlob=blob) == disabled
    assert refused(kms.generate_data_key, KeyId=own_key, KeySpec="AES_256") == disabled
    assert refused(kms.rotate_key_on_demand, KeyId=own_key) == disabled
    kms.enable_key(KeyId=own_key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_a_key_waits_for_its_deletion_and_can_be_kept(kms: Any, own_key: str) -> None:
    blob = kms.encrypt(KeyId=own_key, Plaintext=b"x")["CiphertextBlob"]
    scheduled = kms.schedule_key_deletion(KeyId=own_key, PendingWindowInDays=7)
    assert (scheduled["KeyId"], scheduled["KeyState"], scheduled["PendingWindowInDays"]) == (
        own_key,
        "PendingDeletion",
        7,
    )
    due = scheduled["DeletionDate"] - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < due <= timedelta(days=7)
    described = kms.describe_key(KeyId=own_key)["KeyMetadata"]
    assert (described["Enabled"], described["KeyState"]) == (False, "PendingDeletion")
    assert described["DeletionDate"] == scheduled["DeletionDate"]
    pending = ("KMSInvalidStateException", f"{own_key} is pending deletion.")
    assert refused(kms.decrypt, CiphertextBlob=blob) == pending
    assert refused(kms.encrypt, KeyId=own_key, Plaintext=b"x") == pending
    assert refused(kms.enable_key, KeyId=own_key) == pending
    assert refused(kms.schedule_key_deletion, KeyId=own_key) == pending
    assert kms.cancel_key_deletion(KeyId=own_key)["KeyId"] == own_key
    assert kms.describe_key(KeyId=own_key)["KeyMetadata"]["KeyState"] == "Disabled"
    assert refused(kms.cancel_key_deletion, KeyId=own_key)[0] == "KMSInvalidStateException"
    kms.enable_key(KeyId=own_key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_the_description_can_be_changed(kms: Any, own_key: str) -> None:
    kms.update_key_description(KeyId=own_key, Description="another")
    assert kms.describe_key(KeyId=own_key)["KeyMetadata"]["Description"] == "another"


def test_tags_are_put_listed_in_pages_and_removed(kms: Any, own_key: str) -> None:
    kms.tag_resource(KeyId=own_key, Tags=[{"TagKey": name, "TagValue": name * 2} for name in "abc"])
    kms.tag_resource(KeyId=own_key, Tags=[{"TagKey": "b", "TagValue": ""}])
    first = kms.list_resource_tags(KeyId=own_key, Limit=2)
    assert first["Truncated"]
    second = kms.list_resource_tags(KeyId=own_key, Limit=2, Marker=first["NextMarker"])
    assert not second["Truncated"]
    found = {tag["TagKey"]: tag["TagValue"] for tag in first["Tags"] + second["Tags"]}
    assert found == {"a": "aa", "b": "", "c": "cc"}
    kms.untag_resource(KeyId=own_key, TagKeys=["a", "c", "absent"])
    assert [tag["TagKey"] for tag in kms.list_resource_tags(KeyId=own_key)["Tags"]] == ["b"]
    too_many = [{"TagKey": f"k{number}", "TagValue": "1"} for number in range(50)]
    assert refused(kms.tag_resource, KeyId=own_key, Tags=too_many)[0] == "TagException"


# --- rotation --------------------------------------------------------------------------------


def test_rotation_changes_neither_the_arn_nor_what_was_encrypted(kms: Any, own_key: str) -> None:
    blobs = [kms.encrypt(KeyId=own_key, Plaintext=b"0", EncryptionContext=CONTEXT)["CiphertextBlob"]]
    for number in range(1, 4):
        assert kms.rotate_key_on_demand(KeyId=own_key)["KeyId"] == own_key.rpartition("/")[2]
        made = kms.encrypt(KeyId=own_key, Plaintext=str(number).encode(), EncryptionContext=CONTEXT)
        assert made["KeyId"] == own_key
        blobs.append(made["CiphertextBlob"])
    for number, blob in enumerate(blobs):
        opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)
        assert (opened["Plaintext"], opened["KeyId"]) == (str(number).encode(), own_key)
    listed = kms.list_key_rotations(KeyId=own_key)
    assert [entry["RotationType"] for entry in listed["Rotations"]] == ["ON_DEMAND"] * 3
    first = kms.list_key_rotations(KeyId=own_key, Limit=2)
    rest = kms.list_key_rotations(KeyId=own_key, Limit=2, Marker=first["NextMarker"])
    assert first["Rotations"] + rest["Rotations"] == listed["Rotations"]
    everything = kms.list_key_rotations(KeyId=own_key, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
    assert [entry["KeyMaterialState"] for entry in everything] == ["NON_CURRENT"] * 3 + ["CURRENT"]
    assert "RotationDate" not in everything[0]


def test_automatic_rotation_is_switched_on_and_off(kms: Any, own_key: str) -> None:
    key_id = own_key.rpartition("/")[2]
    status = kms.get_key_rotation_status(KeyId=own_key)
    del status["ResponseMetadata"]
    assert status == {"KeyRotationEnabled": False, "KeyId": key_id}
    for period, days in ((None, 365), (90, 90), (2560, 2560)):
        members = {} if period is None else {"RotationPeriodInDays": period}
        kms.enable_key_rotation(KeyId=own_key, **members)
        status = kms.get_key_rotation_status(KeyId=own_key)
        assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, days)
        assert (
            timedelta(days=days - 1) < status["NextRotationDate"] - datetime.now(UTC) <= timedelta(days=days)
        )
    kms.disable_key_rotation(KeyId=own_key)
    assert not kms.get_key_rotation_status(KeyId=own_key)["KeyRotationEnabled"]


def test_only_symmetric_keys_are_rotated(kms: Any) -> None:
    mac_key = create(kms, "HMAC_256", "GENERATE_VERIFY_MAC")
    for act in (kms.rotate_key_on_demand, kms.enable_key_rotation):
        assert refused(act, KeyId=mac_key)[0] == "UnsupportedOperationException"
    assert not kms.get_key_rotation_status(KeyId=mac_key)["KeyRotationEnabled"]


def test_the_last_use_of_a_key_is_known(kms: Any, own_key: str) -> None:
    unused = kms.get_key_last_usage(KeyId=own_key)
    assert "KeyLastUsage" not in unused
    assert unused["KeyId"] == own_key
    kms.generate_data_key_without_plaintext(KeyId=own_key, KeySpec="AES_256")
    used = kms.get_key_last_usage(KeyId=own_key)["KeyLastUsage"]
    assert used["Operation"] == "GenerateDataKeyWithoutPlaintext"
    kms.encrypt(KeyId=own_key, Plaintext=b"x")
    assert kms.get_key_last_usage(KeyId=own_key)["KeyLastUsage"]["Operation"] == "Encrypt"


# --- names -----------------------------------------------------------------------------------


def test_all_four_forms_of_an_identifier_are_taken_and_the_answer_has_the_arn(kms: Any, own_key: str) -> None:
    alias = f"alias/{uuid.uuid4()}"
    kms.create_alias(AliasName=alias, TargetKeyId=own_key)
    alias_arn = f"arn:aws:kms:{REGION}:{ACCOUNT_A}:{alias}"
    for name in (own_key.rpartition("/")[2], own_key, alias, alias_arn):
        made = kms.encrypt(KeyId=name, Plaintext=b"x")
        assert made["KeyId"] == own_key
        assert kms.decrypt(KeyId=name, CiphertextBlob=made["CiphertextBlob"])["KeyId"] == own_key
        assert kms.generate_data_key(KeyId=name, KeySpec="AES_256")["KeyId"] == own_key
        assert kms.describe_key(KeyId=name)["KeyMetadata"]["Arn"] == own_key


@pytest.mark.parametrize(
    ("identifier", "error"),
    [
        (ABSENT, ("NotFoundException", f"Key '{ABSENT_ARN}' does not exist")),
        (ABSENT_ARN, ("NotFoundException", f"Key '{ABSENT_ARN}' does not exist")),
        ("fake-key-id", ("NotFoundException", "Invalid keyId 'fake-key-id'")),
        (
            "134f2428cec14b25a1ae9048164dba47",
            ("NotFoundException", "Invalid keyId '134f2428cec14b25a1ae9048164dba47'"),
        ),
        ("health-check-dummy-key", ("NotFoundException", "Invalid keyId 'health-check-dummy-key'")),
        (
            "alias/absent",
            ("NotFoundException", f"Alias arn:aws:kms:{REGION}:{ACCOUNT_A}:alias/absent is not found."),
        ),
        (
            f"arn:aws:kms:ap-southeast-1:{ACCOUNT_A}:key/{ABSENT}",
            ("NotFoundException", "Invalid arn ap-southeast-1"),
        ),
    ],
)
@pytest.mark.parametrize("operation", ["describe_key", "enable_key", "get_public_key"])
def test_a_key_that_is_not_there_is_not_found(
    kms: Any, operation: str, identifier: str, error: tuple[str, str]
) -> None:
    assert refused(getattr(kms, operation), KeyId=identifier) == error


def test_what_only_looks_like_an_arn_is_refused(kms: Any) -> None:
    assert refused(kms.describe_key, KeyId="arn:aws:s3:::bucket")[0] == "InvalidArnException"


def test_aliases_live_and_are_listed(kms: Any, own_key: str) -> None:
    other = kms.create_key()["KeyMetadata"]
    names = [f"alias/{uuid.uuid4()}" for _ in range(3)]
    for name in names:
        kms.create_alias(AliasName=name, TargetKeyId=own_key)
    arn = f"arn:aws:kms:{REGION}:{ACCOUNT_A}:{names[0]}"
    assert refused(kms.create_alias, AliasName=names[0], TargetKeyId=own_key) == (
        "AlreadyExistsException",
        f"An alias with the name {arn} already exists",
    )
    kms.update_alias(AliasName=names[2], TargetKeyId=other["KeyId"])
    listed = kms.list_aliases(KeyId=own_key)["Aliases"]
    assert {entry["AliasName"] for entry in listed} == set(names[:2])
    assert all(entry["AliasArn"].endswith(entry["AliasName"]) for entry in listed)
    paged = kms.get_paginator("list_aliases").paginate(PaginationConfig={"PageSize": 1})
    found = [entry for page in paged for entry in page["Aliases"] if entry["AliasName"] in names]
    assert {entry["AliasName"]: entry["TargetKeyId"] for entry in found} == {
        names[0]: own_key.rpartition("/")[2],
        names[1]: own_key.rpartition("/")[2],
        names[2]: other["KeyId"],
    }
    kms.delete_alias(AliasName=names[0])
    assert refused(kms.delete_alias, AliasName=names[0]) == (
        "NotFoundException",
        f"Alias {arn} is not found.",
    )


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("files", "ValidationException"),
        ("alias/", "InvalidAliasNameException"),
        ("alias/aws/s3", "InvalidAliasNameException"),
        ("alias/a:b", "InvalidAliasNameException"),
        ("alias/a b", "ValidationException"),
        ("alias/" + "a" * 251, "ValidationException"),
    ],
)
def test_impossible_aliases_are_refused(unchecked: Any, key: str, name: str, error: str) -> None:
    assert refused(unchecked.create_alias, AliasName=name, TargetKeyId=key)[0] == error


# --- data keys, encryption -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "length"),
    [
        ({"KeySpec": "AES_256"}, 32),
        ({"KeySpec": "AES_128"}, 16),
        ({"NumberOfBytes": 64}, 64),
        ({"NumberOfBytes": 1024}, 1024),
    ],
)
def test_a_data_key_is_given_and_given_back(kms: Any, key: str, members: dict[str, Any], length: int) -> None:
    made = kms.generate_data_key(KeyId=key, EncryptionContext=CONTEXT, **members)
    assert len(made["Plaintext"]) == length
    assert made["KeyId"] == key
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert (opened["Plaintext"], opened["KeyId"]) == (made["Plaintext"], key)
    assert opened["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    wrapped = kms.generate_data_key_without_plaintext(KeyId=key, EncryptionContext=CONTEXT, **members)
    assert "Plaintext" not in wrapped
    opened = kms.decrypt(CiphertextBlob=wrapped["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert len(opened["Plaintext"]) == length


@pytest.mark.parametrize("members", [{}, {"KeySpec": "AES_256", "NumberOfBytes": 32}])
def test_the_length_of_a_data_key_is_given_once(kms: Any, key: str, members: dict[str, Any]) -> None:
    for act in (kms.generate_data_key, kms.generate_data_key_without_plaintext):
        assert refused(act, KeyId=key, **members) == (
            "ValidationException",
            "Please specify either number of bytes or key spec.",
        )


@pytest.mark.parametrize("spec", ["RSA_2048", "ECC_NIST_P256", "ECC_NIST_P384"])
def test_a_data_key_pair_is_given_and_given_back(kms: Any, key: str, spec: str) -> None:
    made = kms.generate_data_key_pair(KeyId=key, KeyPairSpec=spec, EncryptionContext=CONTEXT)
    assert (made["KeyId"], made["KeyPairSpec"]) == (key, spec)
    private = serialization.load_der_private_key(made["PrivateKeyPlaintext"], None)
    der, spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    assert private.public_key().public_bytes(der, spki) == made["PublicKey"]
    opened = kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"], EncryptionContext=CONTEXT)
    assert opened["Plaintext"] == made["PrivateKeyPlaintext"]
    wrapped = kms.generate_data_key_pair_without_plaintext(KeyId=key, KeyPairSpec=spec)
    assert "PrivateKeyPlaintext" not in wrapped
    opened = kms.decrypt(CiphertextBlob=wrapped["PrivateKeyCiphertextBlob"])
    private = serialization.load_der_private_key(opened["Plaintext"], None)
    assert private.public_key().public_bytes(der, spki) == wrapped["PublicKey"]


@pytest.mark.parametrize("spec", ["ECC_NIST_P521", "ECC_SECG_P256K1", "SM2", "ML_KEM_512"])
def test_other_data_key_pairs_are_not_supported(kms: Any, key: str, spec: str) -> None:
    assert (
        refused(kms.generate_data_key_pair, KeyId=key, KeyPairSpec=spec)[0] == "UnsupportedOperationException"
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(min_size=1, max_size=4096),
    st.dictionaries(st.text(min_size=1, max_size=30), st.text(max_size=30), max_size=6),
    st.randoms(use_true_random=False),
)
def test_what_is_encrypted_decrypts_under_any_order_of_its_context(
    kms: Any, key: str, plaintext: bytes, context: dict[str, str], random: Any
) -> None:
    made = kms.encrypt(KeyId=key, Plaintext=plaintext, EncryptionContext=context)
    assert made["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    pairs = list(context.items())
    random.shuffle(pairs)
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=dict(pairs))
    assert opened["Plaintext"] == plaintext
    other = {**context, "one more": "pair"}
    assert refused(kms.decrypt, CiphertextBlob=made["CiphertextBlob"], EncryptionContext=other) == (
        "InvalidCiphertextException",
        "",
    )


def test_wrong_context_damage_and_garbage_are_one_answer_without_text(kms: Any, key: str) -> None:
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    damaged = blob[:-1] + bytes([blob[-1] ^ 1])
    for members in (
        {"CiphertextBlob": blob},
        {"CiphertextBlob": blob, "EncryptionContext": {"tenant": "b"}},
        {"CiphertextBlob": damaged, "EncryptionContext": CONTEXT},
        {"CiphertextBlob": b"garbage"},
        {"CiphertextBlob": b"\x01" + bytes(100)},
        {"CiphertextBlob": bytes(6144)},
    ):
        assert refused(kms.decrypt, **members) == ("InvalidCiphertextException", "")


def test_decrypting_with_another_key_or_another_kind_of_key_is_an_incorrect_key(
    kms: Any, key: str, own_key: str
) -> None:
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    incorrect = (
        "IncorrectKeyException",
        "The key ID in the request does not identify a CMK that can perform this operation.",
    )
    assert refused(kms.decrypt, KeyId=own_key, CiphertextBlob=blob) == incorrect
    signing = create(kms, "ECC_NIST_P256", "SIGN_VERIFY")
    assert refused(kms.decrypt, KeyId=signing, CiphertextBlob=blob) == incorrect


def test_a_ciphertext_moves_to_another_key_and_context(kms: Any, key: str, own_key: str) -> None:
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    moved = kms.re_encrypt(
        CiphertextBlob=blob,
        SourceEncryptionContext=CONTEXT,
        DestinationKeyId=own_key,
        DestinationEncryptionContext={"tenant": "b"},
    )
    assert (moved["SourceKeyId"], moved["KeyId"]) == (key, own_key)
    opened = kms.decrypt(CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"tenant": "b"})
    assert (opened["Plaintext"], opened["KeyId"]) == (b"x", own_key)
    bare = kms.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext=CONTEXT, DestinationKeyId=own_key)
    assert kms.decrypt(CiphertextBlob=bare["CiphertextBlob"])["Plaintext"] == b"x"
    assert refused(kms.re_encrypt, CiphertextBlob=blob, DestinationKeyId=own_key) == (
        "InvalidCiphertextException",
        "",
    )
    wrong = {"CiphertextBlob": blob, "SourceEncryptionContext": CONTEXT, "DestinationKeyId": own_key}
    assert refused(kms.re_encrypt, SourceKeyId=own_key, **wrong)[0] == "IncorrectKeyException"
    assert kms.re_encrypt(SourceKeyId=key, **wrong)["SourceKeyId"] == key


def test_other_algorithms_and_enclaves_are_refused(kms: Any, key: str) -> None:
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    text = "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT."
    other = {"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    assert refused(kms.encrypt, KeyId=key, Plaintext=b"x", **other) == ("InvalidKeyUsageException", text)
    assert refused(kms.decrypt, KeyId=key, CiphertextBlob=blob, **other) == ("InvalidKeyUsageException", text)
    recipient = {"Recipient": {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": b"x"}}
    unsupported = "UnsupportedOperationException"
    assert refused(kms.decrypt, CiphertextBlob=blob, **recipient)[0] == unsupported
    assert refused(kms.generate_random, NumberOfBytes=1, **recipient)[0] == unsupported
    assert refused(kms.generate_data_key, KeyId=key, KeySpec="AES_256", **recipient)[0] == unsupported


@pytest.mark.parametrize("length", [1, 12, 1024])
def test_random_bytes_are_random(kms: Any, length: int) -> None:
    found = kms.generate_random(NumberOfBytes=length)["Plaintext"]
    assert len(found) == length
    assert length == 1 or kms.generate_random(NumberOfBytes=length)["Plaintext"] != found


def test_random_bytes_need_a_number(kms: Any) -> None:
    assert refused(kms.generate_random) == ("ValidationException", "NumberOfBytes is required.")
    store = {"NumberOfBytes": 1, "CustomKeyStoreId": "cks-1"}
    assert refused(kms.generate_random, **store)[0] == "UnsupportedOperationException"


@pytest.mark.parametrize(
    "context",
    [
        {str(number): "x" * 200 for number in range(50)},
        {"": "x"},
        {"x" * 9000: "y"},
        {f"k{number}": "" for number in range(65)},
    ],
    ids=["bytes", "empty key", "long key", "pairs"],
)
def test_a_context_over_its_limits_is_refused(kms: Any, key: str, context: dict[str, str]) -> None:
    found = refused(kms.generate_data_key, KeyId=key, KeySpec="AES_256", EncryptionContext=context)
    assert found[0] == "ValidationException"


def test_grant_tokens_are_taken_and_mean_nothing(kms: Any, key: str) -> None:
    kms.generate_data_key(KeyId=key, KeySpec="AES_256", GrantTokens=["a token"])
    kms.describe_key(KeyId=key, GrantTokens=["a token"] * 10)


# --- dry run ---------------------------------------------------------------------------------


def test_a_dry_run_that_would_succeed_is_an_error_that_says_so(kms: Any, key: str) -> None:
    mac_key = create(kms, "HMAC_256", "GENERATE_VERIFY_MAC")
    sign_key = create(kms, "ECC_NIST_P256", "SIGN_VERIFY")
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    mac = kms.generate_mac(KeyId=mac_key, Message=b"x", MacAlgorithm="HMAC_SHA_256")["Mac"]
    signing = {"KeyId": sign_key, "Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"}
    signature = kms.sign(**signing)["Signature"]
    for act, members in (
        (kms.generate_data_key, {"KeyId": key, "KeySpec": "AES_256"}),
        (kms.generate_data_key_without_plaintext, {"KeyId": key, "KeySpec": "AES_256"}),
        (kms.generate_data_key_pair, {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}),
        (kms.generate_data_key_pair_without_plaintext, {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}),
        (kms.encrypt, {"KeyId": key, "Plaintext": b"x"}),
        (kms.decrypt, {"CiphertextBlob": blob}),
        (kms.re_encrypt, {"CiphertextBlob": blob, "DestinationKeyId": key}),
        (kms.generate_mac, {"KeyId": mac_key, "Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}),
        (kms.verify_mac, {"KeyId": mac_key, "Message": b"x", "MacAlgorithm": "HMAC_SHA_256", "Mac": mac}),
        (kms.sign, signing),
        (kms.verify, {**signing, "Signature": signature}),
    ):
        assert refused(act, DryRun=True, **members) == (
            "DryRunOperationException",
            "The request would have succeeded, but the DryRun option is set.",
        )


def test_a_dry_run_that_would_fail_fails_the_same(kms: Any, own_key: str) -> None:
    kms.disable_key(KeyId=own_key)
    members = {"KeyId": own_key, "KeySpec": "AES_256", "DryRun": True}
    assert refused(kms.generate_data_key, **members) == ("DisabledException", f"{own_key} is disabled.")
    assert refused(kms.encrypt, KeyId=ABSENT, Plaintext=b"x", DryRun=True)[0] == "NotFoundException"


# --- signatures, MACs, key agreement ---------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "algorithm"),
    [
        ("ECC_NIST_P256", "ECDSA_SHA_256"),
        ("ECC_NIST_P384", "ECDSA_SHA_384"),
        ("RSA_2048", "RSASSA_PSS_SHA_256"),
        ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512"),
    ],
)
def test_signatures_verify_here_and_elsewhere(kms: Any, spec: str, algorithm: str) -> None:
    key = create(kms, spec, "SIGN_VERIFY")
    message = b"a message"
    hashed = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[-3:]]
    digest = hashlib.new(hashed.name, message).digest()
    made = kms.sign(KeyId=key, Message=message, SigningAlgorithm=algorithm)
    assert (made["KeyId"], made["SigningAlgorithm"]) == (key, algorithm)
    by_digest = kms.sign(KeyId=key, Message=digest, MessageType="DIGEST", SigningAlgorithm=algorithm)
    public = kms.get_public_key(KeyId=key)
    assert (public["KeyId"], public["KeySpec"], public["KeyUsage"]) == (key, spec, "SIGN_VERIFY")
    assert algorithm in public["SigningAlgorithms"]
    loaded = serialization.load_der_public_key(public["PublicKey"])
    for signature in (made["Signature"], by_digest["Signature"]):
        if isinstance(loaded, ec.EllipticCurvePublicKey):
            loaded.verify(signature, message, ec.ECDSA(hashed))
        else:
            assert isinstance(loaded, rsa.RSAPublicKey)
            pss = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
            loaded.verify(signature, message, pss if "PSS" in algorithm else padding.PKCS1v15(), hashed)
        verified = kms.verify(KeyId=key, Message=message, Signature=signature, SigningAlgorithm=algorithm)
        assert (verified["SignatureValid"], verified["KeyId"]) == (True, key)
    members = {"KeyId": key, "SigningAlgorithm": algorithm}
    bad = {**members, "Message": b"another", "Signature": made["Signature"]}
    assert refused(kms.verify, **bad) == ("KMSInvalidSignatureException", "")
    assert (
        refused(kms.verify, **members, Message=message, Signature=b"garbage")[0]
        == "KMSInvalidSignatureException"
    )
    assert refused(kms.sign, **members, Message=digest[:-1], MessageType="DIGEST") == (
        "ValidationException",
        f"Digest is invalid length for algorithm {algorithm}.",
    )


def test_an_algorithm_of_another_key_is_refused(kms: Any) -> None:
    key = create(kms, "ECC_NIST_P256", "SIGN_VERIFY")
    assert refused(kms.sign, KeyId=key, Message=b"x", SigningAlgorithm="ECDSA_SHA_384") == (
        "InvalidKeyUsageException",
        "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256.",
    )
    other = refused(kms.sign, KeyId=key, Message=b"x", SigningAlgorithm="ED25519_SHA_512")
    assert other[0] == "UnsupportedOperationException"
    mu = {"KeyId": key, "Message": b"x", "MessageType": "EXTERNAL_MU", "SigningAlgorithm": "ECDSA_SHA_256"}
    assert refused(kms.sign, **mu)[0] == "UnsupportedOperationException"


@pytest.mark.parametrize("bits", [224, 256, 384, 512])
def test_macs_verify(kms: Any, bits: int) -> None:
    key, algorithm = create(kms, f"HMAC_{bits}", "GENERATE_VERIFY_MAC"), f"HMAC_SHA_{bits}"
    members = {"KeyId": key, "Message": b"some important message", "MacAlgorithm": algorithm}
    made = kms.generate_mac(**members)
    assert (made["KeyId"], made["MacAlgorithm"], len(made["Mac"])) == (key, algorithm, bits // 8)
    verified = kms.verify_mac(**members, Mac=made["Mac"])
    assert (verified["MacValid"], verified["KeyId"]) == (True, key)
    other = {**members, "Message": b"some different important message"}
    assert refused(kms.verify_mac, **other, Mac=made["Mac"]) == ("KMSInvalidMacException", "")
    wrong = "HMAC_SHA_512" if bits != 512 else "HMAC_SHA_256"
    incompatible = (
        "InvalidKeyUsageException",
        f"Algorithm {wrong} is incompatible with key spec HMAC_{bits}.",
    )
    assert refused(kms.generate_mac, **{**members, "MacAlgorithm": wrong}) == incompatible
    assert refused(kms.verify_mac, **{**members, "MacAlgorithm": wrong}, Mac=made["Mac"]) == incompatible


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "ECC_NIST_P384"])
def test_a_shared_secret_is_agreed_on(kms: Any, spec: str) -> None:
    key = create(kms, spec, "KEY_AGREEMENT")
    curve = ec.SECP256R1() if spec == "ECC_NIST_P256" else ec.SECP384R1()
    ours = ec.generate_private_key(curve)
    der, spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    members = {"KeyId": key, "KeyAgreementAlgorithm": "ECDH"}
    made = kms.derive_shared_secret(**members, PublicKey=ours.public_key().public_bytes(der, spki))
    public = kms.get_public_key(KeyId=key)
    assert public["KeyAgreementAlgorithms"] == ["ECDH"]
    theirs = serialization.load_der_public_key(public["PublicKey"])
    assert isinstance(theirs, ec.EllipticCurvePublicKey)
    assert made["SharedSecret"] == ours.exchange(ec.ECDH(), theirs)
    assert (made["KeyAgreementAlgorithm"], made["KeyOrigin"]) == ("ECDH", "AWS_KMS")
    stranger = ec.generate_private_key(ec.SECP521R1()).public_key().public_bytes(der, spki)
    for bad in (b"garbage", stranger):
        assert refused(kms.derive_shared_secret, **members, PublicKey=bad)[0] == "ValidationException"


@pytest.mark.parametrize(
    ("operation", "members", "spec", "usage"),
    [
        (
            "GenerateMac",
            {"Message": b"x", "MacAlgorithm": "HMAC_SHA_256"},
            "SYMMETRIC_DEFAULT",
            "ENCRYPT_DECRYPT",
        ),
        ("Sign", {"Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"}, "HMAC_256", "GENERATE_VERIFY_MAC"),
        (
            "Verify",
            {"Message": b"x", "Signature": b"x", "SigningAlgorithm": "ECDSA_SHA_256"},
            "SYMMETRIC_DEFAULT",
            "ENCRYPT_DECRYPT",
        ),
        ("Encrypt", {"Plaintext": b"x"}, "ECC_NIST_P256", "SIGN_VERIFY"),
        ("GenerateDataKey", {"KeySpec": "AES_256"}, "HMAC_512", "GENERATE_VERIFY_MAC"),
        (
            "DeriveSharedSecret",
            {"KeyAgreementAlgorithm": "ECDH", "PublicKey": b"x"},
            "ECC_NIST_P256",
            "SIGN_VERIFY",
        ),
    ],
)
def test_a_key_is_not_used_for_what_it_was_not_made_for(
    kms: Any, operation: str, members: dict[str, Any], spec: str, usage: str
) -> None:
    key = create(kms, spec, usage)
    act = getattr(kms, "".join("_" + c.lower() if c.isupper() else c for c in operation).removeprefix("_"))
    assert refused(act, KeyId=key, **members) == (
        "InvalidKeyUsageException",
        f"{key} key usage is {usage} which is not valid for {operation}.",
    )


def test_a_symmetric_key_has_no_public_half(kms: Any, key: str) -> None:
    assert refused(kms.get_public_key, KeyId=key)[0] in (
        "UnsupportedOperationException",
        "InvalidKeyUsageException",
    )


# --- what is not there -----------------------------------------------------------------------


def test_operations_that_are_not_supported_say_so(kms: Any, key: str) -> None:
    for act, members in (
        (kms.list_grants, {"KeyId": key}),
        (kms.create_grant, {"KeyId": key, "GranteePrincipal": "a", "Operations": ["Decrypt"]}),
        (kms.replicate_key, {"KeyId": key, "ReplicaRegion": "us-west-2"}),
        (kms.describe_custom_key_stores, {}),
        (
            kms.get_parameters_for_import,
            {"KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"},
        ),
    ):
        assert refused(act, **members)[0] == "UnsupportedOperationException"
