"""Which member of its cohort a module is, and which vaults are pinned to it (``docs/spec/membership.md``).

The members of a cohort share one key pair, but not the attempts. So each vault belongs to one member,
told by its handle alone, and k members never allow k times the attempts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hwkm.errors import FormatError, VaultElsewhere
from hwkm.formats.vault_params import HANDLE_BYTES

MEMBERS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Membership:
    """Member ``number``, counted from 0, of a cohort of ``members`` (1 to 16) in all."""

    number: int
    members: int

    def __post_init__(self) -> None:
        if not 1 <= self.members <= MEMBERS_MAX:
            raise FormatError(f"a cohort has 1 to {MEMBERS_MAX} members")
        if not 0 <= self.number < self.members:
            raise FormatError("a member's number is from 0 to one less than there are members")

    def owner(self, handle: bytes) -> int:
        """The number of the member that a handle (17 bytes) belongs to.

        It is the handle without its type byte, as a number (big endian), modulo ``members``.

        Raises:
            FormatError: the handle is not 17 bytes.
        """
        if len(handle) != HANDLE_BYTES:
            raise FormatError(f"a vault handle is {HANDLE_BYTES} bytes")
        return int.from_bytes(handle[1:], "big") % self.members

    def owns(self, handle: bytes) -> bool:
        """Whether a handle (17 bytes) belongs to this member. For each handle it is true of one member.

        Raises:
            FormatError: the handle is not 17 bytes.
        """
        return self.owner(handle) == self.number

    def verify_owns(self, handle: bytes) -> None:
        """Check that a handle (17 bytes) belongs to this member.

        Raises:
            VaultElsewhere: it belongs to another.
            FormatError: the handle is not 17 bytes.
        """
        owner = self.owner(handle)
        if owner != self.number:
            raise VaultElsewhere(
                f"the vault belongs to member {owner} of {self.members} of its cohort (counted from 0); "
                f"this is member {self.number}",
                member=owner,
                members=self.members,
            )


ALONE: Final = Membership(0, 1)
"""The only member of its cohort: every handle is its own."""
