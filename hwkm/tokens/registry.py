"""Which backend serves which token URI. A backend's library is loaded when it is first used.

Every function takes the URI as text and the PIN, and raises :class:`hwkm.errors.FormatError` for
a URI that is not understood, and only :class:`hwkm.errors.TokenError` for what hardware does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Final, Protocol, cast

from hwkm.errors import ConfigError, ExchangeUnsupported, TokenPinIncorrect
from hwkm.formats.code_record import CodeRecord, Manifest
from hwkm.secret import Pin
from hwkm.tokens.cohort import CohortState, verify_members
from hwkm.tokens.token import Token
from hwkm.tokens.uri import MemoryUri, Pkcs11Uri, TokenUri, TpmUri, parse_token_uri


class Backend(Protocol):
    """What a backend module offers; the contract of the functions below."""

    def open_token(self, uri: TokenUri, pin: Pin) -> Token: ...
    def provision(self, uri: TokenUri, pin: Pin, so_pin: Pin | None = None) -> None: ...
    def add_domain(self, uri: TokenUri, pin: Pin, so_pin: Pin | None = None) -> None: ...
    def inventory(self, uri: TokenUri, pin: Pin) -> list[str]: ...
    def destroy(self, uri: TokenUri, pin: Pin) -> None: ...


class CohortBackend(Protocol):
    """What a backend offers for cohorts of several members; the contract of the functions below."""

    def create_cohort(
        self,
        uri: TokenUri,
        pin: Pin,
        members: int,
        so_pin: Pin | None = None,
        requests: Sequence[tuple[bytes, bytes]] = (),
    ) -> None: ...
    def request_membership(self, uri: TokenUri, pin: Pin, so_pin: Pin | None = None) -> bytes: ...
    def invite(self, uri: TokenUri, pin: Pin, request: bytes, fingerprint: bytes, number: int) -> bytes: ...
    def join(self, uri: TokenUri, pin: Pin, invitation: bytes, sender: bytes) -> None: ...
    def seal(self, uri: TokenUri, pin: Pin, *, incomplete: bool = False) -> None: ...
    def cohort_state(self, uri: TokenUri, pin: Pin) -> CohortState: ...


class CodeBoundBackend(Protocol):
    """What a backend offers for code-bound cohort keys; the contract of the functions below."""

    def code_pcr_extended(self, uri: TokenUri, code_pcr: int) -> bool: ...
    def record_code(
        self, uri: TokenUri, code_pcr: int, boot_pcrs: Sequence[int], manifest: Manifest
    ) -> CodeRecord: ...
    def provision(self, uri: TokenUri, pin: Pin, record: CodeRecord, so_pin: Pin | None = None) -> None: ...
    def open_token(self, uri: TokenUri, pin: Pin, record: CodeRecord, manifest: Manifest) -> Token: ...


# Names, not modules: hwkm for a TPM must run where no PKCS#11 library is installed.
_BACKENDS: Final[Mapping[type[TokenUri], str]] = MappingProxyType(
    {
        Pkcs11Uri: "hwkm.tokens.pkcs11.backend",
        TpmUri: "hwkm.tokens.tpm.backend",
        MemoryUri: "hwkm.tokens.memory",
    }
)
_COHORT_BACKENDS: Final[Mapping[type[TokenUri], str]] = MappingProxyType(
    {
        Pkcs11Uri: "hwkm.tokens.pkcs11.cohort",
        TpmUri: "hwkm.tokens.tpm.cohort_membership",
        MemoryUri: "hwkm.tokens.memory_cohort",
    }
)


_CODE_BOUND_BACKENDS: Final[Mapping[type[TokenUri], str]] = MappingProxyType(
    {TpmUri: "hwkm.tokens.tpm.code_bound"}
)


def open_token(uri: str, pin: Pin) -> Token:
    """Open a token that was provisioned. The PIN is tried exactly once.

    Raises:
        TokenNotProvisioned: the token holds nothing of hwkm.
        AnchorTampered: keys and anchor do not belong together, or one of them is missing.
        CohortUnsealed: it is the first member of a cohort that is not sealed.
        TokenPinIncorrect, TokenPinLocked: the PIN was refused.
        TokenUnavailable: the token or its library is not there.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    return _backend(parsed).open_token(parsed, pin)


