"""Other models in the engine: SlimPajama beside its dense twin, and a model that the memory's bandwidth bounds."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from benchmarks.engine_jobs import Job, text
from benchmarks.engine_lookup import Never
from benchmarks.engine_peers import Ours
from benchmarks.engine_scale import Scale
from benchmarks.figures import Figure, median
from slimpajama.configuration_slimpajama import SlimPajamaConfig
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.presets import preset
from workers.loading import cpu_precision

_AT_ONCE, _PROMPT, _TOKENS = 32, 64, 48
_SPOKEN = 24
_READ_BYTES, _READS = 3 << 29, 3


def sharing(scale: Scale) -> Figure:
    """SlimPajama nano with 32 requests at once, over a model that stores every block that it runs and adds no deltas.

    Nothing is guessed: what random weights say can be guessed by chance, more with one model than with the other.
    """
    slim = preset("nano")
    shape = {**slim.to_dict(), "num_shared_blocks": slim.num_core_layers, "num_repeats": 1, "delta_rank": 0}
    rates: dict[str, list[float]] = {"slim": [], "dense": []}
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(
                Ours.of(_slimpajama(config), _AT_ONCE, 2 * _AT_ONCE * (_PROMPT + _TOKENS), price=Never())
            )
            for name, config in {"slim": slim, "dense": SlimPajamaConfig(**shape)}.items()
        }
        for run in range(-1, scale.runs):  # the first to learn what steps cost
            chance = random.Random(run)
            jobs = [Job(text(chance, _PROMPT, slim.vocab_size), _TOKENS) for _ in range(_AT_ONCE)]
            for name, engine in engines.items():
                rates[name].append(engine.answer(jobs).rate)
    ours, theirs = rates["slim"][1:], rates["dense"][1:]
    return Figure(
        f"SlimPajama nano, {_AT_ONCE} requests: rate",
        median(ours),
        "tokens/s",
        None,
        median(theirs),
        "its dense twin",
        least_ratio=0.9,
        spread=(min(ours), max(ours)),
    )


def _slimpajama(config: SlimPajamaConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = SlimPajamaForCausalLM(config).eval()
    return model.to(cpu_precision(sum(weight.numel() for weight in model.parameters())))


def bandwidth(scale: Scale) -> Figure:
    """The weights that a model of 1.1B reads in a second, with one request and no guesses, over a read test, in turns."""
    model = _llama_1b()
    read_bytes = sum(weight.nbytes for weight in model.parameters()) - model.get_input_embeddings().weight.nbytes
    buffer = torch.ones(_READ_BYTES // 8, dtype=torch.int64)
    read, test = [], []
    with Ours.of(model, 1, 256, price=Never()) as engine:
        for run in range(-1, scale.runs):
            test.append(_read_test(buffer))
            at_s = engine.answer([Job(text(random.Random(run), 16), _SPOKEN)]).at_s[0]
            read.append(read_bytes * (len(at_s) - 1) / (at_s[-1] - at_s[0]))
    ours, theirs = [known / 2**30 for known in read[1:]], [known / 2**30 for known in test[1:]]
    return Figure(
        f"1.1B {str(model.dtype).removeprefix('torch.')}, 1 request: weights read",
        median(ours),
        "GiB/s",
        None,
        median(theirs),
        "a read test",
        least_ratio=0.75,
        spread=(min(ours), max(ours)),
    )


def _llama_1b() -> PreTrainedModel:
    """TinyLlama's shape; its weights are drawn in place, since what they say does not matter."""
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
        made: Any = LlamaForCausalLM(config).to(cpu_precision(1_100_000_000))
    made.to_empty(device="cpu")
    made.model.rotary_emb = type(made.model.rotary_emb)(config)
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
