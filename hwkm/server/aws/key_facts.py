"""How kinds and states of keys are called on this wire."""

from __future__ import annotations

from typing import Final, Literal

from hwkm.formats.key_kind import KeyKind, KeyUsage
from hwkm.server.aws.errors import AwsError, Unsupported, Validation
from hwkm.server.aws.responses import KeyMetadata
from hwkm.server.keys.principal import KeyCall
from hwkm.server.keys.service import KeyService
from hwkm.wire.key_api import KeyInfo, KeyState

SYMMETRIC_DEFAULT: Final = "SYMMETRIC_DEFAULT"

_STATES: Final[dict[str, Literal["Enabled", "Disabled", "PendingDeletion"]]] = {
    "enabled": "Enabled",
    "disabled": "Disabled",
    "pending_deletion": "PendingDeletion",
}
_KINDS: Final = {(kind.spec, kind.usage.value): kind for kind in KeyKind}
_USAGES_OF_SPEC: Final = {
    "SYMMETRIC_DEFAULT": {"ENCRYPT_DECRYPT"},
    "HMAC": {"GENERATE_VERIFY_MAC"},
    "RSA": {"ENCRYPT_DECRYPT", "SIGN_VERIFY"},
    "ECC_NIST_P": {"SIGN_VERIFY", "KEY_AGREEMENT"},
}
"""AWS's combinations, for the specifications that hwkm knows, by how their names begin."""


def kind_for(spec: str | None, usage: str | None) -> KeyKind:
    """The kind of key that a CreateKey asks for.

    Raises:
        AwsError: the two do not go together (ValidationException), or hwkm has no such keys.
    """
    spec = spec or SYMMETRIC_DEFAULT
    if usage is None and spec != SYMMETRIC_DEFAULT:
        raise Validation(
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
        )
    usage = usage or KeyUsage.ENCRYPT_DECRYPT
    kind = _KINDS.get((spec, usage))
    if kind is not None:
        return kind
    for beginning, usages in _USAGES_OF_SPEC.items():
        if spec.startswith(beginning) and usage not in usages:
            raise Validation(f"KeyUsage {usage} is not compatible with KeySpec {spec}")
    raise Unsupported(f"Keys of KeySpec {spec} for {usage} are not supported here.")


async def shown(service: KeyService, call: KeyCall, key: str) -> KeyInfo:
    """What is known of a key that is there.

    Raises:
        AwsError: NotFoundException; it was deleted.
    """
    info = await service.show(call, key)
    state(info.arn, info.state)
    return info


def metadata(info: KeyInfo) -> KeyMetadata:
    """A key as AWS describes it."""
    kind = info.kind
    return KeyMetadata(
        account=info.account,
        key_id=info.key_id,
        arn=info.arn,
        creation_date=seconds(info.created_at_ms),
        enabled=info.state == "enabled",
        description=info.description,
        key_usage=kind.usage.value,
        key_state=state(info.arn, info.state),
        deletion_date=None if info.deletion_at_ms is None else seconds(info.deletion_at_ms),
        origin="AWS_KMS",
        key_manager="CUSTOMER",
        customer_master_key_spec=kind.spec,
        key_spec=kind.spec,
        encryption_algorithms=encryption_algorithms(kind),
        signing_algorithms=signing_algorithms(kind),
        key_agreement_algorithms=key_agreement_algorithms(kind),
        mac_algorithms=mac_algorithms(kind),
        multi_region=False,
    )


def state(arn: str, name: KeyState) -> Literal["Enabled", "Disabled", "PendingDeletion"]:
    """A state. A key that was deleted is not there any more.

    Raises:
        AwsError: NotFoundException.
    """
    if name == "deleted":
        raise AwsError("NotFoundException", f"Key '{arn}' does not exist", code="key_not_found")
    return _STATES[name]


def encryption_algorithms(kind: KeyKind) -> tuple[str, ...]:
    """How a key encrypts."""
    return (SYMMETRIC_DEFAULT,) if kind.usage is KeyUsage.ENCRYPT_DECRYPT else ()


def signing_algorithms(kind: KeyKind) -> tuple[str, ...]:
    """How a key signs."""
    return tuple(sorted(algorithm.value for algorithm in kind.signing_algorithms))


def key_agreement_algorithms(kind: KeyKind) -> tuple[str, ...]:
    """How a key agrees."""
    return ("ECDH",) if kind.usage is KeyUsage.KEY_AGREEMENT else ()


def mac_algorithms(kind: KeyKind) -> tuple[str, ...]:
    """How a key authenticates."""
    return (kind.mac_algorithm,) if kind.mac_algorithm else ()


def seconds(milliseconds: int) -> float:
    """A time on this wire."""
    return milliseconds / 1000


def operation_name(native: str) -> str:
    """A cryptographic operation, by the name of the native one: ``key.generate_data_key`` is GenerateDataKey."""
    words = native.rpartition(".")[2].split("_")
    return _OPERATION_NAMES.get(native) or "".join(word.capitalize() for word in words)


_OPERATION_NAMES: Final = {
    "key.generate_wrapped_data_key": "GenerateDataKeyWithoutPlaintext",
    "key.generate_wrapped_data_key_pair": "GenerateDataKeyPairWithoutPlaintext",
}
