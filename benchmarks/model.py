"""What the model itself costs: SlimPajama nano beside dense models, by precision, batch and compiled or not.

All in one process, in turns, with random weights; medians. `equal shape` is the dense model of as many layers, `equal
parameters` the one of as many stored weights. Prompts have 256 tokens; a decoded token follows such a prompt.
"""

from __future__ import annotations

import copy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, StaticCache

from benchmarks.figures import Figure, median
from core.settings import Settings
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.names import NAME
from slimpajama.presets import preset
from workers.loading import set_threads

PROMPT, DECODED = 256, 16
_DENSE: dict[str, Any] = {"num_repeats": 1, "delta_rank": 0, "depth_embedding": False}
MODELS: dict[str, dict[str, Any]] = {
    "SlimPajama": {},
    "dense, equal shape": _DENSE | {"num_shared_blocks": 9},
    "dense, equal parameters": _DENSE | {"num_shared_blocks": 3, "intermediate_size": 1624},
}
_TEXT = (
    "The shop opens at nine in the morning. 商店早上九点开门。 Once upon a time there was a king who had three sons."
)


def measure(*, quick: bool) -> Iterator[Figure]:
    """Prefill and decode, then compiled, int8, sparse rows and memory."""
    set_threads(Settings().threads)
    runs, batches = (3, (1, 8)) if quick else (7, (1, 8, 32))
    models = {name: made(name) for name in MODELS}
    for dtype in _precisions():
        cast = {name: copy.deepcopy(model).to(dtype) for name, model in models.items()}
        for batch in batches:
            yield from _against(cast, f"nano {_name(dtype)}, {batch} at once", batch, runs)
    yield from _int8(models["SlimPajama"], runs)
    if not quick:
        yield from _compiled(models["SlimPajama"], batches, runs)
    yield from _sparse(runs)
    yield from _memory()


def made(name: str) -> SlimPajamaForCausalLM:
    """One of the models, with random weights."""
    torch.manual_seed(0)
    return SlimPajamaForCausalLM(preset("nano", **MODELS[name])).eval()


def _precisions() -> tuple[torch.dtype, ...]:
    return (torch.float32, torch.bfloat16)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _against(models: dict[str, Any], what: str, batch: int, runs: int) -> Iterator[Figure]:
    """Tokens a second of SlimPajama over the others."""
    took: dict[tuple[str, str], list[float]] = {}
    for _ in range(runs + 1):
        for name, model in models.items():
            prefill, decode = _timed(model, batch)
            took.setdefault((name, "prompt"), []).append(batch * PROMPT / prefill)
            took.setdefault((name, "decoded"), []).append(batch * DECODED / decode)
    own, *others = models
    for phase in ("prompt", "decoded"):
        rates = took[own, phase][1:]
        for other in others:
            yield Figure(
                f"{what}: {phase} tokens", median(rates), "tokens/s", None, median(took[other, phase][1:]), other,
                spread=(min(rates), max(rates)),
            )  # fmt: skip


@torch.inference_mode()
def _timed(model: Any, batch: int, cache: Any = None) -> tuple[float, float]:
    """Seconds for a prompt of each row, and for DECODED further tokens of each."""
    ids = torch.randint(3, 8000, (batch, PROMPT), generator=torch.Generator().manual_seed(1))
    cache = DynamicCache() if cache is None else cache
    began = time.perf_counter()
    logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    between = time.perf_counter()
    for _ in range(DECODED):
        chosen = logits[:, -1].argmax(-1, keepdim=True)
        logits = model(input_ids=chosen, past_key_values=cache, use_cache=True).logits
    return between - began, time.perf_counter() - between


