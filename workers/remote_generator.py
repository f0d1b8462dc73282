"""RemoteGenerator: a model behind an OpenAI-compatible endpoint (vLLM, llama.cpp's server, Ollama, …).

Knows Prompts and one model; how an endpoint is spoken to is in `endpoint`. Needs no torch and no model of its own.
Nothing of what people say is kept besides answers that are being made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import structlog

from core.errors import DeadlineExceeded
from core.prompts import Prompt
from core.settings import Settings
from core.values import SamplingParams
from workers.endpoint.answer import RemoteAnswer
from workers.endpoint.asking import told
from workers.endpoint.body import Message, messages_of
from workers.endpoint.connection import Endpoint
from workers.endpoint.models import Models
from workers.endpoint.survey import Found, survey
from workers.engine.request import check_params
from workers.generator import Finished, GeneratorStats, KvScope, ModelInfo, TextDelta

log = structlog.get_logger(__name__)

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
    """A Generator over one model of an endpoint. Those of its other models share its connections, places and end."""

    def __init__(self, settings: Settings, found: Found, models: Models | None = None) -> None:
        where = urlsplit(settings.openai_base_url).netloc[:_MOST_REVISION_CHARS]
        self._info = ModelInfo(found.model[:_MOST_NAME_CHARS], where, found.context_tokens)
        self.found = found
        self._settings = settings
        self._models = models or Models(settings)
        self._asking = self._models.asking

    @property
    def info(self) -> ModelInfo:
        """The model that answers; its revision is where, since an endpoint tells no other."""
        return self._info

    def of_model(self, name: str, deadline: float | None = None) -> RemoteGenerator:
        """The Generator of another model that is offered. Raises ModelUnavailable, EngineFailed, DeadlineExceeded."""
        return RemoteGenerator(self._settings, self._models.find(name, deadline), self._models)

    def count(self, prompt: Prompt, deadline: float | None = None) -> int:
        """The tokens of the whole rendering of `prompt`, or more.

        Raises ModelUnavailable, EngineFailed and DeadlineExceeded.
        """
        messages = self._messages(prompt)
        question = self._asking.begin(self.found.counter.count(self._asking.endpoint, messages))
        try:
            return told(question, deadline)
        except DeadlineExceeded:
            question.cancel()
            raise

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
        check_params(params)
        messages = self._messages(prompt)
        self.found.check(messages, params)
        answer = RemoteAnswer(request_id, messages, params, deadline, self._asking.note_token)
        self._asking.start(answer, self.found)
        return self._events(answer)

    def cancel(self, request_id: str) -> None:
        """End an answer by closing its connection. An unknown id is ignored."""
        self._asking.cancel(request_id)

    def forget(self, conversation_ids: frozenset[int]) -> None:
        """Nothing to do here: nothing is kept. What the endpoint keeps in its own cache is its owner's affair."""

    def drain(self, timeout_s: float) -> bool:
        """Take nothing more, let what is there end, cancel what has not ended in time."""
        return self._asking.drain(timeout_s)

    def stats(self) -> GeneratorStats:
        """What is going on right now, with whatever model. For the rate chunks count as tokens."""
        return self._asking.stats()

    def close(self) -> None:
        """Cancel what is being answered, close every connection and stop the thread."""
        self._asking.close()

    def _messages(self, prompt: Prompt) -> list[Message]:
        return messages_of(prompt, system_in_user=self.found.system_in_user)

    def _events(self, answer: RemoteAnswer) -> Iterator[TextDelta | Finished]:
        try:
            while True:
                event = answer.out.get()
                yield event
                if isinstance(event, Finished):
                    return
        finally:  # where the reader went away
            if self._asking.is_open(answer):
                self.cancel(answer.request_id)
