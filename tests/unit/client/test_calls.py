"""What is sent, and what an answer means."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.client import calls, key_calls
from hwkm.crypto.knowledge_factor import KfAlgorithm, KfType
from hwkm.errors import FormatError, HwkmError, RateLimited, Unavailable, WrongKnowledgeFactor
from hwkm.formats.key_kind import SigningAlgorithm
from hwkm.wire import api, key_api
from hwkm.wire.key_messages import PairSpec
from hwkm.wire.operations import OPERATIONS
from hwkm.wire.problems import ERROR_BY_CODE, HTTP_STATUS, ProblemBody, problem_of

HANDLE = "48" + "00" * 16
PUT = api.PutApplicationKey(wrapped=bytes(62), expected_snapshot_version=1)


def every_call() -> list[calls.Call[Any]]:
    factor = api.KnowledgeFactor(type=KfType.PIN, algorithm=KfAlgorithm.SHA256, salt=bytes(16))
    create = api.CreateVault(name="n", params=bytes(94), vault=bytes(157), knowledge_factor=factor)
    replace = api.ReplaceVault(
        expected_snapshot_version=1, params=bytes(94), vault=bytes(157), knowledge_factor=factor
    )
    return [
        calls.status(),
        calls.cohort(),
        calls.create_vault(create),
        calls.list_vaults(),
        calls.show_vault(HANDLE),
        calls.replace_vault(HANDLE, replace),
        calls.delete_vault(HANDLE),
        calls.challenge(HANDLE),
        calls.open_vault(HANDLE, api.OpenVault(challenge=bytes(32), claim=bytes(143))),
        calls.resume_vault(HANDLE),
        calls.list_application_keys(HANDLE),
        calls.put_application_key(HANDLE, "photos", PUT),
        calls.delete_application_key(HANDLE, "photos"),
        calls.audit_checkpoint(),
        *every_key_call(),
    ]


def every_key_call() -> list[calls.Call[Any]]:
    key, wanted = "alias/x", [key_api.DataKeyWanted()]
    return [
        key_calls.create(key_api.CreateKey()),
        key_calls.list_keys(),
        key_calls.show(key),
        key_calls.update(key, "text"),
        key_calls.enable(key),
        key_calls.disable(key),
        key_calls.schedule_deletion(key, 7),
        key_calls.cancel_deletion(key),
        key_calls.rotate(key),
        key_calls.set_rotation(key, None),
        key_calls.rotations(key),
        key_calls.tag(key, {"a": "b"}),
        key_calls.untag(key, ["a"]),
        key_calls.recorded(key),
        key_calls.public_key(key),
        key_calls.create_alias(key, key),
        key_calls.update_alias(key, key),
        key_calls.delete_alias(key),
        key_calls.list_aliases(),
        key_calls.generate_data_keys(key, wanted),
        key_calls.generate_wrapped_data_keys(key, wanted),
        key_calls.generate_data_key_pair(key, PairSpec.RSA_3072, {}, ""),
        key_calls.generate_wrapped_data_key_pair(key, PairSpec.RSA_3072, {}, ""),
        key_calls.encrypt(key, [key_api.PlaintextItem(plaintext=b"x")]),
        key_calls.decrypt([key_api.CiphertextItem(ciphertext=b"x")]),
        key_calls.re_encrypt(key, [key_api.ReEncryptItem(ciphertext=b"x")]),
        key_calls.random(1),
        key_calls.generate_macs(key, [b"m"]),
        key_calls.verify_macs(key, [key_api.MacItem(message=b"m", mac=b"m")]),
        key_calls.sign(key, SigningAlgorithm.ECDSA_SHA_256, [key_api.SignItem(message=b"m")]),
        key_calls.verify(
            key, SigningAlgorithm.ECDSA_SHA_256, [key_api.SignatureItem(message=b"m", signature=b"s")]
        ),
        key_calls.derive_shared_secret(key, b"point"),
        key_calls.domain_status(),
        key_calls.domain_rotate(),
    ]


def test_every_operation_has_its_call_with_the_type_of_its_answer() -> None:
    made = every_call()
    operators = {"domain.exchange", "domain.export", "domain.import"}  # asked by hwkmd itself
    assert [call.operation for call in made] == [op for op in OPERATIONS if op.name not in operators]
    assert all(call.response is call.operation.response for call in made)


@pytest.mark.parametrize("call", every_call(), ids=lambda call: call.operation.name)
def test_paths_are_filled_in(call: calls.Call[Any]) -> None:
    assert "{" not in call.target
    assert bool(call.body) == (call.method in {"POST", "PUT"})


def test_nothing_can_break_out_of_a_path_or_a_query() -> None:
    assert calls.delete_application_key(HANDLE, "../x?y#z").target.endswith("/..%2Fx%3Fy%23z")
    assert calls.list_vaults(name="a&b=c d").target == "/v1/vaults?name=a%26b%3Dc+d"


def test_a_value_out_of_range_is_refused_before_it_is_sent() -> None:
    with pytest.raises(FormatError, match="challenge"):
        calls.open_vault(HANDLE, api.OpenVault(challenge=b"short", claim=bytes(143)))


@pytest.mark.parametrize("code", sorted(ERROR_BY_CODE))
def test_every_error_of_the_wire_is_raised_as_its_own_type(code: str) -> None:
    cls = ERROR_BY_CODE[code]
    error = cls(3, 1500) if issubclass(cls, WrongKnowledgeFactor) else _made(cls)
    body = msgspec.json.encode(ProblemBody(error=problem_of(error)))
    raised = calls._error_in(HTTP_STATUS[cls], body)
    assert type(raised) is cls
    assert str(raised) == str(error)


def test_facts_of_errors_arrive() -> None:
    wrong = calls._error_in(
        403,
        b'{"error":{"code":"wrong_knowledge_factor","message":"","attempts_remaining":7,"retry_after_ms":30000}}',
    )
    assert isinstance(wrong, WrongKnowledgeFactor)
    assert (wrong.attempts_remaining, wrong.retry_after_ms) == (7, 30_000)
    limited = calls._error_in(
        429, b'{"error":{"code":"rate_limited","message":"wait","retry_after_ms":1500}}'
    )
    assert isinstance(limited, RateLimited)
    assert limited.retry_after == 1.5


@pytest.mark.parametrize(("status", "expected"), [(502, Unavailable), (404, HwkmError)])
def test_an_answer_that_is_not_ours_is_an_error_by_its_status(status: int, expected: type[HwkmError]) -> None:
    raised = calls._error_in(status, b"<html>no daemon here</html>")
    assert type(raised) is expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"not json",
        b'{"seq":1,"hash":"\xff"}',
        b"[" * 100_000,
        b'{"seq":1,"hash":"x","more":true}',
        b'{"seq":"1","hash":"x"}',
    ],
)
def test_an_answer_that_does_not_fit_is_refused(body: bytes) -> None:
    with pytest.raises(FormatError):
        calls.audit_checkpoint().read_answer(200, body)


@given(status=st.integers(100, 599), body=st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_typed_error(status: int, body: bytes) -> None:
    for call in (calls.status(), calls.delete_vault(HANDLE)):
        with suppress(HwkmError):
            call.read_answer(status, body)


def _made(cls: type[HwkmError]) -> HwkmError:
    return cls("why", 1500) if issubclass(cls, RateLimited) else cls("why")
