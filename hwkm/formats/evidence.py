"""Evidence of where a cohort's key lives: the files of ``docs/spec/evidence.md``.

Written by a member's core, put together and signed by people, read by anybody. JSON with one spelling:
keys in order, no spaces, one newline at the end; bytes are lower-case hex. What the files prove is for
:mod:`hwkm.fleet.evidence` to find out.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Final, Self

import msgspec
from msgspec import Meta

from hwkm.crypto.labels import EVIDENCE, EVIDENCE_NONCE
from hwkm.errors import FormatError
from hwkm.formats.code_record import CodeRecord
from hwkm.formats.membership import MEMBERS_MAX

MEMBER_BYTES_MAX: Final = 512 * 1024
COHORT_BYTES_MAX: Final = 16 * 1024 * 1024
PRESENT_MAX: Final = 64
PCRS: Final = 16
"""PCRs 0 to 15 of the SHA-256 bank: firmware, boot, and what the system measures."""

_Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Point = Annotated[str, Meta(pattern=r"^04[0-9a-f]{128}\Z")]
_Raw64 = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]
_Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){1,4096}\Z")]
_Text = Annotated[str, Meta(max_length=256)]
_Path = Annotated[str, Meta(min_length=1, max_length=512)]
_KeyText = Annotated[str, Meta(max_length=1024)]
_Facts = Annotated[dict[_Text, Annotated[str, Meta(max_length=2048)]], Meta(max_length=128)]


class _Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base: strict, and never changed."""


class _File(_Evidence, frozen=True):
    """Base of what is a file: ``BYTES_MAX`` and ``WHAT`` say how large, and how errors name it."""

    BYTES_MAX: ClassVar[int]
    WHAT: ClassVar[str]

    def encode(self) -> bytes:
        """Return the file."""
        return msgspec.json.encode(self, order="sorted") + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the file.

        Raises:
            FormatError: it is not one, too large, or not in its one spelling.
        """
        if len(data) > cls.BYTES_MAX:
            raise FormatError(f"{cls.WHAT} has at most {cls.BYTES_MAX} bytes")
        try:
            parsed = msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise FormatError(f"not {cls.WHAT}: {exc}") from None
        if parsed.encode() != data:
            raise FormatError(f"{cls.WHAT} is not in its one spelling")
        return parsed


class Attestation(_Evidence, frozen=True, kw_only=True):
    """What a TPM said, and its signature: TPMS_ATTEST and TPMT_SIGNATURE."""

    attest: _Hex
    signature: _Hex


class SharedKey(_Evidence, frozen=True, kw_only=True):
    """How the key of a cohort of several came to a TPM: ``record`` is that of :mod:`hwkm.formats.cohort_record`.

    In the first member ``counter_certified`` is TPM2_NV_Certify of the counter that ends duplication; in another
    one the key came to a storage key, with its TPMT_PUBLIC and TPM2_Certify.
    """

    counter_certified: Attestation | None = None
    record: _Hex
    storage_certified: Attestation | None = None
    storage_public: _Hex | None = None


class Endorsement(_Evidence, frozen=True, kw_only=True):
    """The TPM's endorsement key: TPMT_PUBLIC, its X.509 certificate and those between it and a root (DER)."""

    certificate: _Hex
    intermediates: Annotated[tuple[_Hex, ...], Meta(max_length=8)] = ()
    public: _Hex


class TpmModule(_Evidence, frozen=True, kw_only=True, tag_field="kind", tag="tpm"):
    """A member whose keys are in a TPM. ``pcrs`` are the values that the quote is about.

    ``code`` is what a code-bound cohort key is bound to, and left out for any other.
    """

    attestation_public: _Hex
    audit_certified: Attestation
    audit_public: _Hex
    code: CodeRecord | msgspec.UnsetType = msgspec.UNSET
    cohort_certified: Attestation
    cohort_public: _Hex
    description: _Facts
    endorsement: Endorsement | None = None
    pcrs: Annotated[tuple[_Hex32, ...], Meta(min_length=PCRS, max_length=PCRS)]
    quote: Attestation
    shared: SharedKey | None = None


