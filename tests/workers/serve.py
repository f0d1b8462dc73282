"""A real worker process for the tests: `serve.py model` answers with PAJAMA_MODEL, `endpoint` through
PAJAMA_OPENAI_BASE_URL, `paced` with counted words."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

from core.errors import DeadlineExceeded
from core.prompts import Prompt
from core.settings import Settings, load_settings
from core.values import FinishReason, SamplingParams, Usage
from workers.generator import Finished, Generator, GeneratorStats, KvScope, ModelInfo, TextDelta, Timings
from workers.runtime import run

TOKENS_PER_S = 50.0


class PacedGenerator:
    """A Generator without a model: `w0 w1 …`, 50 a second, as many as the message's last word says, if a number."""

    def __init__(self) -> None:
        self.info = ModelInfo("paced", "r1", 4096)
        self.forgotten: set[int] = set()
        self._cancelled: dict[str, threading.Event] = {}

    def of_model(self, name: str, deadline: float | None = None) -> Generator:
        """It is whatever model is wanted."""
        return self

    def count(self, prompt: Prompt, deadline: float | None = None) -> int:
        """A token a character."""
        return sum(len(part.text) for part in prompt.parts)

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        request_id: str,
        deadline: float | None = None,
        scope: KvScope | None = None,
    ) -> Iterator[TextDelta | Finished]:
        """Start counting."""
        self._cancelled[request_id] = threading.Event()
        return self._events(prompt, request_id, deadline or float("inf"))

    def _events(self, prompt: Prompt, request_id: str, deadline: float) -> Iterator[TextDelta | Finished]:
        last = prompt.parts[-1].text.split()[-1]
        length, made, cancelled = int(last) if last.isdecimal() else 10_000, 0, self._cancelled[request_id]
        reason, failure = FinishReason.STOP, None
        while made < length:
            if cancelled.wait(1 / TOKENS_PER_S):
                reason = FinishReason.CANCELLED
                break
            if time.monotonic() > deadline:
                reason, failure = FinishReason.ERROR, DeadlineExceeded()
                break
            yield TextDelta(f"w{made} ")
            made += 1
        usage = Usage(prompt_tokens=self.count(prompt), completion_tokens=made)
        yield Finished(reason, usage, tuple(range(made)), Timings(20.0, 20.0 * made), failure)

    def cancel(self, request_id: str) -> None:
        """Stop counting."""
        if request_id in self._cancelled:
            self._cancelled[request_id].set()

    def forget(self, conversation_ids: frozenset[int]) -> None:
        """Note it."""
        self.forgotten |= conversation_ids

    def drain(self, timeout_s: float) -> bool:
        """Stop everything."""
        for cancelled in self._cancelled.values():
            cancelled.set()
        return True

    def stats(self) -> GeneratorStats:
        """As of an engine that keeps the KV of what it has said."""
        return GeneratorStats(0, 0, 0, 0.0, kv_limit=1)

    def close(self) -> None:
        """Nothing to free."""


def load_paced(settings: Settings) -> Generator:
    """The load function of `serve.py paced`."""
    return PacedGenerator()


if __name__ == "__main__":
    if sys.argv[1] == "endpoint":
        from workers import remote_generator

        sys.exit(run(load_settings(), remote_generator.load_generator))
    if sys.argv[1] == "model":
        from workers.loading import load_generator

        sys.exit(run(load_settings(), load_generator))
    sys.exit(run(load_settings(), load_paced))
