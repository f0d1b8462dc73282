"""Who answers the engine's benchmark: our engine, and what people use instead, on the same weights.

`engine_apart` runs each in a process of its own; the functions at the end make them there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from transformers import (
    ContinuousBatchingConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    StoppingCriteriaList,
)

from benchmarks.engine_jobs import CONTEXT, Job, Outcome, until
from core.values import SamplingParams
from workers.engine.choice import make_engine
from workers.engine.lookup import Price
from workers.engine.prefixes import KvReuse
from workers.engine.request import Engine, EngineRequest
from workers.passing import in_passing_thread

PAGE = 64


def llama_120m(dtype: torch.dtype) -> PreTrainedModel:
    """Random weights of a Llama of 120M parameters, which never ends an answer by itself."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=768,
        intermediate_size=2432,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_key_value_heads=12,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        eos_token_id=None,
        bos_token_id=None,
    )
    model: PreTrainedModel = LlamaForCausalLM(config).to(dtype).eval()
    return model


def copying_120m(dtype: torch.dtype) -> PreTrainedModel:
    """A model of the same work that says the token after the last one: an answer that can be made to copy its prompt."""
    model = llama_120m(dtype)
    made: Any = type(model)(type(model.config)(**model.config.to_dict() | {"tie_word_embeddings": False}))
    made.load_state_dict(model.state_dict())
    made.lm_head.weight.data = model.get_input_embeddings().weight.detach().roll(1, 0).clone()
    for layer in made.model.layers:
        layer.self_attn.o_proj.weight.data *= 1e-3
        layer.mlp.down_proj.weight.data *= 1e-3
    copier: PreTrainedModel = made.to(model.dtype).eval()
    return copier


class Never(Price):
    """Nothing is guessed."""

    def room(self, rows: int) -> int:
        """None."""
        return 0


class Sequential:
    """`generate`, one request after another: what example code does. `most` jobs stand for all."""

    name = "generate, one after another"

    def __init__(self, model: PreTrainedModel, most: int) -> None:
        self._model, self._most = model, most

    def answer(self, jobs: Sequence[Job]) -> Outcome:
        """Answer the first `most` of them."""
        outcome, began = Outcome(), time.perf_counter()
        for job in jobs[: self._most]:
            watch = _Watch(began)
            _generate(self._model, [job], job.tokens, watch)
            outcome.at_s.append(watch.at_s[: job.tokens])
        outcome.seconds = time.perf_counter() - began
        return outcome


class Static:
    """One left-padded batch with `generate`, as long as its longest answer."""

    name = "static batch"

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    def answer(self, jobs: Sequence[Job]) -> Outcome:
        """Answer all of them; what goes beyond an answer's length does not count."""
        began = time.perf_counter()
        watch = _Watch(began)
        _generate(self._model, jobs, max(job.tokens for job in jobs), watch)
        return Outcome(time.perf_counter() - began, [watch.at_s[: job.tokens] for job in jobs])


