"""RemoteGenerator: a model behind an OpenAI-compatible endpoint (vLLM, llama.cpp's server, Ollama, …).

Knows threads and one event loop, in which every answer is a task; how an endpoint is spoken to is in `endpoint`. Needs
no torch and no model of its own. Nothing of what people say is kept besides answers that are being made.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog

from core.errors import EngineFailed
from core.prompts import Prompt
from core.settings import Settings
from core.values import SamplingParams
from workers.endpoint.answer import RemoteAnswer
from workers.endpoint.body import Message, messages_of
from workers.endpoint.connection import Endpoint
from workers.endpoint.survey import Found, survey
from workers.generator import Finished, GeneratorStats, KvScope, ModelInfo, TextDelta

log = structlog.get_logger(__name__)
T = TypeVar("T")

_RATE_WINDOW_S = 10.0
_MOST_NAME_CHARS, _MOST_REVISION_CHARS = 200, 80
"""As many as are stored with an answer."""


def load_generator(settings: Settings) -> RemoteGenerator:
    """A Generator on the endpoint that the settings name. Raises ModelUnavailable and EngineFailed."""
    found = look(settings)
    log.info(
        "The endpoint answers.",
        action="endpoint_found",
        model=found.model,
        endpoint=settings.openai_base_url,
        context_tokens=found.context_tokens,
        tokens=found.counter.way,
    )
    return RemoteGenerator(settings, found)


def look(settings: Settings) -> Found:
    """Survey the endpoint that the settings name. Raises ModelUnavailable and EngineFailed."""

    async def surveyed() -> Found:
        endpoint = Endpoint.of(settings)
        try:
            return await survey(endpoint, settings)
        finally:
            await endpoint.close()

    return asyncio.run(surveyed())


class RemoteGenerator:
    """A Generator over an endpoint. One thread runs all of its answers, at most `max_batch_size` at once."""

    def __init__(self, settings: Settings, found: Found) -> None:
        where = urlsplit(settings.openai_base_url).netloc[:_MOST_REVISION_CHARS]
        self._info = ModelInfo(found.model[:_MOST_NAME_CHARS], where, found.context_tokens)
        self.found = found
        self._max_batch_size = settings.max_batch_size
        self._endpoint = Endpoint.of(settings)
        self._places = asyncio.Semaphore(self._max_batch_size)
        self._changed = threading.Condition()
        self._open: dict[str, RemoteAnswer] = {}
        self._draining = self._closed = False
        self._tokens: deque[float] = deque()
        self._counting: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()

    @property
    def info(self) -> ModelInfo:
        """The model that answers; its revision is where, since an endpoint tells no other."""
        return self._info

    def count(self, prompt: Prompt) -> int:
        """The tokens of the whole rendering of `prompt`, or more. Raises ModelUnavailable and EngineFailed."""
        return self._in_loop(self._count(self._messages(prompt)))

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        request_id: str,
        deadline: float | None = None,
        scope: KvScope | None = None,
    ) -> Iterator[TextDelta | Finished]:
        """Yield the answer's text as it comes, then Finished. Raises EngineFailed and PromptTooLong, which more often
        is in Finished: it takes a question to know."""
        messages = self._messages(prompt)
        self.found.check(messages, params)
        answer = RemoteAnswer(request_id, messages, params, deadline, self._note_token)
        with self._changed:
            if self._draining:
                raise EngineFailed("The endpoint is asked nothing more: the worker is being stopped.")
            if request_id in self._open:
                raise EngineFailed(f"There already is a request {request_id}.")
            self._open[request_id] = answer
            self._loop.call_soon_threadsafe(self._start, answer)
        return self._events(answer)

    def cancel(self, request_id: str) -> None:
        """End an answer by closing its connection. An unknown id is ignored."""
        with self._changed:
            answer = self._open.get(request_id)
            if answer is not None:
                self._loop.call_soon_threadsafe(self._stop, answer)

    def forget(self, conversation_ids: frozenset[int]) -> None:
        """Nothing to do here: nothing is kept. What the endpoint keeps in its own cache is its owner's affair."""

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
        """What is going on right now. Chunks are counted in place of tokens."""
        since = time.monotonic() - _RATE_WINDOW_S
        with self._changed:
            waiting = sum(answer.waiting for answer in self._open.values())
            rate = sum(at >= since for at in self._tokens) / _RATE_WINDOW_S
            running = len(self._open) - waiting
        return GeneratorStats(max_batch_size=self._max_batch_size, running=running, waiting=waiting, tokens_per_s=rate)

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

    def _messages(self, prompt: Prompt) -> list[Message]:
        return messages_of(prompt, system_in_user=self.found.system_in_user)

    def _events(self, answer: RemoteAnswer) -> Iterator[TextDelta | Finished]:
        try:
            while True:
                event = answer.out.get()
                yield event
                if isinstance(event, Finished):
                    return
        finally:  # where the reader went away; a later answer may have the same id
            with self._changed:
                ours = self._open.get(answer.request_id) is answer
            if ours:
                self.cancel(answer.request_id)

    def _in_loop(self, asking: Coroutine[Any, Any, T]) -> T:
        """What `asking` returns in the loop."""
        with self._changed:
            if self._closed:
                asking.close()
                raise EngineFailed("The endpoint is asked nothing more: the worker is being stopped.")
            future = asyncio.run_coroutine_threadsafe(asking, self._loop)
        try:
            return future.result()
        except CancelledError as error:
            raise EngineFailed("The worker was stopped while the endpoint was asked.") from error

    def _note_token(self) -> None:
        now = time.monotonic()
        with self._changed:
            self._tokens.append(now)
            while self._tokens[0] < now - _RATE_WINDOW_S:
                self._tokens.popleft()

    # In the loop.

    def _start(self, answer: RemoteAnswer) -> None:
        answer.task = self._loop.create_task(answer.run(self._endpoint, self.found, self._places))
        answer.task.add_done_callback(lambda task: self._ended(answer, task))

    async def _count(self, messages: list[Message]) -> int:
        task = asyncio.current_task()
        assert task is not None
        self._counting.add(task)
        try:
            return await self.found.counter.count(self._endpoint, messages)
        finally:
            self._counting.discard(task)

    async def _end_all(self) -> None:
        """Cancel what was begun here; what that has begun ends with it."""
        answering = {answer.task for answer in self._open.values() if answer.task is not None}
        tasks = [*answering, *self._counting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._endpoint.close()

    def _stop(self, answer: RemoteAnswer) -> None:
        if answer.task is not None:
            answer.task.cancel()

    def _ended(self, answer: RemoteAnswer, task: asyncio.Task[None]) -> None:
        with self._changed:
            del self._open[answer.request_id]
            self._changed.notify_all()
        answer.end(task)
