"""ManagedEngine: transformers' continuous batching as an Engine.

Its manager (`manager.py`) has a thread of its own, in which whatever goes wrong ends everything, and says nothing of
requests that are cancelled. So each request is checked before it comes there, every one that gets no end from there is
told one here, and where that thread has died another manager is begun. Knows order, ends and tokens; no tensors.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import structlog
import torch
from transformers import PreTrainedModel

from core.errors import EngineFailed
from core.values import FinishReason
from workers.engine.loop import EngineLoop, failure
from workers.engine.manager import Manager, Output, Sizes
from workers.engine.request import EngineFinish, EngineRequest, Request
from workers.engine.row import Row
from workers.passing import in_passing_thread

log = structlog.get_logger(__name__)

_LISTEN_S = 0.02
"""So long the manager is listened to before those who have come, or want to go, are looked at."""


class ManagedEngine(EngineLoop):
    """An Engine over a manager of transformers. No KV outlives its request; a seed is not kept."""

    def __init__(
        self, model: PreTrainedModel, *, max_batch_size: int, context_tokens: int, kv_memory_mib: int = 0
    ) -> None:
        self._model = model
        self._sizes = Sizes(max_batch_size, context_tokens, kv_memory_mib)
        self._manager = Manager(model, self._sizes)
        self._rows: dict[str, Row] = {}  # by the name that the manager knows: none is ever given twice
        self._names = map(str, itertools.count())
        super().__init__(
            vocabulary=self._manager.vocabulary,
            max_batch_size=max_batch_size,
            context_tokens=min(context_tokens, self._manager.kv_tokens),
        )
        self._thread.start()

    def close(self) -> None:
        """Stop both threads. What is still there is cancelled."""
        super().close()
        self._manager.close()

    def _check(self, asked: EngineRequest) -> None:
        super()._check(asked)
        if asked.params.repetition_penalty != 1:
            raise EngineFailed("transformers' manager cannot make repeats less likely: the penalty has to be 1.")

    # The engine thread: everything below runs in it.

    def _step(self) -> None:
        self._drop()
        self._forgotten.clear()  # nothing is kept
        self._admit()
        alive = self._manager.alive  # asked first: what it said before it died is there then
        self._hand_on(self._manager.outputs(_LISTEN_S, most=len(self._rows) if alive else None))
        if not alive:
            self._begin_anew()

    def _admit(self) -> None:
        while len(self._rows) < self._max_batch_size and (request := self._next_waiting()):
            name = next(self._names)
            if not self._manager.add(name, request.asked):
                self._put_back(request)
                return
            self._note_wait(request)
            self._rows[name] = Row(request, self._vocabulary, torch.device("cpu"))

    def _hand_on(self, outputs: list[Output]) -> None:
        """Give each output to its reader, and end those that end with it."""
        made, ends = 0, {}
        for output in outputs:
            row = self._rows.get(output.request_id)
            if row is None:  # it was cancelled, or has ended
                continue
            before = row.sampled
            end = _accept(row, output)
            made += row.sampled - before
            if output.is_finished():
                del self._rows[output.request_id]
            if end is not None:
                ends[row.request] = end
        if outputs:
            self._note_rate(made)
        self._leave(ends)

    def _begin_anew(self) -> None:
        """Another manager for one that has died. What that one had is failed; who waits goes on to the new one."""
        death, open_ = self._manager.death, len(self._rows)
        log.error("transformers' manager died; another is begun.", action="manager_died", open=open_, exc_info=death)
        died = EngineFinish(FinishReason.ERROR, EngineFailed(f"transformers' manager died of {death!r}."))
        ends = {row.request: died for row in self._rows.values()}
        self._rows.clear()
        self._leave(ends)
        self._manager.close()
        try:
            self._manager = in_passing_thread(lambda: Manager(self._model, self._sizes))
        except Exception as error:  # tried again when the next one comes
            log.exception("No other manager can be begun.", action="manager_failed")
            while request := self._next_waiting():
                self._end(request, EngineFinish(FinishReason.ERROR, failure(error)))

    def _leave(self, ends: Mapping[Request, EngineFinish]) -> None:
        """Take requests from the manager, and tell their readers."""
        for name, row in list(self._rows.items()):
            if row.request in ends:
                del self._rows[name]
                self._manager.cancel(name)
        for request, finish in ends.items():
            self._end(request, finish)

    def _reset(self) -> None:
        for name in self._rows:
            self._manager.cancel(name)
        self._rows.clear()


def _accept(row: Row, output: Output) -> EngineFinish | None:
    """Hand the tokens of an output to the reader. Returns how the request ends, if it ends with it."""
    for token_id in output.generated_tokens[row.sampled :]:
        end = row.accept(token_id)
        if end is not None:
            return end
    if not output.is_finished():
        return None
    return EngineFinish(
        FinishReason.ERROR, EngineFailed(f"transformers' manager failed: {output.error or 'too early'}")
    )
