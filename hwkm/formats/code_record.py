"""What a code-bound cohort key is bound to: the file ``code-record.json`` (``docs/spec/code-bound.md``).

It is public and trusted with nothing: the key's authPolicy is computed from it, so that a record which anybody
exchanged does not have the authPolicy that the key has had since it was made. It is kept to say what differs.

Numbers are those of the TPM 2.0 library specification, parts 2 and 3.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Mapping
from typing import Annotated, Final, Literal, Self

import msgspec
from msgspec import Meta

from hwkm.crypto.labels import CODE_MANIFEST
from hwkm.errors import FormatError

RECORD_BYTES_MAX: Final = 1024 * 1024
ENTRIES_MAX: Final = 4096
NAME_BYTES_MAX: Final = 512
CODE_PCRS: Final = range(8, 16)
"""PCRs that nobody but a reboot sets back, beside those of the firmware (PC client profile)."""
BOUND_PCRS: Final = range(16)
PCR_AFTER_RESET: Final = bytes(32)

_FILE: Final = "hwkm/"
_SHA256: Final = 0x000B
_SELECT_BYTES: Final = 3
_POLICY_AUTH_VALUE: Final = 0x16B
_POLICY_PCR: Final = 0x17F

_Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Name = Annotated[str, Meta(min_length=1, max_length=NAME_BYTES_MAX)]
_Pcr = Annotated[int, Meta(ge=BOUND_PCRS[0], le=BOUND_PCRS[-1])]

Manifest = Mapping[str, str]
"""What was measured: a name to the SHA-256 of what it stands for (64 hex digits)."""


class BootPcr(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A PCR that the machine extends before hwkm runs, and its value when the key was made."""

    number: _Pcr
    value: _Hex32


class CodeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manifest of the code, the PCR that it is measured into, and the PCRs of the boot."""

    boot_pcrs: Annotated[tuple[BootPcr, ...], Meta(max_length=len(BOUND_PCRS) - 1)]
    code_pcr: Annotated[int, Meta(ge=CODE_PCRS[0], le=CODE_PCRS[-1])]
    format: Literal[1] = 1
    manifest: Annotated[dict[_Name, _Hex32], Meta(min_length=1, max_length=ENTRIES_MAX)]

    def __post_init__(self) -> None:
        numbers = [pcr.number for pcr in self.boot_pcrs]
        if numbers != sorted(set(numbers) - {self.code_pcr}):
            raise FormatError("a record of the code names a PCR twice or out of order")

    def encode(self) -> bytes:
        """Return the file."""
        return msgspec.json.encode(self, order="sorted") + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the file.

        Raises:
            FormatError: it is not one, too large, or not in its one spelling.
        """
        if len(data) > RECORD_BYTES_MAX:
            raise FormatError(f"a record of the code has at most {RECORD_BYTES_MAX} bytes")
        try:
            record = msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise FormatError(f"not a record of the code: {exc}") from None
        if record.encode() != data:
            raise FormatError("a record of the code is not in its one spelling")
        return record

    def expected(self) -> dict[int, bytes]:
        """The value that each bound PCR must have when the key is used, in the order of their numbers."""
        boot = {pcr.number: bytes.fromhex(pcr.value) for pcr in self.boot_pcrs}
        return dict(sorted((boot | {self.code_pcr: self.measured_value()}).items()))

    def measured_value(self) -> bytes:
        """The value of the code's PCR (32 bytes) after the manifest was measured into it."""
        return hashlib.sha256(PCR_AFTER_RESET + manifest_digest(self.manifest)).digest()

    def selection(self) -> bytes:
        """TPML_PCR_SELECTION of the bound PCRs."""
        return pcr_selection(self.expected())

    def pcr_digest(self) -> bytes:
        """SHA-256 over the values of the bound PCRs."""
        return hashlib.sha256(b"".join(self.expected().values())).digest()

    def policy_digest(self) -> bytes:
        """The authPolicy of the key: TPM2_PolicyPCR, then TPM2_PolicyAuthValue."""
        pcrs = _extended(bytes(32), _POLICY_PCR, self.selection() + self.pcr_digest())
        return _extended(pcrs, _POLICY_AUTH_VALUE, b"")


def manifest_digest(manifest: Manifest) -> bytes:
    """Return what is measured of a manifest, 32 bytes."""
    digest = hashlib.sha256(CODE_MANIFEST + b"\0")
    for name, value in sorted((name.encode(), bytes.fromhex(value)) for name, value in manifest.items()):
        digest.update(len(name).to_bytes(2, "big") + name + value)
    return digest.digest()


def files_of(manifest: Manifest) -> dict[str, str]:
    """Return the entries that are files of the package."""
    return {name: digest for name, digest in manifest.items() if name.startswith(_FILE)}


def pcr_selection(numbers: Collection[int]) -> bytes:
    """Return TPML_PCR_SELECTION of PCRs of the SHA-256 bank."""
    bits = sum(1 << number for number in numbers)
    return struct.pack(">IHB", 1, _SHA256, _SELECT_BYTES) + bits.to_bytes(_SELECT_BYTES, "little")


def differences(recorded: Manifest, found: Manifest) -> list[str]:
    """Say, one line a name, what was changed, added or removed since the record was made."""
    return [
        *(f"{name} was changed" for name in sorted(recorded.keys() & found) if recorded[name] != found[name]),
        *(f"{name} was added" for name in sorted(found.keys() - recorded)),
        *(f"{name} was removed" for name in sorted(recorded.keys() - found)),
    ]


def _extended(policy: bytes, command: int, data: bytes) -> bytes:
    return hashlib.sha256(policy + command.to_bytes(4, "big") + data).digest()
