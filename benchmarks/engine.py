"""The engine against what people use instead, on a Llama of 120M parameters with random weights.

All answer the same jobs in turn, again and again, each in a process of its own; a figure is the median of the runs. The
precision is the one that a
worker would choose for this model here. Peers of the extra `peers` that are not installed are left out, said aloud.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from benchmarks.engine_conversation import stall, turns
from benchmarks.engine_lookup import lookup
from benchmarks.engine_memory import memory
from benchmarks.engine_rates import rates
from benchmarks.engine_scale import FULL, QUICK
from benchmarks.engine_shapes import bandwidth, rounded, sharing
from benchmarks.engine_whole import whole_path
from benchmarks.figures import Figure
from core.settings import Settings
from workers.loading import cpu_precision, set_threads

_LEFT_OUT = "32 requests, guesses with 8 requests, `transformers serve`, SlimPajama beside its dense twin, the model of 1.1B, memory, and the whole path"


def measure(folder: Path, databases: Iterable[tuple[str, str]], *, quick: bool) -> Iterator[Figure]:
    """Everything in turn. `databases` are URLs with names, for the whole path."""
    scale = QUICK if quick else FULL
    set_threads(Settings().threads)
    dtype = cpu_precision(120_000_000)
    name = f"120M {str(dtype).removeprefix('torch.')}, {torch.get_num_threads()} threads"
    for load in scale.loads:
        yield from rates(dtype, folder, scale, load, name)
    yield from lookup(dtype, scale, name)
    yield turns(dtype, scale, name)
    yield stall(dtype, scale, name)
    if dtype is torch.bfloat16:
        yield rounded(scale, name)
    if not scale.whole:
        sys.stderr.write(f"Left out with --quick: {_LEFT_OUT}.\n")
        return
    yield sharing(scale)
    yield bandwidth(scale)
    yield from memory()
    for url, database in databases:
        yield whole_path(folder, url, database, scale.runs)
