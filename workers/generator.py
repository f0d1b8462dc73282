"""Generator: what a task calls to answer a Prompt, and the values that go in and come out.

Knows Prompts and text; does not know how an answer is made. A local one puts a model behind it (`local_generator.py`),
a remote one an endpoint elsewhere, a benchmark a source of prepared tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from core.errors import AnswerFailed
from core.prompts import Prompt
from core.values import FinishReason, SamplingParams, Usage
from workers.engine.request import EngineStats as GeneratorStats
from workers.engine.request import KvScope

__all__ = ["Finished", "Generator", "GeneratorStats", "KvScope", "ModelInfo", "TextDelta", "Timings"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model behind a Generator. Token ids mean the same only where `revision` is the same."""

    name: str
    revision: str
    context_tokens: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer's text; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds since `generate` was called. `first_token_ms` is None where there was no token."""

    first_token_ms: float | None
    total_ms: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer, always the last event. `failure` is set exactly where `reason` is `error`.

    `token_ids` are those of the text, without the token that ended it; empty where a stop string cut one in two.
    """

    reason: FinishReason
    usage: Usage
    token_ids: tuple[int, ...]
    timings: Timings
    failure: AnswerFailed | None = None


class Generator(Protocol):
    """Answers many Prompts at once. Every method may be called from any thread."""

    @property
    def info(self) -> ModelInfo:
        """The model that answers."""

    def of_model(self, name: str, deadline: float | None = None) -> Generator:
        """What answers with another model, which a Workspace has chosen; requests are one's own, wherever cancelled.

        Raises AnswerFailed where it does not answer with that one, or has not found out by `deadline`.
        """

    def count(self, prompt: Prompt, deadline: float | None = None) -> int:
        """The tokens of the whole rendering of `prompt`. Raises AnswerFailed, at the latest at `deadline`."""

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        request_id: str,
        deadline: float | None = None,
        scope: KvScope | None = None,
    ) -> Iterator[TextDelta | Finished]:
        """Yield the answer's text as it comes, then Finished; iterate in one thread. `deadline` is `time.monotonic()`.

        The request is taken before this returns. Raises AnswerFailed where it can never be answered; whatever goes
        wrong later is in Finished, with the text so far kept.
        """

    def cancel(self, request_id: str) -> None:
        """End an answer within one step, with FinishReason.CANCELLED. An unknown id is ignored."""

    def forget(self, conversation_ids: frozenset[int]) -> None:
        """Drop whatever is kept of these Conversations besides answers that are being made."""

    def drain(self, timeout_s: float) -> bool:
        """Take nothing more, let what is there end, cancel what has not ended in time. Whether all ended by itself."""

    def stats(self) -> GeneratorStats:
        """What is going on right now."""

    def close(self) -> None:
        """Stop and free the model. What is still being answered is cancelled."""
