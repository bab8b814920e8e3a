"""Open, set up, list and clear a TPM; see :mod:`hwkm.tokens.registry`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hwkm.errors import AnchorTampered, ConfigError, TokenAlreadyProvisioned, TokenNotProvisioned
from hwkm.secret import Pin
from hwkm.tokens.cohort import Stage, verify_serves
from hwkm.tokens.tpm.authorisation import verify_pin_length
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import translated
from hwkm.tokens.tpm.objects import Handles, describe, existing, existing_domain, waits_for_invitation
from hwkm.tokens.tpm.opened import TpmToken
from hwkm.tokens.tpm.provisioning import add_domain_key, make_all, remove
from hwkm.tokens.tpm.templates import cohort_template
from hwkm.tokens.uri import TpmUri


def open_token(uri: TpmUri, pin: Pin) -> TpmToken:
    """See :func:`hwkm.tokens.registry.open_token`."""
    connection = Connection(uri.tcti)
    try:
        handles = Handles.of(uri)
        verify_complete(connection, handles)
        token = TpmToken(connection, handles, pin)
        verify_serves(token.stage)
        return token
    except BaseException:
        connection.close()
        raise


def provision(uri: TpmUri, pin: Pin, so_pin: Pin | None = None) -> None:
    """See :func:`hwkm.tokens.registry.provision`."""
    verify_no_officer(so_pin)
    verify_pin_length(pin)
    handles = Handles.of(uri)
    with only_connection(uri) as connection:
        verify_blank(connection, handles)
        make_all(connection, handles, pin, cohort_template())


def add_domain(uri: TpmUri, pin: Pin, so_pin: Pin | None = None) -> None:
    """See :func:`hwkm.tokens.registry.add_domain`."""
    verify_no_officer(so_pin)
    open_token(uri, pin).close()
    handles = Handles.of(uri)
    with only_connection(uri) as connection:
        if [handle for handle in existing_domain(connection, handles) if handles.generation(handle)]:
            raise TokenAlreadyProvisioned(
                "the TPM has a domain key already; hwkmd domain rotate makes the next"
            )
        add_domain_key(connection, handles, pin)


def inventory(uri: TpmUri, pin: Pin) -> list[str]:
    """See :func:`hwkm.tokens.registry.inventory`. A TPM tells it without the PIN."""
    handles = Handles.of(uri)
    with only_connection(uri, alone=False) as connection:
        return [describe(connection, handles, handle) for handle in existing(connection, handles)]


def destroy(uri: TpmUri, pin: Pin) -> None:
    """See :func:`hwkm.tokens.registry.destroy`. The owner may do it without the PIN."""
    handles = Handles.of(uri)
    with only_connection(uri) as connection:
        for handle in existing(connection, handles):
            if handle in (handles.anchor, *handles.cohort_names()):
                undefine(connection, handle)
            else:
                remove(connection, handle)


@contextmanager
def only_connection(uri: TpmUri, *, alone: bool = True) -> Iterator[Connection]:
    """Connect for a while; see :class:`Connection`."""
    connection = Connection(uri.tcti, alone=alone)
    try:
        yield connection
    finally:
        connection.close()


def verify_blank(connection: Connection, handles: Handles) -> None:
    """Refuse a TPM that holds something of hwkm. Raises TokenAlreadyProvisioned, TokenError."""
    taken = [describe(connection, handles, handle) for handle in existing(connection, handles)]
    if taken:
        raise TokenAlreadyProvisioned("the TPM already holds: " + "; ".join(taken))


def verify_complete(connection: Connection, handles: Handles) -> None:
    """Refuse a TPM that lacks anything of hwkm.

    Raises:
        TokenNotProvisioned: it holds nothing, or waits for an invitation.
        AnchorTampered: it lacks a part.
        TokenError: the hardware failed.
    """
    taken = existing(connection, handles)
    if not taken:
        raise TokenNotProvisioned("the TPM holds no keys of hwkm; hwkmd init makes them")
    if waits_for_invitation(handles, taken):
        verify_serves(Stage.JOINING if handles.cohort in taken else Stage.REQUESTED)
    missing = [f"{name} at 0x{handle:08x}" for handle, name in handles.names().items() if handle not in taken]
    if missing:
        raise AnchorTampered(
            f"the TPM lacks the {', the '.join(missing)}: set-up was interrupted, or someone removed it"
        )


def undefine(connection: Connection, index: int) -> None:
    """Remove an NV index as owner of the TPM. Raises TokenError."""
    esapi = connection.esapi
    with translated(f"removing 0x{index:08x} as owner of the TPM"):
        esapi.nv_undefine_space(esapi.tr_from_tpmpublic(index))


def verify_no_officer(so_pin: Pin | None) -> None:
    """Refuse an SO PIN. Raises ConfigError."""
    if so_pin is not None:
        raise ConfigError("a TPM has no security officer, so no SO PIN")
