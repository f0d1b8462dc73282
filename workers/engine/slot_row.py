"""SlotRow: a request with its tokens and its slot, and a Run: what of it goes into the next pass. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from workers.engine.attention import Piece
from workers.engine.lookup import Lookup
from workers.engine.pool import Slot
from workers.engine.request import EngineFinish, Request
from workers.engine.row import Row


class SlotRow(Row):
    """A request with its tokens, of which the first `slot.length` are in its slot. `order` is by arrival."""

    def __init__(self, request: Request, order: int, vocabulary: int, device: torch.device) -> None:
        super().__init__(request, vocabulary, device)
        self.order = order
        self.ids = list(request.asked.token_ids)
        self.slot = Slot(0, 0)
        self.begun = False
        self.lookup = Lookup()

    @property
    def pending(self) -> int:
        """The tokens that are not in the slot yet; one, where it decodes."""
        return len(self.ids) - self.slot.length

    @property
    def most(self) -> int:
        """The tokens that it can become."""
        asked = self.request.asked
        return len(asked.token_ids) + asked.params.max_new_tokens

    def accept(self, token_id: int) -> EngineFinish | None:
        """Hand a token to the reader, and go on from it."""
        self.ids.append(token_id)
        return super().accept(token_id)

    def guess(self, most: int, price: float) -> tuple[int, ...]:
        """What may follow, as far as it fits the slot and the answer: the last token is run too, and makes another."""
        fits = self.slot.capacity - self.slot.length - 1
        left = self.request.asked.params.max_new_tokens - self.sampled - 1
        return tuple(self.lookup.guess(self.ids, min(most, fits, left), price))

    def array(self) -> NDArray[np.int64]:
        """The tokens that are in the slot."""
        return np.array(self.ids[: self.slot.length], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Run:
    """So many of a row's pending tokens go into the next pass, and after the last of them what may follow."""

    row: SlotRow
    count: int
    guess: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """All that is run."""
        return self.count + len(self.guess)

    @property
    def whole(self) -> bool:
        """Whether all pending tokens are run, so that there are logits of the next one."""
        return self.count == self.row.pending

    @property
    def piece(self) -> Piece:
        """What the forward pass takes of it."""
        slot = self.row.slot
        token_ids = [*self.row.ids[slot.length : slot.length + self.count], *self.guess]
        return Piece(token_ids, slot, 1 + len(self.guess) if self.whole else 0)
