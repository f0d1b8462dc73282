"""SlotEngine: the engine for all models that keep to transformers' attention interface.

One forward pass a step takes one token of every request that decodes and a chunk of the prompts of those that do not
yet, all in one row; each has its KV in a slot of a pool (`pool.py`, `attention.py`). Knows who gets a slot, who gives it
up, and whose prompt is run next. The oldest request always goes on: where the pool is full, kept slots go first, then
the youngest running request, which is run again from its tokens later.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import DeadlineExceeded, EngineFailed
from core.values import FinishReason
from workers.engine.bounds import Bounds
from workers.engine.lookup import Price
from workers.engine.loop import EngineLoop, failure, is_memory
from workers.engine.pace import LEAST_TOKENS, Pace
from workers.engine.pool import Slot
from workers.engine.prefixes import LEAST, KeptPrefixes, KvReuse, common
from workers.engine.request import EngineFinish, EngineStats, Request
from workers.engine.row import RowSampler, unsound
from workers.engine.slot_forward import SlotForward
from workers.engine.slot_row import Run, SlotRow

log = structlog.get_logger(__name__)

_HEADROOM = 128
"""A slot is made so many tokens longer than what is there: longer ones are moved less often, shorter ones waste less."""


class SlotEngine(EngineLoop):
    """An Engine of one thread on a pool of `kv_tokens`, which bound a request too. `price` says when to guess tokens."""

    def __init__(
        self,
        forward: SlotForward,
        *,
        max_batch_size: int,
        context_tokens: int,
        kv_tokens: int,
        reuse: KvReuse = KvReuse.WORKSPACE,
        headroom_tokens: int = _HEADROOM,
        price: Price | None = None,
    ) -> None:
        self._forward, self._headroom = forward, headroom_tokens
        self._pool = forward.make_pool(kv_tokens)
        self._kept = KeptPrefixes(self._pool, reuse)
        self._rows: list[SlotRow] = []  # by order
        self._parked: dict[Request, SlotRow] = {}
        self._sampler = RowSampler(forward.vocabulary, forward.device)
        self._pace, self._price = Pace(), price or Price()
        self._bounds, self._arrived = Bounds(max_batch_size), 0
        self._told = EngineStats(max_batch_size, 0, 0, 0.0, kv_limit=self._pool.tokens)
        super().__init__(
            vocabulary=forward.vocabulary,
            max_batch_size=max_batch_size,
            context_tokens=min(context_tokens, self._pool.tokens),
        )
        self._thread.start()

    def stats(self) -> EngineStats:
        """What is going on right now; of KV, at the end of the last step."""
        told = self._told
        return replace(
            super().stats(),
            max_batch_size=self._bounds.rows,
            cached_tokens=told.cached_tokens,
            preemptions=told.preemptions,
            kv_tokens=told.kv_tokens,
            kept_tokens=told.kept_tokens,
            kv_limit=told.kv_limit,
            guessed_tokens=told.guessed_tokens,
            right_tokens=told.right_tokens,
        )

    # The engine thread: everything below runs in it.

    def _step(self) -> None:
        self._drop()
        self._forget_kept()
        self._admit()
        runs = self._planned()
        if runs:
            self._advance(runs)
        held = sum(row.slot.length for row in self._rows)
        self._told = replace(self._told, kv_tokens=held, kept_tokens=self._kept.tokens)

    def _forget_kept(self) -> None:
        with self._changed:
            gone, self._forgotten = self._forgotten, set()
        if gone:
            self._kept.forget(gone)

    # Slots: who gets one, who gives it up.

    def _admit(self) -> None:
        """Give slots to those that wait, as long as their prompts can be run soon: then later ones find them in the KV."""
        pending = sum(row.pending for row in self._rows if row.pending > 1)
        most = self._bounds
        while pending < most.tokens and len(self._rows) < most.rows and (request := self._next_waiting()):
            row = self._parked.get(request) or self._new_row(request)
            if row is None:
                continue
            if not self._place(row):
                if not self._rows:  # it has the whole pool for itself: there will never be more room
                    self._leave({request: _failed(EngineFailed("There is no room for its KV."))})
                    continue
                self._parked[request] = row
                self._put_back(request)
                return
            self._parked.pop(request, None)
            self._rows.append(row)
            self._rows.sort(key=lambda row: row.order)
            pending += row.pending

    def _new_row(self, request: Request) -> SlotRow | None:
        """A row for a request; None where it cannot even be begun, and has been told so."""
        self._arrived += 1
        try:
            return SlotRow(request, self._arrived, self._forward.vocabulary, self._forward.device)
        except Exception as error:
            log.exception("A request cannot be begun.", action="row_failed", request_id=request.asked.request_id)
            self._end(request, _failed(error))
            return None

    def _place(self, row: SlotRow) -> bool:
        """Find a slot for a row, with as much of its tokens in it as can be had. Whether there was one."""
        slot = self._slot_for(row)
        if slot is None:
            return False
        row.slot, request = slot, row.request
        if not row.begun:
            row.begun = True
            request.cached_tokens = slot.length
            self._told = replace(self._told, cached_tokens=self._told.cached_tokens + slot.length)
            self._note_wait(request)
        return True

    def _slot_for(self, row: SlotRow) -> Slot | None:
        scope, wanted = row.request.asked.scope, min(len(row.ids) + self._headroom, row.most)
        if not self._kept.fits(wanted):
            return None  # nothing is searched for whoever cannot be placed, again in each step
        ids = np.array(row.ids[:-1], dtype=np.int64)  # the last one is run in any case, for its logits
        kept = self._kept.best(ids, scope)
        running = self._best_running(row, ids)
        if kept is not None and (running is None or kept[1] >= running[1]):
            return self._kept.slot_from(*kept, wanted, scope)
        slot = self._kept.take(wanted)
        if slot is not None and running is not None:
            self._pool.copy(running[0].slot, slot, running[1])
        return slot

    def _best_running(self, row: SlotRow, ids: NDArray[np.int64]) -> tuple[SlotRow, int] | None:
        """The running row with the most tokens in common, and how many."""
        scope, best = row.request.asked.scope, None
        with self._changed:
            unkept = set(self._unkept)
        for other in self._rows:
            if other.request in unkept or not self._kept.reuse.allows(scope, other.request.asked.scope):
                continue
            tokens = common(other.array(), ids)
            if tokens >= LEAST and (best is None or tokens > best[1]):
                best = (other, tokens)
        return best

    def _grow(self, row: SlotRow) -> None:
        """See that one more token fits its slot; the youngest rows give theirs up for it, itself included."""
        while row in self._rows and row.slot.length == row.slot.capacity:
            if not self._kept.widen(row.slot, min(row.slot.length + 1 + self._headroom, row.most)):
                self._preempt(self._rows[-1])

    def _preempt(self, row: SlotRow) -> None:
        """Take a row's slot. It waits before all others, and its tokens are run again."""
        log.info("A request gives up its KV.", action="preempted", request_id=row.request.asked.request_id)
        self._rows.remove(row)
        self._pool.give(row.slot)
        row.slot = Slot(0, 0)
        self._parked[row.request] = row
        self._put_back(row.request)
        self._told = replace(self._told, preemptions=self._told.preemptions + 1)

    # Passes: whose tokens are run, and what comes of it.

    def _planned(self) -> list[Run]:
        """One token of each row that decodes, and as many of the others' as the pace allows, the oldest first."""
        for row in self._rows[: self._bounds.rows]:
            if row.pending == 1:
                self._grow(row)
        rows = self._rows[: self._bounds.rows]
        decoding = [row for row in rows if row.pending == 1]
        newcomers = [row for row in rows if row.pending > 1]
        if not newcomers:
            return self._guessed(decoding)
        room = self._pace.allowance(len(decoding), len(newcomers) + len(self._waiting))
        room, runs = min(room, self._bounds.tokens), [Run(row, 1) for row in decoding]
        for row in newcomers:
            if room > 0:
                runs.append(Run(row, min(row.pending, room)))
                room -= row.pending
        return runs

    def _guessed(self, rows: Sequence[SlotRow]) -> list[Run]:
        """One token of each row, and what may follow it, where looking it up pays."""
        room = min(self._price.room(len(rows)), self._bounds.tokens // len(rows) - 1) if rows else 0
        price = self._price.of(len(rows))
        return [Run(row, 1, row.guess(room, price) if room > 0 else ()) for row in rows]

    def _advance(self, runs: list[Run]) -> None:
        began = time.perf_counter()
        decoding = sum(run.row.sampled > 0 and run.count == 1 for run in runs)
        prompt_tokens = sum(run.count for run in runs) - decoding
        try:
            logits = self._forward([run.piece for run in runs])
        except Exception as error:
            log.exception("A step failed; each request is tried alone.", action="step_failed", rows=len(runs))
            runs, logits = self._one_by_one(runs, error)
        else:
            self._bounds.went_well()
        whole = [run for run in runs if run.whole]
        for run in runs:
            run.row.slot.length += run.count
        if whole:
            self._sample(whole, logits)
        seconds = time.perf_counter() - began
        self._pace.note(decoding, prompt_tokens, seconds)
        if not prompt_tokens:
            self._price.note(decoding, sum(len(run.guess) for run in runs), seconds)

    def _one_by_one(self, runs: Sequence[Run], error: Exception) -> tuple[list[Run], Tensor]:
        """The same step with each row alone, so that only those to blame fail. Passes may be run again: KV is rewritten.

        A row that lacks memory even alone is left out, and run in smaller steps from now on, as long as there are any.
        """
        through, logits, guilty, scarce = [], [], {}, list[Run]()
        for run in (replace(run, guess=()) for run in runs):
            try:
                logits.append(self._forward([run.piece]))
                through.append(run)
            except Exception as its_own:
                if is_memory(its_own) and run.count > LEAST_TOKENS:
                    scarce.append(run)
                    continue
                log.exception("A request failed.", action="row_failed", request_id=run.row.request.asked.request_id)
                guilty[run.row.request] = _failed(its_own)
        for run in scarce:
            self._shrink([run])
        if is_memory(error) and len(through) == len(runs):  # none is to blame alone: they are too many
            self._shrink(runs)
        self._leave(guilty)
        return through, torch.cat(logits) if logits else torch.empty((0, 0))

    def _shrink(self, runs: Sequence[Run]) -> None:
        """These lacked memory together: try smaller steps, or fewer rows, from now on."""
        self._bounds.shrink(len(runs), sum(run.tokens for run in runs))
        log.warning(
            "There is too little memory: the batch is made smaller.",
            action="batch_shrunk",
            max_batch_size=self._bounds.rows,
            step_tokens=self._bounds.tokens,
        )

    def _sample(self, runs: Sequence[Run], logits: Tensor) -> None:
        """Sample the next id of each run's row; where it is what was guessed, the one after that too, and so on."""
        firsts = accumulate((1 + len(run.guess) for run in runs), initial=0)  # where each one's logits begin
        going = [(run.row, first, run.guess) for run, first in zip(runs, firsts, strict=False)]
        before, made = [run.row.slot.length for run in runs], 0
        while going:
            wanted = logits if len(going) == len(logits) else logits[[at for _, at, _ in going]]
            chosen = self._choose([row for row, _, _ in going], wanted)
            made += len(chosen)
            going = [(row, at + 1, guess[1:]) for row, at, guess in going if guess[:1] == (chosen.get(row),)]
            for row, _, _ in going:
                row.slot.length += 1  # it was run already
        self._note_rate(made)
        for run, length in zip(runs, before, strict=True):
            self._judge(run, run.row.slot.length - length)

    def _judge(self, run: Run, right: int) -> None:
        """So many of a run's guesses were what was said."""
        run.row.lookup.note(len(run.guess), right)
        told = self._told
        guessed, right = told.guessed_tokens + len(run.guess), told.right_tokens + right
        self._told = replace(told, guessed_tokens=guessed, right_tokens=right)

    def _choose(self, rows: Sequence[SlotRow], logits: Tensor) -> dict[SlotRow, int | None]:
        """Sample the next id of each row and hand it over; those leave that end with it, and have None here."""
        bad = set(unsound(rows, logits))
        if bad:
            failed = _failed(EngineFailed("The model's logits are not finite."))
            self._leave({row.request: failed for row in bad})
            logits = logits[[row not in bad for row in rows]]
            rows = [row for row in rows if row not in bad]
        if not rows:
            return {}
        ids = self._sampler.choose(rows, logits)
        ends = {row.request: end for row, i in zip(rows, ids, strict=True) if (end := row.accept(i))}
        self._leave(ends)
        return {row: None if row.request in ends else i for row, i in zip(rows, ids, strict=True)}

    def _leave(self, ends: Mapping[Request, EngineFinish]) -> None:
        """Take rows out of the batch, keep what may be of use again, and tell their readers."""
        gone = [row for row in self._rows if row.request in ends]
        self._rows = [row for row in self._rows if row.request not in ends]
        for row in gone:
            self._release(row, ends[row.request])
        for request, finish in ends.items():
            self._parked.pop(request, None)
            self._end(request, finish)

    def _release(self, row: SlotRow, finish: EngineFinish) -> None:
        with self._changed:
            unkept = row.request in self._unkept
        sound = finish.failure is None or isinstance(finish.failure, DeadlineExceeded)
        self._kept.keep(row.slot, row.array(), row.request.asked.scope if sound and not unkept else None)

    def _reset(self) -> None:
        """Begin anew, with nothing kept: the state of a slot cannot be known."""
        self._pool.reset()
        self._kept = KeptPrefixes(self._pool, self._kept.reuse)
        self._rows = []


def _failed(error: Exception) -> EngineFinish:
    return EngineFinish(FinishReason.ERROR, failure(error))
