"""What the engine keeps in memory: its KV beside the formula, and what thousands of requests leave behind.

`python -m benchmarks.engine_memory` measures in a process of its own, and prints JSON.
"""

from __future__ import annotations

import gc
import json
import logging
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import structlog
import torch

from benchmarks.engine_jobs import text
from benchmarks.engine_peers import kv_bytes
from benchmarks.figures import Figure
from benchmarks.processes import python
from core.settings import Settings
from core.values import SamplingParams
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.presets import preset
from workers.engine.request import Engine, EngineRequest
from workers.engine.slot_forward import SlotForward
from workers.engine.slots import SlotEngine
from workers.loading import set_threads

_AT_ONCE, _REQUESTS, _WARM = 32, 2000, 200
_POOL_TOKENS = 8192
_CANCELLED = 4
"""One of so many is cancelled, after its third token."""


def memory() -> Iterator[Figure]:
    """What the pool's tensors take, over the formula, and the memory in use after all requests, over that after some."""
    with python("benchmarks.engine_memory", env={}, stdout=subprocess.PIPE) as process:
        found = json.loads(process.stdout.readline())
    yield Figure(
        f"SlimPajama micro: memory that KV of {found['tokens']:,} tokens takes",
        found["kv_bytes"] / 2**20,
        "MiB",
        None,
        found["formula_bytes"] / 2**20,
        "2 × layers × heads × head size × bytes, a token",
        most_ratio=1.1,
    )
    yield Figure(
        f"SlimPajama micro: memory in use after {_REQUESTS:,} requests, one of {_CANCELLED} cancelled",
        found["after_bytes"] / 2**20,
        "MiB",
        None,
        found["warm_bytes"] / 2**20,
        f"after {_WARM}",
        most_ratio=1.05,
    )


def _measured() -> dict[str, int]:
    """The pool is full of kept answers long before the memory is looked at for the first time."""
    torch.manual_seed(0)
    model = SlimPajamaForCausalLM(preset("micro")).eval()
    forward = SlotForward(model)
    engine = SlotEngine(forward, max_batch_size=_AT_ONCE, context_tokens=1024, kv_tokens=_POOL_TOKENS)
    chance = random.Random(0)
    try:
        _answer(engine, chance, range(_WARM))
        warm_bytes = _resident()
        _answer(engine, chance, range(_WARM, _REQUESTS))
        after_bytes = _resident()
    finally:
        engine.close()
    pool = forward.pool
    assert pool is not None
    return {
        "tokens": pool.tokens,
        "kv_bytes": sum(kv.untyped_storage().nbytes() for kv in (*pool.keys, *pool.values)),
        "formula_bytes": pool.tokens * kv_bytes(model),
        "warm_bytes": warm_bytes,
        "after_bytes": after_bytes,
    }


def _answer(engine: Engine, chance: random.Random, numbers: range) -> None:
    """Requests of random lengths, so many at a time that some always wait."""
    prompts = {number: text(chance, chance.randint(16, 64), 8192) for number in numbers}
    with ThreadPoolExecutor(_AT_ONCE + _AT_ONCE // 4) as readers:
        list(readers.map(lambda number: _read(engine, number, prompts[number]), numbers))


def _read(engine: Engine, number: int, prompt: tuple[int, ...]) -> None:
    params = SamplingParams(temperature=1.0, max_new_tokens=8 + number % 17)
    request = engine.submit(EngineRequest(str(number), prompt, params))
    for count, _ in enumerate(request, 1):
        if count == 3 and number % _CANCELLED == 0:
            engine.cancel(str(number))


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    set_threads(Settings().threads)
    sys.stdout.write(json.dumps(_measured()) + "\n")
