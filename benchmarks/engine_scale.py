"""How much of the engine is measured: the whole table, or what fits in three minutes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests at once, the tokens of a uniform answer and of the shortest and longest mixed one.

    `arrivals` come one by one, with answers of `arriving` tokens.
    """

    batch: int
    tokens: int
    mixed: tuple[int, int]
    arrivals: int
    arriving: tuple[int, int]


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
    guessing: tuple[int, ...]
    """Requests at once with which guesses are measured, three times each."""

    whole: bool
    """Whether the rows that need processes, large models or thousands of requests are measured too."""


FULL = Scale(
    runs=5,
    loads=(Load(8, 64, (16, 128), 12, (16, 64)), Load(32, 32, (8, 96), 32, (8, 32))),
    prompt=(128, 256),
    sequential=2,
    turn=(96, 32),
    long_prompt=2000,
    own_runs=5,
    guessing=(1, 8),
    whole=True,
)
QUICK = Scale(
    runs=3,
    loads=(Load(8, 32, (8, 48), 12, (8, 32)),),
    prompt=(24, 48),
    sequential=1,
    turn=(48, 8),
    long_prompt=500,
    own_runs=1,
    guessing=(1,),
    whole=False,
)
