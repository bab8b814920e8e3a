"""The salted HMAC session in which every command with a secret or an authorisation runs.

Salted with the storage primary, so that who listens on the bus learns nothing; parameters are
encrypted both ways (AES-128-CFB). One session serves all commands.
"""

from __future__ import annotations

from typing import Any

from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_SE, TPMA_SESSION

from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import translated
from hwkm.tokens.tpm.templates import session_cipher


def start_session(connection: Connection, storage_key: ESYS_TR) -> Any:
    """Start the session and return its handle.

    Raises:
        TokenError: the hardware failed.
    """
    esapi = connection.esapi
    with translated("starting a session with the TPM"):
        session = esapi.start_auth_session(
            storage_key, ESYS_TR.NONE, TPM2_SE.HMAC, session_cipher(), TPM2_ALG.SHA256
        )
        attributes = TPMA_SESSION.CONTINUESESSION | TPMA_SESSION.DECRYPT | TPMA_SESSION.ENCRYPT
        esapi.trsess_set_attributes(session, attributes, 0xFF)
    return session
