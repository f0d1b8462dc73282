"""The engine against what people use instead, on a Llama of 120M parameters with random weights.

All answer the same jobs in turn, again and again; a figure is the median of the runs. The precision is the one that a
worker would choose for this model here. Peers of the extra `peers` that are not installed are left out, said aloud.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.engine_conversation import stall, turns
from benchmarks.engine_lookup import lookup
from benchmarks.engine_peers import copying, llama_120m
from benchmarks.engine_rates import rates
from benchmarks.engine_scale import FULL, QUICK
from benchmarks.figures import Figure
from core.settings import Settings
from workers.loading import cpu_precision, set_threads


def measure(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """Rates and times to the first token, then turns of one conversation, then what a long prompt does to others."""
    scale = QUICK if quick else FULL
    set_threads(Settings().threads)
    dtype = cpu_precision(120_000_000)
    model = llama_120m(dtype)
    name = f"120M {str(dtype).removeprefix('torch.')}, {torch.get_num_threads()} threads"
    for load in scale.loads:
        yield from rates(model, folder, scale, load, name)
    yield from lookup(copying(model), scale, name)
    yield turns(model, scale, name)
    yield stall(model, scale, name)
