"""The steps of a cohort of several devices of one kind, in one process: one device at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from pkcs11.constants import ObjectClass

from hwkm.formats.anchor import EMPTY_ROOT
from hwkm.formats.cohort_invitation import MembershipRequest
from hwkm.formats.membership import Membership
from hwkm.secret import Pin
from hwkm.tokens import registry
from hwkm.tokens.cohort import CohortState
from hwkm.tokens.memory import InsecureContents
from tests.contract import test_pkcs11, test_tpm
from tests.contract.devices import Device, SoftHsmDevice, SwtpmDevice, opened

Members = tuple[Device, Device, Device]
NUMBER_OF_MEMBERS = 3


def state_of(device: Device) -> CohortState:
    with _on(device), Pin(device.pin) as pin:
        return registry.cohort_state(device.uri, pin)


def create(device: Device, members: int = NUMBER_OF_MEMBERS) -> None:
    with _on(device), Pin(device.pin) as pin:
        registry.create_cohort(device.uri, pin, members)


def request(device: Device) -> bytes:
    """The membership request of a device."""
    with _on(device), Pin(device.pin) as pin:
        return registry.request_membership(device.uri, pin)


def fingerprint_of(asked: bytes) -> bytes:
    return MembershipRequest.parse(asked).fingerprint()


def invite(first: Device, asked: bytes, number: int, fingerprint: bytes | None = None) -> bytes:
    """The invitation; the fingerprint is the request's own unless another one is expected."""
    expected = fingerprint or fingerprint_of(asked)
    with _on(first), Pin(first.pin) as pin:
        return registry.invite(first.uri, pin, asked, expected, number)


def sender_of(first: Device) -> bytes:
    return hashlib.sha256(state_of(first).audit_public_key).digest()


def join(device: Device, invitation: bytes, sender: bytes) -> None:
    with _on(device), Pin(device.pin) as pin:
        registry.join(device.uri, pin, invitation, sender)


def seal(device: Device, *, incomplete: bool = False) -> None:
    with _on(device), Pin(device.pin) as pin:
        registry.seal(device.uri, pin, incomplete=incomplete)


def whole_cohort(members: Sequence[Device]) -> None:
    """Make one cohort of all of them: the first creates, the others join, the first seals."""
    first, *others = members
    create(first, len(members))
    for number, device in enumerate(others, start=1):
        join(device, invite(first, request(device), number), sender_of(first))
    seal(first)


def verify_keeps_membership(device: Device, membership: Membership) -> None:
    """Check that a member knows its number, and keeps it through advances and a restart."""
    with device.activated():
        with opened(device) as token:
            assert token.membership == membership
            state = token.anchor.read()
            for number in range(3):
                state = state.next(bytes([number]) * 32)
                token.anchor.advance(state)
            assert token.anchor.read() == state
        device.restart()
        with opened(device) as token:
            assert token.membership == membership
            assert token.anchor.read() == state
            token.anchor.advance(state.next(EMPTY_ROOT))
            assert token.anchor.read().membership == membership


def remove_anchor(device: Device) -> None:
    """Take the anchor away, as the owner of a TPM can without the PIN, and who writes SoftHSM's files."""
    with device.activated():
        if isinstance(device, SoftHsmDevice):
            with test_pkcs11.user_session(device) as session:
                test_pkcs11.only(session, ObjectClass.DATA, test_pkcs11.ANCHOR).destroy()
        elif isinstance(device, SwtpmDevice):
            with test_tpm.owner(device) as connection:
                test_tpm.undefine(connection, test_tpm.handles(device).anchor)
        else:
            path = Path(device.uri.partition("path=")[2])
            contents = msgspec.json.decode(path.read_bytes(), type=InsecureContents)
            path.write_bytes(msgspec.json.encode(msgspec.structs.replace(contents, anchor=b"")))


def _on(device: Device) -> AbstractContextManager[object]:
    return device.activated()
