"""A ceremony that was held as docs/operations/ceremony.md says, for the tests that begin with one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.documents import follow, prepare_member, prepare_passphrase

Ceremony = tuple[Path, list[tuple[str, str]]]


@pytest.fixture(scope="session")
def ceremony(tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    """The directory in which it was held, and each script with what it printed."""
    directory = tmp_path_factory.mktemp("ceremony")
    prepare_passphrase(directory)
    with ExitStack() as stack:
        prepare_member(directory, stack)
        steps = list(follow("ceremony.md", directory))
    return directory, steps
