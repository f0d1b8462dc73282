"""The engine against what people use instead, on a Llama of 120M parameters with random weights, in one process.

All answer the same jobs in turn, again and again; a figure is the median of the runs. The precision is the one that a
worker would choose for this model here. llama.cpp is not measured: it has no wheel to be installed with.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from transformers import PreTrainedModel

from benchmarks.engine_peers import Job, Manager, Ours, Outcome, Peer, Sequential, Static, copying, llama_120m, twin
from benchmarks.figures import Figure, median, percentile
from core.settings import Settings
from workers.engine.lookup import Price
from workers.engine.prefixes import KvReuse
from workers.engine.request import KvScope
from workers.loading import cpu_precision, set_threads

_TURNS = 10
_RUNNING = 8
_COPIED, _CHANGED = 96, 16
"""Tokens of a grounded answer; it differs from its passage in every so many."""

_BEFORE = 24
"""So many tokens each running request makes before the long prompt comes."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    runs: int
    batches: tuple[int, ...]
    prompt: tuple[int, int]
    tokens: int
    mixed: tuple[int, int]
    sequential: int
    turn: tuple[int, int]
    long_prompt: int
    own_runs: int


_FULL = Scale(5, (8, 32), (128, 256), 64, (16, 256), 4, (96, 32), 2000, 5)
_QUICK = Scale(3, (8,), (24, 48), 32, (8, 48), 1, (48, 8), 500, 1)


def measure(*, quick: bool) -> Iterator[Figure]:
    """Rates and times to the first token, then turns of one conversation, then what a long prompt does to others."""
    scale = _QUICK if quick else _FULL
    set_threads(Settings().threads)
    dtype = cpu_precision(120_000_000)
    model = llama_120m(dtype)
    name = f"120M {str(dtype).removeprefix('torch.')}, {torch.get_num_threads()} threads"
    for batch in scale.batches:
        for lengths in ("uniform", "mixed"):
            yield from _rates(model, scale, batch, lengths, name)
    yield from _lookup(copying(model), scale, name)
    yield _turns(model, scale, name)
    yield _stall(model, scale, name)


def _rates(model: PreTrainedModel, scale: Scale, batch: int, lengths: str, name: str) -> Iterator[Figure]:
    runs: dict[str, list[Outcome]] = {}
    most = scale.prompt[1] + max(scale.tokens, scale.mixed[1])
    with ExitStack() as stack:
        ours = stack.enter_context(Ours.of(twin(model), batch, batch * (most + 16)))
        manager = stack.enter_context(Manager.of(twin(model), batch, most))
        peers: list[Peer] = [ours, Sequential(model, scale.sequential), Static(model), manager]
        for peer in peers:
            peer.answer(_jobs(random.Random(99), replace(scale, tokens=2), 2, "uniform"))
        for run in range(scale.runs):
            jobs = _jobs(random.Random(run), scale, batch, lengths)
            for peer in peers:
                runs.setdefault(peer.name, []).append(peer.answer(jobs))
    yield from _compared(runs, ours.name, batch, lengths, name)


def _compared(runs: dict[str, list[Outcome]], ours: str, batch: int, lengths: str, name: str) -> Iterator[Figure]:
    targets = {
        (Sequential.name, 8): 8.0,
        (Manager.name, 8): 1.6,
        (Manager.name, 32): 4.0,
        (Static.name, 8): 1.7 if lengths == "mixed" else None,
        (Static.name, 32): 1.7 if lengths == "mixed" else None,
    }
    rates = {peer: [outcome.rate for outcome in outcomes] for peer, outcomes in runs.items()}
    firsts = {peer: [median(outcome.first_s) for outcome in outcomes] for peer, outcomes in runs.items()}
    what = f"{name}: {batch} requests, {lengths} lengths"
    own = median(rates[ours])
    for peer in (Sequential.name, Static.name, Manager.name):
        least, spread = targets.get((peer, batch)), (min(rates[ours]), max(rates[ours]))
        yield Figure(
            f"{what}: rate", own, "tokens/s", None, median(rates[peer]), peer, least_ratio=least, spread=spread
        )
    for peer in (Static.name, Manager.name):
        first = median(firsts[ours])
        yield Figure(f"{what}: time to the first token", first, "s", None, median(firsts[peer]), peer)


