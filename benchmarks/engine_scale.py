"""How much of the engine is measured: the whole table, or what fits in three minutes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests at once, the tokens of a uniform answer, of the shortest and longest mixed one, and arrivals."""

    batch: int
    tokens: int
    mixed: tuple[int, int]
    arrivals: int


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    runs: int
    loads: tuple[Load, ...]
    prompt: tuple[int, int]
    sequential: int
    turn: tuple[int, int]
    long_prompt: int
    own_runs: int
    whole: bool
    """Whether the rows that need processes, large models or thousands of requests are measured too."""


FULL = Scale(
    runs=5,
    loads=(Load(8, 64, (16, 256), 16), Load(32, 48, (16, 128), 48)),
    prompt=(128, 256),
    sequential=2,
    turn=(96, 32),
    long_prompt=2000,
    own_runs=5,
    whole=True,
)
QUICK = Scale(
    runs=3,
    loads=(Load(8, 32, (8, 48), 16),),
    prompt=(24, 48),
    sequential=1,
    turn=(48, 8),
    long_prompt=500,
    own_runs=1,
    whole=False,
)
