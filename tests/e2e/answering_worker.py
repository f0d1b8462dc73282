"""A worker process for the tests: answers a message with its own words turned around, a word every few milliseconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from core.logs import configure
from core.prompts import Prompt
from core.settings import Settings, load_settings
from core.values import FinishReason, SamplingParams, Usage
from workers.generator import Finished, Generator, GeneratorStats, KvScope, ModelInfo, TextDelta, Timings
from workers.runtime import run

WORDS = 12
PACE_S = 0.01


def answer_to(text: str) -> str:
    """What is answered to `text`."""
    return " ".join(f"{text[::-1]}/{i}" for i in range(WORDS))


class Reverser:
    """A Generator without a model, whose answer anyone can work out."""

    info = ModelInfo("reverser", "1", 8192)

    def of_model(self, name: str, deadline: float | None = None) -> Generator:
        """It is whatever model is wanted."""
        return self

    def count(self, prompt: Prompt, deadline: float | None = None) -> int:
        """A token a word."""
        return sum(len(part.text.split()) for part in prompt.parts)

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        request_id: str,
        deadline: float | None = None,
        scope: KvScope | None = None,
    ) -> Iterator[TextDelta | Finished]:
        """Begin at once. Under whose name it is said, where several may speak, makes no difference."""
        return self._events(prompt.parts[-1].text.rpartition(": ")[2])

    def _events(self, text: str) -> Iterator[TextDelta | Finished]:
        for word in answer_to(text).split(" "):
            yield TextDelta(word if word.endswith("/0") else f" {word}")
            time.sleep(PACE_S)
        yield Finished(FinishReason.STOP, Usage(completion_tokens=WORDS), tuple(range(WORDS)), Timings(1.0, 1.0))

    def cancel(self, request_id: str) -> None:
        """Answers are short."""

    def forget(self, conversation_ids: frozenset[int]) -> None:
        """Nothing is kept."""

    def drain(self, timeout_s: float) -> bool:
        """Answers are short."""
        return True

    def stats(self) -> GeneratorStats:
        """Nothing to tell."""
        return GeneratorStats(0, 0, 0, 0.0)

    def close(self) -> None:
        """Nothing to free."""


def load(settings: Settings) -> Generator:
    """What the runtime asks for."""
    return Reverser()


if __name__ == "__main__":
    given = load_settings()
    configure(given, process="worker")
    sys.exit(run(given, load))
