"""The one key policy, and markers that only their own list takes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.server.aws import markers
from hwkm.server.aws.errors import AwsError
from hwkm.server.aws.policies import check_policy, default_policy

ACCOUNT = "000000000001"


def test_the_default_policy_is_taken_in_any_layout() -> None:
    policy = json.loads(default_policy(ACCOUNT))
    check_policy(ACCOUNT, json.dumps(policy))
    (statement,) = policy["Statement"]
    statement["Principal"] = {"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}
    statement["Action"] = ["kms:*"]
    del statement["Sid"]
    check_policy(ACCOUNT, json.dumps({"Statement": statement, "Version": "2012-10-17"}))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("Effect", "Deny"),
        ("Principal", "*"),
        ("Principal", {"AWS": "arn:aws:iam::000000000002:root"}),
        ("Action", "kms:Decrypt"),
        ("Action", ["kms:*", "s3:*"]),
        ("Resource", "arn:aws:kms:us-east-1:000000000001:key/x"),
        ("Condition", {"StringEquals": {"kms:EncryptionContext:tenant": "a"}}),
    ],
)
def test_a_policy_that_nobody_would_enforce_is_refused(member: str, value: object) -> None:
    policy = json.loads(default_policy(ACCOUNT))
    policy["Statement"][0][member] = value
    with pytest.raises(AwsError) as caught:
        check_policy(ACCOUNT, json.dumps(policy))
    assert caught.value.name == "UnsupportedOperationException"


def test_a_second_statement_is_refused() -> None:
    policy = json.loads(default_policy(ACCOUNT))
    policy["Statement"] *= 2
    with pytest.raises(AwsError):
        check_policy(ACCOUNT, json.dumps(policy))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "1", "[" * 10_000, '"x"'])
def test_what_is_no_policy_is_malformed(text: str) -> None:
    with pytest.raises(AwsError) as caught:
        check_policy(ACCOUNT, text)
    assert caught.value.name == "MalformedPolicyDocumentException"


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_other_policy_is_refused_with_a_typed_error(statement: object) -> None:
    with pytest.raises(AwsError) as caught:
        check_policy(ACCOUNT, json.dumps({"Version": "2012-10-17", "Statement": statement}))
    assert caught.value.name == "UnsupportedOperationException"


@given(st.text(min_size=1))
def test_a_marker_leads_back_to_its_place(after: str) -> None:
    made = markers.marker("ListAliases", after)
    assert made is not None
    assert markers.place("ListAliases", made, str) == after
    with pytest.raises(AwsError) as caught:
        markers.place("ListKeys", made, str)
    assert caught.value.name == "InvalidMarkerException"


def test_no_marker_is_the_first_page_and_after_the_last_there_is_none() -> None:
    assert markers.place("ListKeys", None, str) is None
    assert markers.marker("ListKeys", None) is None


@given(st.text())
def test_a_made_up_marker_is_refused(text: str) -> None:
    with pytest.raises(AwsError) as caught:
        markers.place("ListKeyRotations", text, int)
    assert caught.value.name == "InvalidMarkerException"


@pytest.mark.parametrize("after", ["-1", str(2**32), "9" * 500, "1.5", "x", ""])
def test_a_marker_that_stands_for_no_version_is_invalid(after: str) -> None:
    made = markers.marker("ListKeyRotations", after)
    with pytest.raises(AwsError) as caught:
        markers.place("ListKeyRotations", made, markers.version)
    assert caught.value.name == "InvalidMarkerException"
    assert markers.place("ListKeyRotations", markers.marker("ListKeyRotations", 7), markers.version) == 7
