"""Rates and times to the first token, of the engine and of what people use instead, on the same jobs in turn.

Jobs come all at once, with answers of one length or of mixed ones, or one by one at random times (Poisson).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import torch

from benchmarks import engine_llama_cpp, engine_serve
from benchmarks import engine_peers as peers
from benchmarks.engine_apart import Apart
from benchmarks.engine_jobs import Job, Outcome, Peer, text
from benchmarks.engine_llama_cpp import LlamaCpp
from benchmarks.engine_peers import Manager, Ours, Sequential, Static, llama_120m
from benchmarks.engine_scale import Load, Scale
from benchmarks.engine_serve import Serve
from benchmarks.figures import Figure, median, percentile
from workers.passing import in_passing_thread

_BUSY = 0.7
"""Arrivals come at this share of the rate that the engine has with all jobs at once."""

_SLOW = 32
"""With so many requests at once transformers' continuous batching takes several times as long as anybody else."""

_TARGETS = {
    (Sequential.name, 8): 8.0,
    (Manager.name, 8): 1.6,
    (Manager.name, 32): 4.0,
    (Serve.name, 8): 1.6,
    (Serve.name, 32): 4.0,
    (LlamaCpp.name, 8): 0.9,
    (LlamaCpp.name, 32): 1.0,
}
_MIXED_TARGETS = {(Static.name, 8): 1.7, (Static.name, 32): 1.7}

Runs = dict[str, list[Outcome]]


def rates(dtype: torch.dtype, folder: Path, scale: Scale, load: Load, name: str) -> Iterator[Figure]:
    """All kinds of jobs for one number of requests at once. Nothing is guessed."""
    most = scale.prompt[1] + max(load.tokens, load.mixed[1])
    with ExitStack() as stack:
        own = Apart.of(peers.ours, partial(llama_120m, dtype), load.batch, load.batch * (most + 16))
        ours = stack.enter_context(own)
        batching: list[Peer] = [ours]
        once: list[Peer] = []  # who is slow is asked for answers of one length only
        manager = stack.enter_context(Apart.of(peers.manager, dtype, load.batch, most))
        (batching if load.batch < _SLOW else once).append(manager)
        if _installed(LlamaCpp.name, engine_llama_cpp.missing(), "peers"):
            batching += _joined(stack, Apart.of(engine_llama_cpp.llama_cpp, dtype, folder, load.batch, most))
        everybody: list[Peer] = [*batching, stack.enter_context(Apart.of(peers.static, dtype))]
        if (Sequential.name, load.batch) in _TARGETS:
            once.append(stack.enter_context(Apart.of(peers.sequential, dtype, scale.sequential)))
        if scale.whole and _installed(Serve.name, engine_serve.missing(), "bench"):
            model = in_passing_thread(partial(llama_120m, dtype))
            once += _joined(stack, Serve.of(model, folder, load.batch, most))
        for peer in [*everybody, *once]:
            peer.answer([Job(text(random.Random(99), scale.prompt[0]), 2)] * 2)
        runs: dict[str, Runs] = {}
        for lengths in ("uniform", "mixed"):
            jobs = [_jobs(random.Random(f"{lengths} {run}"), scale, load, lengths) for run in range(scale.runs)]
            runs[lengths] = _in_turns(everybody if lengths == "mixed" else [*everybody, *once], jobs)
            yield from _compared(
                runs[lengths], load.batch, lengths, f"{name}: {load.batch} requests, {lengths} lengths"
            )
        rate = _BUSY * median([outcome.rate for outcome in runs["uniform"][ours.name]])
        arrivals = [arriving(random.Random(f"arriving {run}"), scale, load, rate) for run in range(scale.runs)]
        what = f"{name}: {load.arrivals} requests that arrive one by one, {load.batch} at once at most"
        yield from _waits(_in_turns(batching, arrivals), what)


def _installed(peer: str, lacking: str | None, extra: str) -> bool:
    if lacking:
        sys.stderr.write(f"{peer} is left out: {lacking} is not installed; the extra `{extra}` has it.\n")
    return lacking is None


def _joined(stack: ExitStack, made: AbstractContextManager[Peer]) -> list[Peer]:
    """A peer until the stack ends; nobody, said aloud, where it does not start."""
    try:
        return [stack.enter_context(made)]
    except RuntimeError as error:
        sys.stderr.write(f"Left out: {error}\n")
        return []


def _in_turns(peers: Sequence[Peer], jobs: Sequence[Sequence[Job]]) -> Runs:
    """Each run answered by all, before the next one."""
    runs: Runs = {peer.name: [] for peer in peers}
    for run in jobs:
        for peer in peers:
            runs[peer.name].append(peer.answer(run))
    return runs


def _compared(runs: Runs, batch: int, lengths: str, what: str) -> Iterator[Figure]:
    """The rate against that of each, and the time to the first token against those who answer all at once."""
    targets = _TARGETS | (_MIXED_TARGETS if lengths == "mixed" else {})
    yield from _rates(runs, what, {peer: targets.get((peer, batch)) for peer in runs})
    firsts = {peer: [median(outcome.first_s) for outcome in outcomes] for peer, outcomes in runs.items()}
    yield from _times(firsts, f"{what}: time to the first token")


def _waits(runs: Runs, what: str) -> Iterator[Figure]:
    yield from _rates(runs, what, {})
    p50 = {peer: [median(outcome.first_s) for outcome in outcomes] for peer, outcomes in runs.items()}
    p99 = {peer: [percentile(outcome.first_s, 0.99) for outcome in outcomes] for peer, outcomes in runs.items()}
    yield from _times(p50, f"{what}: time to the first token, p50")
    yield from _times(p99, f"{what}: … p99")


def _rates(runs: Runs, what: str, least: dict[str, float | None]) -> Iterator[Figure]:
    found = {peer: [outcome.rate for outcome in outcomes] for peer, outcomes in runs.items()}
    own = found.pop(Ours.name)
    for peer, its in found.items():
        ratio = least.get(peer)
        spread = min(own), max(own)
        yield Figure(
            f"{what}: rate", median(own), "tokens/s", None, median(its), peer, least_ratio=ratio, spread=spread
        )


def _times(times: dict[str, list[float]], what: str) -> Iterator[Figure]:
    own = times.pop(Ours.name)
    times.pop(Sequential.name, None)  # it answers one: its time to the first token is of another kind
    for peer, its in times.items():
        yield Figure(what, median(own), "s", None, median(its), peer, spread=(min(own), max(own)))


def _jobs(chance: random.Random, scale: Scale, load: Load, lengths: str) -> list[Job]:
    def tokens() -> int:
        return load.tokens if lengths == "uniform" else chance.randint(*load.mixed)

    return [Job(text(chance, chance.randint(*scale.prompt)), tokens()) for _ in range(load.batch)]


def arriving(chance: random.Random, scale: Scale, load: Load, rate: float) -> list[Job]:
    """Answers of mixed lengths, asked for at such times that `rate` tokens a second are wanted."""
    every_s, after_s, jobs = sum(load.arriving) / 2 / rate, 0.0, []
    for _ in range(load.arrivals):
        prompt = text(chance, chance.randint(*scale.prompt))
        jobs.append(Job(prompt, chance.randint(*load.arriving), after_s=after_s))
        after_s += chance.expovariate(1 / every_s)
    return jobs
