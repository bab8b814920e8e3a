"""The key service that the clients are tested against: one for each device, for all tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.devices import REAL
from tests.interop.service import KeyService, key_service


@pytest.fixture(scope="session", params=REAL)
def service(request: pytest.FixtureRequest) -> Iterator[KeyService]:
    with key_service(request.param) as service:
        yield service
