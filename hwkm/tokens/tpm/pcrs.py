"""Platform configuration registers of the SHA-256 bank: read, and extended by what hwkm measures of itself.

What is read here only says what is wrong, and when to measure: the TPM compares for itself at each use of the key.
Only at set-up is it believed, as everything is that passes to and from the TPM then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tpm2_pytss.constants import ESYS_TR, TPM2_ALG
from tpm2_pytss.types import TPML_DIGEST_VALUES, TPMT_HA, TPMU_HA

from hwkm.errors import CodeChanged, TokenError
from hwkm.formats.code_record import PCR_AFTER_RESET, CodeRecord, manifest_digest
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import translated

_IN_AN_ANSWER: Final = 8


def read_pcrs(connection: Connection, numbers: Sequence[int]) -> dict[int, bytes]:
    """Return the values (32 bytes) of PCRs.

    Raises:
        TokenError: the hardware failed, or has no SHA-256 bank.
    """
    values: list[bytes] = []
    with translated("reading the PCRs"):
        for at in range(0, len(numbers), _IN_AN_ANSWER):
            wanted = sorted(numbers)[at : at + _IN_AN_ANSWER]
            _, _, read = connection.esapi.pcr_read("sha256:" + ",".join(map(str, wanted)))
            values += [bytes(value) for value in read]
    if len(values) != len(numbers):
        raise TokenError("the TPM does not tell its PCRs: the SHA-256 bank is not there")
    return dict(zip(sorted(numbers), values, strict=True))


def is_extended(connection: Connection, pcr: int) -> bool:
    """Whether something was measured into a PCR since the machine was started. Raises TokenError."""
    return read_pcrs(connection, [pcr])[pcr] != PCR_AFTER_RESET


def verify_reset(connection: Connection, pcr: int) -> None:
    """Refuse a PCR into which something was measured since the boot.

    Raises:
        CodeChanged: it was.
        TokenError: the hardware failed.
    """
    if is_extended(connection, pcr):
        raise CodeChanged(
            f"PCR {pcr} was extended since the machine was started: a cohort key is bound to code only before that."
            " Restart the machine, or choose another code_pcr that nothing else uses"
        )


def measure(connection: Connection, record: CodeRecord) -> None:
    """See that the manifest of the record is in its PCR, and that all PCRs are those of the record.

    It is measured once in each boot: a PCR that has its value already stays as it is.

    Raises:
        CodeChanged: a PCR has another value; the message names it.
        TokenError: the hardware failed.
    """
    expected = record.expected()
    found = read_pcrs(connection, list(expected))
    _verify_boot(record, found)
    if found[record.code_pcr] == PCR_AFTER_RESET:
        _extend(connection, record.code_pcr, manifest_digest(record.manifest))
        found = read_pcrs(connection, list(expected))
        _verify_boot(record, found)
    if found[record.code_pcr] != expected[record.code_pcr]:
        raise CodeChanged(
            f"PCR {record.code_pcr} is neither as after a boot nor as this code leaves it: other code, or somebody"
            " else, has extended it since. Restart the machine"
        )


def _verify_boot(record: CodeRecord, found: dict[int, bytes]) -> None:
    differ = [str(pcr.number) for pcr in record.boot_pcrs if found[pcr.number] != bytes.fromhex(pcr.value)]
    if differ:
        raise CodeChanged(
            f"the machine was not booted as it was when the cohort key was made: PCR {', '.join(differ)} differs"
        )


def _extend(connection: Connection, pcr: int, digest: bytes) -> None:
    values = TPML_DIGEST_VALUES([TPMT_HA(hashAlg=TPM2_ALG.SHA256, digest=TPMU_HA(sha256=digest))])
    with translated(f"extending PCR {pcr}"):
        connection.esapi.pcr_extend(ESYS_TR.PCR0 + pcr, values)
