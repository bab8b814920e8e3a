"""``insecure-memory:``: a file that plays the token, so that tests run without hardware.

It keeps the contract of a token and protects nothing: private keys lie in the file in clear.
The file is replaced whole by rename, so it survives the end of the process at any moment (not a
power cut: nothing is fsynced).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from hwkm.crypto.p256 import encode_point, load_point, load_scalar
from hwkm.errors import (
    AnchorTampered,
    AnchorUncertain,
    ConfigError,
    EvidenceUnavailable,
    FormatError,
    InvalidKeyError,
    TokenAlreadyProvisioned,
    TokenError,
    TokenNotProvisioned,
    TokenPinIncorrect,
    TokenUnavailable,
)
from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
from hwkm.formats.evidence import Answer, Challenge, Pkcs11Module, TpmModule
from hwkm.formats.membership import ALONE, Membership
from hwkm.secret import Pin
from hwkm.thm.ports import Domain
from hwkm.tokens.cohort import Stage, verify_serves
from hwkm.tokens.memory_domain import InsecureDomain, InsecureDomainKey, new_domain_key
from hwkm.tokens.pairing import cohort_digest, verify_cohort, verify_key_pairs
from hwkm.tokens.token import TokenDescription
from hwkm.tokens.uri import MemoryUri

_PREHASHED: Final = ec.ECDSA(utils.Prehashed(SHA256()))


class InsecureContents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: JSON, every value base64. ``anchor`` is the anchor format's bytes.

    A joining member has no cohort key and no anchor until it is invited, and no joining key but its public half
    afterwards. ``unsealed``: the first member of a cohort
    whose key may go to others; ``invited`` has the fingerprint that each number went to.
    """

    pin_sha256: bytes
    cohort_scalar: bytes
    audit_scalar: bytes
    anchor: bytes
    domain_keys: tuple[InsecureDomainKey, ...] = ()
    exchange_scalar: bytes = b""
    joining_scalar: bytes = b""
    joining_point: bytes = b""
    unsealed: bool = False
    invited: dict[int, bytes] = {}


class InsecureCohortKey:
    """A cohort key in ordinary memory."""

    def __init__(self, scalar: bytes) -> None:
        self._private = load_scalar(scalar)
        self._public = encode_point(self._private.public_key())

    def public_key(self) -> bytes:
        return self._public

    def agree(self, points: Sequence[bytes]) -> Iterator[bytes]:
        try:
            for point in points:
                yield self._private.exchange(ec.ECDH(), load_point(point))
        except InvalidKeyError as exc:
            raise TokenError("the point is not on P-256") from exc


