"""Manager: one life of transformers' continuous batching, from its beginning until its thread ends.

Knows its sizes, its names for sampling parameters and its one queue of outputs; knows no order and no reader.
"""

from __future__ import annotations

import logging
import queue
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from transformers import ContinuousBatchingConfig, GenerationConfig, PreTrainedModel

from core.errors import ModelUnavailable
from core.values import SamplingParams
from workers import machine
from workers.engine.forward import CLOSE, ModelForward
from workers.engine.request import EngineRequest
from workers.engine.sampling import COLDEST

_PAGE, _CPU_PAGE = 256, 64
"""Tokens of a page. Flash attention's block tables want the larger one."""
_CPU_STEP_TOKENS = 512
_CPU_SHARE = 0.25
_PROBE_S, _STOP_S = 120.0, 30.0
_ITS_LOGGER = "ContinuousBatchingLogger"
"""It would write token ids of prompts to standard error; what matters is logged by whoever runs this."""
_PROBES = ((3, 1, 4, 1, 5, 9, 2, 6), (2, 7, 1))


class Output(Protocol):
    """All tokens of a request so far, the one that ends it included; `error` where it failed."""

    request_id: str
    generated_tokens: list[int]
    error: str | None

    def is_finished(self) -> bool:
        """Whether nothing more comes."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a manager is for. Without `kv_memory_mib` it takes what is free of a GPU, and of a CPU what it can need."""

    max_batch_size: int
    context_tokens: int
    kv_memory_mib: int = 0

    def of(self, model: PreTrainedModel) -> ContinuousBatchingConfig:
        """The same in transformers' words. Beginnings are not shared: it would be across workspaces, and for ever."""
        on_cpu = model.device.type == "cpu"
        page = _CPU_PAGE if on_cpu else _PAGE
        tokens: int | None = None
        if self.kv_memory_mib:
            tokens = (self.kv_memory_mib << 20) // _token_bytes(model)
        elif on_cpu:
            free = int(_CPU_SHARE * machine.free_bytes())
            tokens = min(self.max_batch_size * (self.context_tokens + page), free // _token_bytes(model))
        return ContinuousBatchingConfig(
            page_size=page,
            num_blocks=None if tokens is None else tokens // page,
            max_batch_tokens=_CPU_STEP_TOKENS if on_cpu else None,
            max_requests_per_batch=self.max_batch_size,
            allow_block_sharing=False,
            per_request_processors=True,
        )


class Manager:
    """A running manager. Raises ModelUnavailable where it cannot run the model, or does not say what the model says."""

    def __init__(self, model: PreTrainedModel, sizes: Sizes) -> None:
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        logging.getLogger(_ITS_LOGGER).setLevel(logging.CRITICAL)
        expected = _Expected(model)
        config = sizes.of(model)
        # Without a value of its own in here, none is taken from a request either.
        sampled = GenerationConfig(
            do_sample=True, temperature=0.5, top_k=50, top_p=0.5, eos_token_id=-1, pad_token_id=0, max_new_tokens=1
        )
        try:
            lm: Any = model  # transformers mixes it in where a type checker does not see it
            self._manager = lm.init_continuous_batching(sampled, config)
            self._manager.warmup()  # makes the cache too, here and not in its thread
            self.kv_tokens = int(self._manager.batch_processor.cache.num_blocks) * config.page_size
        except Exception as error:
            raise ModelUnavailable(f"transformers' manager cannot run {type(model).__name__}: {error}") from error
        self._manager.start()
        try:
            expected.check([self._probed(i, probe) for i, probe in enumerate(_PROBES)])
        except ModelUnavailable:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return bool(self._manager.is_running())

    @property
    def death(self) -> Exception | None:
        """What its thread died of."""
        error: Exception | None = self._manager.background_thread_status.fatal_error
        return error

    def add(self, name: str, asked: EngineRequest) -> bool:
        """Take a request under a name of its own. Whether it was taken: it is not where the thread is dying."""
        return (
            self._manager.add_request(
                list(asked.token_ids),
                request_id=name,
                max_new_tokens=asked.params.max_new_tokens,
                eos_token_id=sorted(asked.stop_ids),
                streaming=True,
                **self._sampling(asked.params),
            )
            is not None
        )

    def cancel(self, name: str) -> None:
        """End a request. It may have said more already, and says no end."""
        self._manager.cancel_request(name)

    def outputs(self, within_s: float, most: int | None = None) -> list[Output]:
        """What comes within a time, as soon as anything does; what is there already after it, `most` of it at most."""
        found: list[Output] = []
        with suppress(queue.Empty):
            found.append(self._said.get(timeout=within_s))
            while most is None or len(found) < most:
                found.append(self._said.get_nowait())
        return found

    def close(self) -> None:
        """End the thread and free its memory."""
        self._manager.stop(block=True, timeout=_STOP_S, hard_stop=True)

    @property
    def _said(self) -> queue.Queue[Output]:
        said: queue.Queue[Output] = self._manager.output_router.output_queue
        return said

    def _sampling(self, params: SamplingParams) -> dict[str, float | int]:
        if params.temperature < COLDEST:
            return {"temperature": 1.0, "top_k": 1, "top_p": 1.0}
        top_k = min(params.top_k or self.vocabulary, self.vocabulary)
        return {"temperature": float(params.temperature), "top_k": top_k, "top_p": float(params.top_p)}

    def _probed(self, number: int, prompt: tuple[int, ...]) -> list[int]:
        """Two tokens, as the manager answers a prompt."""
        asked = EngineRequest(f"probe {number}", prompt, SamplingParams(temperature=0, max_new_tokens=2))
        self.add(asked.request_id, asked)
        give_up = time.monotonic() + _PROBE_S
        while time.monotonic() < give_up:
            alive = self.alive
            for output in self.outputs(0.1):
                if output.is_finished() and output.error is None:
                    return output.generated_tokens
                if output.is_finished():
                    raise ModelUnavailable(f"transformers' manager fails with this model: {output.error}")
            if not alive:
                break
        raise ModelUnavailable("transformers' manager does not answer with this model.")


class _Expected:
    """What the model itself says to the probes, asked before a manager changes how it attends."""

    def __init__(self, model: PreTrainedModel) -> None:
        forward = ModelForward(model)
        self._close = CLOSE.get(model.dtype, 0.1)
        self._logits: list[tuple[Tensor, Tensor]] = []
        for probe in _PROBES:
            first = forward.prefill(probe)[0][0]
            second = forward.prefill((*probe, int(first.argmax())))[0][0]
            self._logits.append((first, second))

    def check(self, said: list[list[int]]) -> None:
        """Raise ModelUnavailable where a token is far from the likeliest one. A near tie may go either way."""
        for tokens, (first, second) in zip(said, self._logits, strict=True):
            same = tokens[0] == int(first.argmax())
            if not self._near(tokens[0], first) or (same and not self._near(tokens[1], second)):
                raise ModelUnavailable("transformers' manager does not say what this model says.")

    def _near(self, token_id: int, logits: Tensor) -> bool:
        gap = float(logits.max() - logits[token_id])
        return gap <= self._close * max(1e-6, float(logits.abs().max()))


def _token_bytes(model: PreTrainedModel) -> int:
    """What the keys and values of a token take."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * model.dtype.itemsize)
