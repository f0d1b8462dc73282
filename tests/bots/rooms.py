"""A stand-in for a platform on which hand-offs are relayed: staff's channel, and where the person is.

It keeps messages by nonce as Discord and Slack do, may be closed, and can crash the bot at a chosen call, before or after
the servers did what they were asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from bots.handoff import Post
from core.errors import DeliveryFailed
from core.handoffs.views import HandoffView
from core.values import Side
from tests.bots.channel import Crash, Crashed


@dataclass
class Rooms:
    """Both sides with all their messages, in order."""

    messages: dict[str, tuple[Side, Post]] = field(default_factory=dict)
    closed: set[Side] = field(default_factory=set)
    broken: set[Side] = field(default_factory=set)
    crash: Crash | None = None
    crashed: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0
    max_chars: int = 2_000
    _nonces: dict[str, str] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def shown(self, side: Side) -> list[str]:
        """What people read on one side."""
        return [post.text for where, post in self.messages.values() if where is side]

    @property
    def notice(self) -> Post:
        """Staff's notice."""
        return next(post for _, post in self.messages.values() if post.notice)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to be shown."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def until_shown(self, side: Side, words: str) -> None:
        """Wait for words to stand on one side."""
        await self.until(lambda: any(words in text for text in self.shown(side)))

    async def link(self, view: HandoffView) -> str:
        return f"https://chat.example/{view.place.conversation}"

    async def send(self, view: HandoffView, side: Side, post: Post, nonce: str, *, again: bool) -> str:
        self._arrive(side)
        assert 0 < len(post.text) <= self.max_chars and len(nonce) <= 25
        if nonce not in self._nonces:
            self._nonces[nonce] = f"m{len(self._nonces)}"
            self.messages[self._nonces[nonce]] = side, post
        self._leave()
        return self._nonces[nonce]

    async def edit(self, view: HandoffView, side: Side, external_id: str, post: Post) -> str:
        self._arrive(side)
        assert self.messages[external_id][0] is side
        self.messages[external_id] = side, post
        self._leave()
        return external_id

    async def remove(self, view: HandoffView, side: Side, external_id: str) -> None:
        self._arrive(side)
        self.messages.pop(external_id, None)
        self._leave()

    def _arrive(self, side: Side) -> None:
        if side in self.closed:
            self._changed.set()
            raise DeliveryFailed
        if side in self.broken:
            raise RuntimeError("a mistake")
        if self.crash == Crash(self.calls, "before"):
            self._end()

    def _leave(self) -> None:
        self._changed.set()
        self.calls += 1
        if self.crash == Crash(self.calls - 1, "after"):
            self._end()

    def _end(self) -> None:
        self.crash = None
        self.crashed.set()
        raise Crashed