def provision(uri: str, pin: Pin, so_pin: Pin | None = None) -> None:
    """Make the cohort key, the audit key, domain key 1, and an anchor with epoch 0 and an empty root.

    With the security officer's PIN of a PKCS#11 token the domain keys are *trusted* ones: what that is
    worth and costs is in ``docs/operations/domain-keys.md``. A token that cannot keep customer master
    keys gets no domain key, and serves vaults only.

    The anchor is made last, so a token on which this was interrupted does not open; it is
    reported by :func:`inventory` and cleared by :func:`destroy`, never completed in silence.

    Raises:
        TokenAlreadyProvisioned: something of hwkm exists; the message lists all of it.
        TokenFull: no room; what was made until then is listed by :func:`inventory`.
        TokenError: the hardware failed.
        ConfigError: the PIN is too short for this kind of token, the security officer's was refused, or
            the token has none.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    _backend(parsed).provision(parsed, pin, so_pin)


def code_pcr_extended(uri: str, pin: Pin, code_pcr: int) -> bool:
    """Whether something was measured into the PCR since the machine was started.

    Raises:
        ConfigError: this kind of token has no code-bound keys.
        TokenError: the hardware failed.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    return _code_bound_backend(parsed).code_pcr_extended(parsed, code_pcr)


def record_code(
    uri: str, pin: Pin, code_pcr: int, boot_pcrs: Sequence[int], manifest: Manifest
) -> CodeRecord:
    """Return what a cohort key would be bound to here and now; change nothing.

    Raises:
        TokenAlreadyProvisioned: something of hwkm exists.
        CodeChanged: the PCR was extended since the machine was started.
        ConfigError: this kind of token has no code-bound keys.
        TokenError: the hardware failed.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    return _code_bound_backend(parsed).record_code(parsed, code_pcr, boot_pcrs, manifest)


def provision_code_bound(uri: str, pin: Pin, record: CodeRecord, so_pin: Pin | None = None) -> None:
    """As :func:`provision`, but the hardware lets the cohort key be used only by the recorded code.

    Raises:
        CodeChanged: the PCR was extended since the machine was started.
        TokenAlreadyProvisioned, TokenFull, TokenError, ConfigError, FormatError: as :func:`provision`.
    """
    parsed = _parse(uri, pin)
    _code_bound_backend(parsed).provision(parsed, pin, record, so_pin)


def open_code_bound(uri: str, pin: Pin, record: CodeRecord, manifest: Manifest) -> Token:
    """As :func:`open_token`, of a code-bound cohort key; measures ``manifest`` where this boot has not.

    Raises:
        CodeChanged: code, settings or boot are not those of the record, or the record is not the key's.
        ConfigError: the cohort key is not bound to code, or this kind of token has no such keys.
        TokenError, FormatError: as :func:`open_token`.
    """
    parsed = _parse(uri, pin)
    return _code_bound_backend(parsed).open_token(parsed, pin, record, manifest)


def add_domain(uri: str, pin: Pin, so_pin: Pin | None = None) -> None:
    """Make domain key 1 in a token that was set up without one; with the SO PIN, also trusted spare keys.

    Raises:
        TokenAlreadyProvisioned: it has a domain key, and no SO PIN was given.
        UnsupportedKind: the token cannot keep customer master keys.
        TokenError: as :func:`open_token` and :func:`provision`; what was made is in the inventory.
        ConfigError, FormatError: as :func:`provision`.
    """
    parsed = _parse(uri, pin)
    _backend(parsed).add_domain(parsed, pin, so_pin)


def inventory(uri: str, pin: Pin) -> list[str]:
    """Return one line for each object of hwkm in the token, with a digest that identifies it.

    Raises:
        TokenError: the hardware failed or refused the PIN.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    return _backend(parsed).inventory(parsed, pin)


def destroy(uri: str, pin: Pin) -> None:
    """Destroy exactly what :func:`inventory` lists, the anchor first. It cannot be undone.

    Raises:
        TokenError: the hardware failed or refused the PIN; some objects may be left.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    _backend(parsed).destroy(parsed, pin)


def create_cohort(
    uri: str,
    pin: Pin,
    members: int,
    so_pin: Pin | None = None,
    requests: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Provision the first member (number 0) of a cohort of ``members`` (2 to 16).

    As :func:`provision`, but until :func:`seal` the cohort key can be wrapped to others, and the token
    does not open. A TPM's cohort key names its members when it is made: ``requests`` has request and fingerprint
    of members 1, 2, ... there, and is empty elsewhere.

    Raises:
        ExchangeRefused: a request is damaged, not authentic, or has another fingerprint.
        ExchangeUnsupported: this token cannot give a key to others, or cannot seal it afterwards.
        TokenAlreadyProvisioned, TokenFull, TokenError, ConfigError, FormatError: as :func:`provision`.
    """
    verify_members(members)
    parsed = _parse(uri, pin)
    _cohort_backend(parsed).create_cohort(parsed, pin, members, so_pin, requests)


