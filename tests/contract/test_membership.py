"""A member of several keeps its number and the number of members in every kind of token."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from pkcs11.constants import ObjectClass

from hwkm.errors import AnchorTampered
from hwkm.formats.anchor import MEMBER_ANCHOR_BYTES, AnchorState
from hwkm.formats.membership import ALONE, Membership
from hwkm.tokens.memory import InsecureContents
from hwkm.tokens.pkcs11.anchor import Pkcs11Anchor
from hwkm.tokens.pkcs11.objects import find
from hwkm.tokens.tpm.authorisation import ANCHOR
from hwkm.tokens.tpm.provisioning import esapi_session, make_anchor
from hwkm.tokens.uri import MemoryUri, parse_token_uri
from tests.contract import test_pkcs11, test_tpm
from tests.contract.cohorts import Members, verify_keeps_membership, whole_cohort
from tests.contract.devices import Device, SoftHsmDevice, SwtpmDevice, opened

MEMBER = Membership(2, 3)


def replace_anchor(device: Device, state: AnchorState) -> None:
    """Put another anchor in the place of the one that set-up made, as who has the PIN can."""
    if isinstance(device, SoftHsmDevice):
        with test_pkcs11.user_session(device) as session:
            for item in find(session, ObjectClass.DATA, test_pkcs11.ANCHOR):
                item.destroy()
            Pkcs11Anchor(session, test_pkcs11.ANCHOR).create(state)
    elif isinstance(device, SwtpmDevice):
        handles = test_tpm.handles(device)
        with test_tpm.owner(device) as connection:
            test_tpm.undefine(connection, handles.anchor)
            storage = connection.esapi.tr_from_tpmpublic(handles.storage)
            with esapi_session(connection, storage) as session:
                make_anchor(connection, session, test_tpm.value(device, ANCHOR), handles.anchor, state)
    else:
        uri = parse_token_uri(device.uri)
        assert isinstance(uri, MemoryUri)
        contents = msgspec.json.decode(Path(uri.path).read_bytes(), type=InsecureContents)
        changed = msgspec.structs.replace(contents, anchor=state.encode())
        Path(uri.path).write_bytes(msgspec.json.encode(changed))


def make_member(device: Device, membership: Membership = MEMBER) -> AnchorState:
    with opened(device) as token:
        state = dataclasses.replace(token.anchor.read(), membership=membership)
    replace_anchor(device, state)
    return state


def test_set_up_makes_a_module_that_is_alone(device: Device) -> None:
    with opened(device) as token:
        assert token.membership == ALONE
        assert token.anchor.read().membership == ALONE


def test_a_member_knows_its_number_and_keeps_it_through_advances_and_a_restart(members: Members) -> None:
    whole_cohort(members)
    verify_keeps_membership(members[2], MEMBER)


@pytest.mark.needs("swtpm")
def test_an_anchor_alone_makes_no_member_of_a_tpm(swtpm: SwtpmDevice) -> None:
    make_member(swtpm)
    with pytest.raises(AnchorTampered, match="record"), opened(swtpm):
        pass


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:-2] + bytes([3, 3]),
        lambda data: data[:-2] + bytes([0, 1]),
        lambda data: b"\1" + data[1:],
    ],
    ids=["short", "long", "number", "alone", "version"],
)
def test_an_anchor_without_a_proper_membership_does_not_open(
    device: Device, damage: Callable[[bytes], bytes]
) -> None:
    state = make_member(device)
    replace_anchor(device, DamagedState(state, damage))
    with pytest.raises(AnchorTampered), opened(device):
        pass


class DamagedState(AnchorState):
    """A state that is written otherwise than it should be."""

    _damage: Callable[[bytes], bytes]

    def __init__(self, state: AnchorState, damage: Callable[[bytes], bytes]) -> None:
        super().__init__(state.epoch, state.root, state.cohort, state.membership)
        object.__setattr__(self, "_damage", damage)

    def encode(self) -> bytes:
        data = super().encode()
        assert len(data) == MEMBER_ANCHOR_BYTES
        return self._damage(data)


@pytest.mark.needs("softhsm2-util")
def test_anchors_of_two_members_in_one_token_are_tampering(softhsm: SoftHsmDevice) -> None:
    state = make_member(softhsm)
    other = dataclasses.replace(state, epoch=1, membership=Membership(1, 3))
    with test_pkcs11.user_session(softhsm) as session:
        Pkcs11Anchor(session, test_pkcs11.ANCHOR).create(other)
    with pytest.raises(AnchorTampered, match="two members"), opened(softhsm):
        pass


def test_each_member_of_a_cohort_has_its_own_number_in_its_anchor(members: Members) -> None:
    whole_cohort(members)
    found = []
    for device in members:
        with device.activated(), opened(device) as token:
            token.verify_key_policy()
            assert token.anchor.read().membership == token.membership
            found.append(token.membership)
    assert found == [Membership(number, len(members)) for number in range(len(members))]