class _Never(Price):
    """Nothing is guessed."""

    def room(self, rows: int) -> int:
        """None."""
        return 0


def _lookup(model: PreTrainedModel, scale: Scale, name: str) -> Iterator[Figure]:
    """The rate with guesses over that without, in turns: where answers copy, where they do not, where all misleads."""
    for batch in (1, *scale.batches):
        rates: dict[tuple[str, bool], list[float]] = {}
        with ExitStack() as stack:
            prices = {True: None, False: _Never()}
            engines = {
                guesses: stack.enter_context(Ours.of(twin(model), batch, 512 * batch, KvReuse.OFF, price))
                for guesses, price in prices.items()
            }
            for run in range(-1, scale.runs):  # the first to learn what steps cost
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
    "copied from nowhere": lambda begin: _text(random.Random(begin), _COPIED),
    "misled at each token": _misleading,
}


def _jobs(chance: random.Random, scale: Scale, batch: int, lengths: str) -> list[Job]:
    def tokens() -> int:
        return scale.tokens if lengths == "uniform" else chance.randint(*scale.mixed)

    return [Job(_text(chance, chance.randint(*scale.prompt)), tokens()) for _ in range(batch)]


def _text(chance: random.Random, tokens: int) -> tuple[int, ...]:
    return tuple(chance.randrange(3, 32_000) for _ in range(tokens))


def _turns(model: PreTrainedModel, scale: Scale, name: str) -> Figure:
    """Time to the first token of the last turn over that of the first, with reuse and without, in turns."""
    factors: dict[KvReuse, list[float]] = {KvReuse.WORKSPACE: [], KvReuse.OFF: []}
    for run in range(scale.own_runs):
        for reuse, found in factors.items():
            with Ours.of(twin(model), 1, 2 * _TURNS * sum(scale.turn), reuse) as engine:
                found.append(_growth(engine, random.Random(run), *scale.turn))
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


def _growth(engine: Ours, chance: random.Random, user_tokens: int, answer_tokens: int) -> float:
    engine.answer([Job(_text(chance, user_tokens), 4)])
    history: tuple[int, ...] = ()
    firsts = []
    for _ in range(_TURNS):
        history += _text(chance, user_tokens)
        job = Job(history, answer_tokens, KvScope(1, 1))
        firsts.append(engine.answer([job]).first_s[0])
        history += tuple(engine.said)
    return firsts[-1] / firsts[0]


def _stall(model: PreTrainedModel, scale: Scale, name: str) -> Figure:
    """The p99 of the time between tokens while a long prompt comes in, over that before it did."""
    runs = [_stalled(model, random.Random(run), scale.long_prompt) for run in range(scale.own_runs)]
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


def _stalled(model: PreTrainedModel, chance: random.Random, long_prompt: int) -> tuple[float, float]:
    with Ours.of(twin(model), _RUNNING + 1, _RUNNING * 1024 + long_prompt) as engine:
        engine.answer([Job(_text(chance, 64), _BEFORE)] * _RUNNING)  # the pace is learnt
        began = time.perf_counter()
        running = [engine.begin(Job(_text(chance, 64), 900), began) for _ in range(_RUNNING)]
        engine.until_tokens(_RUNNING * _BEFORE)
        asked_at = time.perf_counter() - began
        first_at = engine.begin(Job(_text(chance, long_prompt), 1), began)()[0]
        engine.cancel_all()
    times = [end() for end in running]
    during = _gaps(times, lambda a, b: b > asked_at and a < first_at)
    before = _gaps([known[8:] for known in times], lambda a, b: b <= asked_at)
    return percentile(during, 0.99), percentile(before, 0.99)


def _gaps(times: Sequence[Sequence[float]], counts: Callable[[float, float], bool]) -> list[float]:
    pairs = [pair for known in times for pair in pairwise(known)]
    return [later - earlier for earlier, later in pairs if counts(earlier, later)]
