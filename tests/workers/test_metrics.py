"""What Prometheus reads of a worker's Generator."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pajama.ports import free_port
from workers.engine.request import EngineStats
from workers.metrics import MetricsPage

STATS = EngineStats(
    32,
    3,
    1,
    12.5,
    0.25,
    prompt_tokens=200,
    cached_tokens=50,
    completion_tokens=90,
    steps=30,
    kv_tokens=64,
    kv_limit=128,
    guessed_tokens=20,
    right_tokens=15,
)


def read(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def test_the_page_tells_what_the_generator_does_now() -> None:
    port, stats = free_port(), [STATS]
    with MetricsPage("127.0.0.1", port, lambda: stats[0]):
        first = read(port)
        stats[0] = EngineStats(32, 0, 0, 0.0)
        assert read(port)["pajama_engine_running"] == 0
    assert first["pajama_engine_running"] == 3
    assert first["pajama_engine_waiting"] == 1
    assert first["pajama_engine_tokens_per_second"] == 12.5
    assert first["pajama_engine_queue_wait_seconds"] == 0.25
    assert first["pajama_engine_prefix_hit_ratio"] == 0.25
    assert first["pajama_engine_completion_tokens_total"] / first["pajama_engine_steps_total"] == 3
    assert (first["pajama_engine_guessed_tokens_total"], first["pajama_engine_right_tokens_total"]) == (20, 15)
    assert (first["pajama_engine_kv_tokens"], first["pajama_engine_kv_limit_tokens"]) == (64, 128)


def test_the_page_ends_with_the_worker_and_a_taken_port_says_so() -> None:
    port = free_port()
    page = MetricsPage("127.0.0.1", port, lambda: STATS)
    with pytest.raises(OSError, match="in use"):
        MetricsPage("127.0.0.1", port, lambda: STATS)
    page.close()
    with pytest.raises(urllib.error.URLError):
        read(port)


def test_without_a_port_nothing_is_served() -> None:
    with MetricsPage("127.0.0.1", 0, lambda: STATS) as page:
        assert page._serving is None
