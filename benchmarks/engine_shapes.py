"""Other models in the engine: SlimPajama beside its dense twin, rounded weights, and a model that bandwidth bounds."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from benchmarks.engine_apart import Apart
from benchmarks.engine_jobs import Job, text
from benchmarks.engine_peers import llama_120m, ours
from benchmarks.engine_scale import Scale
from benchmarks.figures import Figure, median
from slimpajama.configuration_slimpajama import SlimPajamaConfig
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.presets import preset
from workers.loading import cpu_precision
from workers.passing import in_passing_thread

_AT_ONCE, _PROMPT, _TOKENS = 32, 64, 48
_SPOKEN = 24
_READ_BYTES, _READS = 3 << 29, 3


def sharing(scale: Scale) -> Figure:
    """SlimPajama nano with 32 requests at once, over a model that stores every block that it runs and adds no deltas."""
    slim = preset("nano")
    shape = {**slim.to_dict(), "num_shared_blocks": slim.num_core_layers, "num_repeats": 1, "delta_rank": 0}
    rates: dict[str, list[float]] = {"slim": [], "dense": []}
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(
                Apart.of(ours, partial(_slimpajama, config), _AT_ONCE, 2 * _AT_ONCE * (_PROMPT + _TOKENS))
            )
            for name, config in {"slim": slim, "dense": SlimPajamaConfig(**shape)}.items()
        }
        for run in range(-1, scale.runs):  # the first to learn what steps cost
            chance = random.Random(run)
            jobs = [Job(text(chance, _PROMPT, slim.vocab_size), _TOKENS) for _ in range(_AT_ONCE)]
            for name, engine in engines.items():
                rates[name].append(engine.answer(jobs).rate)
    own, theirs = rates["slim"][1:], rates["dense"][1:]
    return Figure(
        f"SlimPajama nano, {_AT_ONCE} requests: rate",
        median(own),
        "tokens/s",
        None,
        median(theirs),
        "its dense twin",
        least_ratio=0.9,
        spread=(min(own), max(own)),
    )


def _slimpajama(config: SlimPajamaConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = SlimPajamaForCausalLM(config).eval()
    return model.to(cpu_precision(sum(weight.numel() for weight in model.parameters())))


def bandwidth(scale: Scale) -> Figure:
    """The weights that a model of 1.1B reads in a second, with one request, over a read test, in turns."""
    model = _llama_1b_without_weights()
    read_bytes = sum(weight.nbytes for weight in model.parameters()) - model.get_input_embeddings().weight.nbytes
    buffer = in_passing_thread(partial(torch.ones, _READ_BYTES // 8, dtype=torch.int64))
    read, test = [], []
    with Apart.of(ours, _llama_1b, 1, 256) as engine:
        for run in range(-1, scale.runs):
            test.append(in_passing_thread(partial(_read_test, buffer)))
            at_s = engine.answer([Job(text(random.Random(run), 16), _SPOKEN)]).at_s[0]
            read.append(read_bytes * (len(at_s) - 1) / (at_s[-1] - at_s[0]))
    own, theirs = [known / 2**30 for known in read[1:]], [known / 2**30 for known in test[1:]]
    return Figure(
        f"1.1B {str(model.dtype).removeprefix('torch.')}, 1 request: weights read",
        median(own),
        "GiB/s",
        None,
        median(theirs),
        "a read test",
        least_ratio=0.75,
        spread=(min(own), max(own)),
    )


def rounded(scale: Scale, name: str) -> Figure:
    """One request alone with weights of a byte, over the same weights in bfloat16, in turns."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    make = partial(llama_120m, torch.bfloat16)
    with ExitStack() as stack:
        engines = {int8: stack.enter_context(Apart.of(ours, make, 1, 512, int8=int8)) for int8 in rates}
        for run in range(-1, scale.runs):
            job = Job(text(random.Random(run), scale.prompt[0]), _SPOKEN)
            for int8, engine in engines.items():
                at_s = engine.answer([job]).at_s[0]
                rates[int8].append((len(at_s) - 1) / (at_s[-1] - at_s[0]))
    own, theirs = rates[True][1:], rates[False][1:]
    return Figure(
        f"{name}: 1 request, int8 weights: rate after the first token",
        median(own),
        "tokens/s",
        None,
        median(theirs),
        "bfloat16 weights",
        spread=(min(own), max(own)),
    )


def _llama_1b_without_weights() -> PreTrainedModel:
    """TinyLlama's shape."""
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        eos_token_id=None,
        bos_token_id=None,
    )
    with torch.device("meta"):
        model: PreTrainedModel = LlamaForCausalLM(config).to(cpu_precision(1_100_000_000))
    return model


def _llama_1b() -> PreTrainedModel:
    """Its weights are drawn in place, since what they say does not matter."""
    made: Any = _llama_1b_without_weights()
    made.to_empty(device="cpu")
    made.model.rotary_emb = type(made.model.rotary_emb)(made.config)
    for weight in made.parameters():
        weight.data.uniform_(-0.03, 0.03) if weight.dim() > 1 else weight.data.fill_(1)
    model: PreTrainedModel = made.eval()
    return model


def _read_test(buffer: torch.Tensor) -> float:
    """Bytes a second that torch's threads read at best: whole numbers are added, or the largest float is looked for."""
    return max(rate for _ in range(_READS) for rate in _reads(buffer))


def _reads(buffer: torch.Tensor) -> Iterator[float]:
    for read in (buffer.sum, buffer.view(torch.float32).amax):
        began = time.perf_counter()
        read()
        yield buffer.nbytes / (time.perf_counter() - began)
