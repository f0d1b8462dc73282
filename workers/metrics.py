"""Metrics: what the Generator is doing, for Prometheus, where `PAJAMA_METRICS_PORT` says so.

Knows GeneratorStats and prometheus-client; reads when it is asked and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread
from types import TracebackType
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from workers.generator import GeneratorStats

log = structlog.get_logger(__name__)

_GAUGES: tuple[tuple[str, str, Callable[[GeneratorStats], float]], ...] = (
    ("max_batch_size", "Answers at once at most.", lambda stats: stats.max_batch_size),
    ("running", "Answers that are being made.", lambda stats: stats.running),
    ("waiting", "Requests that wait for a place.", lambda stats: stats.waiting),
    ("tokens_per_second", "Tokens made a second, over ten seconds.", lambda stats: stats.tokens_per_s),
    ("queue_wait_seconds", "Median of the last waits for a place.", lambda stats: stats.queue_wait_s),
    ("kv_tokens", "Tokens whose keys and values running answers hold.", lambda stats: stats.kv_tokens),
    ("kv_kept_tokens", "Tokens that are kept of ended answers.", lambda stats: stats.kept_tokens),
    ("kv_limit_tokens", "Tokens that the pool holds; 0 where there is none.", lambda stats: stats.kv_limit),
    ("prefix_hit_ratio", "Share of prompt tokens that were kept already.", lambda stats: stats.hit_rate),
)
_COUNTERS: tuple[tuple[str, str, Callable[[GeneratorStats], float]], ...] = (
    ("prompt_tokens", "Prompt tokens.", lambda stats: stats.prompt_tokens),
    ("cached_tokens", "Prompt tokens that were kept already.", lambda stats: stats.cached_tokens),
    ("completion_tokens", "Tokens made.", lambda stats: stats.completion_tokens),
    ("guessed_tokens", "Tokens that were guessed from prompt and answer.", lambda stats: stats.guessed_tokens),
    ("right_tokens", "Guessed tokens that were what was said.", lambda stats: stats.right_tokens),
    (
        "steps",
        "Steps that made tokens: tokens less right guesses, over steps, is the batch size.",
        lambda stats: stats.steps,
    ),
    ("preemptions", "Answers that gave up their place and were run again.", lambda stats: stats.preemptions),
)


class EngineCollector:
    """Prometheus' view of a Generator's stats."""

    def __init__(self, stats: Callable[[], GeneratorStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        stats = self._stats()
        for name, meaning, read in _GAUGES:
            yield GaugeMetricFamily(f"pajama_engine_{name}", meaning, read(stats))
        for name, meaning, read in _COUNTERS:
            yield CounterMetricFamily(f"pajama_engine_{name}", meaning, read(stats))


class MetricsPage:
    """`/metrics` on a port, in threads of its own; nothing where the port is 0. Raises OSError where it is taken."""

    def __init__(self, host: str, port: int, stats: Callable[[], GeneratorStats]) -> None:
        self._serving: tuple[WSGIServer, Thread] | None = None
        if port:
            registry = CollectorRegistry()
            registry.register(EngineCollector(stats))
            self._serving = start_http_server(port, host, registry)
            log.info("Metrics are served.", action="metrics_served", host=host, port=port)

    def __enter__(self) -> MetricsPage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Serve no more."""
        if self._serving is not None:
            server, thread = self._serving
            server.shutdown()
            server.server_close()
            thread.join()
            self._serving = None
