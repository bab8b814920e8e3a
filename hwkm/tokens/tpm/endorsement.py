"""The endorsement key: the one key of a TPM that its maker has certified.

Certificate and template lie where the TCG EK Credential Profile puts them; the key itself is made anew from
the template each time it is needed (it is always the same), by the endorsement hierarchy with an empty
authorisation value, and unloaded afterwards.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

from tpm2_pytss.constants import TPMA_OBJECT
from tpm2_pytss.utils import NVReadEK, create_ek_template

from hwkm.errors import EvidenceUnavailable
from hwkm.secret import SecretBytes
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import CommandRefused, refused_authorisation, translated
from hwkm.tokens.tpm.hmac_session import (
    Entity,
    HmacSession,
    execute_together,
    sized,
    split_sized,
)
from hwkm.tokens.tpm.key_commands import flush
from hwkm.tokens.tpm.key_templates import name_of

# Profiles whose key is protected by SHA-256 and AES-128; every TPM has at least the first.
_PROFILES: Final = (
    ("EK-RSA2048", 0x01C00002),
    ("EK-ECC256", 0x01C0000A),
    ("EK-HIGH-RSA2048", 0x01C00012),
    ("EK-HIGH-ECC256", 0x01C00014),
)
_CHAIN_FIRST: Final = 0x01C00100
_CHAIN_LAST: Final = 0x01C001FF
_DER_SEQUENCE: Final = b"\x30\x82"

_CREATE_PRIMARY: Final = 0x131
_POLICY_SECRET: Final = 0x151
_ACTIVATE_CREDENTIAL: Final = 0x147
_RH_ENDORSEMENT: Final = 0x4000000B
# An empty authorisation value: as the end of an HMAC's key, a zero is the same as nothing.
_EMPTY: Final = SecretBytes(b"\0")
_ENDORSEMENT: Final = Entity(_RH_ENDORSEMENT, struct.pack(">I", _RH_ENDORSEMENT), _EMPTY)


@dataclass(frozen=True, slots=True)
class EndorsementFiles:
    """What the TPM holds about its endorsement key: certificate (DER), those above it, template (TPMT_PUBLIC)."""

    certificate: bytes
    intermediates: tuple[bytes, ...]
    template: bytes


def read_endorsement(connection: Connection) -> EndorsementFiles | None:
    """Return what lies in NV memory, or None if there is no certificate of a kind known here.

    Raises:
        TokenError: the hardware failed.
    """
    with translated("reading the certificate of the endorsement key"):
        present = connection.handles(0x01C00000)
        for profile, index in _PROFILES:
            if index in present:
                read = NVReadEK(connection.esapi)
                certificate, template = create_ek_template(profile, read)
                chain = b"".join(read(item) for item in present if _CHAIN_FIRST <= item <= _CHAIN_LAST)
                marshalled: bytes = template.publicArea.marshal()
                (leaf,) = _certificates(certificate)[:1] or (certificate,)
                return EndorsementFiles(leaf, tuple(_certificates(chain)), marshalled)
    return None


@contextmanager
def loaded_endorsement(session: HmacSession, template: bytes) -> Iterator[tuple[Entity, bytes]]:
    """Give the endorsement key, and its TPMT_PUBLIC.

    Raises:
        EvidenceUnavailable: the endorsement hierarchy has an authorisation value.
        CommandRefused, TokenUnavailable: the TPM failed.
    """
    no_secret = sized(sized(b"") + sized(b""))
    parameters = no_secret + sized(template) + sized(b"") + bytes(4)
    try:
        handle, answer = session.execute_for_handle(_CREATE_PRIMARY, (_ENDORSEMENT,), None, parameters, 0)
    except CommandRefused as exc:
        if refused_authorisation(exc.code):
            raise EvidenceUnavailable(
                "the TPM's endorsement hierarchy has an authorisation value; evidence of the endorsement key"
                " needs it empty (tpm2_changeauth -c endorsement)"
            ) from exc
        raise
    try:
        public, _ = split_sized(answer)
        yield Entity(handle, name_of(public), _EMPTY), public
    finally:
        flush(session.transport, handle)


def activate(
    sessions: tuple[HmacSession, HmacSession],
    salt: tuple[int, bytes],
    attestation: Entity,
    endorsement: tuple[Entity, bytes],
    credential: bytes,
) -> bytes:
    """Let the TPM read a credential for the attestation key; return the secret in it.

    ``endorsement`` is what :func:`loaded_endorsement` gave.

    Raises:
        CommandRefused: it is for another TPM or another attestation key.
        TokenUnavailable: the TPM failed.
    """
    entity, public = endorsement
    with _authorising(sessions, salt, public) as session:
        answer = execute_together(
            (sessions[0], session), _ACTIVATE_CREDENTIAL, (attestation, entity), credential
        )
    secret, _ = split_sized(answer)
    return secret


@contextmanager
def _authorising(
    sessions: tuple[HmacSession, HmacSession], salt: tuple[int, bytes], public: bytes
) -> Iterator[HmacSession]:
    """Give the session that authorises the endorsement key: by its empty value, or by its hierarchy's."""
    attributes = int.from_bytes(public[4:8], "big")
    if attributes & TPMA_OBJECT.USERWITHAUTH:  # the profile's high range
        yield sessions[1]
        return
    with closing(HmacSession(sessions[0].transport, *salt, policy=True)) as policy:
        by_hierarchy = Entity(policy.handle, struct.pack(">I", policy.handle), _EMPTY)
        parameters = sized(b"") + sized(b"") + sized(b"") + struct.pack(">i", 0)
        sessions[0].execute(_POLICY_SECRET, (_ENDORSEMENT, by_hierarchy), None, parameters, 0)
        yield policy


def _certificates(data: bytes) -> list[bytes]:
    """Cut DER certificates apart; some makers fill the rest of the index with zeros or ones."""
    found = []
    while data.startswith(_DER_SEQUENCE) and len(data) >= 4:
        size = 4 + int.from_bytes(data[2:4], "big")
        found.append(data[:size])
        data = data[size:]
    return found
