"""Makes lists in Android's form, right ones and wrong ones, with certificates of our own."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW = 1_750_000_000
_DAY = timedelta(days=1)
_MOMENT = datetime.fromtimestamp(NOW, UTC)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Key = PrivateKey | ec.EllipticCurvePublicKey


@functools.cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key for each name, made once."""
    return rsa.generate_private_key(65537, bits)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, of which an endpoint may have the public half only."""

    certificate: x509.Certificate
    key: Key


def issue(
    name: str,
    key: Key,
    issuer: Issued | None = None,
    *,
    ca: bool = False,
    path_length: int | None = None,
    digital_signature: bool = True,
    days: tuple[int, int] = (-100, 100),
) -> Issued:
    """A certificate by ``issuer``, or by itself, valid for these days around NOW."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by = issuer or Issued.__new__(Issued)
    issuer_name = subject if issuer is None else issuer.certificate.subject
    signer = key if issuer is None else by.key
    assert not isinstance(signer, ec.EllipticCurvePublicKey), "who signs has a private key"
    usage = x509.KeyUsage(digital_signature, False, False, False, False, ca, ca, False, False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key if isinstance(key, ec.EllipticCurvePublicKey) else key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_MOMENT + days[0] * _DAY)
        .not_valid_after(_MOMENT + days[1] * _DAY)
        .add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
        .add_extension(usage, critical=True)
        .sign(signer, SHA256())
    )
    return Issued(certificate, key)


def endpoint_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def cert(issued: Issued | x509.Certificate) -> str:
    certificate = issued.certificate if isinstance(issued, Issued) else issued
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


@dataclass
class AndroidList:
    """A list that verifies, unless a test changes something first."""

    serial: str = "7"
    root: Issued = field(default_factory=lambda: issue("root", rsa_key("root"), ca=True))
    metadata: str = "<creation-time>1</creation-time><refresh-interval>2</refresh-interval>"

    def __post_init__(self) -> None:
        self.intermediate = issue("intermediate", rsa_key("intermediate"), self.root, ca=True, path_length=1)
        self.signer = issue("signer", rsa_key("signer"), self.intermediate)
        self.endpoints = [issue(f"endpoint {n}", endpoint_key(), self.intermediate) for n in range(2)]
        self.intermediates: Sequence[Issued] = [self.intermediate]

    def cert_xml(self) -> bytes:
        inner = "".join(f"<cert>{cert(one)}</cert>" for one in self.intermediates)
        ends = "".join(f"<cert>\n  {cert(one)}\n</cert>" for one in self.endpoints)
        return (
            f"<certificate><metadata><serial>{self.serial}</serial>{self.metadata}</metadata>"
            f"<intermediates>{inner}</intermediates><endpoints>{ends}</endpoints></certificate>\n"
        ).encode()

    def sig_xml(self, signed: bytes, key: rsa.RSAPrivateKey | None = None) -> bytes:
        signing = key or self.signer.key
        assert isinstance(signing, rsa.RSAPrivateKey)
        value = base64.b64encode(signing.sign(signed, padding.PKCS1v15(), SHA256())).decode()
        inner = "".join(f"<cert>{cert(one)}</cert>" for one in self.intermediates)
        return (
            f"<signature><intermediates>{inner}</intermediates><certificate>{cert(self.signer)}</certificate>"
            f"<value>{value}</value></signature>"
        ).encode()

    def files(self) -> tuple[bytes, bytes]:
        """cert.xml and cert.sig.xml."""
        cert_xml = self.cert_xml()
        return cert_xml, self.sig_xml(cert_xml)


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
