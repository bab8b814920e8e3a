"""Exchange statements and domain tokens, as bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwkm.errors import FormatError
from hwkm.formats.domain_token import EXPORTED_KEYS_MAX, DomainToken, ExchangeStatement, ExportedKey
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.formats.wrapped_key import Backend

STATEMENT = ExchangeStatement(Backend.PKCS11, b"exchange", b"identity", b"claims", bytes(64))
KEY = ExportedKey(KeyName(bytes(range(16)), 3), KeyKind.HMAC_512, b"blob")
TOKEN = DomainToken(Backend.TPM, bytes(65), bytes(32), b"transport", (KEY, KEY), bytes(range(64)))


def test_they_come_back() -> None:
    assert ExchangeStatement.parse(STATEMENT.encode()) == STATEMENT
    assert DomainToken.parse(TOKEN.encode()) == TOKEN


def test_any_cut_or_added_byte_is_refused() -> None:
    for whole, parse in ((STATEMENT.encode(), ExchangeStatement.parse), (TOKEN.encode(), DomainToken.parse)):
        for size in range(len(whole)):
            with pytest.raises(FormatError):
                parse(whole[:size])
        with pytest.raises(FormatError):
            parse(whole + b"\0")
        for head in (b"\0\2", b"\2\2", b"\1\0", b"\1\4"):
            with pytest.raises(FormatError):
                parse(head + whole[2:])


def test_empty_parts_and_too_many_keys_are_refused() -> None:
    for wrong in (
        replace(STATEMENT, exchange_key=b""),
        replace(STATEMENT, identity_key=bytes(2049)),
        replace(STATEMENT, claims=b""),
    ):
        with pytest.raises(FormatError):
            ExchangeStatement.parse(wrong.encode())
    for keys in ((), (KEY,) * (EXPORTED_KEYS_MAX + 1), (replace(KEY, blob=b""),)):
        with pytest.raises(FormatError):
            DomainToken.parse(replace(TOKEN, keys=keys).encode())
    full = replace(TOKEN, keys=(KEY,) * EXPORTED_KEYS_MAX)
    assert DomainToken.parse(full.encode()) == full


def test_the_fingerprint_names_backend_and_both_keys_and_nothing_else() -> None:
    same = (replace(STATEMENT, claims=b"other"), replace(STATEMENT, signature=bytes(range(64))))
    assert {item.fingerprint() for item in same} == {STATEMENT.fingerprint()}
    others = (
        replace(STATEMENT, backend=Backend.TPM),
        replace(STATEMENT, exchange_key=b"other"),
        replace(STATEMENT, identity_key=b"other"),
        replace(STATEMENT, exchange_key=b"exchangeidentit", identity_key=b"y"),
    )
    assert len({item.fingerprint() for item in (STATEMENT, *others)}) == 5


def test_what_is_signed_is_everything_but_the_signature() -> None:
    assert STATEMENT.signed_digest() == replace(STATEMENT, signature=bytes(range(64))).signed_digest()
    assert STATEMENT.signed_digest() != replace(STATEMENT, claims=b"other").signed_digest()
    assert TOKEN.signed_digest() == replace(TOKEN, signature=bytes(64)).signed_digest()
    for other in (
        replace(TOKEN, receiver=b"\1" * 32),
        replace(TOKEN, transport=b"other"),
        replace(TOKEN, keys=(KEY,)),
        replace(TOKEN, keys=(KEY, replace(KEY, kind=KeyKind.SYMMETRIC))),
    ):
        assert other.signed_digest() != TOKEN.signed_digest()