class Pkcs11Module(_Evidence, frozen=True, kw_only=True, tag_field="kind", tag="pkcs11"):
    """A member whose keys are in a PKCS#11 token: what the token tells of them, by the names of PKCS#11."""

    audit_key: _Facts
    audit_public_key: _Facts
    cohort_key: _Facts
    cohort_public_key: _Facts
    description: _Facts
    mechanisms: Annotated[tuple[_Text, ...], Meta(max_length=1024)]


class Software(_Evidence, frozen=True, kw_only=True):
    """What ran: versions, and the SHA-256 of the package's files and of the libraries that reach the hardware."""

    files: Annotated[dict[_Path, _Hex32], Meta(min_length=1, max_length=2048)]
    libraries: Annotated[dict[_Path, _Hex32], Meta(max_length=1024)]
    versions: _Facts


class Challenge(_File, frozen=True, kw_only=True):
    """A secret that only one TPM can read, and only beside one attestation key; made by an outsider.

    ``attestation`` is the Name of that key, ``endorsement`` the SHA-256 of the endorsement key's public area,
    ``credential`` TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, ``commitment`` the secret's SHA-256.
    """

    BYTES_MAX: ClassVar[int] = MEMBER_BYTES_MAX
    WHAT: ClassVar[str] = "a challenge"

    attestation: Annotated[str, Meta(pattern=r"^000b[0-9a-f]{64}\Z")]
    challenger: _KeyText
    commitment: _Hex32
    credential: _Hex
    endorsement: _Hex32
    format: Annotated[int, Meta(ge=1, le=1)] = 1
    signature: _Raw64

    def signed_text(self) -> str:
        """Return what the challenger signs."""
        fields = (self.endorsement, self.attestation, self.credential, self.commitment)
        return "hwkm evidence challenge v1\n" + "".join(f"{field}\n" for field in fields)


class Answer(_Evidence, frozen=True, kw_only=True):
    """A challenge and the secret that the TPM read from it."""

    challenge: Challenge
    secret: _Hex32


class Statement(_Evidence, frozen=True, kw_only=True):
    """What a member says of itself at one moment (``made_at``, seconds since 1970), about its cohort key."""

    answer: Answer | None = None
    audit_key: _Point
    cohort_key: _Point
    format: Annotated[int, Meta(ge=1, le=1)] = 1
    made_at: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    member: Annotated[int, Meta(ge=0, lt=MEMBERS_MAX)]
    members: Annotated[int, Meta(ge=1, le=MEMBERS_MAX)]
    module: TpmModule | Pkcs11Module
    nonce: _Hex32
    software: Software

    def signed_digest(self) -> bytes:
        """Return the SHA-256 that the audit key signs."""
        return hashlib.sha256(EVIDENCE + b"\0" + msgspec.json.encode(self, order="sorted")).digest()


class MemberEvidence(_File, frozen=True, kw_only=True):
    """A statement, signed by the member's audit key (r and s)."""

    BYTES_MAX: ClassVar[int] = MEMBER_BYTES_MAX
    WHAT: ClassVar[str] = "the evidence of a member"

    signature: _Raw64
    statement: Statement


class Presence(_Evidence, frozen=True, kw_only=True):
    """Somebody who was there and signs for it: the verifier key of a signed note, and the signature."""

    key: _KeyText
    signature: _Raw64


class CohortEvidence(_File, frozen=True, kw_only=True):
    """The evidence of all members of a cohort, in the order of their numbers, and who was present."""

    BYTES_MAX: ClassVar[int] = COHORT_BYTES_MAX
    WHAT: ClassVar[str] = "the evidence of a cohort"

    format: Annotated[int, Meta(ge=1, le=1)] = 1
    members: Annotated[tuple[MemberEvidence, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    present: Annotated[tuple[Presence, ...], Meta(max_length=PRESENT_MAX)] = ()

    def signed_text(self) -> str:
        """Return what those present sign: all members' evidence, by its SHA-256."""
        members = msgspec.json.encode(self.members, order="sorted")
        return f"hwkm evidence presence v1\n{hashlib.sha256(members).hexdigest()}\n"


def nonce_of(challenge: Challenge) -> bytes:
    """Return the nonce of the statement that answers a challenge, 32 bytes."""
    return hashlib.sha256(challenge.encode()).digest()


def extra_data(nonce: bytes) -> bytes:
    """Return what a TPM signs along with each thing that it says for this statement, 32 bytes."""
    return hashlib.sha256(EVIDENCE_NONCE + b"\0" + nonce).digest()
