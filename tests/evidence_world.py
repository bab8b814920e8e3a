"""Evidence of a TPM that is none: plain keys sign what a TPM would say, so that it can be made wrong in every way.

The structures are written here once more, from part 2 of the TPM 2.0 library, not by hwkm's own code.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from hwkm.fleet.evidence.challenge import Drawn, make_challenge
from hwkm.formats.evidence import (
    Answer,
    Attestation,
    Challenge,
    Endorsement,
    MemberEvidence,
    Pkcs11Module,
    SharedKey,
    Software,
    Statement,
    TpmModule,
)
from hwkm.secret import SecretBytes
from hwkm.tlog.note_keys import PrivateNoteKey

NOW_S = 1_795_600_000
STAYS = 0x2 | 0x10 | 0x20 | 0x40 | 0x400
MADE = 0x20 | 0x40 | 0x400
RESTRICTED, DECRYPT, SIGN, ENCRYPTED_DUPLICATION = 0x10000, 0x20000, 0x40000, 0x800
SHA256_ALG, ECDSA, ECDH, NULL = 0x000B, 0x0018, 0x0019, 0x0010
CERTIFY, QUOTE, NV, CREATION = 0x8017, 0x8018, 0x8014, 0x801A
SOFTWARE = Software(files={"hwkm/__init__.py": "11" * 32}, libraries={}, versions={"hwkm": "1"})


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def name(public: bytes) -> bytes:
    return struct.pack(">H", SHA256_ALG) + hashlib.sha256(public).digest()


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def ecc_public(
    key: ec.EllipticCurvePrivateKey,
    attributes: int,
    scheme: int | None,
    policy: bytes = b"",
    curve: int = 3,
    cipher: bytes = struct.pack(">H", 0x0010),
) -> bytes:
    """TPMT_PUBLIC."""
    head = struct.pack(">HHI", 0x0023, SHA256_ALG, attributes) + sized(policy)
    chosen = struct.pack(">H", NULL) if scheme is None else struct.pack(">HH", scheme, SHA256_ALG)
    kinds = cipher + chosen + struct.pack(">HH", curve, NULL)
    return head + kinds + sized(point(key)[1:33]) + sized(point(key)[33:])


def rsa_public(key: rsa.RSAPrivateKey, attributes: int) -> bytes:
    """TPMT_PUBLIC of an endorsement key."""
    head = struct.pack(">HHI", 0x0001, SHA256_ALG, attributes) + sized(bytes(32))
    kinds = struct.pack(">HHH", 0x0006, 128, 0x0043) + struct.pack(">HHI", NULL, 2048, 0)
    return head + kinds + sized(key.public_key().public_numbers().n.to_bytes(256, "big"))


def nv_public(index: int = 0x01906860) -> bytes:
    """TPMS_NV_PUBLIC of a counter that was written, used by its own authorisation."""
    return struct.pack(">IHI", index, SHA256_ALG, 0x22040014) + sized(b"") + struct.pack(">H", 8)


def attest(kind: int, extra: bytes, attested: bytes, *, magic: int = 0xFF544347, resets: int = 7) -> bytes:
    """TPMS_ATTEST."""
    head = struct.pack(">IH", magic, kind) + sized(name(b"signer")) + sized(extra)
    return head + struct.pack(">QIIBQ", 123456, resets, 2, 1, 99) + attested


def certified(public: bytes) -> bytes:
    return sized(name(public)) + sized(name(b"qualified"))


def quoted(pcrs: Sequence[str], numbers: int = 0xFFFF, bank: int = SHA256_ALG) -> bytes:
    selection = struct.pack(">IHB", 1, bank, 3) + numbers.to_bytes(3, "little")
    return selection + sized(hashlib.sha256(bytes.fromhex("".join(pcrs))).digest())


def nv_certified(public: bytes, value: int, offset: int = 0) -> bytes:
    return sized(name(public)) + struct.pack(">H", offset) + sized(struct.pack(">Q", value))


def created(public: bytes, creation_data: bytes = b"creation data") -> bytes:
    return sized(name(public)) + sized(hashlib.sha256(creation_data).digest())


@dataclass
class Terms:
    """Where the key of a cohort of several may go, and the policy that says so."""

    sender: bytes
    parents: list[bytes]
    limit: int = 5
    index: int = 0x01906860

    def policy(self) -> bytes:
        """TPM2_PolicySecret(audit key), TPM2_PolicyNV(counter), TPM2_PolicyDuplicationSelect(parent); TPM2_PolicyOR."""
        secret = hashlib.sha256(bytes(32) + struct.pack(">I", 0x151) + self.sender).digest()
        digest = hashlib.sha256(secret).digest()
        compared = hashlib.sha256(struct.pack(">QHH", self.limit, 0, 5)).digest()
        counter = name(nv_public(self.index))
        digest = hashlib.sha256(digest + struct.pack(">I", 0x149) + compared + counter).digest()
        selects = [struct.pack(">I", 0x188) + parent + b"\0" for parent in self.parents]
        branches = [hashlib.sha256(digest + select).digest() for select in selects]
        if len(branches) == 1:
            return branches[0]
        return hashlib.sha256(bytes(32) + struct.pack(">I", 0x171) + b"".join(branches)).digest()

    def encode(self) -> bytes:
        head = struct.pack(">BIQ", 1, self.index, self.limit) + self.sender
        return head + bytes((len(self.parents),)) + b"".join(self.parents)


@functools.cache
def ec_key(label: str) -> ec.EllipticCurvePrivateKey:
    """A key for each label, always the same."""
    number = int.from_bytes(hashlib.sha256(label.encode()).digest(), "big")
    return ec.derive_private_key(number >> 8, ec.SECP256R1())


@functools.cache
def rsa_key(label: str) -> rsa.RSAPrivateKey:
    """A key for each label, made once."""
    return rsa.generate_private_key(65537, 2048)


def signed_raw(key: ec.EllipticCurvePrivateKey, digest: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@functools.cache
def maker(label: str = "maker") -> x509.Certificate:
    """The root certificate of a maker of TPMs."""
    return _certificate(
        f"root of {label}", rsa_key(label), f"root of {label}", rsa_key(label), authority=True
    )


def _certificate(
    subject: str,
    key: rsa.RSAPrivateKey,
    issuer: str,
    signer: rsa.RSAPrivateKey,
    *,
    authority: bool,
    purpose: str = "2.23.133.8.1",
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(1 + int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "big"))
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if authority:
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        ).add_extension(_signs_certificates(), critical=True)
    else:
        names = x509.Name([x509.NameAttribute(x509.ObjectIdentifier("2.23.133.2.2"), "test")])
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DirectoryName(names)]), critical=True
        ).add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose)]), critical=False)
    return builder.sign(signer, SHA256())


def _signs_certificates() -> x509.KeyUsage:
    names = [
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    ]  # fmt: skip
    return x509.KeyUsage(**{name: name in ("key_cert_sign", "crl_sign") for name in names})


def ek_certificate(
    label: str, by: str = "maker", key: str | None = None, purpose: str = "2.23.133.8.1"
) -> bytes:
    """The certificate (DER) of an endorsement key."""
    made = _certificate(
        f"EK {label}", rsa_key(key or f"ek {label}"), f"root of {by}", rsa_key(by),
        authority=False, purpose=purpose,
    )  # fmt: skip
    return made.public_bytes(Encoding.DER)


@dataclass
class Forged:
    """A member in a TPM that is a program. What it says can be changed one by one before it is signed."""

    label: str = "one"
    member: int = 0
    members: int = 1
    counter_value: int = 5
    terms: Terms | None = None
    nonce: bytes = bytes(32)
    answer: Answer | None = None
    pcrs: tuple[str, ...] = tuple(f"{number:02x}" * 32 for number in range(16))
    cohort_label: str = "cohort"
    extra: bytes | None = None
    overridden: dict[str, Any] = field(default_factory=dict)

    @property
    def attestation_key(self) -> ec.EllipticCurvePrivateKey:
        return ec_key(f"attestation {self.label}")

    @property
    def cohort_key(self) -> ec.EllipticCurvePrivateKey:
        return ec_key(self.cohort_label)

    @property
    def audit_key(self) -> ec.EllipticCurvePrivateKey:
        return ec_key(f"audit {self.label}")

    def public(self, key: str) -> bytes:
        """TPMT_PUBLIC of attestation, audit or cohort key."""
        match key:
            case "attestation":
                return ecc_public(self.attestation_key, STAYS | RESTRICTED | SIGN, ECDSA)
            case "audit":
                return ecc_public(self.audit_key, STAYS | SIGN, ECDSA)
            case "storage":
                cipher = struct.pack(">HHH", 0x0006, 128, 0x0043)
                return ecc_public(
                    ec_key(f"storage {self.label}"), STAYS | RESTRICTED | DECRYPT, None, cipher=cipher
                )
            case _ if self.members > 1:
                return ecc_public(
                    self.cohort_key, MADE | ENCRYPTED_DUPLICATION | DECRYPT, ECDH, self.cohort_terms.policy()
                )
            case _:
                return ecc_public(self.cohort_key, STAYS | DECRYPT, ECDH)

    def says(self, kind: int, attested: bytes, **changes: Any) -> Attestation:
        """Sign a statement of the TPM."""
        extra = self.extra or hashlib.sha256(b"hwkm evidence nonce v1\0" + self.nonce).digest()
        data = attest(kind, changes.pop("extra", extra), attested, **changes)
        return self.signed(data)

    def signed(self, data: bytes, key: ec.EllipticCurvePrivateKey | None = None) -> Attestation:
        raw = signed_raw(key or self.attestation_key, hashlib.sha256(data).digest())
        signature = struct.pack(">HH", ECDSA, SHA256_ALG) + sized(raw[:32]) + sized(raw[32:])
        return Attestation(attest=data.hex(), signature=signature.hex())

    def endorsement_public(self) -> bytes:
        return rsa_public(rsa_key(f"ek {self.label}"), 0x2 | 0x10 | 0x20 | 0x80 | RESTRICTED | DECRYPT)

    def endorsement(self, **changes: Any) -> Endorsement:
        return Endorsement(
            certificate=ek_certificate(self.label, **changes).hex(), public=self.endorsement_public().hex()
        )

    def other(self, number: int) -> Forged:
        """Another member of the cohort, as it is without fault."""
        return Forged(label=f"m{number}", member=number, members=self.members)

    @property
    def cohort_terms(self) -> Terms:
        """Made by member 0, for the others."""
        if self.terms is not None:
            return self.terms
        parents = [name(self.other(number).public("storage")) for number in range(1, self.members)]
        return Terms(name(self.other(0).public("audit")), parents)

    def made_by_the_first(self, **changes: Any) -> Attestation:
        """TPM2_CertifyCreation of the cohort key by member 0."""
        extra = changes.pop("extra", hashlib.sha256(b"hwkm cohort origin v1").digest())
        kind, attested = (
            changes.pop("kind", CREATION),
            changes.pop("attested", created(self.public("cohort"))),
        )
        return self.other(0).says(kind, attested, extra=extra, **changes)

    def record(self, origin: Attestation | None = None, attestation: bytes | None = None) -> str:
        """The record of the cohort key, in hex."""
        origin = origin or self.made_by_the_first()
        signature = bytes.fromhex(origin.signature)
        parts = (
            self.cohort_terms.encode(),
            attestation or self.other(0).public("attestation"),
            b"creation data",
            bytes.fromhex(origin.attest),
        )
        fingerprints = bytes(32 * len(self.cohort_terms.parents))
        whole = b"\1" + bytes(2) + b"".join(map(sized, parts))
        return (whole + signature[6:38] + signature[40:] + fingerprints).hex()

    def shared(self, **changes: Any) -> SharedKey:
        """How the cohort key came to this member."""
        made = SharedKey(record=self.record())
        if self.member == 0:
            counted = nv_certified(nv_public(), self.counter_value)
            made = msgspec.structs.replace(made, counter_certified=self.says(NV, counted))
        else:
            stored = self.says(CERTIFY, certified(self.public("storage")))
            public = self.public("storage").hex()
            made = msgspec.structs.replace(made, storage_certified=stored, storage_public=public)
        return msgspec.structs.replace(made, **changes)

    def module(self) -> TpmModule:
        """What this TPM says, with what the test has put in its place."""
        made = TpmModule(
            attestation_public=self.public("attestation").hex(),
            audit_certified=self.says(CERTIFY, certified(self.public("audit"))),
            audit_public=self.public("audit").hex(),
            cohort_certified=self.says(CERTIFY, certified(self.public("cohort"))),
            cohort_public=self.public("cohort").hex(),
            description={"manufacturer": "TEST", "model": "none", "firmware": "1.0"},
            endorsement=self.endorsement(),
            pcrs=self.pcrs,
            quote=self.says(QUOTE, quoted(self.pcrs)),
            shared=self.shared() if self.members > 1 else None,
        )
        return msgspec.structs.replace(made, **self.overridden)

    def evidence(self, **changes: Any) -> MemberEvidence:
        """The member's evidence; ``changes`` are put into the statement before it is signed."""
        statement = Statement(
            answer=self.answer,
            audit_key=point(self.audit_key).hex(),
            cohort_key=point(self.cohort_key).hex(),
            made_at=NOW_S,
            member=self.member,
            members=self.members,
            module=self.module(),
            nonce=self.nonce.hex(),
            software=SOFTWARE,
        )
        return signed_by(self.audit_key, msgspec.structs.replace(statement, **changes))

    def challenged(self, challenger: PrivateNoteKey) -> Challenge:
        """Let somebody challenge the member as it is now."""
        drawn = Drawn(SecretBytes(b"s" * 32), SecretBytes(b"t" * 32))
        return make_challenge(self.evidence(), challenger, drawn)

    def read(self, challenge: Challenge) -> bytes:
        """What TPM2_ActivateCredential does (TPM 2.0 part 1, credential protection); the secret."""
        data = bytes.fromhex(challenge.credential)
        size = struct.unpack(">H", data[:2])[0]
        blob, told = data[2 : 2 + size], data[4 + size :]
        seed = rsa_key(f"ek {self.label}").decrypt(
            told, padding.OAEP(padding.MGF1(SHA256()), SHA256(), b"IDENTITY\0")
        )
        integrity, identity = blob[2:34], blob[34:]
        attested = name(self.public("attestation"))
        key = _kdfa(seed, b"INTEGRITY\0", b"", 32)
        assert hmac.digest(key, identity + attested, "sha256") == integrity
        cipher = Cipher(AES(_kdfa(seed, b"STORAGE\0", attested, 16)), CFB(bytes(16)))
        return cipher.decryptor().update(identity)[2:]

    def answers(self, challenge: Challenge) -> None:
        """Answer, from now on."""
        self.answer = Answer(challenge=challenge, secret=self.read(challenge).hex())
        self.nonce = hashlib.sha256(challenge.encode()).digest()


