"""One running stack for the tests that only use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pajama.commands import Pajama, Up


@pytest.fixture
def pajama(tmp_path: Path) -> Pajama:
    """The command line where nothing runs."""
    return Pajama(tmp_path)


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A stack that everyone shares: look at it and talk to it, but leave it running."""
    running = Up(Pajama(tmp_path_factory.mktemp("up")), PAJAMA_TEMPERATUR="0")
    try:
        running.wait_until_up()
        yield running
    finally:
        running.interrupt()
