"""Which kinds of customer master keys a TPM can do, by what it says itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import TPM2_ALG, TPM2_CAP, TPM2_PT
from tpm2_pytss.types import (
    TPMS_RSA_PARMS,
    TPMT_PUBLIC_PARMS,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
    TPMU_PUBLIC_PARMS,
)

from hwkm.formats.key_kind import KeyKind, KeyUsage
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import translated
from hwkm.tokens.tpm.key_templates import CURVES, HASHES, rsa_bits

_ITEMS_MAX: Final = 127  # more than any TPM has algorithms
_INPUT_BUFFER_MIN: Final = 256

_CURVE_USE: Final = {KeyUsage.SIGN_VERIFY: TPM2_ALG.ECDSA, KeyUsage.KEY_AGREEMENT: TPM2_ALG.ECDH}
_RSA: Final = frozenset({int(TPM2_ALG.RSA), int(TPM2_ALG.RSASSA), int(TPM2_ALG.RSAPSS)})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The kinds of keys, and how many bytes of a message the TPM takes at once."""

    kinds: frozenset[KeyKind]
    buffer_bytes: int


def read_capabilities(connection: Connection) -> Capabilities:
    """Ask the TPM.

    Raises:
        TokenError: the hardware failed.
    """
    esapi = connection.esapi
    with translated("asking the TPM for its algorithms"):
        # The list lies in the answer's memory: it is read while that is held.
        _, algorithms = esapi.get_capability(TPM2_CAP.ALGS, 0, _ITEMS_MAX)
        known = {int(item.alg) for item in algorithms.data.algorithms}
        _, curves = esapi.get_capability(TPM2_CAP.ECC_CURVES, 0, _ITEMS_MAX)
        known_curves = {int(curve) for curve in curves.data.eccCurves}
    kinds = frozenset(kind for kind in KeyKind if _can(esapi, known, known_curves, kind))
    size = connection.properties(TPM2_PT.INPUT_BUFFER, 1).get(int(TPM2_PT.INPUT_BUFFER), _INPUT_BUFFER_MIN)
    return Capabilities(kinds, size)


def _can(esapi: Any, algorithms: set[int], curves: set[int], kind: KeyKind) -> bool:
    if kind.is_secret_key:
        needed = {int(TPM2_ALG.KEYEDHASH), int(TPM2_ALG.HMAC), HASHES.get(kind.mac_bytes, -1)}
        return needed <= algorithms
    hashes = {HASHES[algorithm.digest_bytes] for algorithm in kind.signing_algorithms}
    if not hashes <= algorithms:
        return False
    if kind.spec in CURVES:
        return int(_CURVE_USE[kind.usage]) in algorithms and CURVES[kind.spec] in curves
    return algorithms >= _RSA and _has_modulus(esapi, rsa_bits(kind))


def _has_modulus(esapi: Any, bits: int) -> bool:
    """Ask by TPM2_TestParms; there is no list of lengths."""
    parameters = TPMS_RSA_PARMS(
        symmetric=TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL),
        scheme=TPMT_RSA_SCHEME(scheme=TPM2_ALG.NULL),
        keyBits=bits,
    )
    try:
        esapi.test_parms(
            TPMT_PUBLIC_PARMS(type=TPM2_ALG.RSA, parameters=TPMU_PUBLIC_PARMS(rsaDetail=parameters))
        )
    except TSS2_Exception:
        return False
    return True
