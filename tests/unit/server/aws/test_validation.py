"""What is wrong with a request is said in AWS's words, and nothing of a secret is quoted."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from hwkm.server.aws import requests as asked
from hwkm.server.aws.errors import AwsError
from hwkm.server.aws.operations.table import OPERATIONS
from hwkm.server.aws.validation import context_of, decode

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


def decoded(operation: str, members: Any) -> Any:
    return decode(OPERATIONS[operation].decoder, json.dumps(members).encode())


def refusal(operation: str, members: Any) -> AwsError:
    with pytest.raises(AwsError) as caught:
        decoded(operation, members)
    return caught.value


def base64_of(length: int) -> str:
    return base64.b64encode(b"x" * length).decode()


@pytest.mark.parametrize(
    ("operation", "members", "problem"),
    [
        (
            "GenerateRandom",
            {"NumberOfBytes": 0},
            (
                "Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or"
                " equal to 1"
            ),
        ),
        (
            "GenerateRandom",
            {"NumberOfBytes": 1025},
            (
                "Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or"
                " equal to 1024"
            ),
        ),
        (
            "Encrypt",
            {"KeyId": KEY, "Plaintext": base64_of(4097)},
            "Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096",
        ),
        (
            "Encrypt",
            {"KeyId": KEY, "Plaintext": ""},
            "Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (
            "Decrypt",
            {"CiphertextBlob": base64_of(6145)},
            (
                "Value at 'ciphertextBlob' failed to satisfy constraint: Member must have length less than or equal to"
                " 6144"
            ),
        ),
        (
            "DescribeKey",
            {},
            "Value null at 'keyId' failed to satisfy constraint: Member must not be null",
        ),
        (
            "DescribeKey",
            {"KeyId": None},
            "Value null at 'keyId' failed to satisfy constraint: Member must not be null",
        ),
        (
            "CreateAlias",
            {"AliasName": "alias/a b", "TargetKeyId": KEY},
            (
                "Value 'alias/a b' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression"
                " pattern: ^[a-zA-Z0-9:/_-]+$"
            ),
        ),
        (
            "TagResource",
            {"KeyId": KEY, "Tags": [{"TagKey": "a", "TagValue": "b"}, {"TagKey": "", "TagValue": "b"}]},
            (
                "Value '' at 'tags.2.member.tagKey' failed to satisfy constraint: Member must have length greater than"
                " or equal to 1"
            ),
        ),
        (
            "EnableKeyRotation",
            {"KeyId": KEY, "RotationPeriodInDays": 89},
            (
                "Value '89' at 'rotationPeriodInDays' failed to satisfy constraint: Member must have value greater than"
                " or equal to 90"
            ),
        ),
        (
            "ScheduleKeyDeletion",
            {"KeyId": KEY, "PendingWindowInDays": 6},
            (
                "Value '6' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value greater than or"
                " equal to 7"
            ),
        ),
        (
            "DescribeKey",
            {"KeyId": KEY, "GrantTokens": ["x"] * 11},
            "Value at 'grantTokens' failed to satisfy constraint: Member must have length less than or equal to 10",
        ),
    ],
)
def test_one_problem_is_named_as_aws_names_it(operation: str, members: Any, problem: str) -> None:
    error = refusal(operation, members)
    assert (error.name, error.status) == ("ValidationException", 400)
    assert error.message == f"1 validation error detected: {problem}"


def test_all_problems_are_named_at_once() -> None:
    error = refusal("Sign", {"SigningAlgorithm": "ROT13"})
    assert error.message.startswith("3 validation errors detected: ")
    for text in (
        "null at 'keyId'",
        "null at 'message'",
        "Value 'ROT13' at 'signingAlgorithm'",
        "enum value set: [ECDSA_SHA_256, ",
    ):
        assert text in error.message


@pytest.mark.parametrize(
    "members",
    [
        {"KeyId": 1},
        {"KeyId": [KEY]},
        {"KeyId": KEY, "GrantTokens": "x"},
        {"KeyId": KEY, "GrantTokens": [None]},
        [],
        "x",
        1,
    ],
)
def test_members_of_the_wrong_type_do_not_serialise(members: Any) -> None:
    assert refusal("DescribeKey", members).name == "SerializationException"


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b"[" * 100_000, b"{}x", b'{"KeyId":"\xff"}', b'{"KeyId":"\\ud800"}']
)
def test_what_is_not_json_does_not_serialise(body: bytes) -> None:
    with pytest.raises(AwsError) as caught:
        decode(OPERATIONS["DescribeKey"].decoder, body)
    assert caught.value.name == "SerializationException"


def test_bad_base64_does_not_serialise_and_is_not_quoted() -> None:
    error = refusal("Encrypt", {"KeyId": KEY, "Plaintext": "my secret!"})
    assert error.name == "SerializationException"
    assert "secret" not in error.message


def test_a_member_that_is_not_known_is_refused_and_not_quoted_if_it_is_strange() -> None:
    assert (
        refusal("DescribeKey", {"KeyId": KEY, "Simulate": True}).message
        == "This operation has no member Simulate."
    )
    error = refusal("DescribeKey", {"KeyId": KEY, "a secret\n": True})
    assert "secret" not in error.message


def test_null_is_absent() -> None:
    members = dict.fromkeys(OPERATIONS["GenerateDataKey"].request.__struct_encode_fields__)
    request = decoded("GenerateDataKey", {**members, "KeyId": KEY})
    assert request.key_spec is None
    assert context_of(request.encryption_context, "encryptionContext") == {}
    assert decoded("ListKeys", {"Limit": None}).limit is None


def test_an_empty_body_is_a_request_without_members() -> None:
    assert isinstance(decode(OPERATIONS["ListKeys"].decoder, b""), asked.ListKeys)


# --- encryption context ----------------------------------------------------------------------


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=8))
def test_a_context_is_taken_as_it_is(context: dict[str, str]) -> None:
    request = decoded("GenerateDataKey", {"KeyId": KEY, "EncryptionContext": context})
    assert context_of(request.encryption_context, "encryptionContext") == context


@pytest.mark.parametrize(
    "context", [[], "x", 1, True, {"a": 1}, {"a": None}, {"a": ["b"]}, {"a": {"b": "c"}}]
)
def test_a_context_that_is_no_map_of_strings_does_not_serialise(context: Any) -> None:
    request = decoded("GenerateDataKey", {"KeyId": KEY, "EncryptionContext": context})
    with pytest.raises(AwsError) as caught:
        context_of(request.encryption_context, "encryptionContext")
    assert caught.value.name == "SerializationException"


@pytest.mark.parametrize("text", ['{"a":"1","a":"2"}', '{"a":"1","a":"1"}', '{"a":"1","\\u0061":"2"}'])
def test_a_context_with_a_key_twice_is_refused(text: str) -> None:
    with pytest.raises(AwsError, match="has a key twice") as caught:
        context_of(Raw(text.encode()), "encryptionContext")
    assert caught.value.name == "ValidationException"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(OPERATIONS)), st.data())
def test_any_json_is_decoded_or_refused_with_a_typed_error(operation: str, data: st.DataObject) -> None:
    names = OPERATIONS[operation].request.__struct_encode_fields__
    members = data.draw(st.dictionaries(st.sampled_from([*names, "Other"]), JSON))
    try:
        request = decoded(operation, members)
    except AwsError as exc:
        refused = exc
    else:
        assert isinstance(request, OPERATIONS[operation].request)
        return
    assert refused.name in ("SerializationException", "ValidationException")


@given(st.binary(max_size=60))
@example(b"null")
@example(b'{"a":NaN}')
@example(b'{"a":"\\ud800"}')
def test_any_bytes_are_a_context_or_refused(raw: bytes) -> None:
    try:
        context = context_of(Raw(raw), "encryptionContext")
    except AwsError as exc:
        refused = exc
    else:
        for key, value in context.items():
            (key + value).encode()
        return
    assert refused.name in ("SerializationException", "ValidationException")
