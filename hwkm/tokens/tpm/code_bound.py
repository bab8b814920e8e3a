"""A TPM whose cohort key is bound to the code that uses it; see :mod:`hwkm.tokens.registry`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hwkm.errors import CodeChanged
from hwkm.formats.code_record import BootPcr, CodeRecord, Manifest, differences
from hwkm.secret import Pin
from hwkm.tokens.cohort import verify_serves
from hwkm.tokens.tpm.authorisation import verify_pin_length
from hwkm.tokens.tpm.backend import only_connection, verify_blank, verify_complete, verify_no_officer
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.objects import Handles
from hwkm.tokens.tpm.opened import TpmToken
from hwkm.tokens.tpm.pcrs import is_extended, measure, read_pcrs, verify_reset
from hwkm.tokens.tpm.provisioning import make_all
from hwkm.tokens.tpm.templates import code_bound_template
from hwkm.tokens.uri import TpmUri

_NAMED_MAX: Final = 10


def code_pcr_extended(uri: TpmUri, code_pcr: int) -> bool:
    """See :func:`hwkm.tokens.registry.code_pcr_extended`."""
    with only_connection(uri, alone=False) as connection:
        return is_extended(connection, code_pcr)


def record_code(uri: TpmUri, code_pcr: int, boot_pcrs: Sequence[int], manifest: Manifest) -> CodeRecord:
    """See :func:`hwkm.tokens.registry.record_code`."""
    with only_connection(uri) as connection:
        verify_blank(connection, Handles.of(uri))
        verify_reset(connection, code_pcr)
        boot = read_pcrs(connection, boot_pcrs)
    pcrs = tuple(BootPcr(number=number, value=value.hex()) for number, value in boot.items())
    return CodeRecord(boot_pcrs=pcrs, code_pcr=code_pcr, manifest=dict(manifest))


def provision(uri: TpmUri, pin: Pin, record: CodeRecord, so_pin: Pin | None = None) -> None:
    """See :func:`hwkm.tokens.registry.provision_code_bound`."""
    verify_no_officer(so_pin)
    verify_pin_length(pin)
    handles = Handles.of(uri)
    with only_connection(uri) as connection:
        verify_blank(connection, handles)
        verify_reset(connection, record.code_pcr)
        make_all(connection, handles, pin, code_bound_template(record.policy_digest()))


def open_token(uri: TpmUri, pin: Pin, record: CodeRecord, manifest: Manifest) -> TpmToken:
    """See :func:`hwkm.tokens.registry.open_code_bound`."""
    connection = Connection(uri.tcti)
    try:
        handles = Handles.of(uri)
        verify_complete(connection, handles)
        token = TpmToken(connection, handles, pin, record)
        token.verify_code_binding()
        verify_manifest(record, manifest)
        measure(connection, record)
        verify_serves(token.stage)
        return token
    except BaseException:
        connection.close()
        raise


def verify_manifest(record: CodeRecord, manifest: Manifest) -> None:
    """Refuse code and settings that are not those of the record.

    Raises:
        CodeChanged: the message says what differs.
    """
    found = differences(record.manifest, manifest)
    if not found:
        return
    more = f"; and {len(found) - _NAMED_MAX} more" if len(found) > _NAMED_MAX else ""
    raise CodeChanged(
        f"the cohort key is bound to other code or settings: {'; '.join(found[:_NAMED_MAX])}{more}"
    )
