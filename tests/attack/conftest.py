"""Devices under instruments, made once a worker and kind: every test takes them back to its start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.devices import ALL, REAL
from tests.harness.rig import Rig, make_rig

_RIGS = ("rig", "real_rig", "softhsm_rig", "swtpm_rig")


@pytest.fixture(autouse=True)
def from_the_start(request: pytest.FixtureRequest) -> None:
    """Each test finds its rig just provisioned."""
    for name in _RIGS:
        if name in request.fixturenames:
            request.getfixturevalue(name).reset()


@pytest.fixture(scope="session", params=ALL)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Memory, SoftHSM, swtpm."""
    with make_rig(request.param) as made:
        yield made


@pytest.fixture(scope="session", params=REAL)
def real_rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """SoftHSM, swtpm."""
    with make_rig(request.param) as made:
        yield made


@pytest.fixture(scope="session")
def softhsm_rig() -> Iterator[Rig]:
    """SoftHSM."""
    with make_rig("softhsm") as made:
        yield made


@pytest.fixture(scope="session")
def swtpm_rig() -> Iterator[Rig]:
    """swtpm."""
    with make_rig("swtpm") as made:
        yield made
