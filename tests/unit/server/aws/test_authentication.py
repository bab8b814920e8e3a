"""Who signed: botocore's own signatures are accepted, and whatever is not wholly right is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.server.aws.authentication import (
    CHANGING_OPERATIONS,
    REVEALING_OPERATIONS,
    SKEW_S,
    Authenticator,
    Head,
)
from hwkm.server.aws.errors import AwsError
from tests.aws_signing import BODY, NOW, Signer, head_of

SIGNER = Signer()
OPERATION = "GenerateDataKey"


def basic(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authenticator(clock: Clock) -> Authenticator:
    return Authenticator(SIGNER.book(), "us-east-1", clock)


def refused(authenticator: Authenticator, head: Head, body: bytes = BODY) -> AwsError:
    with pytest.raises(AwsError) as caught:
        authenticator.authenticate(head, body, OPERATION)
    assert caught.value.status == 400
    assert caught.value.code == "access_denied"
    return caught.value


def test_botocores_signature_names_its_credential(authenticator: Authenticator) -> None:
    found = authenticator.authenticate(head_of(SIGNER.headers(at=NOW)), BODY, OPERATION)
    assert (found.name, found.account) == ("backup", "000000000002")


@given(st.integers(NOW - SKEW_S, NOW + SKEW_S), st.binary(max_size=200))
def test_any_body_signed_within_the_skew_is_accepted(at: int, body: bytes) -> None:
    authenticator = Authenticator(SIGNER.book(), "us-east-1", lambda: NOW)
    authenticator.authenticate(head_of(SIGNER.headers(body, at=at)), body, OPERATION)


def test_a_signature_over_a_host_without_port_holds_as_it_was_received(authenticator: Authenticator) -> None:
    headers = Signer(host="127.0.0.1").headers(at=NOW)
    authenticator.authenticate(head_of(headers), BODY, OPERATION)
    refused(authenticator, head_of({**headers, "Host": "127.0.0.1:8443"}))


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_a_body_changed_in_any_bit_is_refused(position: int, mask: int) -> None:
    body = bytearray(BODY)
    body[position] ^= mask
    authenticator = Authenticator(SIGNER.book(), "us-east-1", lambda: NOW)
    assert (
        refused(authenticator, head_of(SIGNER.headers(at=NOW)), bytes(body)).name
        == "InvalidSignatureException"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "127.0.0.1:8444"),
        ("X-Amz-Target", "TrentService.Decrypt"),
        ("Content-Type", "application/json"),
        ("X-Amz-Date", basic(NOW + 1)),
    ],
)
def test_a_signed_header_that_was_changed_is_refused(
    authenticator: Authenticator, name: str, value: str
) -> None:
    headers = {**SIGNER.headers(at=NOW), name: value}
    error = refused(authenticator, head_of(headers))
    assert error.name == "InvalidSignatureException"


@pytest.mark.parametrize("name", ["X-Amz-Target", "Host", "X-Amz-Date", "X-Amz-Whatever"])
def test_host_date_and_every_amz_header_must_be_signed(authenticator: Authenticator, name: str) -> None:
    headers = SIGNER.headers(at=NOW)
    headers.setdefault(name, "x")
    signed = headers["Authorization"].split("SignedHeaders=")[1].split(",")[0]
    less = ";".join(word for word in signed.split(";") if word != name.lower())
    headers["Authorization"] = headers["Authorization"].replace(signed, less)
    error = refused(authenticator, head_of(headers))
    assert error.name == "InvalidSignatureException"
    assert f"'{name.lower()}' must be a 'SignedHeader'" in error.message


def test_an_unsigned_request_is_refused(authenticator: Authenticator) -> None:
    headers = SIGNER.headers(at=NOW)
    del headers["Authorization"]
    error = refused(authenticator, head_of(headers))
    assert (error.name, error.message) == (
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    )


def test_a_presigned_request_is_refused(authenticator: Authenticator) -> None:
    target = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=" + "0" * 64
    headers = SIGNER.headers(at=NOW)
    assert refused(authenticator, head_of(headers, target=target)).name == "IncompleteSignatureException"


@pytest.mark.parametrize(
    "signer", [Signer(access_key_id="HWKMOTHER"), Signer(token="session")], ids=["id", "token"]
)
def test_an_unknown_access_key_and_a_session_token_are_refused(
    authenticator: Authenticator, signer: Signer
) -> None:
    error = refused(authenticator, head_of(signer.headers(at=NOW)))
    assert error.name == "UnrecognizedClientException"
    assert error.message == "The security token included in the request is invalid."


def test_a_wrong_secret_is_refused(authenticator: Authenticator) -> None:
    error = refused(authenticator, head_of(Signer(secret="not the secret").headers(at=NOW)))
    assert error.name == "InvalidSignatureException"
    assert error.message.startswith("The request signature we calculated does not match")


@pytest.mark.parametrize(
    ("signer", "text"),
    [
        (Signer(region="eu-west-1"), "Credential should be scoped to a valid region"),
        (Signer(service="s3"), "Credential should be scoped to correct service: 'kms'"),
    ],
    ids=["region", "service"],
)
def test_a_signature_for_elsewhere_is_refused(
    authenticator: Authenticator, signer: Signer, text: str
) -> None:
    error = refused(authenticator, head_of(signer.headers(at=NOW)))
    assert error.name == "InvalidSignatureException"
    assert text in error.message


def test_a_signature_older_than_the_skew_has_expired(authenticator: Authenticator) -> None:
    at = NOW - SKEW_S - 1
    error = refused(authenticator, head_of(SIGNER.headers(at=at)))
    assert error.name == "InvalidSignatureException"
    assert error.message == (
        f"Signature expired: {basic(at)} is now earlier than {basic(NOW - SKEW_S)} ({basic(NOW)} - 15 min.)"
    )


def test_a_signature_of_the_future_is_not_yet_current(authenticator: Authenticator) -> None:
    at = NOW + SKEW_S + 1
    error = refused(authenticator, head_of(SIGNER.headers(at=at)))
    assert error.name == "InvalidSignatureException"
    assert error.message == (
        f"Signature not yet current: {basic(at)} is still later than {basic(NOW + SKEW_S)} ({basic(NOW)} + 15 min.)"
    )


def test_the_day_of_the_scope_must_be_that_of_the_date(authenticator: Authenticator) -> None:
    headers = SIGNER.headers(at=NOW)
    day = headers["X-Amz-Date"][:8]
    headers["Authorization"] = headers["Authorization"].replace(day, "20200101")
    error = refused(authenticator, head_of(headers))
    assert error.message.startswith("Date in Credential scope does not match YYYYMMDD")


def test_a_stated_hash_of_another_body_and_an_unsigned_payload_are_refused(
    authenticator: Authenticator,
) -> None:
    for stated in ("UNSIGNED-PAYLOAD", "0" * 64):
        headers = SIGNER.headers(at=NOW, more={"X-Amz-Content-SHA256": stated})
        assert refused(authenticator, head_of(headers)).name == "InvalidSignatureException"


@pytest.mark.parametrize("name", ["authorization", "host", "x-amz-date", "x-amz-target"])
def test_a_header_that_decides_may_be_there_once_only(authenticator: Authenticator, name: str) -> None:
    headers = SIGNER.headers(at=NOW)
    lines = [(key.encode(), value.encode()) for key, value in headers.items()]
    twice = [*lines, *((key, value) for key, value in lines if key.lower() == name.encode())]
    error = refused(authenticator, Head.of("POST", "/", twice))
    assert error.name == "IncompleteSignatureException"


@pytest.mark.parametrize(
    "text", ["20261121T000000", "2026-11-21T00:00:00Z", "20261321T000000Z", "20261121T250000Z"]
)
def test_a_date_that_is_none_is_refused(authenticator: Authenticator, text: str) -> None:
    headers = {**SIGNER.headers(at=NOW), "X-Amz-Date": text}
    assert refused(authenticator, head_of(headers)).name == "IncompleteSignatureException"


def test_no_date_is_refused(authenticator: Authenticator) -> None:
    headers = SIGNER.headers(at=NOW)
    del headers["X-Amz-Date"]
    assert "X-Amz-Date" in refused(authenticator, head_of(headers)).message


# --- replay ----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", sorted(CHANGING_OPERATIONS | REVEALING_OPERATIONS))
def test_a_copied_request_is_refused_once_it_is_not_young(
    authenticator: Authenticator, clock: Clock, operation: str
) -> None:
    head = head_of(SIGNER.headers(at=NOW, operation=operation))
    authenticator.authenticate(head, BODY, operation)
    clock.now = NOW + 5
    authenticator.authenticate(head, BODY, operation)  # two equal requests of one second are no copy
    clock.now = NOW + 6
    with pytest.raises(AwsError, match="was used before") as caught:
        authenticator.authenticate(head, BODY, operation)
    assert caught.value.name == "InvalidSignatureException"
    clock.now = NOW + SKEW_S
    with pytest.raises(AwsError, match="was used before"):
        authenticator.authenticate(head, BODY, operation)
    clock.now = NOW + SKEW_S + 1
    with pytest.raises(AwsError, match="Signature expired"):
        authenticator.authenticate(head, BODY, operation)


def test_a_refused_request_leaves_no_trace_in_the_memory_of_signatures(
    authenticator: Authenticator, clock: Clock
) -> None:
    headers = SIGNER.headers(at=NOW, operation="Decrypt")
    with pytest.raises(AwsError):
        authenticator.authenticate(head_of(headers), b"another body", "Decrypt")
    clock.now = NOW + 60
    authenticator.authenticate(head_of(headers), BODY, "Decrypt")


def test_a_new_book_counts_at_once(authenticator: Authenticator) -> None:
    head = head_of(SIGNER.headers(at=NOW))
    authenticator.authenticate(head, BODY, OPERATION)
    authenticator.book = Signer(access_key_id="HWKMOTHER").book()
    assert refused(authenticator, head).name == "UnrecognizedClientException"
