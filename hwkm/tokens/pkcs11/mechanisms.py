"""Which kinds of customer master keys a token can do, by its own list of mechanisms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pkcs11.mechanisms import MGF, Mechanism

from hwkm.formats.key_kind import KeyKind, KeyUsage
from hwkm.tokens.pkcs11.errors import translated

HMAC_MECHANISMS: Final[Mapping[int, Mechanism]] = {
    28: Mechanism.SHA224_HMAC,
    32: Mechanism.SHA256_HMAC,
    48: Mechanism.SHA384_HMAC,
    64: Mechanism.SHA512_HMAC,
}
PSS_PARAMETERS: Final[Mapping[int, tuple[Mechanism, MGF, int]]] = {
    32: (Mechanism.SHA256, MGF.SHA256, 32),
    48: (Mechanism.SHA384, MGF.SHA384, 48),
    64: (Mechanism.SHA512, MGF.SHA512, 64),
}
# Both are RFC 5649; the second is what SoftHSM had before PKCS#11 v3.0 gave the first its number.
_WRAPPING: Final = (Mechanism.AES_KEY_WRAP_KWP, Mechanism.AES_KEY_WRAP_PAD)

_SECRET: Final = (Mechanism.GENERIC_SECRET_KEY_GEN,)
_CURVE_USE: Final = {KeyUsage.SIGN_VERIFY: Mechanism.ECDSA, KeyUsage.KEY_AGREEMENT: Mechanism.ECDH1_DERIVE}
_RSA: Final = (Mechanism.RSA_PKCS_KEY_PAIR_GEN, Mechanism.RSA_PKCS, Mechanism.RSA_PKCS_PSS)
_EXCHANGE: Final = (Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDH1_DERIVE)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a token has: the kinds of keys, how it wraps them, and whether it can exchange them."""

    kinds: frozenset[KeyKind]
    wrapping: Mechanism
    exchange: bool


def wrapping_mechanism(token: Any) -> Mechanism | None:
    """Return the token's AES key wrap with padding, or None.

    Raises:
        PKCS11Error: the hardware failed.
    """
    available = token.slot.get_mechanisms()
    return next((item for item in _WRAPPING if item in available), None)


def read_capabilities(token: Any) -> Capabilities | None:
    """Ask the token. None if it cannot keep customer master keys at all.

    Raises:
        TokenError: the hardware failed.
    """
    with translated("listing the token's mechanisms"):
        slot = token.slot
        available = {item for item in slot.get_mechanisms() if isinstance(item, Mechanism)}
        wrapping = wrapping_mechanism(token)
        if wrapping is None or Mechanism.AES_KEY_GEN not in available:
            return None
        kinds = frozenset(kind for kind in KeyKind if _can(slot, available, kind))
    if KeyKind.SYMMETRIC not in kinds:
        return None
    return Capabilities(kinds, wrapping, available.issuperset(_EXCHANGE))


def _can(slot: Any, available: set[Mechanism], kind: KeyKind) -> bool:
    needed = _needed(kind)
    if not available.issuperset(needed):
        return False
    if kind.is_secret_key:
        return True
    # In bits of modulus or of field (PKCS#11 v3.1, 6.1.1 and 6.3.2).
    info = slot.get_mechanism_info(needed[0])
    return bool((info.min_key_length or 0) <= _bits(kind) <= (info.max_key_length or 0))


def _needed(kind: KeyKind) -> tuple[Mechanism, ...]:
    if kind.is_secret_key:
        return (*_SECRET, HMAC_MECHANISMS[kind.mac_bytes])
    if kind.spec.startswith("ECC_"):
        return (Mechanism.EC_KEY_PAIR_GEN, _CURVE_USE[kind.usage])
    return _RSA


def _bits(kind: KeyKind) -> int:
    return int(kind.spec.removeprefix("RSA_").removeprefix("ECC_NIST_P"))
