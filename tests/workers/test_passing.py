"""What is done in a passing thread leaves nothing behind, and tells what became of it."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from workers.passing import in_passing_thread

_TEAMS = """
import psutil, time, torch
from workers.passing import in_passing_thread

torch.set_num_threads(3)
multiply = lambda: torch.randn(512, 512) @ torch.randn(512, 512)
threads = psutil.Process().num_threads
before, ends = threads(), time.monotonic() + 30
in_passing_thread(multiply)
while threads() > before and time.monotonic() < ends:
    time.sleep(0.01)  # each ends by itself
after = threads()
multiply()
print(before, after, threads())
"""


def test_it_returns_what_the_work_returns() -> None:
    assert in_passing_thread(threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_it_raises_what_the_work_raises(error: type[BaseException]) -> None:
    def work() -> None:
        raise error("as it is")

    with pytest.raises(error, match="as it is"):
        in_passing_thread(work)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch's threads are of another kind")
def test_its_team_of_threads_goes_with_it() -> None:
    told = subprocess.run([sys.executable, "-c", _TEAMS], capture_output=True, text=True, check=True).stdout
    before, after, with_a_team = map(int, told.split())
    assert before == after == with_a_team - 2
