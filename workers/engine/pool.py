"""KvPool: the keys and values of every running and every kept request, in one piece of memory that never grows.

Knows tensors and runs of token positions; knows no request and no model. For each layer there are keys (H, T, D) and
values (H, T, D) over all T positions of the pool. A Slot is a run of positions of its own: attention reads it as a view,
without copying, masking or padding. Slots are taken first-fit; where no gap is wide enough, as few positions as can be are
moved to make one of several. Whatever a slot leaves is overwritten: it may be somebody's words, who wants them forgotten.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

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


@dataclass(frozen=True, slots=True)
class _Room:
    """Gaps [first, last] become one: gap i is before slot i, and the slots between, with `moved` tokens, are pushed away."""

    first: int
    last: int
    moved: int


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
        """An empty slot for `tokens`; None, and nothing changed, where fewer positions are free."""
        wanted = rounded(tokens)
        room = self._room(wanted)
        if room is None:
            return None
        taken = Slot(self._part(room.first, room.last, room.last), wanted)
        self._slots.insert(room.last, taken)
        return taken

    def give(self, slot: Slot) -> None:
        """Free a slot."""
        self._clear(slot.start, slot.end)
        self._slots.remove(slot)

    def reset(self) -> None:
        """Free every slot."""
        while self._slots:
            self.give(self._slots[-1])

    def resize(self, slot: Slot, tokens: int) -> bool:
        """Make a slot one for `tokens`, in place or by moving it. False, and nothing changed, where too few are free."""
        wanted = rounded(tokens)
        if wanted <= slot.capacity:
            self._clear(slot.start + wanted, slot.end)
            slot.capacity = wanted
            return True
        room, aside = self._wider(slot, wanted)
        if room is None:
            return False
        if aside:
            self._replace(slot, wanted)
        else:
            self._part(room.first, self._slots.index(slot) + 1, room.last)
            slot.capacity = wanted
        return True

    def moved_for(self, tokens: int, slot: Slot | None = None) -> int | None:
        """How many positions are moved when so many are taken, or a slot is widened; None where too few are free."""
        room, aside = (self._room(rounded(tokens)), False) if slot is None else self._wider(slot, rounded(tokens))
        if room is None:
            return None
        return slot.length if slot is not None and aside else room.moved

    @torch.inference_mode()
    def copy(self, source: Slot, target: Slot, tokens: int) -> None:
        """Copy the first tokens of one slot to another, which then holds those."""
        self._move(source.start, target.start, tokens)
        target.length = tokens

    def _room(self, wanted: int, gap: int | None = None) -> _Room | None:
        """The cheapest way to a gap of `wanted`: the first of those, one that has gap number `gap` in it if given."""
        starts = [*(slot.start for slot in self._slots), self.tokens]
        ends = [0, *(slot.end for slot in self._slots)]
        free = [0, *accumulate(start - end for start, end in zip(starts, ends, strict=True))]  # before each gap
        held = [0, *accumulate(slot.length for slot in self._slots)]  # before each slot
        best: _Room | None = None
        for first in range(len(starts)) if gap is None else range(gap, -1, -1):
            last = max(bisect_left(free, free[first] + wanted) - 1, gap or 0)
            if last < len(starts) and (best is None or held[last] - held[first] < best.moved):
                best = _Room(first, last, held[last] - held[first])
        return best

    def _wider(self, slot: Slot, wanted: int) -> tuple[_Room | None, bool]:
        """How to widen a slot where it is, and whether it is cheaper to move it to a gap that is wide enough."""
        room = self._room(wanted - slot.capacity, self._slots.index(slot) + 1)
        if room is None or room.moved <= slot.length:
            return room, False
        elsewhere = self._room(wanted)
        return room, elsewhere is not None and not elsewhere.moved

    def _part(self, first: int, middle: int, last: int) -> int:
        """Push slots [first, middle) down and [middle, last) up, and return where the gap between them begins."""
        begin = self._slots[first - 1].end if first else 0
        for slot in self._slots[first:middle]:
            self._shift(slot, begin)
            begin = slot.end
        end = self._slots[last].start if last < len(self._slots) else self.tokens
        for slot in reversed(self._slots[middle:last]):
            end -= slot.capacity
            self._shift(slot, end)
        return begin

    def _shift(self, slot: Slot, start: int) -> None:
        """Move a slot to where nothing but itself is."""
        if start == slot.start:
            return
        self._move(slot.start, start, slot.length)
        if start < slot.start:
            self._clear(max(slot.start, start + slot.capacity), slot.end)
        else:
            self._clear(slot.start, min(start, slot.end))
        slot.start = start

    def _replace(self, slot: Slot, wanted: int) -> None:
        """Move a slot to a gap that is wide enough."""
        moved = self.take(wanted)
        assert moved is not None
        self.copy(slot, moved, slot.length)
        self.give(slot)
        self._slots[self._slots.index(moved)] = slot
        slot.start, slot.capacity = moved.start, moved.capacity

    @torch.inference_mode()
    def _clear(self, start: int, end: int) -> None:
        for kv in (*self.keys, *self.values):
            kv[:, start:end].zero_()

    @torch.inference_mode()
    def _move(self, source: int, target: int, tokens: int) -> None:
        overlapping = abs(source - target) < tokens
        for kv in (*self.keys, *self.values):
            moved = kv[:, source : source + tokens]
            kv[:, target : target + tokens] = moved.clone() if overlapping else moved


def rounded(tokens: int) -> int:
    """The capacity of a slot for so many tokens."""
    return -(-tokens // _ROUND) * _ROUND
