"""BatchEngine: today's plain way, for models that cannot run on slots. One batch in a left-padded cache.

Knows order and failures; the tensors are in `forward.py` and `sampling.py`. A step is: drop what was cancelled or is
late, prefill what fits, sample one token for every row, decode. A failure ends the request that caused it; only where no
single one can be named does it end all that are running.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.errors import EngineFailed
from core.values import FinishReason
from workers.engine.forward import KvBatch, ModelForward
from workers.engine.loop import EngineLoop, failure
from workers.engine.request import EngineFinish, Request
from workers.engine.row import Row, RowSampler, unsound

log = structlog.get_logger(__name__)

_PREFILL_TOKENS = 1024
"""Prompt tokens that are prefilled between two decode steps, so that newcomers do not stall the others for long."""


@dataclass(slots=True)
class _Rows:
    """What belongs to the rows of the batch, in the order of its KV."""

    kv: KvBatch
    rows: list[Row] = field(default_factory=list)
    logits: Tensor | None = None  # (B, V) of the next tokens


class BatchEngine(EngineLoop):
    """An Engine of one thread for any model with a plain cache. KV does not outlive its request."""

    def __init__(self, model: PreTrainedModel, *, max_batch_size: int, context_tokens: int) -> None:
        self._forward = ModelForward(model)
        self._batch = _Rows(KvBatch(self._forward))
        self._sampler = RowSampler(self._forward.vocabulary, self._forward.device)
        super().__init__(
            vocabulary=self._forward.vocabulary, max_batch_size=max_batch_size, context_tokens=context_tokens
        )
        self._thread.start()

    def _step(self) -> None:
        self._drop()
        self._forgotten.clear()  # nothing is kept
        self._admit()
        if self._batch.rows:
            self._advance(self._sample())

    def _admit(self) -> None:
        """Prefill waiting requests, each alone, so that a failure is its own."""
        room = _PREFILL_TOKENS
        while room > 0 and len(self._batch.rows) < self._max_batch_size and (request := self._next_waiting()):
            room -= len(request.asked.token_ids)
            self._note_wait(request)
            try:
                self._prefill(request)
            except Exception as error:
                log.exception("A prompt failed.", action="prefill_failed", request_id=request.asked.request_id)
                self._end(request, EngineFinish(FinishReason.ERROR, failure(error)))

    def _prefill(self, request: Request) -> None:
        asked, batch = request.asked, self._batch
        row = Row(request, self._forward.vocabulary, self._forward.device)
        logits, cache = self._forward.prefill(asked.token_ids)
        logits = logits if batch.logits is None else torch.cat([batch.logits, logits])
        batch.kv.join(cache)
        batch.logits = logits
        batch.rows.append(row)

    def _sample(self) -> list[int]:
        """Sample the next id of every row, hand it over, and let the rows leave that end with it. Returns the ids."""
        batch = self._batch
        self._fail_unsound_rows()
        if not batch.rows or batch.logits is None:
            return []
        ids = self._sampler.choose(batch.rows, batch.logits)
        ends = {row.request: end for row, i in zip(batch.rows, ids, strict=True) if (end := row.accept(i))}
        self._note_rate(len(ids))
        going_on = [i for row, i in zip(batch.rows, ids, strict=True) if row.request not in ends]
        self._leave(ends)
        return going_on

    def _fail_unsound_rows(self) -> None:
        """End the rows whose logits are no numbers."""
        batch = self._batch
        if batch.logits is None or not batch.rows:
            return
        end = EngineFinish(FinishReason.ERROR, EngineFailed("The model's logits are not finite."))
        self._leave({row.request: end for row in unsound(batch.rows, batch.logits)})

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
                guilty[row.request] = EngineFinish(FinishReason.ERROR, failure(error))
        return guilty

    def _leave(self, ends: Mapping[Request, EngineFinish]) -> None:
        """Take rows out of the batch and tell their readers."""
        batch = self._batch
        kept = [index for index, row in enumerate(batch.rows) if row.request not in ends]
        if len(kept) < len(batch.rows):
            batch.kv.keep(kept)
            batch.rows = [batch.rows[index] for index in kept]
            batch.logits = batch.logits[kept] if batch.logits is not None and kept else None
        for request, finish in ends.items():
            self._end(request, finish)

    def _reset(self) -> None:
        self._batch = _Rows(KvBatch(self._forward))
