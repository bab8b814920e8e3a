"""Any Authorization header, any request: a signature is refused by one family of errors, never by another."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hwkm.server.aws import sigv4
from hwkm.server.aws.authentication import Authenticator, Head
from hwkm.server.aws.errors import AwsError, NotAuthenticated
from tests.aws_signing import BODY, NOW, Signer
from tests.fuzz.byte_strings import near

SIGNER = Signer()
GOOD = SIGNER.headers(at=NOW)
AUTHORIZATION = GOOD["Authorization"].encode()


def refusal_of(act: Callable[[], object]) -> AwsError | None:
    """The typed refusal of what is done, if it is refused."""
    try:
        act()
    except AwsError as exc:
        return exc
    return None


def check_parsed(value: bytes) -> None:
    parsed = sigv4.parse_authorization(value)
    assert re.fullmatch(rb"[0-9a-f]{64}", parsed.signature)
    assert re.fullmatch(r"[0-9]{8}/[\w-]+/[\w-]+/[\w-]+", parsed.claim.scope)
    assert len(value) <= sigv4.AUTHORIZATION_BYTES_MAX


@given(near(st.just(AUTHORIZATION)))
@example(AUTHORIZATION + b", Signature=" + b"0" * 64)
@example(b"AWS4-HMAC-SHA256 " + b"Credential=" * 500)
@example(AUTHORIZATION.replace(b"host;", b"host;host;"))
@example(AUTHORIZATION.replace(b"/kms/", b"/kms/kms/"))
def test_any_authorization_header_is_parsed_or_refused(value: bytes) -> None:
    refusal = refusal_of(lambda: check_parsed(value))
    assert refusal is None or refusal.name == "IncompleteSignatureException"


HEADER_VALUES = near(st.sampled_from([value.encode() for value in GOOD.values()]))
HEADER_NAMES = st.sampled_from([name.encode() for name in GOOD]) | st.binary(min_size=1, max_size=20)


@given(
    st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=8),
    st.text(max_size=30).map(lambda text: "/" + text),
    st.sampled_from(["POST", "GET", "X"]),
)
@example([(b"X-Amz-Date", b"99999999T999999Z")], "/", "POST")
@example([], "/?x-amz-signature=1", "POST")
@example([], "/?a=%ff&a&&=b", "POST")
def test_any_request_is_refused_by_a_typed_error_or_is_the_signed_one(
    changes: list[tuple[bytes, bytes]], target: str, method: str
) -> None:
    headers = {name.encode(): value.encode() for name, value in GOOD.items()} | dict(changes)
    head = Head.of(method, target, list(headers.items()))
    authenticator = Authenticator(SIGNER.book(), "us-east-1", lambda: NOW)
    refusal = refusal_of(lambda: authenticator.authenticate(head, BODY, "Decrypt"))
    if refusal is None:
        for name in ("Host", "X-Amz-Date", "X-Amz-Target"):
            assert b" ".join(headers[name.encode()].split()) == GOOD[name].encode()
        assert method == "POST"
        assert sigv4.canonical_path(head.path) == "/"
        assert sigv4.canonical_query(head.query) == ""


@given(st.text(max_size=60), st.text(max_size=60))
def test_canonical_forms_are_ascii_and_stable_for_any_target(path: str, query: str) -> None:
    assert sigv4.canonical_path("/" + path).isascii()
    canonical = sigv4.canonical_query(query)
    assert canonical.isascii()
    assert sigv4.canonical_query(canonical) == canonical


def test_an_absent_header_that_is_said_to_be_signed_is_a_mismatch() -> None:
    request = sigv4.Signed("POST", "/", "", {}, hashlib.sha256(b"").hexdigest().encode())
    with pytest.raises(NotAuthenticated) as caught:
        sigv4.canonical_request(request, sigv4.parse_authorization(AUTHORIZATION).claim)
    assert caught.value.name == "InvalidSignatureException"
