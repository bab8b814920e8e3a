"""Response codes of TPM and TSS: which are certainly not applied, and what the rest means."""

from __future__ import annotations

import pytest

from hwkm.errors import AnchorTampered, TokenBusy, TokenError, TokenFull, TokenUnavailable
from hwkm.tokens.tpm.errors import (
    definitely_not_applied,
    error_number,
    refused_authorisation,
    translate,
)

NV_RATE, LOCKOUT, RETRY, NV_UNAVAILABLE, NV_SPACE, FAILURE, INITIALIZE = (
    0x920, 0x921, 0x922, 0x923, 0x14B, 0x101, 0x100,
)  # fmt: skip
BAD_AUTH, AUTH_FAIL = 0x0A2, 0x08E
SESSION_1, HANDLE_1, PARAMETER_2 = 0x900, 0x100, 0x240
TCTI_IO_ERROR, ESAPI_BAD_SEQUENCE, RESOURCE_MANAGER = 0xA000A, 0x70007, 0xB0000


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (BAD_AUTH | SESSION_1, BAD_AUTH),
        (0x08B | HANDLE_1, 0x08B),
        (0x084 | PARAMETER_2, 0x084),
        (NV_RATE, NV_RATE),
        (NV_SPACE, NV_SPACE),
        (TCTI_IO_ERROR, TCTI_IO_ERROR),
        (RESOURCE_MANAGER | BAD_AUTH, RESOURCE_MANAGER | BAD_AUTH),
    ],
)
def test_a_code_is_stripped_of_the_place_it_complains_about(code: int, number: int) -> None:
    assert error_number(code) == number


@pytest.mark.parametrize("code", [BAD_AUTH | SESSION_1, AUTH_FAIL | SESSION_1, BAD_AUTH, AUTH_FAIL])
def test_refused_authorisation_is_not_our_object(code: int) -> None:
    assert refused_authorisation(code)
    assert isinstance(translate(code, "testing"), AnchorTampered)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (NV_RATE, TokenBusy),
        (LOCKOUT, TokenBusy),
        (RETRY, TokenBusy),
        (NV_UNAVAILABLE, TokenBusy),
        (0x902, TokenBusy),
        (NV_SPACE, TokenFull),
    ],
)
def test_what_the_tpm_certainly_did_not_do(code: int, kind: type[TokenError]) -> None:
    error = definitely_not_applied(code, "testing")
    assert type(error) is kind
    assert type(translate(code, "testing")) is kind


@pytest.mark.parametrize("code", [FAILURE, 0x1C4, BAD_AUTH, TCTI_IO_ERROR, ESAPI_BAD_SEQUENCE, 0xC0920])
def test_nothing_else_is_taken_for_certain(code: int) -> None:
    assert definitely_not_applied(code, "testing") is None


@pytest.mark.parametrize(
    "code", [FAILURE, INITIALIZE, 0x910, 0x918, 0x91E, TCTI_IO_ERROR, ESAPI_BAD_SEQUENCE, RESOURCE_MANAGER]
)
def test_a_tpm_that_does_not_work_is_unavailable(code: int) -> None:
    assert type(translate(code, "testing")) is TokenUnavailable


def test_any_other_refusal_is_a_token_error_that_shows_its_code() -> None:
    error = translate(0x1C4, "agreeing")
    assert type(error) is TokenError
    assert "0x1c4" in str(error)
    assert "agreeing" in str(error)
