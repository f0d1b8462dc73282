"""KeptPrefixes: slots of ended requests, so that the next request need not prefill what it has in common with one.

Knows tokens, slots and whose words they hold; knows no model and no order of requests. The least recently used goes
first. Who may use whose is `KvReuse`: what is reused shows in the time to the first token, so that a stranger could learn
from it what somebody else has asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from workers.engine.pool import KvPool, Slot, rounded
from workers.engine.request import KvScope

LEAST = 16
"""Fewer tokens in common are not worth a copy."""

_MOST_KEPT = 512
_WORTH_MOVING = 4
"""Rather than to free a kept slot, so many times its positions are moved: a copy is cheaper than to run tokens again."""


class KvReuse(StrEnum):
    """Whose KV a request may go on from: nobody's, its conversation's, its workspace's, or everybody's."""

    OFF = "off"
    CONVERSATION = "conversation"
    WORKSPACE = "workspace"
    ALL = "all"

    def allows(self, ours: KvScope | None, theirs: KvScope | None) -> bool:
        """Whether a request of ours may use KV of theirs."""
        if ours is None or theirs is None or self is KvReuse.OFF:
            return False
        if self is KvReuse.ALL:
            return True
        return ours.workspace_id == theirs.workspace_id and (self is KvReuse.WORKSPACE or same(ours, theirs))


@dataclass(frozen=True, eq=False, slots=True)
class Kept:
    """A slot that is full, the tokens in it, and whose they are."""

    slot: Slot
    token_ids: NDArray[np.int64]
    scope: KvScope


class KeptPrefixes:
    """The kept slots of a pool, least recently used first."""

    def __init__(self, pool: KvPool, reuse: KvReuse) -> None:
        self._pool, self.reuse = pool, reuse
        self._kept: dict[Kept, None] = {}  # ordered

    @property
    def tokens(self) -> int:
        """Positions that are kept, and could be freed."""
        return sum(kept.slot.capacity for kept in self._kept)

    def keep(self, slot: Slot, token_ids: NDArray[np.int64], scope: KvScope | None) -> None:
        """Keep an ended request's slot, cut to what it holds; it is freed where that is not allowed or worth it."""
        if scope is None or self.reuse is KvReuse.OFF or slot.length < LEAST:
            self._pool.give(slot)
            return
        self._pool.resize(slot, slot.length)
        self._kept[Kept(slot, token_ids[: slot.length], scope)] = None
        if len(self._kept) > _MOST_KEPT:
            self.evict()

    def best(self, token_ids: NDArray[np.int64], scope: KvScope | None) -> tuple[Kept, int] | None:
        """The kept slot with the most tokens in common, and how many; None where none has enough. It counts as used."""
        allowed = (kept for kept in reversed(self._kept) if self.reuse.allows(scope, kept.scope))
        found = max(((common(kept.token_ids, token_ids), kept) for kept in allowed), key=_first, default=None)
        if found is None or found[0] < LEAST:
            return None
        tokens, kept = found
        self._kept[kept] = self._kept.pop(kept)
        return kept, tokens

    def pop(self, kept: Kept) -> Slot:
        """Give a kept slot away."""
        del self._kept[kept]
        return kept.slot

    def evict(self, spared: Kept | None = None) -> bool:
        """Free the least recently used slot other than `spared`. Whether there was one."""
        oldest = self._oldest(spared)
        if oldest is None:
            return False
        self._pool.give(self.pop(oldest))
        return True

    def fits(self, tokens: int) -> bool:
        """Whether there is room for a new slot, with the kept ones freed."""
        return rounded(tokens) <= self._pool.free + self.tokens

    def take(self, tokens: int, spared: Kept | None = None) -> Slot | None:
        """A new slot for `tokens`; of the kept ones other than `spared` as many are freed for it as have to be.

        None, and nothing changed, where all of them would not suffice.
        """
        if not self.fits(tokens + (spared.slot.capacity if spared else 0)):
            return None
        self._evict_for(tokens, spared=spared)
        return self._pool.take(tokens)

    def widen(self, slot: Slot, tokens: int) -> bool:
        """Make room for `tokens` in a slot; as many kept ones are freed for it as have to be.

        False, and nothing changed, where all of them would not suffice.
        """
        if not self.fits(tokens - slot.capacity):
            return False
        self._evict_for(tokens, slot)
        return self._pool.resize(slot, tokens)

    def slot_from(self, kept: Kept, tokens: int, wanted: int, scope: KvScope | None) -> Slot | None:
        """A slot for `wanted` tokens that begins with `tokens` of a kept one: a copy, or itself where it is spent.

        None, and nothing changed, where it does not fit.
        """
        if not self.fits(wanted):
            return None
        spent = tokens == len(kept.token_ids) or (scope is not None and same(scope, kept.scope))
        if not spent and (copied := self.take(wanted, kept)) is not None:
            self._pool.copy(kept.slot, copied, tokens)
            return copied
        slot = self.pop(kept)
        slot.length = tokens
        self.widen(slot, wanted)
        return slot

    def forget(self, conversation_ids: Iterable[int]) -> None:
        """Drop what is kept of these Conversations."""
        gone = frozenset(conversation_ids)
        for kept in [kept for kept in self._kept if kept.scope.conversation_id in gone]:
            self._pool.give(self.pop(kept))

    def _oldest(self, spared: Kept | None) -> Kept | None:
        return next((kept for kept in self._kept if kept is not spared), None)

    def _evict_for(self, tokens: int, slot: Slot | None = None, spared: Kept | None = None) -> None:
        """Free kept slots until there is room for a new one, or a wider one, and until it takes no long moving."""
        while (oldest := self._oldest(spared)) is not None:
            moved = self._pool.moved_for(tokens, slot)
            if moved is not None and moved <= _WORTH_MOVING * oldest.slot.capacity:
                return
            self._pool.give(self.pop(oldest))


def common(first: NDArray[np.int64], second: NDArray[np.int64]) -> int:
    """How many tokens both begin with."""
    length = min(len(first), len(second))
    differ = first[:length] != second[:length]
    return int(differ.argmax()) if differ.any() else length


def same(ours: KvScope, theirs: KvScope) -> bool:
    """Whether both belong to one Conversation."""
    return ours.conversation_id == theirs.conversation_id


def _first(found: tuple[int, Kept]) -> int:
    return found[0]
