"""Every contract test runs on memory, SoftHSM and swtpm; each test has a device of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import pytest

from tests.contract.cohorts import Members
from tests.contract.devices import Device, MemoryDevice, SoftHsmDevice, SwtpmDevice, provision

DeviceT = TypeVar("DeviceT", bound=Device)

_NEEDS_SOFTHSM = pytest.mark.needs("softhsm2-util")
_NEEDS_SWTPM = pytest.mark.needs("swtpm")
_ALL = [
    pytest.param(MemoryDevice, id="memory"),
    pytest.param(SoftHsmDevice, id="softhsm", marks=_NEEDS_SOFTHSM),
    pytest.param(SwtpmDevice, id="swtpm", marks=_NEEDS_SWTPM),
]

_COHORTS = _ALL[:2]


@pytest.fixture(params=_ALL)
def blank_device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """A device that holds nothing of hwkm."""
    yield from _device(request.param)


@pytest.fixture
def device(blank_device: Device) -> Device:
    """A provisioned device."""
    provision(blank_device)
    return blank_device


@pytest.fixture(params=_ALL)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Device, Device]]:
    """Two provisioned devices of one kind. A process uses one PKCS#11 token at a time."""
    devices = request.param(), request.param()
    try:
        for item in devices:
            with item.activated():
                provision(item)
        yield devices
    finally:
        for item in devices:
            item.stop()


@pytest.fixture(params=_COHORTS)
def members(request: pytest.FixtureRequest) -> Iterator[Members]:
    """Three blank devices of one kind, to become one cohort."""
    devices = request.param(), request.param(), request.param()
    try:
        yield devices
    finally:
        for item in devices:
            item.stop()


@pytest.fixture
def blank_member(members: Members) -> Device:
    """A blank device of the same kind as ``members``, and none of them."""
    return members[2]


@pytest.fixture(params=_ALL[1:])
def hardware(request: pytest.FixtureRequest) -> Iterator[Device]:
    """A provisioned device that is not mere memory."""
    for item in _device(request.param):
        provision(item)
        yield item


@pytest.fixture
def softhsm() -> Iterator[SoftHsmDevice]:
    """A provisioned SoftHSM token."""
    for item in _device(SoftHsmDevice):
        provision(item)
        yield item


@pytest.fixture
def swtpm() -> Iterator[SwtpmDevice]:
    """A provisioned swtpm."""
    for item in _device(SwtpmDevice):
        provision(item)
        yield item


def _device(kind: type[DeviceT]) -> Iterator[DeviceT]:
    item = kind()
    try:
        with item.activated():
            yield item
    finally:
        item.stop()
