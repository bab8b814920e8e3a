"""The list of a fleet's cohorts: the file that both parties sign (``docs/spec/fleet.md``)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hwkm.crypto.p256 import load_point
from hwkm.errors import FormatError, InvalidKeyError

COHORTS_MAX: Final = 1_000
LIST_BYTES_MAX: Final = 1024 * 1024
LIST_PATH: Final = "cohorts.json"
"""The name of the list among TUF's targets."""

_Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
_Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Point = Annotated[str, Meta(pattern=r"^04[0-9a-f]{128}\Z")]


class Cohort(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cohort: its name, its public key (65 bytes), and the SHA-256 of its evidence (32 bytes), in hex."""

    evidence: _Hex32
    name: _Name
    public_key: _Point

    @property
    def key(self) -> bytes:
        """The public key, 65 bytes."""
        return bytes.fromhex(self.public_key)


class CohortList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All cohorts, by name. ``epoch`` numbers the lists from 1; no number is used twice."""

    cohorts: Annotated[tuple[Cohort, ...], Meta(min_length=1, max_length=COHORTS_MAX)]
    epoch: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    format: Annotated[int, Meta(ge=1, le=1)] = 1

    def encode(self) -> bytes:
        """Return the file: JSON, keys in order, no spaces, one newline at the end."""
        return msgspec.json.encode(self, order="sorted") + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> CohortList:
        """Read the file; each list has one spelling.

        Raises:
            FormatError: it is not a list, two cohorts share a name or a key, or a key is not on P-256.
        """
        if len(data) > LIST_BYTES_MAX:
            raise FormatError(f"a list of cohorts has at most {LIST_BYTES_MAX} bytes")
        try:
            parsed = msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise FormatError(f"not a list of cohorts: {exc}") from None
        if parsed.encode() != data:
            raise FormatError("a list of cohorts is not in its one spelling")
        parsed.check()
        return parsed

    def check(self) -> None:
        """Check what the types cannot say.

        Raises:
            FormatError: as :meth:`parse`.
        """
        names = [cohort.name for cohort in self.cohorts]
        if names != sorted(set(names)):
            raise FormatError("cohorts are not in the order of their names, or share one")
        if len({cohort.public_key for cohort in self.cohorts}) != len(names):
            raise FormatError("two cohorts share a key")
        for cohort in self.cohorts:
            try:
                load_point(cohort.key)
            except InvalidKeyError:
                raise FormatError(f"the key of cohort {cohort.name} is not on P-256") from None
