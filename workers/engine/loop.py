"""EngineLoop: the thread of an engine, and everything about requests that does not depend on how tokens are made.

Knows who waits and who is open, order, cancellation, deadlines, drain and the end of each request; knows no model and no
KV. An engine inherits it and gives it a step. Whatever happens in a step, every request is told its end.
"""

from __future__ import annotations

import statistics
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping

import structlog
import torch

from core.errors import AnswerFailed, DeadlineExceeded, EngineFailed, OutOfMemory, PromptTooLong
from core.values import FinishReason
from workers.engine.request import EngineFinish, EngineRequest, EngineStats, Request, check_params

log = structlog.get_logger(__name__)

_RATE_WINDOW_S = 10.0
_WAITS = 100
"""So many of the last queue waits are looked at."""


class EngineLoop(ABC):
    """Requests of one thread. `context_tokens` bounds prompt and answer together."""

    def __init__(self, *, vocabulary: int, max_batch_size: int, context_tokens: int) -> None:
        self.context_tokens = context_tokens
        self._vocabulary = vocabulary
        self._max_batch_size = max_batch_size
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._open: dict[str, Request] = {}
        self._cancelled: set[str] = set()
        self._forgotten: set[int] = set()
        self._unkept: set[Request] = set()
        self._draining = self._closing = False
        self._sampled: deque[tuple[float, int]] = deque()
        self._waits: deque[float] = deque(maxlen=_WAITS)
        self._prompt_tokens = self._completion_tokens = self._steps = 0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def submit(self, asked: EngineRequest) -> Request:
        """Take a request. Raises PromptTooLong and EngineFailed where it can never be answered."""
        self._check(asked)
        request = Request(asked)
        with self._changed:
            if self._draining:
                raise EngineFailed("The engine takes nothing more: it is being stopped.")
            if asked.request_id in self._open:
                raise EngineFailed(f"There already is a request {asked.request_id}.")
            self._open[asked.request_id] = request
            self._waiting.append(request)
            self._changed.notify_all()
        return request

    def cancel(self, request_id: str) -> None:
        """End a request within one step. An unknown id is ignored."""
        with self._changed:
            if request_id in self._open:
                self._cancelled.add(request_id)

    def forget(self, conversation_ids: frozenset[int]) -> None:
        """Drop what is kept of these Conversations' requests, within one step; those still open leave nothing."""
        with self._changed:
            scopes = {request: request.asked.scope for request in self._open.values()}
            self._unkept.update(r for r, scope in scopes.items() if scope and scope.conversation_id in conversation_ids)
            self._forgotten |= conversation_ids
            self._changed.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Take nothing more, let what is there end, cancel what has not ended in time. Whether all ended by itself."""
        with self._changed:
            self._draining = True
            ended = self._changed.wait_for(lambda: not self._open, timeout_s)
            self._cancelled.update(self._open)
        return ended

    def stats(self) -> EngineStats:
        """What is going on right now."""
        since = time.monotonic() - _RATE_WINDOW_S
        with self._changed:
            running, waiting = len(self._open) - len(self._waiting), len(self._waiting)
            tokens = sum(count for at, count in self._sampled if at >= since)
            wait_s = statistics.median(self._waits) if self._waits else 0.0
            return EngineStats(
                self._max_batch_size,
                running,
                waiting,
                tokens / _RATE_WINDOW_S,
                queue_wait_s=wait_s,
                prompt_tokens=self._prompt_tokens,
                completion_tokens=self._completion_tokens,
                steps=self._steps,
            )

    def close(self) -> None:
        """Stop the thread. What is still there is cancelled."""
        with self._changed:
            self._draining = self._closing = True
            self._cancelled.update(self._open)
            self._changed.notify_all()
        self._thread.join()

    def _check(self, asked: EngineRequest) -> None:
        if not asked.token_ids:
            raise EngineFailed("The prompt is empty.")
        if min(asked.token_ids) < 0 or max(asked.token_ids) >= self._vocabulary:
            raise EngineFailed(f"The prompt has token ids outside of [0, {self._vocabulary}).")
        check_params(asked.params)
        limit = self.context_tokens - asked.params.max_new_tokens
        if len(asked.token_ids) > limit:
            raise PromptTooLong(len(asked.token_ids), max(0, limit))

    # The engine thread: everything below runs in it.

    @abstractmethod
    def _step(self) -> None:
        """Drop what is to end, admit what fits, and make at most one token for each request."""

    @abstractmethod
    def _leave(self, ends: Mapping[Request, EngineFinish]) -> None:
        """Free what these requests hold, and `_end` each."""

    @abstractmethod
    def _reset(self) -> None:
        """Free what every running request holds, whatever state it is in."""

    def _run(self) -> None:
        try:
            while self._wait():
                try:
                    self._step()
                except Exception as error:
                    log.exception("The engine failed in a step.", action="engine_step_failed", open=len(self._open))
                    self._fail_all(error)
        finally:
            self._end_open()

    def _fail_all(self, error: Exception) -> None:
        """End everything that runs, after a step that nobody can be blamed for."""
        self._reset()
        with self._changed:
            waiting = set(self._waiting)
            running = [request for request in self._open.values() if request not in waiting]
        for request in running:
            self._end(request, EngineFinish(FinishReason.ERROR, failure(error)))

    def _wait(self) -> bool:
        """Sleep until there is work. False when it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or self._forgotten or self._closing)
            return bool(self._open) or not self._closing

    def _end_open(self) -> None:
        """The thread ends: nobody may be left waiting for it, whatever the reason."""
        with self._changed:
            self._draining = True
            left = list(self._open.values())
        for request in left:
            self._end(request, EngineFinish(FinishReason.ERROR, EngineFailed("The engine has stopped.")))

    def _drop(self) -> None:
        """End what was cancelled or is late, running or waiting."""
        now = time.monotonic()
        with self._changed:
            ends = {r: end for r in self._open.values() if (end := self._end_of(r, now)) is not None}
            self._cancelled.clear()
            self._waiting = deque(r for r in self._waiting if r not in ends)
        self._leave(ends)

    def _end_of(self, request: Request, now: float) -> EngineFinish | None:
        if request.asked.request_id in self._cancelled:
            return EngineFinish(FinishReason.CANCELLED)
        if request.asked.deadline is not None and now >= request.asked.deadline:
            return EngineFinish(FinishReason.ERROR, DeadlineExceeded())
        return None

    def _next_waiting(self) -> Request | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def _put_back(self, request: Request) -> None:
        """It goes first when there is room again."""
        with self._changed:
            self._waiting.appendleft(request)

    def _end(self, request: Request, finish: EngineFinish) -> None:
        with self._changed:
            self._open.pop(request.asked.request_id, None)
            self._cancelled.discard(request.asked.request_id)  # a later request may have the same id
            self._unkept.discard(request)
            self._changed.notify_all()
        request.put(finish)

    def _note_wait(self, request: Request) -> None:
        """A request has waited until now, and is begun."""
        with self._changed:
            self._waits.append(time.monotonic() - request.submitted_at)
            self._prompt_tokens += len(request.asked.token_ids)

    def _note_rate(self, tokens: int) -> None:
        """A step has made so many tokens."""
        now = time.monotonic()
        with self._changed:
            self._steps += 1
            self._completion_tokens += tokens
            self._sampled.append((now, tokens))
            while self._sampled[0][0] < now - _RATE_WINDOW_S:
                self._sampled.popleft()


def failure(error: Exception) -> AnswerFailed:
    """What a reader is told of an error in a step."""
    if isinstance(error, AnswerFailed):
        return error
    failed = EngineFailed(f"The model raised {type(error).__name__}: {error}")
    if is_memory(error):
        failed = OutOfMemory(f"There is too little memory to run this request, even by itself: {error}")
    failed.__cause__ = error
    return failed


def is_memory(error: Exception) -> bool:
    """Whether there was too little memory. On a CPU torch says so in words only."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
