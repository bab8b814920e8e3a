"""Open, set up, list and clear a PKCS#11 token; see :mod:`hwkm.tokens.registry`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pkcs11.constants import MechanismFlag

from hwkm.errors import TokenAlreadyProvisioned, TokenNotProvisioned
from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
from hwkm.secret import Pin
from hwkm.thm.ports import Domain
from hwkm.tokens.pairing import cohort_digest, verify_cohort, verify_key_pairs
from hwkm.tokens.pkcs11.anchor import Pkcs11Anchor
from hwkm.tokens.pkcs11.errors import translated
from hwkm.tokens.pkcs11.keys import Pkcs11AuditKey, Pkcs11CohortKey, generate_key_pair, load_key_pair
from hwkm.tokens.pkcs11.objects import Labels, describe, find_all
from hwkm.tokens.pkcs11.policy import AUDIT_KEY, COHORT_KEY, verify_attributes
from hwkm.tokens.pkcs11.session import Session
from hwkm.tokens.token import TokenDescription
from hwkm.tokens.uri import Pkcs11Uri


class Pkcs11Token:
    """An opened PKCS#11 token."""

    domain: Domain | None = None

    def __init__(self, session: Session, labels: Labels) -> None:
        self._session = session
        self._cohort_private, cohort_public = load_key_pair(session.handle, labels.cohort)
        self._audit_private, audit_public = load_key_pair(session.handle, labels.audit)
        self.cohort_key = Pkcs11CohortKey(self._cohort_private, cohort_public)
        self.audit_key = Pkcs11AuditKey(self._audit_private, audit_public)
        self.anchor = Pkcs11Anchor(session.handle, labels.anchor)
        verify_cohort(self.anchor.read(), cohort_public)

    def random(self, length: int) -> bytes:
        if length == 0:
            return b""
        with translated("drawing random bytes"):
            value: bytes = self._session.handle.generate_random(length * 8)
        return value

    def verify_key_policy(self) -> None:
        verify_attributes("cohort key", self._cohort_private, COHORT_KEY)
        verify_attributes("audit key", self._audit_private, AUDIT_KEY)
        verify_key_pairs(self.cohort_key, self.audit_key)

    def describe(self) -> TokenDescription:
        token: Any = self._session.token
        return TokenDescription(
            kind="pkcs11",
            manufacturer=token.manufacturer_id,
            model=token.model,
            label=token.label,
            serial=token.serial.decode("utf-8", "replace"),
            firmware="{}.{}".format(*token.firmware_version),
        )

    def close(self) -> None:
        self._session.close()


def open_token(uri: Pkcs11Uri, pin: Pin) -> Pkcs11Token:
    """See :func:`hwkm.tokens.registry.open_token`."""
    session = Session(uri, pin)
    try:
        labels = Labels(uri.object)
        if not find_all(session.handle, labels):
            raise TokenNotProvisioned(f"the token holds no keys {uri.object}; hwkmd init makes them")
        return Pkcs11Token(session, labels)
    except BaseException:
        session.close()
        raise


def provision(uri: Pkcs11Uri, pin: Pin) -> None:
    """See :func:`hwkm.tokens.registry.provision`."""
    labels = Labels(uri.object)
    with _session(uri, pin) as session:
        existing = [describe(*item) for item in find_all(session, labels)]
        if existing:
            raise TokenAlreadyProvisioned("the token already holds: " + "; ".join(existing))
        signing = MechanismFlag.SIGN | MechanismFlag.VERIFY
        generate_key_pair(session, labels.audit, signing)
        public_key = generate_key_pair(session, labels.cohort, MechanismFlag.DERIVE)
        Pkcs11Anchor(session, labels.anchor).create(AnchorState(0, EMPTY_ROOT, cohort_digest(public_key)))


def inventory(uri: Pkcs11Uri, pin: Pin) -> list[str]:
    """See :func:`hwkm.tokens.registry.inventory`."""
    with _session(uri, pin) as session:
        return [describe(*item) for item in find_all(session, Labels(uri.object))]


def destroy(uri: Pkcs11Uri, pin: Pin) -> None:
    """See :func:`hwkm.tokens.registry.destroy`."""
    with _session(uri, pin) as session:
        for _, label, item in find_all(session, Labels(uri.object)):
            with translated(f"destroying {label}"):
                item.destroy()


@contextmanager
def _session(uri: Pkcs11Uri, pin: Pin) -> Iterator[Any]:
    session = Session(uri, pin)
    try:
        yield session.handle
    finally:
        session.close()
