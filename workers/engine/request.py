"""Request: one prompt in an engine, and the Engine interface that takes it.

Knows token ids, sampling parameters and deadlines; knows no text and no model. What an engine does inside (paging,
prefix reuse, speculation, another process) never shows here, other than in `Request.cached_tokens` and speed.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from core.errors import AnswerFailed, DeadlineExceeded, EngineFailed
from core.values import FinishReason, SamplingParams

# An engine ends a request at its deadline. A reader gives up on its own only if the engine is stuck in a step.
_STUCK_S = 30.0


def check_params(params: SamplingParams) -> None:
    """Look at parameters again: a copy with other values never was. Raises EngineFailed."""
    try:
        SamplingParams.model_validate(params.model_dump())
    except ValidationError as error:
        raise EngineFailed(f"The sampling parameters are wrong: {error}") from error


@dataclass(frozen=True, slots=True)
class KvScope:
    """Whose words a request's KV holds: what `forget` drops, and what is never shared where a setting forbids it."""

    workspace_id: int
    conversation_id: int


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What is asked of an engine. `deadline` is a `time.monotonic()` value; `stop_ids` end the answer unseen."""

    request_id: str
    token_ids: tuple[int, ...]
    params: SamplingParams
    stop_ids: frozenset[int] = frozenset()
    deadline: float | None = None
    scope: KvScope | None = None


@dataclass(frozen=True, slots=True)
class EngineFinish:
    """How a request ended. `failure` is set exactly where `reason` is `error`."""

    reason: FinishReason
    failure: AnswerFailed | None = None


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine is doing. `tokens_per_s` is over the last ten seconds, `queue_wait_s` the median of the last waits.

    The counts of tokens, steps and preemptions are since it began; of `guessed_tokens`, which were looked up in prompt and
    answer, `right_tokens` were what was said. `kv_tokens` are those that running requests hold,
    `kept_tokens` those of ended ones that are kept for the next, of `kv_limit` in all; zero where there is no such bound.
    """

    max_batch_size: int
    running: int
    waiting: int
    tokens_per_s: float
    queue_wait_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    steps: int = 0
    preemptions: int = 0
    kv_tokens: int = 0
    kept_tokens: int = 0
    kv_limit: int = 0
    guessed_tokens: int = 0
    right_tokens: int = 0

    @property
    def hit_rate(self) -> float:
        """The share of prompt tokens whose KV was there already."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


class Request:
    """The reader's end of one request: iterate over it for token ids, once, in one thread; then `finish` is set.

    `cached_tokens` of the prompt needed no prefill; it is set before the first token comes.
    """

    def __init__(self, asked: EngineRequest) -> None:
        self.asked = asked
        self.submitted_at = time.monotonic()
        self.cached_tokens = 0
        self.finish: EngineFinish | None = None
        self._out: queue.SimpleQueue[int | EngineFinish] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[int]:
        """Yield each token id as soon as it is sampled."""
        while self.finish is None:
            match self._next():
                case EngineFinish() as finish:
                    self.finish = finish
                case token_id:
                    yield token_id

    def put(self, item: int | EngineFinish) -> None:
        """Hand over a token id, or the end. Called by the engine."""
        self._out.put(item)

    def _next(self) -> int | EngineFinish:
        deadline = self.asked.deadline
        timeout = None if deadline is None else max(0.0, deadline + _STUCK_S - time.monotonic())
        try:
            return self._out.get(timeout=timeout)
        except queue.Empty:
            return EngineFinish(FinishReason.ERROR, DeadlineExceeded("The engine is stuck in a step."))


class Engine(Protocol):
    """Runs many requests at once. Every method may be called from any thread."""

    def submit(self, asked: EngineRequest) -> Request:
        """Take a request. Raises PromptTooLong and EngineFailed where it can never be answered."""

    def cancel(self, request_id: str) -> None:
        """End a request within one step, with FinishReason.CANCELLED. An unknown id is ignored."""

    def forget(self, conversation_ids: frozenset[int]) -> None:
        """Drop whatever KV is kept of these Conversations' requests, within one step; open ones will leave none."""

    def drain(self, timeout_s: float) -> bool:
        """Take nothing more, let what is there end, cancel what has not ended in time. Whether all ended by itself."""

    def stats(self) -> EngineStats:
        """What is going on right now."""

    def close(self) -> None:
        """Stop. What is still there is cancelled."""