class InsecureAuditKey:
    """An audit key in ordinary memory."""

    def __init__(self, scalar: bytes) -> None:
        self._private = load_scalar(scalar)
        self._public = encode_point(self._private.public_key())

    def public_key(self) -> bytes:
        return self._public

    def sign(self, digest: bytes) -> bytes:
        r, s = utils.decode_dss_signature(self._private.sign(digest, _PREHASHED))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class InsecureAnchor:
    """An anchor in a file: anyone who can write the file can take it back."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> AnchorState:
        try:
            return _parse_anchor(_load(self._path).anchor)
        except TokenNotProvisioned as exc:
            raise AnchorTampered("the anchor is gone from the token") from exc

    def advance(self, state: AnchorState) -> None:
        try:
            _save(self._path, msgspec.structs.replace(_load(self._path), anchor=state.encode()))
        except TokenError as exc:
            raise AnchorUncertain(f"advancing the anchor: {exc}") from exc
        except OSError as exc:
            raise AnchorUncertain(f"writing {self._path} failed: {exc.strerror}") from exc


class InsecureMemoryToken:
    """An opened ``insecure-memory:`` token."""

    def __init__(self, path: Path, contents: InsecureContents, membership: Membership) -> None:
        self._path = path
        self.membership = membership
        self.cohort_key = InsecureCohortKey(contents.cohort_scalar)
        self.audit_key = InsecureAuditKey(contents.audit_scalar)
        self.anchor = InsecureAnchor(path)
        self.domain: Domain | None = None
        if contents.domain_keys:
            self.domain = InsecureDomain(
                contents.domain_keys, self._save_domain_keys, contents.exchange_scalar, self.audit_key
            )

    def random(self, length: int) -> bytes:
        return os.urandom(length)

    def verify_key_policy(self) -> None:
        """Check the key pairs. There is no hardware, hence no policy: the scheme's name says so."""
        verify_key_pairs(self.cohort_key, self.audit_key)

    def describe(self) -> TokenDescription:
        name = str(self._path)
        return TokenDescription("insecure-memory", "hwkm", "file without protection", name, name, "0")

    def evidence(self, nonce: bytes, intermediates: tuple[bytes, ...] = ()) -> TpmModule | Pkcs11Module:
        raise EvidenceUnavailable(
            "an insecure-memory token keeps its keys in no hardware: there is no evidence"
        )

    def answer(self, challenge: Challenge) -> Answer:
        raise EvidenceUnavailable("an insecure-memory token cannot answer a challenge")

    def close(self) -> None:
        """Nothing is held open."""

    def _save_domain_keys(self, keys: tuple[InsecureDomainKey, ...]) -> None:
        save(self._path, msgspec.structs.replace(_load(self._path), domain_keys=keys))


def open_token(uri: MemoryUri, pin: Pin) -> InsecureMemoryToken:
    """See :func:`hwkm.tokens.registry.open_token`."""
    path = Path(uri.path)
    contents = unlock(path, pin)
    verify_serves(stage_of(contents))
    state = InsecureAnchor(path).read()
    token = InsecureMemoryToken(path, contents, state.membership)
    verify_cohort(state, token.cohort_key.public_key())
    return token


def provision(uri: MemoryUri, pin: Pin, so_pin: Pin | None = None) -> None:
    """See :func:`hwkm.tokens.registry.provision`."""
    save(Path(uri.path), with_cohort_key(made_blank(uri, pin, so_pin), new_scalar()))


def made_blank(uri: MemoryUri, pin: Pin, so_pin: Pin | None) -> InsecureContents:
    """Return the contents of a token without cohort key and anchor; write nothing.

    Raises:
        ConfigError, TokenAlreadyProvisioned: as :func:`hwkm.tokens.registry.provision`.
    """
    _verify_no_officer(so_pin)
    if Path(uri.path).exists():
        raise TokenAlreadyProvisioned("the token already holds: " + "; ".join(inventory(uri, pin)))
    return InsecureContents(
        _pin_digest(pin), b"", new_scalar(), b"", (new_domain_key(1),), exchange_scalar=new_scalar()
    )


def with_cohort_key(
    contents: InsecureContents, scalar: bytes, membership: Membership = ALONE
) -> InsecureContents:
    """Return the contents with a cohort key and the first anchor for it."""
    digest = cohort_digest(InsecureCohortKey(scalar).public_key())
    anchor = AnchorState(0, EMPTY_ROOT, digest, membership).encode()
    return msgspec.structs.replace(contents, cohort_scalar=scalar, anchor=anchor)


def stage_of(contents: InsecureContents) -> Stage:
    """How far the token is on its way into a cohort.

    Raises:
        AnchorTampered: its anchor is not in hwkm's format.
    """
    if not contents.cohort_scalar:
        return Stage.REQUESTED
    membership = membership_of(contents)
    if membership.members == 1:
        return Stage.ALONE
    if membership.number:
        return Stage.JOINED
    return Stage.UNSEALED if contents.unsealed else Stage.SEALED


def membership_of(contents: InsecureContents) -> Membership:
    """What the anchor says; without one, alone.

    Raises:
        AnchorTampered: it is not in hwkm's format.
    """
    return _parse_anchor(contents.anchor).membership if contents.anchor else ALONE