def request_membership(uri: str, pin: Pin, so_pin: Pin | None = None) -> bytes:
    """Make everything but cohort key and anchor in a blank token; return the membership request.

    In a token that made its request and was not yet invited, the same request again.

    Raises:
        TokenAlreadyProvisioned: the token holds something else, or what an interruption left.
        ExchangeUnsupported: this token cannot take a key from others.
        TokenFull, TokenError, ConfigError, FormatError: as :func:`provision`.
    """
    parsed = _parse(uri, pin)
    return _cohort_backend(parsed).request_membership(parsed, pin, so_pin)


def invite(uri: str, pin: Pin, request: bytes, fingerprint: bytes, number: int) -> bytes:
    """Wrap the cohort key to the module that asked; return the invitation as member ``number``.

    A number goes to one module, which may be given its invitation again.

    Raises:
        ExchangeRefused: the request is damaged, not authentic, or has another fingerprint; or the number is
            another module's, or none.
        ExchangeUnsupported: it is of another kind of module, or claims too little.
        CohortSealed: this token is not the first member of an unsealed cohort.
        TokenError: as :func:`open_token`.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    return _cohort_backend(parsed).invite(parsed, pin, request, fingerprint, number)


def join(uri: str, pin: Pin, invitation: bytes, sender: bytes) -> None:
    """Unwrap the cohort key into the hardware, prove it by use, and make the anchor, last.

    ``sender`` is the SHA-256 of the first member's audit key (a point). Again with the same invitation it finishes
    what was interrupted, or changes nothing.

    Raises:
        ExchangeRefused: the invitation is damaged, another sender's, for another module, or holds another key.
        ExchangeUnsupported: it is from another kind of module.
        TokenNotProvisioned: this token has not asked.
        TokenAlreadyProvisioned: it is a member already, by another invitation.
        TokenError: as :func:`open_token`.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    _cohort_backend(parsed).join(parsed, pin, invitation, sender)


def seal(uri: str, pin: Pin, *, incomplete: bool = False) -> None:
    """See that the cohort key can never leave the first member again; nothing undoes it.

    Sealed already, it changes nothing. ``incomplete`` allows it while numbers are left without a member.

    Raises:
        ExchangeRefused: some number was not invited yet; the message says which.
        CohortSealed: this token is not the first member of a cohort of several.
        TokenError: as :func:`open_token`; if it was interrupted, run it again.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    _cohort_backend(parsed).seal(parsed, pin, incomplete=incomplete)


def cohort_state(uri: str, pin: Pin) -> CohortState:
    """Return how far the token is on its way into a cohort; change nothing.

    Raises:
        TokenError: the hardware failed or refused the PIN, or was tampered with.
        FormatError: the URI is not understood.
    """
    parsed = _parse(uri, pin)
    return _cohort_backend(parsed).cohort_state(parsed, pin)


def _parse(uri: str, pin: Pin) -> TokenUri:
    if not len(pin):
        raise TokenPinIncorrect("the PIN is empty; it was not tried")
    return parse_token_uri(uri)


def _backend(uri: TokenUri) -> Backend:
    return cast(Backend, import_module(_BACKENDS[type(uri)]))


def _cohort_backend(uri: TokenUri) -> CohortBackend:
    name = _COHORT_BACKENDS.get(type(uri))
    if name is None:
        raise ExchangeUnsupported("this kind of token has no cohorts of several members")
    return cast(CohortBackend, import_module(name))


def _code_bound_backend(uri: TokenUri) -> CodeBoundBackend:
    name = _CODE_BOUND_BACKENDS.get(type(uri))
    if name is None:
        raise ConfigError("only a TPM can bind a cohort key to code: set [token] code_bound = false")
    return cast(CodeBoundBackend, import_module(name))
