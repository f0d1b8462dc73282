"""BatchEngine: one thread that runs all requests of a process in one batch and lets them join and leave at any step.

Knows requests, order, deadlines and failures; the tensors are in `forward.py` and `sampling.py`. A step is: drop what
was cancelled or is late, prefill what fits, sample one token for every row, decode. A failure ends the request that
caused it; only where no single one can be named does it end all that are running.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

import structlog
import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.errors import AnswerFailed, DeadlineExceeded, EngineFailed, PromptTooLong
from core.values import FinishReason
from workers.engine.forward import KvBatch, ModelForward
from workers.engine.request import EngineFinish, EngineRequest, EngineStats, Request
from workers.engine.sampling import RandomStream, Sampler

log = structlog.get_logger(__name__)

_RATE_WINDOW_S = 10.0
_PREFILL_TOKENS = 1024
"""Prompt tokens that are prefilled between two decode steps, so that newcomers do not stall the others for long."""


@dataclass(slots=True)
class _Row:
    """A running request. `sampled` counts its tokens."""

    request: Request
    stream: RandomStream
    seen: Tensor  # (V,) which ids prompt and answer hold
    sampled: int = 0


@dataclass(slots=True)
class _Rows:
    """What belongs to the rows of the batch, in the order of its KV."""

    kv: KvBatch
    rows: list[_Row] = field(default_factory=list)
    logits: Tensor | None = None  # (B, V) of the next tokens
    sampler: Sampler | None = None


class BatchEngine:
    """An Engine of one thread. `context_tokens` bounds prompt and answer together."""

    def __init__(self, model: PreTrainedModel, *, max_batch_size: int, context_tokens: int) -> None:
        self._forward = ModelForward(model)
        self._max_batch_size = max_batch_size
        self._context_tokens = context_tokens
        self._batch = _Rows(KvBatch(self._forward))
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._open: dict[str, Request] = {}
        self._cancelled: set[str] = set()
        self._draining = self._closing = False
        self._sampled: deque[tuple[float, int]] = deque()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, asked: EngineRequest) -> Request:
        """Take a request. Raises PromptTooLong and EngineFailed where it can never be answered."""
        self._check(asked)
        request = Request(asked)
        with self._changed:
            if self._draining:
                raise EngineFailed("The engine takes nothing more: it is being stopped.")
            if asked.request_id in self._open:
                raise EngineFailed(f"There already is a request {asked.request_id}.")
            self._open[asked.request_id] = request
            self._waiting.append(request)
            self._changed.notify_all()
        return request

    def cancel(self, request_id: str) -> None:
        """End a request within one step. An unknown id is ignored."""
        with self._changed:
            if request_id in self._open:
                self._cancelled.add(request_id)

    def forget(self, conversation_ids: frozenset[int]) -> None:
        """Nothing to do: no KV outlives its request here."""

    def drain(self, timeout_s: float) -> bool:
        """Take nothing more, let what is there end, cancel what has not ended in time. Whether all ended by itself."""
        with self._changed:
            self._draining = True
            ended = self._changed.wait_for(lambda: not self._open, timeout_s)
            self._cancelled.update(self._open)
        return ended

    def stats(self) -> EngineStats:
        """What is going on right now."""
        since = time.monotonic() - _RATE_WINDOW_S
        with self._changed:
            running, waiting = len(self._open) - len(self._waiting), len(self._waiting)
            tokens = sum(count for at, count in self._sampled if at >= since)
        return EngineStats(self._max_batch_size, running, waiting, tokens / _RATE_WINDOW_S)

    def close(self) -> None:
        """Stop the thread. What is still there is cancelled."""
        with self._changed:
            self._draining = self._closing = True
            self._cancelled.update(self._open)
            self._changed.notify_all()
        self._thread.join()

    def _check(self, asked: EngineRequest) -> None:
        if not asked.token_ids:
            raise EngineFailed("The prompt is empty.")
        if min(asked.token_ids) < 0 or max(asked.token_ids) >= self._forward.vocabulary:
            raise EngineFailed(f"The prompt has token ids outside of [0, {self._forward.vocabulary}).")
        limit = self._context_tokens - asked.params.max_new_tokens
        if len(asked.token_ids) > limit:
            raise PromptTooLong(len(asked.token_ids), max(0, limit))

    # The engine thread: everything below runs in it.

    def _run(self) -> None:
        while self._wait():
            try:
                self._step()
            except Exception as error:
                log.exception("The engine failed in a step.", action="engine_step_failed", rows=len(self._batch.rows))
                self._fail_all(error)

    def _wait(self) -> bool:
        """Sleep until there is work. False when it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or self._closing)
            return bool(self._open) or not self._closing

    def _step(self) -> None:
        self._drop()
        self._admit()
        if self._batch.rows:
            self._advance(self._sample())

    def _drop(self) -> None:
        """End what was cancelled or is late, running or waiting."""
        now = time.monotonic()
        with self._changed:
            ends = {r: end for r in self._open.values() if (end := self._end_of(r, now)) is not None}
            self._cancelled.clear()
            self._waiting = deque(r for r in self._waiting if r not in ends)
        self._leave(ends)

    def _end_of(self, request: Request, now: float) -> EngineFinish | None:
        if request.asked.request_id in self._cancelled:
            return EngineFinish(FinishReason.CANCELLED)
        if request.asked.deadline is not None and now >= request.asked.deadline:
            return EngineFinish(FinishReason.ERROR, DeadlineExceeded())
        return None

    def _admit(self) -> None:
        """Prefill waiting requests, each alone, so that a failure is its own."""
        room = _PREFILL_TOKENS
        while room > 0 and len(self._batch.rows) < self._max_batch_size and (request := self._next_waiting()):
            room -= len(request.asked.token_ids)
            try:
                self._prefill(request)
            except Exception as error:
                log.exception("A prompt failed.", action="prefill_failed", request_id=request.asked.request_id)
                self._end(request, EngineFinish(FinishReason.ERROR, _failure(error)))

    def _next_waiting(self) -> Request | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def _prefill(self, request: Request) -> None:
        asked, batch = request.asked, self._batch
        seen = torch.zeros(self._forward.vocabulary, dtype=torch.bool, device=self._forward.device)
        seen[list(set(asked.token_ids))] = True
        row = _Row(request, RandomStream(asked.params.seed), seen)
        logits, cache = self._forward.prefill(asked.token_ids)
        logits = logits if batch.logits is None else torch.cat([batch.logits, logits])
        batch.kv.join(cache)
        batch.logits, batch.sampler = logits, None
        batch.rows.append(row)

    def _sample(self) -> list[int]:
        """Sample the next id of every row, hand it over, and let the rows leave that end with it. Returns the ids."""
        batch = self._batch
        self._fail_unsound_rows()
        if not batch.rows or batch.logits is None:
            return []
        ids = self._sampler().choose(batch.logits, self._seen(), [row.stream for row in batch.rows]).tolist()
        ends = {row.request: end for row, i in zip(batch.rows, ids, strict=True) if (end := _accept(row, i))}
        with self._changed:
            self._note_rate(len(ids))
        going_on = [i for row, i in zip(batch.rows, ids, strict=True) if row.request not in ends]
        self._leave(ends)
        return going_on

    def _sampler(self) -> Sampler:
        if self._batch.sampler is None:
            params = [row.request.asked.params for row in self._batch.rows]
            self._batch.sampler = Sampler(params, self._forward.vocabulary, self._forward.device)
        return self._batch.sampler

    def _seen(self) -> Tensor:
        rows = self._batch.rows
        return torch.stack([row.seen for row in rows]) if self._sampler().penalised else rows[0].seen.unsqueeze(0)

    def _fail_unsound_rows(self) -> None:
        """End the rows whose logits are no numbers."""
        batch = self._batch
        if batch.logits is None or not batch.rows:
            return
        unsound = batch.logits.amax(dim=-1).isfinite().logical_not().tolist()  # NaN wins every comparison of amax
        failure = EngineFailed("The model's logits are not finite.")
        end = EngineFinish(FinishReason.ERROR, failure)
        self._leave({row.request: end for row, bad in zip(batch.rows, unsound, strict=True) if bad})

    def _advance(self, ids: list[int]) -> None:
        """Decode one token for every row; if that raises, without the rows that are to blame."""
        batch = self._batch
        if not ids:
            return
        try:
            batch.logits = self._decode(ids)
        except Exception as error:
            log.warning("A decode step failed.", action="decode_failed", rows=len(ids), error=repr(error))
            guilty = self._guilty(ids)
            if not guilty:
                raise
            ids = [i for row, i in zip(batch.rows, ids, strict=True) if row.request not in guilty]
            self._leave(guilty)
            if ids:
                batch.logits = self._decode(ids)

    def _decode(self, ids: list[int]) -> Tensor:
        return self._batch.kv.decode(torch.tensor(ids, dtype=torch.long, device=self._forward.device))

    def _guilty(self, ids: list[int]) -> dict[Request, EngineFinish]:
        """The rows whose step raises on its own."""
        guilty = {}
        for index, row in enumerate(self._batch.rows):
            try:
                self._batch.kv.decode_alone(index, ids[index])
            except Exception as error:
                log.exception("A request failed.", action="row_failed", request_id=row.request.asked.request_id)
                guilty[row.request] = EngineFinish(FinishReason.ERROR, _failure(error))
        return guilty

    def _leave(self, ends: dict[Request, EngineFinish]) -> None:
        """Take rows out of the batch and tell their readers."""
        batch = self._batch
        kept = [index for index, row in enumerate(batch.rows) if row.request not in ends]
        if len(kept) < len(batch.rows):
            batch.kv.keep(kept)
            batch.rows = [batch.rows[index] for index in kept]
            batch.logits = batch.logits[kept] if batch.logits is not None and kept else None
            batch.sampler = None
        for request, finish in ends.items():
            self._end(request, finish)

    def _end(self, request: Request, finish: EngineFinish) -> None:
        with self._changed:
            self._open.pop(request.asked.request_id, None)
            self._cancelled.discard(request.asked.request_id)  # a later request may have the same id
            self._changed.notify_all()
        request.put(finish)

    def _fail_all(self, error: Exception) -> None:
        running = [row.request for row in self._batch.rows]
        self._batch = _Rows(KvBatch(self._forward))
        for request in running:
            self._end(request, EngineFinish(FinishReason.ERROR, _failure(error)))

    def _note_rate(self, tokens: int) -> None:
        now = time.monotonic()
        self._sampled.append((now, tokens))
        while self._sampled[0][0] < now - _RATE_WINDOW_S:
            self._sampled.popleft()


def _accept(row: _Row, token_id: int) -> EngineFinish | None:
    """Hand a token to the reader. Returns how the request ends, if it ends with it."""
    asked = row.request.asked
    if token_id in asked.stop_ids:
        return EngineFinish(FinishReason.STOP)
    row.sampled += 1
    row.seen[token_id] = True
    row.request.put(token_id)
    return EngineFinish(FinishReason.LENGTH) if row.sampled >= asked.params.max_new_tokens else None


def _failure(error: Exception) -> AnswerFailed:
    if isinstance(error, AnswerFailed):
        return error
    failure = EngineFailed(f"The model raised {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