class _Int8(nn.Module):
    """A linear layer whose weights are bytes with a scale a row; for bfloat16 inputs."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        self.scales = (weight.abs().amax(1) / 127).clamp(min=1e-8)
        self.weight = (weight / self.scales[:, None]).round().to(torch.int8)
        self.scales = self.scales.to(torch.bfloat16)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        rows = x.reshape(-1, x.shape[-1])
        out: Tensor = torch.ops.aten._weight_int8pack_mm(rows, self.weight, self.scales).view(*x.shape[:-1], -1)  # noqa: SLF001
        return out if self.bias is None else out + self.bias


def in_int8(model: nn.Module) -> nn.Module:
    """A copy in bfloat16 whose linear layers are `_Int8`."""
    made = copy.deepcopy(model).to(torch.bfloat16)
    for module in list(made.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, _Int8(child))
    return made


def _int8(model: SlimPajamaForCausalLM, runs: int) -> Iterator[Figure]:
    """Weights of a byte against bfloat16 and float32, one request alone."""
    models: dict[str, Any] = {
        "int8 weights": in_int8(model), "bfloat16": copy.deepcopy(model).to(torch.bfloat16), "float32": model,
    }  # fmt: skip
    yield from _against(models, "nano with int8 weights, 1 at once", 1, runs)


def _compiled(model: SlimPajamaForCausalLM, batches: tuple[int, ...], runs: int) -> Iterator[Figure]:
    """Decoding with one compiled graph and a cache that never grows, against the same cache as it is."""
    plain = copy.deepcopy(model)
    quick: Any = copy.deepcopy(model)
    quick.forward = torch.compile(quick.forward, dynamic=False)
    for batch in batches:
        rates: dict[bool, list[float]] = {True: [], False: []}
        for run in range(runs + 2):  # the first ones compile
            for compiled in (True, False):
                cache = StaticCache(config=model.config, max_batch_size=batch, max_cache_len=PROMPT + DECODED)
                seconds = _timed(quick if compiled else plain, batch, cache)[1]
                if run > 1:
                    rates[compiled].append(batch * DECODED / seconds)
        yield Figure(
            f"nano float32, {batch} at once: decoded tokens, compiled", median(rates[True]), "tokens/s", None,
            median(rates[False]), "not compiled", spread=(min(rates[True]), max(rates[True])),
        )  # fmt: skip


def _sparse(runs: int) -> Iterator[Figure]:
    """How many hidden rows of the shipped checkpoint's feed-forward are zero, and what leaving them out would bring."""
    model: Any = AutoModelForCausalLM.from_pretrained(NAME).float().eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(NAME)
    zeros: list[float] = []
    hooks = [
        block.down_proj.register_forward_hook(lambda _, given, __: zeros.append(float((given[0] == 0).float().mean())))
        for block in model.model.blocks
    ]
    with torch.inference_mode():
        model(input_ids=tokenizer(_TEXT, return_tensors="pt").input_ids)
    for hook in hooks:
        hook.remove()
    share = statistics.mean(zeros)
    yield Figure("shipped checkpoint: hidden rows that ReLU leaves zero", 100 * share, "%")
    config = preset("nano")
    down = torch.randn(config.hidden_size, config.intermediate_size)
    turned = down.T.contiguous()
    row = torch.randn(config.intermediate_size)
    row[torch.randperm(config.intermediate_size)[: int(share * len(row))]] = 0
    whole = _best(lambda: nn.functional.linear(row[None], down), 200 * runs)
    left_out = _best(lambda: _without_zeros(row, turned), 200 * runs)
    name = "nano float32: one row times the feed-forward's second matrix, without its zero rows"
    yield Figure(name, 1e6 * left_out, "µs", None, 1e6 * whole, "all rows")


def _without_zeros(row: Tensor, turned: Tensor) -> Tensor:
    live = row.nonzero().squeeze(1)
    return row[live] @ turned[live]


@torch.inference_mode()
def _best(work: Callable[[], Any], times: int) -> float:
    """The median seconds of `work`."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return median(took)


def _memory() -> Iterator[Figure]:
    """What a process with each model takes at most while 8 answer, beyond what it took before the model was there."""
    peaks = {name: median([_peak(name) for _ in range(5)]) for name in MODELS}
    own, *others = MODELS
    for other in others:
        yield Figure("nano float32: memory of the model and 8 requests", peaks[own], "MiB", None, peaks[other], other)


def _peak(name: str) -> float:
    code = f"from benchmarks.model import peak_mib; print(peak_mib({name!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def peak_mib(name: str) -> float:
    """In a process of its own: MiB that the model and 8 requests took at most."""
    import psutil

    set_threads(Settings().threads)
    torch.randn(64, 64) @ torch.randn(64, 64)  # torch's own buffers
    before = psutil.Process().memory_info().rss
    _timed(made(name), 8)
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()  # rusage knows the parent's peak too
    peak_kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return peak_kib / 2**10 - before / 2**20


__all__ = ["MODELS", "in_int8", "made", "measure", "peak_mib"]
