"""What the engine's benchmark asks for, when it arrives, and what came of it. Knows nobody who answers."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from workers.engine.request import KvScope

CONTEXT = 4096


@dataclass(frozen=True, slots=True)
class Job:
    """A prompt, how many tokens are wanted of its answer, and how long after the first one it arrives."""

    token_ids: tuple[int, ...]
    tokens: int
    scope: KvScope | None = None
    after_s: float = 0.0


@dataclass(slots=True)
class Outcome:
    """When each token of each job came, in seconds since that job arrived; and when all had ended, since the first did."""

    seconds: float = 0.0
    at_s: list[list[float]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return sum(map(len, self.at_s)) / self.seconds

    @property
    def first_s(self) -> list[float]:
        """The time to the first token of each job."""
        return [times[0] for times in self.at_s]


class Peer(Protocol):
    """Somebody who answers jobs."""

    name: str

    def answer(self, jobs: Sequence[Job]) -> Outcome:
        """Answer all of them, each asked for when it arrives; they are in that order."""


def text(chance: random.Random, tokens: int, vocabulary: int = 32_000) -> tuple[int, ...]:
    """So many random tokens."""
    return tuple(chance.randrange(3, vocabulary) for _ in range(tokens))


def until(at: float) -> None:
    """Sleep until then, a time of `time.perf_counter`; not at all where it is over."""
    time.sleep(max(0.0, at - time.perf_counter()))