class Manager:
    """transformers' continuous batching."""

    name = "transformers' continuous batching"

    def __init__(self, model: PreTrainedModel, manager: Any) -> None:
        self._model, self._manager = model, manager

    @classmethod
    @contextmanager
    def of(cls, model: PreTrainedModel, batch: int, tokens: int) -> Iterator[Manager]:
        """A manager for at most `batch` jobs of `tokens` tokens each."""
        settings = GenerationConfig(do_sample=False, max_new_tokens=tokens, eos_token_id=-1, pad_token_id=0)
        blocks = batch * (-(-tokens // PAGE) + 1)
        sizes = ContinuousBatchingConfig(
            page_size=PAGE, num_blocks=blocks, max_batch_tokens=512, allow_block_sharing=False, use_cuda_graph=False
        )
        manager: Any = model.init_continuous_batching(generation_config=settings, continuous_batching_config=sizes)
        manager.start()
        try:
            yield cls(model, manager)
        finally:
            manager.stop(block=True, timeout=30)

    def answer(self, jobs: Sequence[Job]) -> Outcome:
        """Answer all of them."""
        began, waiting = time.perf_counter(), deque(jobs)
        at_s: dict[str, list[float]] = {}
        arrived_s: dict[str, float] = {}
        left = set[str]()
        while left or waiting:
            while waiting and began + waiting[0].after_s <= time.perf_counter():
                job = waiting.popleft()
                request_id = self._add(job)
                at_s[request_id], arrived_s[request_id] = [], job.after_s
                left.add(request_id)
            result = self._next(began + waiting[0].after_s if waiting else None)
            if result is not None:
                known, now_s = at_s[result.request_id], time.perf_counter() - began - arrived_s[result.request_id]
                known.extend([now_s] * (len(result.generated_tokens) - len(known)))
                if result.is_finished():
                    left.discard(result.request_id)
        return Outcome(time.perf_counter() - began, list(at_s.values()))

    def _add(self, job: Job) -> str:
        name: str = self._manager.add_request(
            list(job.token_ids), max_new_tokens=job.tokens, streaming=True, eos_token_id=-1
        )
        return name

    def _next(self, until_at: float | None) -> Any:
        """What it says next; None when the time has come."""
        result = self._manager.get_result(
            timeout=60 if until_at is None else max(0.001, until_at - time.perf_counter())
        )
        if result is None and until_at is None:
            raise RuntimeError("The manager says nothing any more.")
        return result


class Ours:
    """The engine, read by a thread a request."""

    name = "the engine"

    def __init__(self, engine: Engine) -> None:
        self._engine, self._count = engine, 0
        self.said: list[int] = []
        """The tokens of the request that ended last."""

    @classmethod
    @contextmanager
    def of(
        cls,
        model: PreTrainedModel,
        batch: int,
        kv_tokens: int,
        reuse: KvReuse = KvReuse.WORKSPACE,
        *,
        guesses: bool = False,
        int8: bool = False,
    ) -> Iterator[Ours]:
        """An engine for `batch` jobs at once. What random weights say repeats itself, so that guesses would be too good."""
        mib = -(-kv_tokens * kv_bytes(model) // 2**20)
        engine = make_engine(
            model,
            max_batch_size=batch,
            context_tokens=CONTEXT,
            kv_memory_mib=mib,
            reuse=reuse,
            int8=int8,
            price=None if guesses else Never(),
        )
        try:
            yield cls(engine)
        finally:
            engine.close()

    def answer(self, jobs: Sequence[Job]) -> Outcome:
        """Answer all of them."""
        began = time.perf_counter()
        readers = []
        for job in jobs:
            until(began + job.after_s)
            readers.append(self.begin(job, began + job.after_s))
        at_s = [reader() for reader in readers]
        return Outcome(time.perf_counter() - began, at_s)

    def begin(self, job: Job, began: float) -> Callable[[], list[float]]:
        """Ask for one job. Returns what waits for its end and gives the times of its tokens since `began`."""
        self._count += 1
        params = SamplingParams(temperature=0, max_new_tokens=job.tokens)
        request = self._engine.submit(EngineRequest(str(self._count), job.token_ids, params, scope=job.scope))
        at_s: list[float] = []

        def read() -> None:
            said = []
            for token_id in request:
                at_s.append(time.perf_counter() - began)
                said.append(token_id)
            self.said = said

        thread = threading.Thread(target=read)
        thread.start()

        def end() -> list[float]:
            thread.join()
            return at_s

        return end

    def until_tokens(self, count: int) -> None:
        """Wait until so many more tokens were made."""
        wanted = self._engine.stats().completion_tokens + count
        while self._engine.stats().completion_tokens < wanted:
            time.sleep(0.01)

    def cancel_all(self) -> None:
        """End every request."""
        for number in range(self._count + 1):
            self._engine.cancel(str(number))


def kv_bytes(model: PreTrainedModel) -> int:
    """The bytes of a token's keys and values, by the formula."""
    config = model.config
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * int(config.num_hidden_layers * config.num_key_value_heads * head_size) * model.dtype.itemsize


@contextmanager
def sequential(dtype: torch.dtype, most: int) -> Iterator[Sequential]:
    """`generate`, for the first `most` of its jobs."""
    yield Sequential(llama_120m(dtype), most)


@contextmanager
def static(dtype: torch.dtype) -> Iterator[Static]:
    """A static batch."""
    yield Static(llama_120m(dtype))


@contextmanager
def manager(dtype: torch.dtype, batch: int, tokens: int) -> Iterator[Manager]:
    """transformers' continuous batching, for at most `batch` jobs of `tokens` tokens each."""
    with Manager.of(in_passing_thread(partial(llama_120m, dtype)), batch, tokens) as made:
        yield made


@contextmanager
def ours(make: Callable[[], PreTrainedModel], batch: int, kv_tokens: int, *args: Any, **options: Any) -> Iterator[Ours]:
    """The engine on the model that `make` makes, as a worker begins it. What follows is as in `Ours.of`."""
    with ExitStack() as stack:
        yield in_passing_thread(lambda: stack.enter_context(Ours.of(make(), batch, kv_tokens, *args, **options)))


class _Watch:
    """A stopping criterion of `generate` that stops nothing and notes when tokens come."""

    def __init__(self, began: float) -> None:
        self._began = began
        self.at_s: list[float] = []

    def __call__(self, ids: torch.Tensor, scores: Any, **options: Any) -> torch.Tensor:
        """Another token of every row of `ids` has come."""
        self.at_s.append(time.perf_counter() - self._began)
        return torch.zeros(ids.shape[0], dtype=torch.bool)


def _generate(model: Any, jobs: Sequence[Job], tokens: int, watch: _Watch) -> None:
    width = max(len(job.token_ids) for job in jobs)
    ids = torch.tensor([(0,) * (width - len(job.token_ids)) + job.token_ids for job in jobs])
    mask = torch.tensor([[0] * (width - len(job.token_ids)) + [1] * len(job.token_ids) for job in jobs])
    with torch.inference_mode():
        model.generate(
            ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=tokens,
            pad_token_id=0,
            stopping_criteria=StoppingCriteriaList([watch]),
        )
