"""RemoteAnswer: one answer of an endpoint, from the asking to its end.

Knows deadline, repetition, stop strings and how the end is told; runs in the event loop, is read in a thread.
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing

import structlog

from core.errors import AnswerFailed, DeadlineExceeded, EndpointAway, EndpointBroken, EngineFailed, PromptTooLong
from core.values import FinishReason, SamplingParams, Usage
from workers.endpoint.body import Message
from workers.endpoint.connection import Endpoint
from workers.endpoint.patience import patiently
from workers.endpoint.pieces import Piece, read_pieces
from workers.endpoint.refusals import ContextOverflow
from workers.endpoint.survey import Found
from workers.generator import Finished, TextDelta, Timings
from workers.stop_strings import StopStrings

log = structlog.get_logger(__name__)

_MOST_BYTES, _MOST_BYTES_A_TOKEN = 1 << 20, 8 << 10
_FAILED = {
    "content_filter": "The endpoint's content filter ended the answer.",
    "abort": "The endpoint gave the answer up.",
    "error": "The endpoint failed in the middle of the answer.",
}


class RemoteAnswer:
    """One answer. `out` has its deltas and then Finished.

    Where the endpoint does not tell the usage, as of an answer that was cancelled, the prompt's tokens stay 0 and the
    chunks that came are counted in place of completion tokens.
    """

    def __init__(
        self,
        request_id: str,
        messages: list[Message],
        params: SamplingParams,
        deadline: float | None,
        on_token: Callable[[], None],
    ) -> None:
        self.request_id = request_id
        self.out: queue.SimpleQueue[TextDelta | Finished] = queue.SimpleQueue()
        self.task: asyncio.Task[None] | None = None
        self.waiting = True
        self._messages, self._params, self._deadline = messages, params, deadline
        self._on_token = on_token
        self._stop = StopStrings(params.stop)
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._chunks = 0
        self._started = time.monotonic()
        self._first_token_ms: float | None = None

    @property
    def usage(self) -> Usage:
        """What it has taken so far."""
        return self._usage or Usage(completion_tokens=self._chunks)

    async def run(self, endpoint: Endpoint, found: Found, places: asyncio.Semaphore) -> None:
        """Make the answer. Raises AnswerFailed, and CancelledError where it was cancelled."""
        try:
            async with asyncio.timeout_at(self._deadline), places:  # the loop's clock is time.monotonic
                self.waiting = False
                try:
                    await patiently(lambda: self._ask(endpoint, found), endpoint.retry_s)
                except ContextOverflow as error:
                    tokens = await found.counter.count(endpoint, self._messages)
                    raise PromptTooLong(tokens, max(0, found.context_tokens - self._params.max_new_tokens)) from error
        except TimeoutError as error:
            raise DeadlineExceeded from error

    def end(self, task: asyncio.Task[None]) -> None:
        """Tell the reader how it ended. Called once, by the loop."""
        reason, failure = self._ending(task)
        rest = self._stop.finish()
        if rest:
            self.out.put(TextDelta(rest))
        self.out.put(Finished(reason, self.usage, (), Timings(self._first_token_ms, self._ms()), failure))

    async def _ask(self, endpoint: Endpoint, found: Found) -> None:
        """Ask once, and read to the end. Raises EndpointAway only where no token has come."""
        url = f"{endpoint.base_url}/chat/completions"
        body = found.fields.body(found.model, self._messages, self._params)
        most_bytes = _MOST_BYTES + _MOST_BYTES_A_TOKEN * self._params.max_new_tokens
        try:
            async with AsyncExitStack() as stack:
                response = await found.fields.adapted(
                    body, lambda body: stack.enter_async_context(endpoint.stream(url, body))
                )
                pieces = await stack.enter_async_context(aclosing(read_pieces(response, most_bytes)))
                async for piece in pieces:
                    self._take(piece)
                    if self._stop.stopped:
                        return
        except EndpointAway as error:
            if self._chunks:
                raise EndpointBroken(f"{url} broke off in the middle of an answer.") from error
            raise

    def _take(self, piece: Piece) -> None:
        self._usage = piece.usage or self._usage
        self._reason = piece.reason or self._reason
        if piece.made:
            self._chunks += 1
            self._on_token()
        if piece.text:
            self._first_token_ms = self._first_token_ms or self._ms()
            text = self._stop.push(piece.text)
            if text:
                self.out.put(TextDelta(text))

    def _ending(self, task: asyncio.Task[None]) -> tuple[FinishReason, AnswerFailed | None]:
        if self._stop.stopped:
            return FinishReason.STOP, None
        if task.cancelled():
            return FinishReason.CANCELLED, None
        error = task.exception()
        if error is not None:
            return FinishReason.ERROR, _failure(error)
        if self._reason in _FAILED:
            return FinishReason.ERROR, EngineFailed(_FAILED[self._reason])
        return FinishReason.LENGTH if self._reason == "length" else FinishReason.STOP, None

    def _ms(self) -> float:
        return (time.monotonic() - self._started) * 1000


def _failure(error: BaseException) -> AnswerFailed:
    if isinstance(error, AnswerFailed):
        return error
    log.error("An answer failed unexpectedly.", action="remote_answer_failed", exc_info=error)
    return EngineFailed(f"The asking raised {type(error).__name__}.")
