"""Open, set up, list and clear a PKCS#11 token; see :mod:`hwkm.tokens.registry`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pkcs11.constants import MechanismFlag

from hwkm.errors import EvidenceUnavailable, TokenAlreadyProvisioned, UnsupportedKind
from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
from hwkm.formats.evidence import Answer, Challenge, Pkcs11Module
from hwkm.secret import Pin
from hwkm.thm.ports import Domain
from hwkm.tokens.cohort import verify_serves
from hwkm.tokens.pairing import cohort_digest, verify_cohort, verify_key_pairs
from hwkm.tokens.pkcs11.anchor import Pkcs11Anchor
from hwkm.tokens.pkcs11.ceremony import make_spares
from hwkm.tokens.pkcs11.cohort_objects import look
from hwkm.tokens.pkcs11.direct import DirectHmac
from hwkm.tokens.pkcs11.domain import Pkcs11Domain
from hwkm.tokens.pkcs11.domain_objects import find_domain_keys, make_domain_key, remove_unfinished
from hwkm.tokens.pkcs11.errors import translated
from hwkm.tokens.pkcs11.evidence import describe_module
from hwkm.tokens.pkcs11.exchange import Exchange
from hwkm.tokens.pkcs11.keys import Pkcs11AuditKey, Pkcs11CohortKey, generate_key_pair, load_key_pair
from hwkm.tokens.pkcs11.mechanisms import read_capabilities
from hwkm.tokens.pkcs11.objects import Labels, describe, find_all
from hwkm.tokens.pkcs11.policy import AUDIT_KEY, cohort_key_policy, verify_attributes
from hwkm.tokens.pkcs11.session import Session
from hwkm.tokens.token import TokenDescription
from hwkm.tokens.uri import Pkcs11Uri


class Pkcs11Token:
    """An opened PKCS#11 token."""

    def __init__(self, session: Session, labels: Labels) -> None:
        self._session = session
        self._labels = labels
        self._cohort_private, cohort_public = load_key_pair(session.handle, labels.cohort)
        self._audit_private, audit_public = load_key_pair(session.handle, labels.audit)
        self.cohort_key = Pkcs11CohortKey(self._cohort_private, cohort_public)
        self.audit_key = Pkcs11AuditKey(self._audit_private, audit_public)
        self.anchor = Pkcs11Anchor(session.handle, labels.anchor)
        state = self.anchor.read()
        verify_cohort(state, cohort_public)
        self.membership = state.membership
        self._domain = _open_domain(session, labels, self.audit_key)

    @property
    def domain(self) -> Domain | None:
        return self._domain

    def random(self, length: int) -> bytes:
        if length == 0:
            return b""
        with translated("drawing random bytes"):
            value: bytes = self._session.handle.generate_random(length * 8)
        return value

    def verify_key_policy(self) -> None:
        verify_attributes("cohort key", self._cohort_private, cohort_key_policy(self.membership))
        verify_attributes("audit key", self._audit_private, AUDIT_KEY)
        verify_key_pairs(self.cohort_key, self.audit_key)
        if self._domain is not None:
            self._domain.verify_policy()

    def describe(self) -> TokenDescription:
        token: Any = self._session.token
        return TokenDescription(
            kind="pkcs11",
            manufacturer=token.manufacturer_id,
            model=token.model,
            label=token.label,
            serial=token.serial.decode("utf-8", "replace"),
            firmware="{}.{}".format(*token.firmware_version),
            domain_trusted=None if self._domain is None else self._domain.trusted,
        )

    def evidence(self, nonce: bytes, intermediates: tuple[bytes, ...] = ()) -> Pkcs11Module:
        return describe_module(self._session, self._labels)

    def answer(self, challenge: Challenge) -> Answer:
        raise EvidenceUnavailable("a PKCS#11 token cannot answer a challenge: it has no endorsement key")

    def close(self) -> None:
        self._session.close()


def open_token(uri: Pkcs11Uri, pin: Pin) -> Pkcs11Token:
    """See :func:`hwkm.tokens.registry.open_token`."""
    session = Session(uri, pin)
    try:
        labels = Labels(uri.object)
        verify_serves(look(session.handle, labels).stage)
        return Pkcs11Token(session, labels)
    except BaseException:
        session.close()
        raise


def provision(uri: Pkcs11Uri, pin: Pin, so_pin: Pin | None = None) -> None:
    """See :func:`hwkm.tokens.registry.provision`."""
    labels = Labels(uri.object)
    existing = inventory(uri, pin)
    if existing:
        raise TokenAlreadyProvisioned("the token already holds: " + "; ".join(existing))
    if so_pin is not None:
        make_spares(uri, pin, so_pin, labels)
    with _session(uri, pin) as session:
        generate_key_pair(session.handle, labels.audit, MechanismFlag.SIGN | MechanismFlag.VERIFY)
        public_key = generate_key_pair(session.handle, labels.cohort, MechanismFlag.DERIVE)
        if read_capabilities(session.token) is not None:
            make_domain_key(session.handle, labels, 1)
        anchor = Pkcs11Anchor(session.handle, labels.anchor)
        anchor.create(AnchorState(0, EMPTY_ROOT, cohort_digest(public_key)))


def add_domain(uri: Pkcs11Uri, pin: Pin, so_pin: Pin | None = None) -> None:
    """See :func:`hwkm.tokens.registry.add_domain`."""
    labels = Labels(uri.object)
    with _session(uri, pin) as session:
        remove_unfinished(session.handle, labels)
    open_token(uri, pin).close()
    with _session(uri, pin) as session:
        if read_capabilities(session.token) is None:
            raise UnsupportedKind("this token has no AES key wrap with padding (RFC 5649) or no HMAC-SHA-256")
        exists = bool(find_domain_keys(session.handle, labels))
    if so_pin is not None:
        make_spares(uri, pin, so_pin, labels)
    elif exists:
        raise TokenAlreadyProvisioned(
            "the token has a domain key already; hwkmd domain rotate makes the next"
        )
    if not exists:
        with _session(uri, pin) as session:
            make_domain_key(session.handle, labels, 1)


def inventory(uri: Pkcs11Uri, pin: Pin) -> list[str]:
    """See :func:`hwkm.tokens.registry.inventory`."""
    with _session(uri, pin) as session:
        return [describe(*item) for item in find_all(session.handle, Labels(uri.object))]


def destroy(uri: Pkcs11Uri, pin: Pin) -> None:
    """See :func:`hwkm.tokens.registry.destroy`."""
    with _session(uri, pin) as session:
        for _, label, item in find_all(session.handle, Labels(uri.object)):
            with translated(f"destroying {label}"):
                item.destroy()


def _open_domain(session: Session, labels: Labels, audit_key: Pkcs11AuditKey) -> Pkcs11Domain | None:
    """Return the domain keys, or None if the token holds none or can do nothing with them."""
    capabilities = read_capabilities(session.token)
    keys = {} if capabilities is None else find_domain_keys(session.handle, labels)
    if capabilities is None or not keys:
        return None
    direct = DirectHmac(session.module_path, session.handle.handle)
    exchange = Exchange(session.handle, labels.exchange, capabilities, audit_key.public_key())
    return Pkcs11Domain(session.handle, labels, capabilities, keys, direct, exchange, audit_key)


@contextmanager
def _session(uri: Pkcs11Uri, pin: Pin) -> Iterator[Session]:
    session = Session(uri, pin)
    try:
        yield session
    finally:
        session.close()
