"""What whoever talks to the engine waits for: the first token of later turns, and the next one beside a long prompt."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import pairwise

import torch

from benchmarks.engine_apart import Apart
from benchmarks.engine_jobs import Job, text
from benchmarks.engine_peers import Ours, llama_120m, ours
from benchmarks.engine_scale import Scale
from benchmarks.figures import Figure, median, percentile
from workers.engine.prefixes import KvReuse
from workers.engine.request import KvScope

_TURNS = 10
_RUNNING = 8
_BEFORE = 24
"""So many tokens each running request makes before the long prompt comes."""


def turns(dtype: torch.dtype, scale: Scale, name: str) -> Figure:
    """Time to the first token of the last turn over that of the first, with reuse and without, in turns."""
    factors: dict[KvReuse, list[float]] = {KvReuse.WORKSPACE: [], KvReuse.OFF: []}
    make, kv_tokens = partial(llama_120m, dtype), 2 * _TURNS * sum(scale.turn)
    with ExitStack() as stack:
        engines = {reuse: stack.enter_context(Apart.of(ours, make, 1, kv_tokens, reuse)) for reuse in factors}
        for run in range(scale.own_runs):
            for reuse, engine in engines.items():
                factors[reuse].append(engine.do(_growth, run, *scale.turn))
    kept, anew = factors[KvReuse.WORKSPACE], factors[KvReuse.OFF]
    return Figure(
        f"{name}: time to the first token of turn {_TURNS} over turn 1",
        median(kept),
        "",
        1.8,
        median(anew),
        "without reuse",
        spread=(min(kept), max(kept)),
    )


def _growth(engine: Ours, run: int, user_tokens: int, answer_tokens: int) -> float:
    """How the time to the first token grows in a conversation of its own."""
    chance = random.Random(run)
    engine.answer([Job(text(chance, user_tokens), 4)])
    history: tuple[int, ...] = ()
    firsts = []
    for _ in range(_TURNS):
        history += text(chance, user_tokens)
        job = Job(history, answer_tokens, KvScope(1, run))
        firsts.append(engine.answer([job]).first_s[0])
        history += tuple(engine.said)
    return firsts[-1] / firsts[0]


def stall(dtype: torch.dtype, scale: Scale, name: str) -> Figure:
    """The p99 of the time between tokens while a long prompt comes in, over that before it did."""
    make, kv_tokens = partial(llama_120m, dtype), _RUNNING * 1024 + scale.long_prompt
    with Apart.of(ours, make, _RUNNING + 1, kv_tokens) as engine:
        runs = [engine.do(_stalled, run, scale.long_prompt) for run in range(scale.own_runs)]
    during, before = [run[0] for run in runs], [run[1] for run in runs]
    return Figure(
        f"{name}: time between tokens of {_RUNNING} requests, p99, while a prompt of {scale.long_prompt} tokens comes in",
        1e3 * median(during),
        "ms",
        None,
        1e3 * median(before),
        "before it",
        most_ratio=2.0,
        spread=(1e3 * min(during), 1e3 * max(during)),
    )


def _stalled(engine: Ours, run: int, long_prompt: int) -> tuple[float, float]:
    chance = random.Random(run)
    engine.answer([Job(text(chance, 64), _BEFORE)] * _RUNNING)  # the pace is learnt
    began = time.perf_counter()
    running = [engine.begin(Job(text(chance, 64), 900), began) for _ in range(_RUNNING)]
    engine.until_tokens(_RUNNING * _BEFORE)
    asked_at = time.perf_counter() - began
    first_at = engine.begin(Job(text(chance, long_prompt), 1), began)()[0]
    engine.cancel_all()
    times = [end() for end in running]
    during = _gaps(times, lambda a, b: b > asked_at and a < first_at)
    before = _gaps([known[8:] for known in times], lambda a, b: b <= asked_at)
    return percentile(during, 0.99), percentile(before, 0.99)


def _gaps(times: Sequence[Sequence[float]], counts: Callable[[float, float], bool]) -> list[float]:
    pairs = [pair for known in times for pair in pairwise(known)]
    return [later - earlier for earlier, later in pairs if counts(earlier, later)]
