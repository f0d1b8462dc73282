"""A worker whose engine is a source of tokens: the first at once, then 20 a second, or what `TOKENS_PER_S` says.

`python -m benchmarks.token_source`. Everything around the engine is the real thing, so what is left of a measurement is what Pajama itself costs.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator

from core.logs import configure
from core.prompts import Prompt
from core.settings import Settings, load_settings
from core.values import FinishReason, SamplingParams, Usage
from workers.generator import Finished, Generator, GeneratorStats, KvScope, ModelInfo, TextDelta, Timings
from workers.runtime import run

PACE_VARIABLE = "TOKENS_PER_S"
TOKENS_PER_S = float(os.environ.get(PACE_VARIABLE, "20"))


class TokenSource:
    """A Generator that says the message's last but one word as often as its last word says."""

    info = ModelInfo("token-source", "1", 4096)

    def __init__(self) -> None:
        self._stopped: dict[str, threading.Event] = {}

    def of_model(self, name: str, deadline: float | None = None) -> Generator:
        """It is whatever model is wanted."""
        return self

    def count(self, prompt: Prompt, deadline: float | None = None) -> int:
        """A token for four characters."""
        return sum(len(part.text) for part in prompt.parts) // 4

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        request_id: str,
        deadline: float | None = None,
        scope: KvScope | None = None,
    ) -> Iterator[TextDelta | Finished]:
        """Begin at once."""
        stopped = self._stopped[request_id] = threading.Event()
        *_, word, tokens = prompt.parts[-1].text.split()
        return self._say(f"{word} ", int(tokens), stopped, request_id)

    def _say(self, word: str, tokens: int, stopped: threading.Event, request_id: str) -> Iterator[TextDelta | Finished]:
        began, said = time.monotonic(), 0
        while said < tokens and not stopped.is_set():
            yield TextDelta(word)
            said += 1
            stopped.wait(max(0.0, began + said / TOKENS_PER_S - time.monotonic()) if said < tokens else 0.0)
        del self._stopped[request_id]
        reason = FinishReason.CANCELLED if stopped.is_set() else FinishReason.STOP
        total_ms = 1000 * (time.monotonic() - began)
        yield Finished(reason, Usage(completion_tokens=said), tuple(range(said)), Timings(0.0, total_ms))

    def cancel(self, request_id: str) -> None:
        """Stop."""
        if request_id in self._stopped:
            self._stopped[request_id].set()

    def forget(self, conversation_ids: frozenset[int]) -> None:
        """Nothing is kept."""

    def drain(self, timeout_s: float) -> bool:
        """Stop everything."""
        for stopped in list(self._stopped.values()):
            stopped.set()
        return True

    def stats(self) -> GeneratorStats:
        """As of an engine that keeps the KV of what it has said."""
        return GeneratorStats(0, 0, 0, 0.0, kv_limit=1)

    def close(self) -> None:
        """Nothing to free."""


def load(settings: Settings) -> Generator:
    """What `workers.runtime.run` asks for."""
    return TokenSource()


if __name__ == "__main__":
    _settings = load_settings()
    configure(_settings, process="worker")
    sys.exit(run(_settings, load))
