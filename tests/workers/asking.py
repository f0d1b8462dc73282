"""Asking an engine, what transformers itself would say, and requests that come and go as a property test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from core.values import FinishReason, SamplingParams
from workers.engine.lookup import Price
from workers.engine.pool import KvPool
from workers.engine.request import Engine, EngineRequest, KvScope, Request
from workers.engine.slots import SlotEngine

EOS = frozenset({2})
FOREVER = frozenset[int]()
"""Nothing stops an answer but its length."""

SYSTEM = tuple(range(10, 34))
WAIT_S = 20.0

MakeSlots = Callable[..., SlotEngine]


def greedy(max_new_tokens: int = 8) -> SamplingParams:
    return SamplingParams(temperature=0, max_new_tokens=max_new_tokens)


def ask(name: str, token_ids: tuple[int, ...], params: SamplingParams, **options: Any) -> EngineRequest:
    return EngineRequest(name, token_ids, params, stop_ids=options.pop("stop_ids", EOS), **options)


def answer(engine: SlotEngine, token_ids: Sequence[int], scope: KvScope | None, tokens: int = 8) -> Request:
    """A request that has ended, with its answer in `got`."""
    asked = ask(
        f"{scope} {len(token_ids)} {time.monotonic()}", tuple(token_ids), greedy(tokens), scope=scope, stop_ids=FOREVER
    )
    request = engine.submit(asked)
    request.got = list(request)  # type: ignore[attr-defined]
    return request


def left_over(pool: KvPool) -> int:
    """The positions in no slot that hold something."""
    used = torch.zeros(pool.tokens, dtype=torch.bool)
    for slot in pool._slots:
        used[slot.start : slot.end] = True
    held = torch.stack([kv.ne(0).any(dim=2).any(dim=0) for kv in (*pool.keys, *pool.values)]).any(dim=0)
    return int((held & ~used).sum())


def reference(model: PreTrainedModel, token_ids: tuple[int, ...], max_new_tokens: int) -> list[int]:
    """What transformers itself generates."""
    ids = torch.tensor([token_ids])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=2
    )
    new = out[0, len(token_ids) :].tolist()
    return new[:-1] if new and new[-1] == 2 else new


class Free(Price):
    """Guesses cost nothing: whatever can be guessed is."""

    def room(self, rows: int) -> int:
        return 16

    def of(self, rows: int) -> float:
        return 0.0


@dataclass(frozen=True)
class Asked:
    """A request that comes after so many tokens of the one before it, and is perhaps cancelled after so many of its own.

    It is greedy unless `sampling` says otherwise.
    """

    token_ids: tuple[int, ...]
    max_new_tokens: int
    after: int = 0
    cancel: int | None = None
    scope: KvScope | None = None
    sampling: SamplingParams = SamplingParams(temperature=0)

    @property
    def params(self) -> SamplingParams:
        """Its sampling parameters."""
        return self.sampling.model_copy(update={"max_new_tokens": self.max_new_tokens})


def answered_as_transformers_does(model: PreTrainedModel, engine: Engine, asked: list[Asked]) -> None:
    """Every request gets what it would get alone from `generate`, or a beginning of it where it is cancelled."""
    answered_as(lambda one: reference(model, one.token_ids, one.max_new_tokens), engine, asked)


def answered_as(expected: Callable[[Asked], list[int]], engine: Engine, asked: list[Asked]) -> None:
    """Every request gets what is expected, or a beginning of it where it is cancelled."""
    readers = []
    for index, one in enumerate(asked):
        request = engine.submit(ask(f"{index}", one.token_ids, one.params, scope=one.scope))
        readers.append(_Reader(engine, request, one))
        readers[-1].thread.start()
        assert readers[-1].arrived.wait(WAIT_S)
    for reader in readers:
        reader.thread.join(WAIT_S)
        reader.check(expected(reader.asked))


class _Reader:
    def __init__(self, engine: Engine, request: Request, asked: Asked) -> None:
        self.asked, self.arrived = asked, threading.Event()
        self.thread = threading.Thread(target=self._read)
        self._engine, self._request, self._got = engine, request, list[int]()

    def check(self, expected: list[int]) -> None:
        finish = self._request.finish
        assert finish is not None
        if finish.reason is FinishReason.CANCELLED:
            assert self.asked.cancel is not None and self._got == expected[: len(self._got)]
        else:
            assert self._got == expected
            full = len(expected) == self.asked.max_new_tokens
            assert finish.reason is (FinishReason.LENGTH if full else FinishReason.STOP)

    def _read(self) -> None:
        try:
            self._come_on(0)
            for token_id in self._request:
                self._got.append(token_id)
                self._come_on(len(self._got))
        finally:
            self.arrived.set()

    def _come_on(self, count: int) -> None:
        if count == self.asked.cancel:
            self._engine.cancel(self._request.asked.request_id)
        if count == self.asked.after:
            self.arrived.set()
