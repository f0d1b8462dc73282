"""Runtime: one worker process from its start to its end.

Wires a Generator, SQL, Redis and Celery together and handles the signals. Celery's thread pool gives each Turn a
thread that only waits; deadlines, cancellation and drain are ours, since that pool has none. The first SIGTERM or
SIGINT drains: claim no more, give running answers `drain_s`, return the rest to the queue. The second ends at once.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import FrameType
from typing import Any

import structlog
from celery.worker import state as celery_state

from core import bell, turns
from core.database import Database
from core.errors import DatabaseUnavailable
from core.faq.embedding import Embedder
from core.queue import WakeUps, make_celery
from core.redis import connect
from core.settings import Settings
from core.streams import Control, ReplyPublisher
from workers import tasks
from workers.answering import Answering
from workers.claiming import Claiming
from workers.embedding import load_embedder
from workers.faq import FaqDesk
from workers.generator import Generator
from workers.heartbeat import Heartbeat
from workers.metrics import MetricsPage
from workers.operators_desk import OperatorsDesk
from workers.running import RunningTurns

log = structlog.get_logger(__name__)

_GRACE_S = 1.5
"""After `drain_s`, for cancelled answers to unwind and connections to close."""


def run(settings: Settings, load: Callable[[Settings], Generator]) -> int:
    """Answer Turns until a signal comes. Returns the exit status. Raises ModelUnavailable from `load`."""
    signals = _Signals()
    signals.exit_at_once()  # while the model is loaded, nothing is claimed that could be drained
    database, loaded = Database(settings.effective_database_url), threading.Event()

    def embedder() -> Embedder | None:
        loaded.wait()  # the model comes first: without it there is nothing to answer with
        return load_embedder(settings)

    faq = FaqDesk(database, embedder, pgvector_from=settings.faq_pgvector_from)
    faq.start()
    generator = load(settings)
    loaded.set()
    signals.count()
    worker = _Worker(settings, generator, signals, database, faq)
    worker.start()
    with _metrics(settings, generator):
        signals.wait()
        worker.drain()
    return 1 if worker.failed else 0


def _metrics(settings: Settings, generator: Generator) -> MetricsPage:
    """The metrics page; without one where its port is taken, since answers matter more."""
    try:
        return MetricsPage(settings.metrics_host, settings.metrics_port, generator.stats)
    except OSError as error:
        log.warning("Metrics cannot be served.", action="metrics_failed", port=settings.metrics_port, reason=str(error))
        return MetricsPage("", 0, generator.stats)


class _Signals:
    """SIGTERM and SIGINT, counted. `hurry` is set by the second one, or where there is nothing left to wait for."""

    def __init__(self) -> None:
        self._first, self.hurry = threading.Event(), threading.Event()

    def exit_at_once(self) -> None:
        """Leave the process on a signal."""
        self._handle(_exit)

    def count(self) -> None:
        """Note signals from now on."""
        self._handle(self._note)

    def wait(self) -> None:
        """Wait for the first signal."""
        self._first.wait()

    def stop(self) -> None:
        """Stop as if the first signal had come."""
        self._first.set()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._first.is_set():
            self.hurry.set()
        self._first.set()

    @staticmethod
    def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handler)


class _Worker:
    """Everything that runs in a worker process."""

    def __init__(
        self, settings: Settings, generator: Generator, signals: _Signals, database: Database, faq: FaqDesk
    ) -> None:
        self._settings, self._generator, self._signals = settings, generator, signals
        self._database, self._faq = database, faq
        self.failed = False
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._client = connect(settings.redis_url)
        self._celery = make_celery(settings.redis_url, settings.redis_prefix, concurrency=settings.max_batch_size)
        self._wake_ups = WakeUps(self._celery)
        self._publisher = ReplyPublisher(self._client, settings.redis_prefix, settings.stream_ttl_s)
        self._running = RunningTurns(generator)
        claiming = Claiming(settings, self._owner, self._database, self._wake_ups, generator)
        self._heartbeat = Heartbeat(
            settings, self._owner, self._database, self._client, self._running, generator.info, claiming
        )
        self._stop = threading.Event()
        self._draining = False
        self._control = threading.Thread(target=self._listen, name="control", daemon=True)
        self._consumer = threading.Thread(target=self._consume, name="celery", daemon=True)
        answering = Answering(
            settings,
            claiming,
            self._database,
            generator,
            self._publisher,
            self._wake_ups,
            self._running,
            self._faq,
            ring=partial(bell.ring, self._client, settings.redis_prefix),
        )
        tasks.register(self._celery, answering)
        self._operators = OperatorsDesk(
            connect(settings.redis_url), settings.redis_prefix, self._database, self._faq.fresh
        )

    def start(self) -> None:
        """Start every thread. Redis and SQL need not be there yet."""
        log.info("The worker starts.", action="worker_starting", owner=self._owner, model=self._generator.info.name)
        self._publisher.start()
        self._heartbeat.start()
        self._control.start()
        self._consumer.start()
        self._operators.start()

    def drain(self) -> None:
        """Claim no more, let running answers end, return the rest to the queue, close."""
        last_resort = threading.Timer(self._settings.drain_s + 2 * _GRACE_S, os._exit, args=(0,))
        last_resort.daemon = True
        last_resort.start()
        self._running.stop_claiming()
        self._draining = True
        log.info("The worker drains.", action="worker_draining", owner=self._owner, running=len(self._running.held()))
        celery_state.should_stop = 0  # read by Celery's loop, as at a signal
        threading.Thread(target=self._heartbeat.withdraw, name="withdraw", daemon=True).start()  # Redis may hang
        if not self._wait_idle():
            self._release()
        self._close()
        last_resort.cancel()
        log.info("The worker ends.", action="worker_ended", owner=self._owner)

    def _wait_idle(self) -> bool:
        """Give running answers `drain_s`, or until the second signal. Whether all have ended."""

        def watch() -> None:
            if self._running.wait_idle(self._settings.drain_s):
                self._signals.hurry.set()

        threading.Thread(target=watch, name="drain", daemon=True).start()
        self._signals.hurry.wait(self._settings.drain_s)
        return self._running.wait_idle(0)

    def _release(self) -> None:
        """Return what is still being answered to the queue, and say nothing about it."""
        for turn_id, fence in self._running.held().items():
            self._running.lose(turn_id, fence)
        try:
            with self._database.write() as session:
                released = turns.release(session, self._owner, datetime.now(UTC))
        except DatabaseUnavailable as error:
            log.warning("Turns could not be given back; their leases end.", action="release_failed", reason=str(error))
            return
        for turn_id in released:
            log.info("A turn was given back.", action="turn_released", turn_id=turn_id)
            self._wake_ups.send_soon(turn_id)

    def _close(self) -> None:
        self._operators.close()
        self._generator.drain(0)
        self._running.wait_idle(_GRACE_S)
        self._faq.close()
        self._stop.set()
        self._consumer.join(_GRACE_S)
        self._heartbeat.close()
        self._publisher.close()
        self._wake_ups.close()
        self._generator.close()
        self._database.close()

    def _consume(self) -> None:
        """Run Celery's consumer; it reconnects by itself for as long as Redis is away."""
        self._celery.conf.worker_enable_remote_control = False
        controller: Any = self._celery.WorkController(
            hostname=self._owner,
            pool="threads",
            concurrency=self._settings.max_batch_size,
            ready_callback=self._on_connected,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        controller.start()  # returns when it is told to stop, and after an error that it cannot recover from
        if not self._draining:
            log.error("Celery ended by itself; the worker ends too.", action="celery_ended", owner=self._owner)
            self.failed = True
            self._signals.stop()

    def _on_connected(self, consumer: Any) -> None:
        """Celery has (re)connected: say so, and call for what was queued while nobody listened."""
        self._heartbeat.announce()
        log.info("The worker is ready.", action="worker_ready", owner=self._owner, model=self._generator.info.name)
        try:
            with self._database.read() as session:
                queued = turns.count_queued(session)
        except DatabaseUnavailable as error:
            log.warning("The queue cannot be counted.", action="count_failed", reason=str(error))
            return
        for _ in range(min(queued, self._settings.max_batch_size)):
            self._wake_ups.send_soon()

    def _listen(self) -> None:
        client, control = connect(self._settings.redis_url), Control(self._settings.redis_prefix)
        while not self._stop.is_set():
            try:
                control.listen(client, self._running.cancel, self._forget, self._stop)
            except Exception:  # the edge: one message that cannot be read must not end the listening
                log.exception("A control message could not be handled.", action="control_failed")

    def _forget(self, conversation_ids: list[int]) -> None:
        self._generator.forget(frozenset(conversation_ids))


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(0)  # nothing needs closing yet, and the thread that loads the model could not be stopped
