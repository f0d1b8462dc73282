"""SlotRow: a request with its tokens and its slot, and a Run: what of it goes into the next pass. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from workers.engine.attention import Piece
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

    def array(self) -> NDArray[np.int64]:
        """The tokens that are in the slot."""
        return np.array(self.ids[: self.slot.length], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Run:
    """So many of a row's pending tokens go into the next pass."""

    row: SlotRow
    count: int

    @property
    def piece(self) -> Piece:
        """What the forward pass takes of it."""
        slot = self.row.slot
        return Piece(self.row.ids[slot.length : slot.length + self.count], slot, self.count == self.row.pending)
