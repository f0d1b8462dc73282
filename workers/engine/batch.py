"""BatchEngine: the plain way, for models that cannot run on slots. Nothing is kept, and prompts are run whole.

Knows order and failures; the tensors are in `forward.py` (one left-padded batch), `apart.py` (a pass a row, for models that
cannot share one) and `sampling.py`. A step is: drop what was cancelled or is late, prefill what fits, sample one token for
every row, decode. A failure ends the request that caused it; only where no single one can be named does it end all that
are running. After a lack of memory all rows are run again from their tokens, fewer at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
import torch
from torch import Tensor

from core.errors import EngineFailed
from core.values import FinishReason
from workers.engine.apart import Apart, ApartForward
from workers.engine.forward import KvBatch, ModelForward
from workers.engine.loop import EngineLoop, failure, is_memory
from workers.engine.request import EngineFinish, EngineStats, Request
from workers.engine.row import Row, RowSampler, unsound

log = structlog.get_logger(__name__)

_PREFILL_TOKENS = 1024
"""Prompt tokens that are prefilled between two decode steps, so that newcomers do not stall the others for long."""
_GOOD_STEPS = 256
"""After so many steps without a lack of memory twice as many rows are tried again."""


class BatchRow(Row):
    """A running request with its tokens, from which it can be begun anew."""

    def __init__(self, request: Request, vocabulary: int, device: torch.device) -> None:
        super().__init__(request, vocabulary, device)
        self.ids = list(request.asked.token_ids)
        self.begun = False

    @property
    def most(self) -> int:
        """So many tokens it may have at its end."""
        return len(self.request.asked.token_ids) + self.request.asked.params.max_new_tokens

    def accept(self, token_id: int) -> EngineFinish | None:
        """Hand a token to the reader. Returns how the request ends, if it ends with it."""
        self.ids.append(token_id)
        return super().accept(token_id)


@dataclass(slots=True)
class _Rows:
    """What belongs to the rows of the batch, in the order of its KV."""

    kv: KvBatch | Apart
    rows: list[BatchRow] = field(default_factory=list)
    logits: Tensor | None = None  # (B, V) of the next tokens


class BatchEngine(EngineLoop):
    """An Engine of one thread for any model. KV does not outlive its request.

    `kv_tokens` bounds the columns of the batch, padding included; 0: nothing does.
    """

    def __init__(
        self, forward: ModelForward | ApartForward, *, max_batch_size: int, context_tokens: int, kv_tokens: int = 0
    ) -> None:
        self._forward, self._kv_tokens = forward, kv_tokens
        self._batch = _Rows(forward.make_batch())
        self._parked: dict[Request, BatchRow] = {}  # those that wait until they are run, or run again
        self._sampler = RowSampler(forward.vocabulary, forward.device)
        self._most_rows, self._good_steps, self._preemptions = max_batch_size, 0, 0
        super().__init__(
            vocabulary=forward.vocabulary,
            max_batch_size=max_batch_size,
            context_tokens=min(context_tokens, kv_tokens or context_tokens),
        )
        self._thread.start()

    def stats(self) -> EngineStats:
        """What is going on right now; the batch is at most as large as memory has allowed of late."""
        return replace(super().stats(), max_batch_size=self._most_rows, preemptions=self._preemptions)

    # The engine thread: everything below runs in it.

    def _step(self) -> None:
        self._drop()
        self._forgotten.clear()  # nothing is kept
        self._admit()
        if self._batch.rows:
            self._advance(self._sample())
            self._grow()

    def _admit(self) -> None:
        """Prefill waiting requests, each alone, so that a failure is its own."""
        room = _PREFILL_TOKENS
        while room > 0 and len(self._batch.rows) < self._most_rows and (request := self._next_waiting()):
            try:
                row = self._parked.get(request) or self._new_row(request)
                if not self._fits(row):
                    self._put_back(request)
                    return
                room -= len(row.ids)
                self._prefill(row)
            except Exception as error:
                if is_memory(error) and self._batch.rows:
                    self._put_back(request)
                    self._shrink(len(self._batch.rows))
                    return
                log.exception("A prompt failed.", action="prefill_failed", request_id=request.asked.request_id)
                self._leave({request: EngineFinish(FinishReason.ERROR, failure(error))})

    def _new_row(self, request: Request) -> BatchRow:
        """A row for a request, parked until its prompt is run."""
        row = self._parked[request] = BatchRow(request, self._vocabulary, self._forward.device)
        return row

    def _fits(self, row: BatchRow) -> bool:
        """Whether the batch stays within the KV's bound until its last row ends."""
        longest = max(one.most for one in (*self._batch.rows, row))
        return not self._kv_tokens or (len(self._batch.rows) + 1) * longest <= self._kv_tokens

    def _prefill(self, row: BatchRow) -> None:
        batch = self._batch
        kv: Any  # which this forward's own batch takes
        logits, kv = self._forward.prefill(tuple(row.ids))
        logits = logits if batch.logits is None else torch.cat([batch.logits, logits])
        batch.kv.join(kv)
        batch.logits = logits
        batch.rows.append(row)
        self._parked.pop(row.request)
        if not row.begun:
            row.begun = True
            self._note_wait(row.request)

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
            batch.logits = batch.kv.decode(ids)
        except Exception as error:
            log.warning("A decode step failed.", action="decode_failed", rows=len(ids), error=repr(error))
            if is_memory(error) and len(ids) > 1:
                self._run_again(max(1, len(ids) // 2))
                return
            guilty = self._guilty(ids)
            if not guilty:
                raise
            ids = [i for row, i in zip(batch.rows, ids, strict=True) if row.request not in guilty]
            self._leave(guilty)
            if ids:
                batch.logits = batch.kv.decode(ids)

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

    # Memory.

    def _run_again(self, most_rows: int) -> None:
        """Begin all rows anew from their tokens, so many at once; in which state a failed step left them is not asked."""
        rows = self._batch.rows
        self._reset()
        for row in reversed(rows):
            self._parked[row.request] = row
            self._put_back(row.request)
        self._preemptions += len(rows)
        self._shrink(most_rows)

    def _shrink(self, most_rows: int) -> None:
        self._most_rows, self._good_steps = most_rows, 0
        log.warning("There is too little memory for more rows.", action="batch_shrunk", max_batch_size=most_rows)

    def _grow(self) -> None:
        """Try more rows again once it has gone well for long."""
        self._good_steps += 1
        if self._good_steps >= _GOOD_STEPS and self._most_rows < self._max_batch_size:
            self._most_rows, self._good_steps = min(2 * self._most_rows, self._max_batch_size), 0

    def _leave(self, ends: Mapping[Request, EngineFinish]) -> None:
        """Take rows out of the batch and tell their readers."""
        batch = self._batch
        kept = [index for index, row in enumerate(batch.rows) if row.request not in ends]
        if len(kept) < len(batch.rows):
            batch.kv.keep(kept)
            batch.rows = [batch.rows[index] for index in kept]
            batch.logits = batch.logits[kept] if batch.logits is not None and kept else None
        for request, finish in ends.items():
            self._parked.pop(request, None)
            self._end(request, finish)

    def _reset(self) -> None:
        self._batch = _Rows(self._forward.make_batch())
