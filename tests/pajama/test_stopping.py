"""However the stack ends, nothing is left behind and nothing that was said is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.pajama.commands import STOP_S, Pajama, Up, until


@pytest.mark.timeout(300)  # three starts, each of which loads the model
def test_ctrl_c_while_the_model_loads_then_kills_then_a_model_that_is_none(pajama: Pajama) -> None:
    """One story, since each start takes seconds."""
    _stopped_while_loading(pajama)
    runtime = _mended_and_killed(pajama)
    _without_model(pajama, runtime)


def _stopped_while_loading(pajama: Pajama) -> None:
    """What is asked meanwhile is kept; whoever waits for it is told."""
    up = Up(pajama)
    until(pajama.running)
    runtime = _runtime(pajama)
    worker = up.children()["worker"]
    worker.send_signal(signal.SIGSTOP)  # so that it is still loading when the question is there
    asking = pajama.start("chat", "--once", "Is anyone there?")
    until(lambda: _states(pajama) == ["queued"])
    worker.send_signal(signal.SIGCONT)
    assert up.interrupt() <= STOP_S
    assert up.process.returncode == 0
    assert up.left_behind() == []
    assert pajama.running() is None
    assert not runtime.exists()
    told = asking.communicate(timeout=20)[0]
    assert asking.returncode == 4
    assert "is answered when it runs again" in told
    assert "Traceback" not in told


def _mended_and_killed(pajama: Pajama) -> Path:
    """The next start answers it; a killed Valkey comes back; a kill of `up` leaves no process."""
    up = Up(pajama)
    up.wait_until_up()
    until(lambda: _states(pajama) == ["done"])
    children = up.children()
    assert set(children) == {"valkey", "worker", "web"}
    children["valkey"].kill()
    psutil.wait_procs([children["valkey"]])
    assert pajama.json("chat", "--once", "And now?")["turn"] == 2
    runtime = _runtime(pajama)
    up.kill()
    assert up.left_behind() == []
    return runtime


def _without_model(pajama: Pajama, runtime: Path) -> None:
    """The worker's own sentence, at once; and what the kill left is cleared away."""
    assert runtime.exists()
    log = pajama.data / "logs" / "worker.log"
    before = log.read_text()  # may hold Celery's words about the Valkey that was killed
    failed = pajama.run("up", PAJAMA_MODEL="/nowhere")
    assert failed.returncode == 1
    assert "PAJAMA_MODEL=/nowhere: there is no such folder." in failed.stderr
    assert "Traceback" not in failed.stderr + log.read_text().removeprefix(before)
    assert not runtime.exists()
    assert pajama.running() is None
    assert [turn["state"] for turn in pajama.json("history")] == ["done", "done"]


def test_two_chats_at_once_share_one_worker(pajama: Pajama) -> None:
    first = pajama.start("chat", "--once", "One")
    until(pajama.running)
    running = pajama.running()
    assert running is not None
    assert running["pid"] == first.pid
    until(lambda: _paused_without_the_lock(pajama, first.pid))  # it has not said anything yet; its children go on
    assert pajama.json("chat", "--once", "Two")["turn"] == 1
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait(timeout=30) == 0
    first.communicate()
    assert pajama.running() is None


def _paused_without_the_lock(pajama: Pajama, pid: int) -> bool:
    """Stop the process at a moment when it is not writing to SQLite, which would keep everyone else from it."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    with closing(sqlite3.connect(pajama.data / "pajama.db", timeout=0, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            return False
    return True


def _runtime(pajama: Pajama) -> Path:
    return Path((pajama.data / "valkey" / "runtime").read_text())


def _states(pajama: Pajama) -> list[str]:
    with sqlite3.connect(pajama.data / "pajama.db") as database:
        found = [row[0] for row in database.execute("SELECT state FROM turn ORDER BY id")]
    database.close()
    return found
