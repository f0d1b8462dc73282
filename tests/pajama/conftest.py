"""One running stack for the tests that only use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pajama.commands import Pajama, Up
from tests.pajama.warm import Warm


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """A process in which the command line is imported already."""
    warm = Warm()
    yield warm
    warm.close()


@pytest.fixture
def pajama(tmp_path: Path, warm: Warm) -> Pajama:
    """The command line where nothing runs."""
    return Pajama(tmp_path, warm)


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A stack that everyone shares: look at it and talk to it, but leave it running."""
    running = Up(Pajama(tmp_path_factory.mktemp("up")), PAJAMA_TEMPERATUR="0")
    try:
        running.wait_until_up()
        yield running
    finally:
        running.interrupt()
