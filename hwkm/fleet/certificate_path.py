"""Certificate paths, built and checked by pyca/cryptography's verifier (RFC 5280, section 6).

Every path ends at a root that the caller trusts, at the time that the caller gives. CA
certificates must satisfy the verifier's defaults (CA flag, path length, certificate signing, known
critical extensions); the last certificate carries no name to compare, so what its key may be used
for is checked by who uses it. There is no revocation in these lists, and no switch to leave a check out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from hwkm.errors import CertificateInvalid, FormatError

INTERMEDIATES_IN_PATH_MAX: Final = 3


def verify_path(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    at_s: int,
    what: str,
) -> x509.Certificate:
    """Check that a path leads from ``leaf`` to one of ``roots`` at ``at_s`` (seconds since 1970); return that root.

    Raises:
        CertificateInvalid: no path does; the message begins with ``what``.
        FormatError: the time is out of range.
    """
    verifier = (
        PolicyBuilder()
        .store(Store(list(roots)))
        .time(_moment(at_s))
        .max_chain_depth(INTERMEDIATES_IN_PATH_MAX)
        .extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
        )
        .build_client_verifier()
    )
    try:
        return verifier.verify(leaf, list(intermediates)).chain[-1]
    except (VerificationError, ValueError) as exc:
        raise CertificateInvalid(f"{what}: no valid path to a trusted root: {exc}") from exc


def public_key_of(certificate: x509.Certificate, what: str) -> CertificatePublicKeyTypes:
    """Return the key of a certificate.

    Raises:
        CertificateInvalid: it has none that can be read.
    """
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise CertificateInvalid(f"{what}: its key cannot be read") from exc


def _moment(at_s: int) -> datetime:
    try:
        return datetime.fromtimestamp(at_s, UTC)
    except (ValueError, OverflowError, OSError):
        raise FormatError("the time is out of range") from None
