"""What the keys' public areas must be, for the keys to be unable to leave the TPM."""

from __future__ import annotations

from typing import Final

from tpm2_pytss.constants import TPM2_ALG, TPM2_ECC, TPMA_OBJECT
from tpm2_pytss.types import TPM2B_PUBLIC

from hwkm.errors import KeyExposedError

_NAMES: Final = {
    TPMA_OBJECT.FIXEDTPM: "fixedTPM",
    TPMA_OBJECT.FIXEDPARENT: "fixedParent",
    TPMA_OBJECT.SENSITIVEDATAORIGIN: "sensitiveDataOrigin",
    TPMA_OBJECT.USERWITHAUTH: "userWithAuth",
    TPMA_OBJECT.ADMINWITHPOLICY: "adminWithPolicy",
    TPMA_OBJECT.ENCRYPTEDDUPLICATION: "encryptedDuplication",
    TPMA_OBJECT.NODA: "noDA",
    TPMA_OBJECT.RESTRICTED: "restricted",
    TPMA_OBJECT.DECRYPT: "decrypt",
    TPMA_OBJECT.SIGN_ENCRYPT: "sign",
    TPMA_OBJECT.STCLEAR: "stClear",
}


def verify_public_area(name: str, public: TPM2B_PUBLIC, required: TPMA_OBJECT, policy: bytes = b"") -> None:
    """Check that the key has exactly the required attributes and authPolicy, and is a P-256 key.

    Raises:
        KeyExposedError: the message names the key and the attribute.
    """
    area = public.publicArea
    difference = int(area.objectAttributes) ^ int(required)
    for bit, attribute in _NAMES.items():
        if difference & bit:
            state = "set" if int(area.objectAttributes) & bit else "clear"
            raise KeyExposedError(f"the {name} has {attribute} {state}")
    if difference:
        raise KeyExposedError(f"the {name} has unexpected attributes 0x{difference:08x}")
    if area.type != TPM2_ALG.ECC or area.parameters.eccDetail.curveID != TPM2_ECC.NIST_P256:
        raise KeyExposedError(f"the {name} is not a P-256 key")
    if bytes(area.authPolicy) and not policy:
        raise KeyExposedError(f"the {name} has an authPolicy, a second way to use it")
    if bytes(area.authPolicy) != policy:
        raise KeyExposedError(f"the {name} has another authPolicy than that of its record")
