"""The cohort key and the audit key as persistent TPM objects."""

from __future__ import annotations

from typing import Any, Final

from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_RH, TPM2_ST
from tpm2_pytss.types import (
    TPM2B_ECC_POINT,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPMS_ECC_POINT,
    TPMS_SENSITIVE_CREATE,
    TPMT_SIG_SCHEME,
    TPMT_TK_HASHCHECK,
)

from hwkm.secret import SecretBytes
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import translate, translated

_COORDINATE_BYTES: Final = 32


class TpmCohortKey:
    """ECDH inside the TPM."""

    def __init__(self, connection: Connection, key: Any, session: Any, public_key: bytes) -> None:
        self._esapi = connection.esapi
        self._key = key
        self._session = session
        self._public = public_key

    def public_key(self) -> bytes:
        return self._public

    def agree(self, point: bytes) -> bytes:
        in_point = TPM2B_ECC_POINT(TPMS_ECC_POINT(x=point[1:33], y=point[33:]))
        try:
            out_point = self._esapi.ecdh_zgen(self._key, in_point, session1=self._session)
        except TSS2_Exception as exc:
            raise translate(exc, "agreeing with the cohort key") from exc
        return padded(out_point.point.x)


class TpmAuditKey:
    """ECDSA inside the TPM, of a digest made outside."""

    def __init__(self, connection: Connection, key: Any, session: Any, public_key: bytes) -> None:
        self._esapi = connection.esapi
        self._key = key
        self._session = session
        self._public = public_key

    def public_key(self) -> bytes:
        return self._public

    def sign(self, digest: bytes) -> bytes:
        scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)  # the key's own: ECDSA, SHA-256
        # An unrestricted key signs any digest; the null ticket says it was made outside.
        ticket = TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL)
        with translated("signing with the audit key"):
            signature = self._esapi.sign(self._key, digest, scheme, ticket, session1=self._session)
        ecdsa = signature.signature.ecdsa
        return padded(ecdsa.signatureR) + padded(ecdsa.signatureS)


def padded(coordinate: Any) -> bytes:
    """Return a TPM's big number as 32 bytes; some TPMs leave out leading zeros."""
    return bytes(coordinate).rjust(_COORDINATE_BYTES, b"\0")


def public_point(public: TPM2B_PUBLIC) -> bytes:
    """Return the point of a public area, 65 bytes uncompressed."""
    unique = public.publicArea.unique.ecc
    return b"\x04" + padded(unique.x) + padded(unique.y)


def make_persistent_key(
    connection: Connection,
    storage_key: Any,
    session: Any,
    template: TPM2B_PUBLIC,
    value: SecretBytes,
    handle: int,
) -> bytes:
    """Make a key under the storage primary, keep it at ``handle``, return its public point.

    Raises:
        TokenFull: no room for another persistent object.
        TokenError: the hardware failed.
    """
    esapi = connection.esapi
    sensitive = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=value.expose()))
    with translated(f"making the key at 0x{handle:08x}"):
        private, public, *_ = esapi.create(storage_key, sensitive, template, session1=session)
        transient = esapi.load(storage_key, private, public, session1=session)
        try:
            persist(connection, transient, handle)
        finally:
            esapi.flush_context(transient)
    return public_point(public)


def persist(connection: Connection, transient: Any, handle: int) -> Any:
    """Copy a loaded object to a persistent handle, by the owner's authorisation.

    Raises:
        TSS2_Exception: the TPM refused; callers translate.
    """
    return connection.esapi.evict_control(ESYS_TR.OWNER, transient, handle)
