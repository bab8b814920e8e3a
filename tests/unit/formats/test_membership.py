"""Each handle belongs to exactly one member of a cohort."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.errors import FormatError, VaultElsewhere
from hwkm.formats.membership import ALONE, MEMBERS_MAX, Membership

HANDLES = st.binary(min_size=17, max_size=17)
MEMBERS = st.integers(1, MEMBERS_MAX)


def all_members(members: int) -> list[Membership]:
    return [Membership(number, members) for number in range(members)]


@given(HANDLES, MEMBERS)
def test_of_any_number_of_members_exactly_one_owns_a_handle(handle: bytes, members: int) -> None:
    owners = [member.number for member in all_members(members) if member.owns(handle)]
    assert owners == [Membership(0, members).owner(handle)]


@given(HANDLES, MEMBERS)
def test_all_others_refuse_it_and_name_its_owner(handle: bytes, members: int) -> None:
    owner = Membership(0, members).owner(handle)
    for member in all_members(members):
        if member.number == owner:
            member.verify_owns(handle)
            continue
        with pytest.raises(VaultElsewhere, match=f"member {owner} of {members}") as caught:
            member.verify_owns(handle)
        assert (caught.value.member, caught.value.members) == (owner, members)


@given(HANDLES, MEMBERS, st.integers(0, 255))
def test_the_type_byte_does_not_move_a_vault(handle: bytes, members: int, kind: int) -> None:
    assert Membership(0, members).owner(bytes([kind]) + handle[1:]) == Membership(0, members).owner(handle)


@given(HANDLES)
def test_a_module_alone_owns_every_handle(handle: bytes) -> None:
    assert ALONE.owns(handle)


@pytest.mark.parametrize(
    ("last_bytes", "members", "owner"),
    [("00", 3, 0), ("01", 3, 1), ("05", 3, 2), ("ff", 16, 15), ("0100", 3, 1), ("0101", 3, 2)],
)
def test_the_owner_is_the_remainder(last_bytes: str, members: int, owner: int) -> None:
    random = bytes.fromhex(last_bytes).rjust(16, b"\0")
    assert Membership(0, members).owner(b"\x48" + random) == owner


@pytest.mark.parametrize("size", [0, 1, 16, 18, 64])
def test_what_is_no_handle_belongs_to_nobody(size: int) -> None:
    for ask in (ALONE.owner, ALONE.owns, ALONE.verify_owns):
        with pytest.raises(FormatError):
            ask(bytes(size))


@pytest.mark.parametrize(("number", "members"), [(0, 0), (0, 17), (1, 1), (3, 3), (-1, 3), (0, -1)])
def test_there_is_no_such_member(number: int, members: int) -> None:
    with pytest.raises(FormatError):
        Membership(number, members)
