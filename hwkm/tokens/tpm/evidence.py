"""What a TPM says of hwkm's keys, for others to check (``docs/spec/evidence.md``).

The attestation key signs only what the TPM itself says. It certifies cohort and audit key and the PCRs; that it
is in the TPM of a certified endorsement key is shown by answering an outsider's challenge.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tpm2_pytss.constants import TPM2_RC

from hwkm.errors import EvidenceUnavailable, FormatError
from hwkm.formats.cohort_terms import COUNTER_BYTES
from hwkm.formats.evidence import PCRS, Answer, Attestation, Challenge, Endorsement, TpmModule, extra_data
from hwkm.formats.tpm_structures import ALG_SHA256, Quoted, name_of, parse_attest
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.endorsement import EndorsementFiles, activate, loaded_endorsement, read_endorsement
from hwkm.tokens.tpm.errors import CommandRefused, refused_parameter, translated
from hwkm.tokens.tpm.hmac_session import Entity, HmacSession, execute_together, sized, split_sized

_CERTIFY: Final = 0x148
_QUOTE: Final = 0x158
_NV_CERTIFY: Final = 0x184
_COUNTER_RANGE: Final = struct.pack(">HH", COUNTER_BYTES, 0)  # size, offset
_SCHEME_NULL: Final = struct.pack(">H", 0x0010)
_PCR_SELECTION: Final = struct.pack(">IHB", 1, ALG_SHA256, 3) + ((1 << PCRS) - 1).to_bytes(3, "little")
_PCRS_IN_AN_ANSWER: Final = 8


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that evidence is about, and the key that attests."""

    cohort: Entity
    audit: Entity
    attestation: Entity


class Witness:
    """Lets one TPM speak. ``public_of`` gives the TPMT_PUBLIC of a key."""

    def __init__(
        self,
        connection: Connection,
        sessions: tuple[HmacSession, HmacSession],
        salt: tuple[int, bytes],
        keys: Keys,
        public_of: Callable[[Entity], bytes],
    ) -> None:
        self._connection = connection
        self._sessions = sessions
        self._salt = salt
        self._keys = keys
        self._public_of = public_of

    def module(
        self, nonce: bytes, description: Mapping[str, str], intermediates: tuple[bytes, ...]
    ) -> TpmModule:
        """Let the TPM certify everything.

        Raises:
            EvidenceUnavailable: the TPM does not do it.
            TokenError: the hardware failed.
        """
        extra, keys = extra_data(nonce), self._keys
        with translated("certifying hwkm's keys"):
            quote = self._quote(extra)
            return TpmModule(
                attestation_public=self._public_of(keys.attestation).hex(),
                audit_certified=self._certify(keys.audit, extra),
                audit_public=self._public_of(keys.audit).hex(),
                cohort_certified=self._certify(keys.cohort, extra),
                cohort_public=self._public_of(keys.cohort).hex(),
                description=dict(description),
                endorsement=self._endorsement(intermediates),
                pcrs=self._pcrs(quote),
                quote=quote,
            )

    def answer(self, challenge: Challenge) -> Answer:
        """Let the TPM read a challenge.

        Raises:
            EvidenceUnavailable: it is not for this TPM and this attestation key.
            TokenError: the hardware failed.
        """
        files = read_endorsement(self._connection)
        if files is None:
            raise EvidenceUnavailable("the TPM has no certificate of an endorsement key")
        if name_of(self._public_of(self._keys.attestation)).hex() != challenge.attestation:
            raise EvidenceUnavailable("the challenge is for another attestation key")
        with translated("reading the challenge"):
            secret = self._activate(files, challenge)
        if hashlib.sha256(secret).hexdigest() != challenge.commitment:
            raise EvidenceUnavailable("the challenge does not hold the secret that it is about")
        return Answer(challenge=challenge, secret=secret.hex())

    def _activate(self, files: EndorsementFiles, challenge: Challenge) -> bytes:
        with loaded_endorsement(self._sessions[0], files.template) as endorsement:
            if hashlib.sha256(endorsement[1]).hexdigest() != challenge.endorsement:
                raise EvidenceUnavailable("the challenge is for another TPM")
            attestation, credential = self._keys.attestation, bytes.fromhex(challenge.credential)
            try:
                return activate(self._sessions, self._salt, attestation, endorsement, credential)
            except CommandRefused as exc:
                # libtpms says TPM_RC_FAILURE of an RSA ciphertext for another key, and works on.
                if refused_parameter(exc.code) or exc.code == TPM2_RC.FAILURE:
                    raise EvidenceUnavailable("the TPM cannot read the challenge") from exc
                raise

    def _endorsement(self, intermediates: tuple[bytes, ...]) -> Endorsement | None:
        files = read_endorsement(self._connection)
        if files is None:
            return None
        with loaded_endorsement(self._sessions[0], files.template) as (_, public):
            return Endorsement(
                certificate=files.certificate.hex(),
                intermediates=tuple(one.hex() for one in (*files.intermediates, *intermediates)),
                public=public.hex(),
            )

    def _certify(self, key: Entity, extra: bytes) -> Attestation:
        parameters = sized(extra) + _SCHEME_NULL
        return _attestation(
            execute_together(self._sessions, _CERTIFY, (key, self._keys.attestation), parameters)
        )

    def counter_certified(self, counter: Entity, nonce: bytes) -> Attestation:
        """Let the TPM say how far an NV counter is. Raises TokenError."""
        parameters = sized(extra_data(nonce)) + _SCHEME_NULL + _COUNTER_RANGE
        with translated("certifying the cohort counter"):
            entities = (self._keys.attestation, counter, counter)
            return _attestation(execute_together(self._sessions, _NV_CERTIFY, entities, parameters))

    def certified(self, key: Entity, nonce: bytes) -> Attestation:
        """Let the TPM certify another key. Raises TokenError."""
        with translated("certifying a key"):
            return self._certify(key, extra_data(nonce))

    def _quote(self, extra: bytes) -> Attestation:
        parameters = sized(extra) + _SCHEME_NULL + _PCR_SELECTION
        return _attestation(self._sessions[0].execute(_QUOTE, (self._keys.attestation,), None, parameters, 0))

    def _pcrs(self, quote: Attestation) -> tuple[str, ...]:
        """Read the values that were quoted."""
        values: list[bytes] = []
        with translated("reading the PCRs"):
            for first in range(0, PCRS, _PCRS_IN_AN_ANSWER):
                numbers = ",".join(map(str, range(first, first + _PCRS_IN_AN_ANSWER)))
                _, _, read = self._connection.esapi.pcr_read(f"sha256:{numbers}")
                values += [bytes(value) for value in read]
        if _quoted_digest(quote) != hashlib.sha256(b"".join(values)).digest():
            raise EvidenceUnavailable("the SHA-256 bank of PCRs is not there, or a PCR was changed meanwhile")
        return tuple(value.hex() for value in values)


def _attestation(answer: bytes) -> Attestation:
    attest, signature = split_sized(answer)
    return Attestation(attest=attest.hex(), signature=signature.hex())


def _quoted_digest(quote: Attestation) -> bytes | None:
    try:
        attested = parse_attest(bytes.fromhex(quote.attest)).attested
    except FormatError:
        return None
    return attested.digest if isinstance(attested, Quoted) else None
