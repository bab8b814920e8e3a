"""Open, set up, list and clear a TPM; see :mod:`hwkm.tokens.registry`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tpm2_pytss.constants import ESYS_TR

from hwkm.errors import AnchorTampered, TokenAlreadyProvisioned, TokenNotProvisioned
from hwkm.secret import Pin
from hwkm.tokens.tpm.authorisation import verify_pin_length
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import translated
from hwkm.tokens.tpm.objects import Handles, describe, existing
from hwkm.tokens.tpm.opened import TpmToken
from hwkm.tokens.tpm.provisioning import make_all
from hwkm.tokens.uri import TpmUri


def open_token(uri: TpmUri, pin: Pin) -> TpmToken:
    """See :func:`hwkm.tokens.registry.open_token`."""
    connection = Connection(uri.tcti)
    try:
        handles = Handles.of(uri)
        _verify_complete(connection, handles)
        return TpmToken(connection, handles, pin)
    except BaseException:
        connection.close()
        raise


def provision(uri: TpmUri, pin: Pin) -> None:
    """See :func:`hwkm.tokens.registry.provision`."""
    verify_pin_length(pin)
    handles = Handles.of(uri)
    with _connection(uri) as connection:
        taken = [describe(connection, handles, handle) for handle in existing(connection, handles)]
        if taken:
            raise TokenAlreadyProvisioned("the TPM already holds: " + "; ".join(taken))
        make_all(connection, handles, pin)


def inventory(uri: TpmUri, pin: Pin) -> list[str]:
    """See :func:`hwkm.tokens.registry.inventory`. A TPM tells it without the PIN."""
    handles = Handles.of(uri)
    with _connection(uri, alone=False) as connection:
        return [describe(connection, handles, handle) for handle in existing(connection, handles)]


def destroy(uri: TpmUri, pin: Pin) -> None:
    """See :func:`hwkm.tokens.registry.destroy`. The owner may do it without the PIN."""
    handles = Handles.of(uri)
    with _connection(uri) as connection:
        for handle in existing(connection, handles):
            _remove(connection, handle, is_index=handle == handles.anchor)


@contextmanager
def _connection(uri: TpmUri, *, alone: bool = True) -> Iterator[Connection]:
    connection = Connection(uri.tcti, alone=alone)
    try:
        yield connection
    finally:
        connection.close()


def _verify_complete(connection: Connection, handles: Handles) -> None:
    taken = existing(connection, handles)
    if not taken:
        raise TokenNotProvisioned("the TPM holds no keys of hwkm; hwkmd init makes them")
    missing = [f"{name} at 0x{handle:08x}" for handle, name in handles.names().items() if handle not in taken]
    if missing:
        raise AnchorTampered(
            f"the TPM lacks the {', the '.join(missing)}: set-up was interrupted, or someone removed it"
        )


def _remove(connection: Connection, handle: int, *, is_index: bool) -> None:
    esapi = connection.esapi
    with translated(f"removing 0x{handle:08x} as owner of the TPM"):
        item = esapi.tr_from_tpmpublic(handle)
        if is_index:
            esapi.nv_undefine_space(item)
        else:
            esapi.evict_control(ESYS_TR.OWNER, item, handle)
