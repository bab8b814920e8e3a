"""What the audit log says of a request to the key service."""

from __future__ import annotations

from hwkm.audit.record import AuditEntry
from hwkm.server.keys.audit import audit_entries
from hwkm.server.keys.principal import KeyCall, Principal
from tests.unit.audit.examples import KEY_ARN, TENANT

PRINCIPAL = Principal("000000000001", "credential backup", TENANT, {})


def test_every_different_use_of_a_key_is_a_record_with_version_context_and_outcome() -> None:
    call = KeyCall(PRINCIPAL)
    for _ in range(3):
        call.note(KEY_ARN, 2, {"tenant": "a"})
    call.note(KEY_ARN, 1, None, "ciphertext_invalid")
    assert audit_entries(call, "key.decrypt", "ok", "r-1") == [
        AuditEntry(TENANT, "key.decrypt", "ok", "r-1", None, KEY_ARN, 2, {"tenant": "a"}, {"items": "3"}),
        AuditEntry(TENANT, "key.decrypt", "ciphertext_invalid", "r-1", None, KEY_ARN, 1, None, None),
    ]


def test_a_request_that_failed_as_a_whole_did_so_for_every_use() -> None:
    call = KeyCall(PRINCIPAL)
    call.note(KEY_ARN, 2)
    (entry,) = audit_entries(call, "key.encrypt", "access_denied", "r-1")
    assert (entry.outcome, entry.key, entry.key_version) == ("access_denied", KEY_ARN, 2)


def test_where_no_key_is_known_there_is_one_record_too() -> None:
    assert audit_entries(KeyCall(PRINCIPAL), "key.random", "ok", "r-1") == [
        AuditEntry(TENANT, "key.random", "ok", "r-1")
    ]
