"""The embedded Valkey keeps what it was given and its address, and clears away what a kill left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
import redis

from core.errors import QueueUnavailable
from pajama.valkey import EmbeddedValkey
from tests.pajama.commands import until


def test_a_killed_server_comes_back_at_the_same_address_with_its_data(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        url = valkey.url
        with redis.Redis.from_url(url) as client:
            client.set("kept", "yes")
            os.kill(valkey.pid, signal.SIGKILL)
            until(lambda: not valkey.running())
            assert valkey.start() == url
            assert client.get("kept") == b"yes"


def test_what_was_queued_outlives_a_stop(tmp_path: Path) -> None:
    for expected in (None, b"yes"):
        with EmbeddedValkey(tmp_path) as valkey, redis.Redis.from_url(valkey.url) as client:
            assert client.get("kept") == expected
            client.set("kept", "yes")


def test_nothing_is_left_after_a_stop(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        process, socket = psutil.Process(valkey.pid), Path(valkey.url.removeprefix("unix://"))
        assert socket.is_socket()
    assert not process.is_running()
    assert not socket.parent.exists()
    with pytest.raises(QueueUnavailable):
        assert valkey.pid


def test_a_server_whose_parent_is_gone_is_ended_at_the_next_start(tmp_path: Path) -> None:
    left = EmbeddedValkey(tmp_path)  # as where the kernel does not end it
    left.start()
    process, socket = psutil.Process(left.pid), Path(left.url.removeprefix("unix://"))
    with redis.Redis.from_url(left.url) as client:
        client.set("kept", "yes")
    with EmbeddedValkey(tmp_path) as valkey, redis.Redis.from_url(valkey.url) as client:
        assert not left.running()
        assert client.get("kept") == b"yes"
    assert not process.is_running()
    assert not socket.parent.exists()


def test_a_server_that_cannot_start_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("in the way")
    valkey = EmbeddedValkey(tmp_path)
    with pytest.raises(QueueUnavailable, match=r"valkey\.log"):
        valkey.start()
    assert not (tmp_path / "runtime").exists()
