"""Child processes share their parent's fate, and come back when they fall."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pajama.children import KERNEL_TELLS
from pajama.processes import Child
from tests.pajama.commands import until

PARENT = """
import sys
from pathlib import Path
from pajama.processes import Child

url, folder, kernel_tells = sys.argv[1:]
settings = {"PAJAMA_REDIS_URL": url, "PAJAMA_DATA_DIR": folder}
child = Child("reaper", ["reaper"], settings, Path(folder, "log"), kernel_tells=kernel_tells == "True")
child.start()
sys.stdin.read()
"""


@pytest.fixture(params=[True, False], ids=["by the kernel", "by a pipe"])
def kernel_tells(request: pytest.FixtureRequest) -> bool:
    if request.param and not KERNEL_TELLS:
        pytest.skip("This kernel does not tell children of their parent's end.")
    return bool(request.param)


@pytest.fixture
def parent(kernel_tells: bool, redis_url: str, tmp_path: Path) -> Iterator[psutil.Popen]:
    """A process with one child, a reaper."""
    command = [sys.executable, "-c", PARENT, redis_url, str(tmp_path), str(kernel_tells)]
    with psutil.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def test_a_child_comes_back_and_ends_with_its_parent(parent: psutil.Popen) -> None:
    until(parent.children)
    (first,) = parent.children()
    first.kill()
    until(lambda: [child for child in parent.children() if child.pid != first.pid])
    (second,) = [child for child in parent.children() if child.pid != first.pid]
    parent.kill()
    _, alive = psutil.wait_procs([first, second], timeout=20)
    assert alive == []


def test_a_child_that_cannot_start_says_why(tmp_path: Path) -> None:
    child = Child("web", ["bot", "web"], {"PAJAMA_DATA_DIR": str(tmp_path)}, tmp_path / "web.log")
    child.start()
    until(lambda: child.hopeless)
    assert child.last_words().startswith("PAJAMA_REDIS_URL is empty")
    child.ask_to_stop()
    child.wait(deadline=0)
    assert child.pid is None


def test_why_a_child_fell_is_not_hidden_by_what_its_next_try_logs(tmp_path: Path) -> None:
    child = Child("web", ["bot", "web"], {"PAJAMA_DATA_DIR": str(tmp_path)}, tmp_path / "web.log")
    child.start()
    until(lambda: child.hopeless)
    with (tmp_path / "web.log").open("a") as log:
        log.write('{"event": "logging in"}\n')
    assert child.last_words().startswith("PAJAMA_REDIS_URL is empty")
    child.ask_to_stop()
    child.wait(deadline=0)


def test_a_child_that_does_not_listen_is_killed(redis_url: str, tmp_path: Path) -> None:
    settings = {"PAJAMA_REDIS_URL": redis_url, "PAJAMA_DATA_DIR": str(tmp_path)}
    child = Child("reaper", ["reaper"], settings, tmp_path / "reaper.log")
    child.start()
    process = psutil.Process(child.pid)
    process.suspend()
    child.ask_to_stop()
    child.wait(deadline=0)
    assert not process.is_running()
    assert not child.hopeless