def _parse_anchor(data: bytes) -> AnchorState:
    try:
        return AnchorState.parse(data)
    except FormatError as exc:
        raise AnchorTampered("the anchor in the token is not in hwkm's format") from exc


def add_domain(uri: MemoryUri, pin: Pin, so_pin: Pin | None = None) -> None:
    """See :func:`hwkm.tokens.registry.add_domain`."""
    _verify_no_officer(so_pin)
    contents = unlock(Path(uri.path), pin)
    if contents.domain_keys:
        raise TokenAlreadyProvisioned(
            "the token has a domain key already; hwkmd domain rotate makes the next"
        )
    made = msgspec.structs.replace(contents, domain_keys=(new_domain_key(1),), exchange_scalar=new_scalar())
    save(Path(uri.path), made)


def inventory(uri: MemoryUri, pin: Pin) -> list[str]:
    """See :func:`hwkm.tokens.registry.inventory`."""
    path = Path(uri.path)
    if not path.exists():
        return []
    contents = unlock(path, pin)
    keys = {
        "cohort": contents.cohort_scalar,
        "audit": contents.audit_scalar,
        "joining": contents.joining_scalar,
    }
    return [
        *(
            f"{name} key in {path} (SHA-256 of the public key {_public_digest(scalar)})"
            for name, scalar in keys.items()
            if scalar
        ),
        f"anchor in {path} (SHA-256 {hashlib.sha256(contents.anchor).hexdigest()})",
        *(
            f"domain key of generation {key.generation} in {path}"
            f" (SHA-256 of the key {hashlib.sha256(key.wrapping).hexdigest()})"
            for key in contents.domain_keys
        ),
    ]


def destroy(uri: MemoryUri, pin: Pin) -> None:
    """See :func:`hwkm.tokens.registry.destroy`."""
    path = Path(uri.path)
    if path.exists():
        unlock(path, pin)
        path.unlink()


def _verify_no_officer(so_pin: Pin | None) -> None:
    if so_pin is not None:
        raise ConfigError("insecure-memory: has no security officer, so no SO PIN")


def _public_digest(scalar: bytes) -> str:
    return cohort_digest(InsecureCohortKey(scalar).public_key()).hex()


def new_scalar() -> bytes:
    """Make a private key of P-256, 32 bytes."""
    return ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(32, "big")


def _pin_digest(pin: Pin) -> bytes:
    return hashlib.sha256(pin.expose()).digest()


def unlock(path: Path, pin: Pin) -> InsecureContents:
    """Read the file.

    Raises:
        TokenPinIncorrect: it was made with another PIN.
        TokenNotProvisioned: it is not there.
        TokenUnavailable: it cannot be read.
    """
    contents = _load(path)
    if contents.pin_sha256 != _pin_digest(pin):
        raise TokenPinIncorrect("the token refused the PIN")
    return contents


def _load(path: Path) -> InsecureContents:
    try:
        return msgspec.json.decode(path.read_bytes(), type=InsecureContents)
    except FileNotFoundError as exc:
        raise TokenNotProvisioned(f"{path} does not exist; hwkmd init makes it") from exc
    except OSError as exc:
        raise TokenUnavailable(f"{path} cannot be read: {exc.strerror}") from exc
    except msgspec.DecodeError as exc:
        raise TokenUnavailable(f"{path} is not an insecure-memory token") from exc


def save(path: Path, contents: InsecureContents) -> None:
    """Replace the file whole, mode 0600.

    Raises:
        TokenUnavailable: it could not be written.
    """
    try:
        _save(path, contents)
    except OSError as exc:
        raise TokenUnavailable(f"{path} cannot be written: {exc.strerror}") from exc


def _save(path: Path, contents: InsecureContents) -> None:
    """Replace the file whole, mode 0600.

    Raises:
        OSError: the file could not be written.
    """
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(contents))
    draft.replace(path)
