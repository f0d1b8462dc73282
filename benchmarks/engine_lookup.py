"""What guessing tokens by looking them up is worth: with guesses and without, in turns, on a model made to copy."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import torch

from benchmarks.engine_apart import Apart
from benchmarks.engine_jobs import Job, text
from benchmarks.engine_peers import copying_120m, ours
from benchmarks.engine_scale import Scale
from benchmarks.figures import Figure, median
from workers.engine.prefixes import KvReuse

_RUNS = 3
_COPIED, _CHANGED = 64, 16
"""Tokens of a grounded answer; it differs from its passage in every so many."""


def lookup(dtype: torch.dtype, scale: Scale, name: str) -> Iterator[Figure]:
    """The rate with guesses over that without, in turns: where answers copy, where they do not, where all misleads."""
    for batch in scale.guessing:
        rates: dict[tuple[str, bool], list[float]] = {}
        with ExitStack() as stack:
            make = partial(copying_120m, dtype)
            engines = {
                guesses: stack.enter_context(Apart.of(ours, make, batch, 512 * batch, KvReuse.OFF, guesses=guesses))
                for guesses in (True, False)
            }
            for run in range(-1, _RUNS):  # the first to learn what steps cost
                for kind, passage in _PASSAGES.items():
                    begins = [random.Random(f"{run} {i}").randrange(3, 30_000) for i in range(batch)]
                    for guesses, engine in engines.items():
                        jobs = [Job((*passage(begin), begin, begin + 1), _COPIED) for begin in begins]
                        rates.setdefault((kind, guesses), []).append(engine.answer(jobs).rate)
        for kind in _PASSAGES:
            yield Figure(
                f"{name}: {batch} at once, answers {kind}: rate with guesses",
                median(rates[kind, True][1:]),
                "tokens/s",
                None,
                median(rates[kind, False][1:]),
                "without guesses",
                spread=(min(rates[kind, True][1:]), max(rates[kind, True][1:])),
            )


def _changed(begin: int) -> tuple[int, ...]:
    """What the copying model says from there on, but for a token here and there."""
    return tuple(31_999 if i % _CHANGED == _CHANGED - 1 else begin + i for i in range(_COPIED + 2))


def _misleading(begin: int) -> tuple[int, ...]:
    """Each two tokens that it will say, each time with something else behind them."""
    return tuple(token for i in range(_COPIED) for token in (begin + i, begin + i + 1, 31_000 + i % 900))


_PASSAGES: dict[str, Callable[[int], tuple[int, ...]]] = {
    "copied but for each 16th token": _changed,
    "copied from nowhere": lambda begin: text(random.Random(begin), _COPIED),
    "misled at each token": _misleading,
}
