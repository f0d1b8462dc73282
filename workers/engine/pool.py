"""KvPool: the keys and values of every running and every kept request, in one piece of memory that never grows.

Knows tensors and runs of token positions; knows no request and no model. For each layer there are keys (H, T, D) and
values (H, T, D) over all T positions of the pool. A Slot is a run of positions of its own: attention reads it as a view,
without copying, masking or padding. Slots are taken first-fit; `compact` closes the gaps where that fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_ROUND = 16
"""Slots are so many tokens long, or a multiple."""


@dataclass(frozen=True, slots=True)
class KvShape:
    """What one layer keeps of a token."""

    heads: int
    key_size: int
    value_size: int


@dataclass(eq=False, slots=True)
class Slot:
    """Positions [start, start + capacity) of a pool, of which the first `length` hold a token."""

    start: int
    capacity: int
    length: int = 0

    @property
    def end(self) -> int:
        """The first position behind it."""
        return self.start + self.capacity


class KvPool:
    """`tokens` positions of every layer. Used by one thread."""

    def __init__(self, shapes: Sequence[KvShape], tokens: int, dtype: torch.dtype, device: torch.device) -> None:
        self.tokens = tokens // _ROUND * _ROUND

        def empty(heads: int, size: int) -> Tensor:
            return torch.empty((heads, self.tokens, size), dtype=dtype, device=device)  # untouched pages cost nothing

        self.keys = [empty(shape.heads, shape.key_size) for shape in shapes]
        self.values = [empty(shape.heads, shape.value_size) for shape in shapes]
        self._slots: list[Slot] = []  # by start

    @staticmethod
    def token_bytes(shapes: Sequence[KvShape], dtype: torch.dtype) -> int:
        """The bytes of one token in all layers."""
        return sum(shape.heads * (shape.key_size + shape.value_size) for shape in shapes) * dtype.itemsize

    @property
    def free(self) -> int:
        """Positions in no slot."""
        return self.tokens - sum(slot.capacity for slot in self._slots)

    def take(self, tokens: int) -> Slot | None:
        """An empty slot for `tokens` in the first gap that is wide enough; None where there is none."""
        wanted, start = _rounded(tokens), 0
        for index, slot in enumerate([*self._slots, Slot(self.tokens, 0)]):
            if slot.start - start >= wanted:
                taken = Slot(start, wanted)
                self._slots.insert(index, taken)
                return taken
            start = slot.end
        return None

    def give(self, slot: Slot) -> None:
        """Free a slot."""
        self._slots.remove(slot)

    def reset(self) -> None:
        """Free every slot."""
        self._slots.clear()

    def resize(self, slot: Slot, tokens: int) -> bool:
        """Make room for `tokens` in a slot, in place or by moving it. False, and nothing changed, where none is."""
        wanted = _rounded(tokens)
        index = self._slots.index(slot)
        behind = self._slots[index + 1].start if index + 1 < len(self._slots) else self.tokens
        if slot.start + wanted <= behind:
            slot.capacity = wanted
            return True
        moved = self.take(wanted)
        if moved is None:
            return False
        self.copy(slot, moved, slot.length)
        self.give(slot)
        self._slots[self._slots.index(moved)] = slot
        slot.start, slot.capacity = moved.start, moved.capacity
        return True

    @torch.inference_mode()
    def copy(self, source: Slot, target: Slot, tokens: int) -> None:
        """Copy the first tokens of one slot to another, which then holds those."""
        self._move(source.start, target.start, tokens)
        target.length = tokens

    @torch.inference_mode()
    def clear(self, slot: Slot) -> None:
        """Overwrite what a slot holds: somebody's words are to be forgotten."""
        for kv in (*self.keys, *self.values):
            kv[:, slot.start : slot.start + slot.length].zero_()
        slot.length = 0

    @torch.inference_mode()
    def compact(self) -> None:
        """Move all slots together, so that what is free is one gap. Costs a copy of what lies behind the first gap."""
        start = 0
        for slot in self._slots:
            if slot.start != start:
                self._move(slot.start, start, slot.length)
                slot.start = start
            start = slot.end

    def _move(self, source: int, target: int, tokens: int) -> None:
        overlapping = abs(source - target) < tokens
        for kv in (*self.keys, *self.values):
            moved = kv[:, source : source + tokens]
            kv[:, target : target + tokens] = moved.clone() if overlapping else moved


def _rounded(tokens: int) -> int:
    return -(-tokens // _ROUND) * _ROUND
