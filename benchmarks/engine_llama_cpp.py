"""llama.cpp on the very same weights: its batch interface, and continuous batching as its server does it.

Knows llama-cpp-python and gguf, which only the extra `peers` installs; a model is measured only after its logits agree.
"""

from __future__ import annotations

import ctypes
import importlib.util
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from benchmarks.engine_jobs import Job, Outcome, until
from benchmarks.engine_peers import llama_120m

_CHUNK = 512
"""Tokens of a pass at most."""

_PROBE = tuple(range(100, 164))
_ERROR = 0.05
"""The logits' difference may be so large beside the logits; bfloat16 rounds in other places there."""

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@contextmanager
def llama_cpp(dtype: torch.dtype, folder: Path, batch: int, tokens: int) -> Iterator[LlamaCpp]:
    """llama.cpp for `batch` jobs of `tokens` tokens each."""
    with LlamaCpp.of(llama_120m(dtype), folder, batch, tokens) as made:
        yield made


def missing() -> str | None:
    """Which package it lacks here; None where it can be measured."""
    names = {"llama_cpp": "llama-cpp-python", "gguf": "gguf"}
    return next((name for module, name in names.items() if importlib.util.find_spec(module) is None), None)


def write_gguf(model: PreTrainedModel, path: Path) -> None:
    """Write a Llama whose embeddings are tied, in its own precision and without a vocabulary."""
    import gguf

    config: Any = model.config
    kind = {
        torch.bfloat16: gguf.GGMLQuantizationType.BF16,
        torch.float32: gguf.GGMLQuantizationType.F32,
    }[model.dtype]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    for name, tensor in _tensors(model):
        if tensor.dim() == 1:
            writer.add_tensor(name, tensor.float().numpy())  # its norms are in float32
        else:
            writer.add_tensor(name, tensor.contiguous().view(torch.uint8).numpy(), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(model: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    config, weights = model.config, model.state_dict()
    yield "token_embd.weight", weights["model.embed_tokens.weight"]
    yield "output_norm.weight", weights["model.norm.weight"]
    for layer in range(config.num_hidden_layers):
        for name, its_name in _NAMES.items():
            weight = weights[f"model.layers.{layer}.{name}.weight"]
            if its_name == "attn_q":
                weight = _interleaved(weight, config.num_attention_heads)
            elif its_name == "attn_k":
                weight = _interleaved(weight, config.num_key_value_heads)
            yield f"blk.{layer}.{its_name}.weight", weight


def _interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """It turns neighbours by an angle where transformers turns halves: (heads, 2, D/2, ·) to (heads, D/2, 2, ·)."""
    return weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


@dataclass(slots=True)
class _Sequence:
    """A job that is being answered, in a place of its own."""

    job: Job
    place: int
    read: int = 0
    """So many tokens of the prompt are in a pass."""
    last: int = 0
    at_s: list[float] = field(default_factory=list)


class LlamaCpp:
    """A context of llama.cpp, all sequences in one KV cache."""

    name = "llama.cpp"

    def __init__(self, context: Any, batch: int, vocabulary: int) -> None:
        import llama_cpp

        self._api: Any = llama_cpp
        self._context, self._places, self._vocabulary = context, batch, vocabulary
        self._pass = _Pass(llama_cpp)

    @classmethod
    @contextmanager
    def of(cls, model: PreTrainedModel, folder: Path, batch: int, tokens: int) -> Iterator[LlamaCpp]:
        """A context for `batch` jobs of `tokens` tokens each, of the weights of `model`. Raises where it says otherwise."""
        import llama_cpp as api

        path = folder / "model.gguf"
        if not path.exists():
            write_gguf(model, path)
        api.llama_log_set(_SILENT, ctypes.c_void_p(0))
        loaded = api.llama_model_load_from_file(str(path).encode(), api.llama_model_default_params())
        params = api.llama_context_default_params()
        params.n_ctx, params.n_seq_max = -(-batch * tokens // 256) * 256, batch
        params.n_batch = params.n_ubatch = _CHUNK
        params.n_threads = params.n_threads_batch = torch.get_num_threads()
        params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.kv_unified = True
        context = api.llama_init_from_model(loaded, params)
        peer = cls(context, batch, model.config.vocab_size)
        try:
            peer.check(model)
            yield peer
        finally:
            peer.close()
            api.llama_free(context)
            api.llama_model_free(loaded)

    @torch.inference_mode()
    def check(self, model: Any) -> None:
        """Compare the logits behind a prompt, and behind some tokens more, each with a step of its own."""
        wanted = model(torch.tensor([_PROBE])).logits[0].float().numpy()
        self._pass.clear()
        for position, token in enumerate(_PROBE):
            compared = position in {0, *range(len(_PROBE) - 4, len(_PROBE))}
            self._pass.add(token, position, 0, last=compared)
            if compared:
                found = self._run()[0]
                error = float(np.linalg.norm(found - wanted[position]) / np.linalg.norm(wanted[position]))
                if error > _ERROR:
                    raise RuntimeError(f"llama.cpp measures another model: its logits differ by {error:.0%}.")
        self._api.llama_memory_clear(self._api.llama_get_memory(self._context), False)

    def answer(self, jobs: Sequence[Job]) -> Outcome:
        """Answer all of them: each pass has a token of whoever is being answered, then prompts as far as there is room."""
        began, waiting, running = time.perf_counter(), deque(jobs), list[_Sequence]()
        free, times = list(range(self._places)), list[list[float]]()
        while waiting or running:
            if not running:
                until(began + waiting[0].after_s)
            while free and waiting and began + waiting[0].after_s <= time.perf_counter():
                running.append(_Sequence(waiting.popleft(), free.pop()))
                times.append(running[-1].at_s)
            self._step(running, began)
            for ended in [known for known in running if len(known.at_s) == known.job.tokens]:
                running.remove(ended)
                free.append(ended.place)
                self._api.llama_memory_seq_rm(self._api.llama_get_memory(self._context), ended.place, -1, -1)
        return Outcome(time.perf_counter() - began, times)

    def _step(self, running: Sequence[_Sequence], began: float) -> None:
        said = self._fill(running)
        token_ids = self._run().argmax(axis=1)
        now = time.perf_counter() - began
        for known, token_id in zip(said, token_ids, strict=True):
            known.last = int(token_id)
            known.at_s.append(now - known.job.after_s)

    def _fill(self, running: Sequence[_Sequence]) -> list[_Sequence]:
        """Put what is next into the pass. Returns who gets a token of it, in the order of the logits."""
        said = [known for known in running if known.at_s]
        for known in said:
            self._pass.add(known.last, len(known.job.token_ids) + len(known.at_s) - 1, known.place, last=True)
        for known in running:
            prompt = known.job.token_ids
            end = min(len(prompt), known.read + self._pass.room)
            for position in range(known.read, end):
                self._pass.add(prompt[position], position, known.place, last=position == len(prompt) - 1)
            if known.read < end == len(prompt):
                said.append(known)
            known.read = end
        return said

    def _run(self) -> Any:
        """Run the pass. Returns the logits that were asked for (W, V), in the order in which they were."""
        if self._api.llama_decode(self._context, self._pass.batch):
            raise RuntimeError("llama.cpp cannot make a step.")
        rows = self._pass.asked
        self._pass.clear()
        if not rows:
            return np.empty((0, self._vocabulary))
        return np.ctypeslib.as_array(self._api.llama_get_logits(self._context), (rows, self._vocabulary))

    def close(self) -> None:
        """Free the pass."""
        self._api.llama_batch_free(self._pass.batch)


class _Pass:
    """The tokens of one pass."""

    def __init__(self, api: Any) -> None:
        self.batch = api.llama_batch_init(_CHUNK, 0, 1)
        self.asked = 0

    @property
    def room(self) -> int:
        """For so many tokens more."""
        return int(_CHUNK - self.batch.n_tokens)

    def add(self, token_id: int, position: int, place: int, *, last: bool) -> None:
        """Another token of a sequence. The logits behind it are wanted if it is the `last` one known."""
        batch, index = self.batch, self.batch.n_tokens
        batch.token[index], batch.pos[index] = token_id, position
        batch.n_seq_id[index], batch.seq_id[index][0] = 1, place
        batch.logits[index] = last
        batch.n_tokens = index + 1
        self.asked += last

    def clear(self) -> None:
        """Begin the next one."""
        self.batch.n_tokens = self.asked = 0


_SILENT = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda level, said, data: None)
