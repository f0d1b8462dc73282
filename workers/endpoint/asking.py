"""Asking: the answers that an endpoint is making, whatever its models, in one event loop of one thread.

Knows which are open, how many may be at once, and the end of all; does not know how one is asked for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from core.errors import DeadlineExceeded, EngineFailed
from core.values import Usage
from workers.endpoint.answer import RemoteAnswer
from workers.endpoint.connection import Endpoint
from workers.endpoint.survey import Found
from workers.generator import GeneratorStats

T = TypeVar("T")

_RATE_WINDOW_S = 10.0


class Asking:
    """One endpoint's loop, and at most `max_batch_size` answers at once."""

    def __init__(self, endpoint: Endpoint, max_batch_size: int) -> None:
        self._max_batch_size = max_batch_size
        self.endpoint = endpoint
        self._places = asyncio.Semaphore(max_batch_size)
        self._changed = threading.Condition()
        self._open: dict[str, RemoteAnswer] = {}
        self._draining = self._closed = False
        self._tokens: deque[float] = deque()
        self._used = Usage()  # of answers that have ended
        self._questions: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()

    def start(self, answer: RemoteAnswer, found: Found) -> None:
        """Begin an answer. Raises EngineFailed."""
        with self._changed:
            if self._draining:
                raise EngineFailed("The endpoint is asked nothing more: the worker is being stopped.")
            if answer.request_id in self._open:
                raise EngineFailed(f"There already is a request {answer.request_id}.")
            self._open[answer.request_id] = answer
            self._loop.call_soon_threadsafe(self._start, answer, found)

    def is_open(self, answer: RemoteAnswer) -> bool:
        """Whether it has not ended yet; a later one may have its id."""
        with self._changed:
            return self._open.get(answer.request_id) is answer

    def cancel(self, request_id: str) -> None:
        """End an answer by closing its connection. An unknown id is ignored."""
        with self._changed:
            answer = self._open.get(request_id)
            if answer is not None:
                self._loop.call_soon_threadsafe(self._stop, answer)

    def begin(self, question: Coroutine[Any, Any, T]) -> Future[T]:
        """Ask something besides answers. Raises EngineFailed."""
        with self._changed:
            if self._closed:
                question.close()
                raise EngineFailed("The endpoint is asked nothing more: the worker is being stopped.")
            return asyncio.run_coroutine_threadsafe(self._asked(question), self._loop)

    def drain(self, timeout_s: float) -> bool:
        """Take nothing more, let what is there end, cancel what has not ended in time."""
        with self._changed:
            self._draining = True
            ended = self._changed.wait_for(lambda: not self._open, timeout_s)
            left = list(self._open)
        for request_id in left:
            self.cancel(request_id)
        return ended

    def stats(self) -> GeneratorStats:
        """What is going on right now. For the rate chunks count as tokens; the usage is that of answers that have ended."""
        since = time.monotonic() - _RATE_WINDOW_S
        with self._changed:
            waiting = sum(answer.waiting for answer in self._open.values())
            rate = sum(at >= since for at in self._tokens) / _RATE_WINDOW_S
            running = len(self._open) - waiting
            used = self._used
        return GeneratorStats(
            max_batch_size=self._max_batch_size,
            running=running,
            waiting=waiting,
            tokens_per_s=rate,
            prompt_tokens=used.prompt_tokens,
            cached_tokens=used.cached_tokens,
            completion_tokens=used.completion_tokens,
        )

    def close(self) -> None:
        """Cancel what is being answered, close every connection and stop the thread."""
        with self._changed:
            if self._closed:
                return
            self._draining = self._closed = True
        asyncio.run_coroutine_threadsafe(self._end_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def note_token(self) -> None:
        """A token of an answer has come."""
        now = time.monotonic()
        with self._changed:
            self._tokens.append(now)
            while self._tokens[0] < now - _RATE_WINDOW_S:
                self._tokens.popleft()

    # In the loop.

    def _start(self, answer: RemoteAnswer, found: Found) -> None:
        answer.task = self._loop.create_task(answer.run(self.endpoint, found, self._places))
        answer.task.add_done_callback(lambda task: self._ended(answer, task))

    async def _asked(self, question: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._questions.add(task)
        try:
            return await question
        finally:
            self._questions.discard(task)

    async def _end_all(self) -> None:
        """Cancel what was begun here; what that has begun ends with it."""
        answering = {answer.task for answer in self._open.values() if answer.task is not None}
        tasks = [*answering, *self._questions]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.endpoint.close()

    def _stop(self, answer: RemoteAnswer) -> None:
        if answer.task is not None:
            answer.task.cancel()

    def _ended(self, answer: RemoteAnswer, task: asyncio.Task[None]) -> None:
        with self._changed:
            del self._open[answer.request_id]
            self._used = _sum(self._used, answer.usage)
            self._changed.notify_all()
        answer.end(task)


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
    )


def told(question: Future[T], deadline: float | None = None) -> T:
    """What comes of a question, waited for until `deadline`. Raises what it raises, EngineFailed, DeadlineExceeded."""
    try:
        return question.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except CancelledError as error:
        raise EngineFailed("The worker was stopped while the endpoint was asked.") from error
    except TimeoutError as error:
        raise DeadlineExceeded("The endpoint did not tell in time.") from error
