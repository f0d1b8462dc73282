"""LocalGenerator: a model in this process. Chat template + Engine + detokeniser + stop strings.

Knows how text becomes token ids and back; knows no SQL, no queue, and not how the engine runs its batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from core.errors import ModelUnavailable
from core.prompts import Prompt
from core.values import FinishReason, SamplingParams, Usage
from workers.chat_template import ChatTemplate
from workers.detokenizer import Detokenizer
from workers.engine.request import Engine, EngineRequest, KvScope, Request
from workers.generator import Finished, GeneratorStats, ModelInfo, TextDelta, Timings


class LocalGenerator:
    """A Generator over an Engine. `stop_ids` end an answer besides what the chat template itself puts after one."""

    def __init__(
        self,
        info: ModelInfo,
        tokenizer: PreTrainedTokenizerBase,
        engine: Engine,
        stop_ids: frozenset[int] = frozenset(),
    ) -> None:
        self._info = info
        self._tokenizer = tokenizer
        self._engine = engine
        self._template = ChatTemplate(tokenizer)
        self._stop_ids = stop_ids | self._template.stop_ids

    @property
    def info(self) -> ModelInfo:
        """The model that answers."""
        return self._info

    def of_model(self, name: str, deadline: float | None = None) -> LocalGenerator:
        """This one, if that is its model. Raises ModelUnavailable."""
        if name != self._info.name:
            raise ModelUnavailable(f"The worker has {self._info.name} and no other model: {name!r} is asked for.")
        return self

    def count(self, prompt: Prompt, deadline: float | None = None) -> int:
        """The tokens of the whole rendering of `prompt`; it takes no time to speak of."""
        return self._template.count(prompt)

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        request_id: str,
        deadline: float | None = None,
        scope: KvScope | None = None,
    ) -> Iterator[TextDelta | Finished]:
        """Yield the answer's text as it comes, then Finished. Raises AnswerFailed where it can never be answered."""
        started = time.monotonic()
        token_ids = self._template.encode(prompt)
        asked = EngineRequest(request_id, token_ids, params, self._stop_ids, deadline, scope)
        return self._events(self._engine.submit(asked), started)

    def cancel(self, request_id: str) -> None:
        """End an answer within one step. An unknown id is ignored."""
        self._engine.cancel(request_id)

    def forget(self, conversation_ids: frozenset[int]) -> None:
        """Drop the KV that is kept of these Conversations, and the cached token ids of everyone's contents."""
        self._template.forget()
        self._engine.forget(conversation_ids)

    def drain(self, timeout_s: float) -> bool:
        """Take nothing more, let what is there end, cancel what has not ended in time."""
        return self._engine.drain(timeout_s)

    def stats(self) -> GeneratorStats:
        """What is going on right now."""
        return self._engine.stats()

    def close(self) -> None:
        """Stop the engine."""
        self._engine.close()

    def _events(self, request: Request, started: float) -> Iterator[TextDelta | Finished]:
        asked = request.asked
        detokenizer = Detokenizer(self._decode, asked.params.stop + self._template.stop_strings)
        first_token_ms, completion_tokens = None, 0
        try:
            for token_id in request:
                completion_tokens += 1
                first_token_ms = first_token_ms or _ms_since(started)
                if text := detokenizer.push(token_id):
                    yield TextDelta(text)
                if detokenizer.stopped:
                    break
            if text := detokenizer.finish():
                yield TextDelta(text)
        finally:
            self._engine.cancel(asked.request_id)  # at a stop string, or when the reader went away
        finish = request.finish
        stopped = detokenizer.stopped or finish is None
        yield Finished(
            reason=FinishReason.STOP if stopped or finish is None else finish.reason,
            usage=Usage(
                prompt_tokens=len(asked.token_ids),
                cached_tokens=request.cached_tokens,
                completion_tokens=completion_tokens,
            ),
            token_ids=detokenizer.token_ids,
            timings=Timings(first_token_ms, _ms_since(started)),
            failure=None if stopped or finish is None else finish.failure,
        )

    def _decode(self, token_ids: Sequence[int]) -> str:
        return str(
            self._tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )


def _ms_since(started: float) -> float:
    return (time.monotonic() - started) * 1000