def signed_by(key: ec.EllipticCurvePrivateKey, statement: Statement) -> MemberEvidence:
    """Sign a statement by an audit key."""
    return MemberEvidence(signature=signed_raw(key, statement.signed_digest()).hex(), statement=statement)


def token_module(label: str = "one", **changes: str) -> Pkcs11Module:
    """What a PKCS#11 token would tell; ``changes`` are attributes of the cohort key."""
    inside = {
        "CKA_TOKEN": "true", "CKA_PRIVATE": "true", "CKA_SENSITIVE": "true", "CKA_EXTRACTABLE": "false",
        "CKA_MODIFIABLE": "false", "CKA_KEY_TYPE": "EC", "CKA_EC_PARAMS": "06082a8648ce3d030107",
        "CKA_ALWAYS_SENSITIVE": "true", "CKA_NEVER_EXTRACTABLE": "true", "CKA_LOCAL": "true",
    }  # fmt: skip
    return Pkcs11Module(
        audit_key={**inside, "CKA_SIGN": "true", "CKA_DERIVE": "false"},
        audit_public_key={"CKA_EC_POINT": "0441" + point(ec_key(f"audit {label}")).hex()},
        cohort_key={**inside, "CKA_SIGN": "false", "CKA_DERIVE": "true", **changes},
        cohort_public_key={"CKA_EC_POINT": "0441" + point(ec_key("cohort")).hex()},
        description={"token manufacturer": "TEST", "token model": "none", "token firmware": "1.0"},
        mechanisms=("ECDH1_DERIVE",),
    )


def _kdfa(key: bytes, label: bytes, context: bytes, length: int) -> bytes:
    block = struct.pack(">I", 1) + label + context + struct.pack(">I", 8 * length)
    return hmac.digest(key, block, "sha256")[:length]
