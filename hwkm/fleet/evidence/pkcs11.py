"""Evidence of a member whose keys are in a PKCS#11 token: attributes, all of them the operator's word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hwkm.errors import EvidenceRefused
from hwkm.fleet.evidence.findings import OPERATORS_WORD, Finding, Proof
from hwkm.formats.evidence import Pkcs11Module, Statement

_P256: Final = "06082a8648ce3d030107"
_POINT_PREFIXES: Final = ("0441", "")  # some tokens leave out the OCTET STRING around the point

_INSIDE: Final[Mapping[str, str]] = {
    "CKA_TOKEN": "true",
    "CKA_PRIVATE": "true",
    "CKA_SENSITIVE": "true",
    "CKA_EXTRACTABLE": "false",
    "CKA_MODIFIABLE": "false",
    "CKA_KEY_TYPE": "EC",
    "CKA_EC_PARAMS": _P256,
}
_ALWAYS: Final[Mapping[str, str]] = {
    "CKA_ALWAYS_SENSITIVE": "true",
    "CKA_NEVER_EXTRACTABLE": "true",
    "CKA_LOCAL": "true",
}
AUDIT: Final[Mapping[str, str]] = {**_INSIDE, **_ALWAYS, "CKA_SIGN": "true", "CKA_DERIVE": "false"}
_COHORT: Final[Mapping[str, str]] = {**_INSIDE, "CKA_DERIVE": "true", "CKA_SIGN": "false"}


def verify_pkcs11(statement: Statement, module: Pkcs11Module) -> list[Finding]:
    """Check that the attributes are those of keys that cannot leave the token.

    Raises:
        EvidenceRefused: they are not; the message names key and attribute.
    """
    _verify("audit key", module.audit_key, AUDIT)
    _verify_point("audit key", module.audit_public_key, statement.audit_key)
    if statement.members > 1 and module.cohort_key.get("CKA_EXTRACTABLE") == "true":
        raise EvidenceRefused("the cohort is not sealed: its key can still be wrapped to others")
    required, history = _history(statement)
    _verify("cohort key", module.cohort_key, required)
    _verify_point("cohort key", module.cohort_public_key, statement.cohort_key)
    facts = module.description
    token = f"{facts.get('token manufacturer', '')} {facts.get('token model', '')}".strip()
    return [
        Finding(f"its cohort key {history}", Proof.OPERATOR, OPERATORS_WORD),
        Finding("its audit key, which signed all of this, cannot leave the same token", Proof.OPERATOR,
                OPERATORS_WORD),
        Finding(f"the token is {token}, firmware {facts.get('token firmware', '')}", Proof.OPERATOR,
                OPERATORS_WORD),
    ]  # fmt: skip


def _history(statement: Statement) -> tuple[Mapping[str, str], str]:
    """What must be true of the cohort key, and how it came to be where it is."""
    if statement.members == 1:
        return {**_COHORT, **_ALWAYS}, "was made in one token and can never leave it"
    if statement.member == 0:
        made = {"CKA_LOCAL": "true", "CKA_ALWAYS_SENSITIVE": "true"}
        return {
            **_COHORT,
            **made,
        }, "was made in this token, was wrapped to the others, and cannot leave any more"
    return _COHORT, "came wrapped into this token, and cannot leave it"


def _verify(what: str, actual: Mapping[str, str], required: Mapping[str, str]) -> None:
    for attribute, wanted in required.items():
        if actual.get(attribute) != wanted:
            raise EvidenceRefused(f"the {what} has {attribute} {actual.get(attribute)}, not {wanted}")


def _verify_point(what: str, public: Mapping[str, str], point: str) -> None:
    if public.get("CKA_EC_POINT") not in [prefix + point for prefix in _POINT_PREFIXES]:
        raise EvidenceRefused(f"the {what} of the statement is not the one in the token")
