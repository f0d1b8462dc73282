"""A stand-in for the servers of a platform that keeps messages, as Discord and Slack do: limit, ids, nonces, edits.

It can crash the bot at a chosen call, before or after the servers did what they were asked.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

from bots.courier import Courier
from bots.delivery import Chunk, ReplySink
from core.errors import DeliveryFailed
from core.faq.finding import Choice
from core.service import Service

LIMIT = 120


class Crashed(Exception):
    """The bot ends here."""


@dataclass
class Crash:
    """Ends the bot at its `call`th call, counted from 0."""

    call: int
    when: Literal["before", "after"]


@dataclass
class Posted:
    """A message on the servers."""

    text: str
    final: bool
    last: bool = True
    whole: str | None = None
    choices: tuple[Choice, ...] = ()


@dataclass
class Channel:
    """One channel with all its messages. Notices are messages too."""

    messages: dict[str, Posted] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    edits: int = 0
    calls: int = 0
    crash: Crash | None = None
    closed: bool = False
    refused: int = 0
    _nonces: dict[str, str] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def shown(self) -> list[str]:
        """What people read, message by message."""
        return [message.text for message in self.messages.values()]

    async def until(self, words: str) -> None:
        """Wait for `words` to stand in some message."""
        while not any(words in text for text in self.shown()):
            self._changed.clear()
            await self._changed.wait()

    async def until_refused(self) -> None:
        """Wait for something to be refused."""
        while not self.refused:
            self._changed.clear()
            await self._changed.wait()

    def post(
        self,
        text: str,
        nonce: str,
        *,
        final: bool = True,
        last: bool = True,
        whole: str | None = None,
        choices: tuple[Choice, ...] = (),
    ) -> str:
        """A new message; the same nonce again is the old one, as it stands."""
        self._arrive()
        assert len(nonce) <= 25
        if nonce not in self._nonces:
            assert 0 < len(text) <= LIMIT
            self._nonces[nonce] = f"m{len(self._nonces)}"
            self.messages[self._nonces[nonce]] = Posted(text, final, last, whole, choices)
        self._leave()
        return self._nonces[nonce]

    def change(
        self,
        message_id: str,
        text: str,
        *,
        final: bool,
        last: bool = True,
        whole: str | None = None,
        choices: tuple[Choice, ...] = (),
    ) -> None:
        """Another text for a message."""
        self._arrive()
        assert 0 < len(text) <= LIMIT
        self.messages[message_id] = Posted(text, final, last, whole, choices)
        self.edits += 1
        self._leave()

    def take_away(self, message_id: str) -> None:
        """Remove a message."""
        self._arrive()
        self.messages.pop(message_id, None)
        self.removed.append(message_id)
        self._leave()

    def _arrive(self) -> None:
        if self.closed:
            self.refused += 1
            self._changed.set()
            raise DeliveryFailed
        if self.crash == Crash(self.calls, "before"):
            self.crash = None
            raise Crashed

    def _leave(self) -> None:
        self._changed.set()
        self.calls += 1
        if self.crash == Crash(self.calls - 1, "after"):
            self.crash = None
            raise Crashed


class ChannelSink(ReplySink):
    """The ReplySink of a channel."""

    max_chars: int | None = LIMIT

    def __init__(self, channel: Channel, edit_interval_s: float = 0.0, max_chunks: int | None = None) -> None:
        self._channel, self._edit_interval_s, self.max_chunks = channel, edit_interval_s, max_chunks

    def edit_interval_s(self) -> float:
        return self._edit_interval_s

    async def send(self, chunk: Chunk) -> str:
        return self._channel.post(chunk.text, chunk.nonce, **_marks(chunk))

    async def edit(self, external_id: str, chunk: Chunk) -> None:
        self._channel.change(external_id, chunk.text, **_marks(chunk))

    async def remove(self, external_id: str) -> None:
        self._channel.take_away(external_id)

    async def notice(self, sentence: str, nonce: str, *, quiet: bool = False) -> None:
        self._channel.post(sentence, nonce)


async def resumed(service: Service, channel: Channel, platform: str = "discord") -> int:
    """Let a bot start and bring what is left of before; how many Turns that were."""
    courier = Courier(service, lambda turn: nullcontext(ChannelSink(channel)))
    waiting = await courier.resume(platform)
    await courier.settled()
    return waiting


def _marks(chunk: Chunk) -> dict[str, Any]:
    return {"final": chunk.final, "last": chunk.last, "whole": chunk.whole, "choices": chunk.choices}
