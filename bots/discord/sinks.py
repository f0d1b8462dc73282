"""Sinks: opens the sink of a Turn, and shows until there is something to read that it is waited for, and why.

Knows targets, how often a channel's messages may be edited, and typing; sends no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

import aiohttp
import discord
import structlog

from bots.discord.indicator import TypingIndicators
from bots.discord.places import channel_of
from bots.discord.replying import as_reply
from bots.discord.sink import DiscordSink
from bots.discord.targets import Target
from bots.discord.ways import ORIGINAL, Ways
from bots.pacing import Allowance, EditBudgets
from core.history import TurnView

log = structlog.get_logger(__name__)

EDITS_PER_S = 0.9
"""Of one channel; Discord allows about five in five seconds."""

EDITS_TOGETHER_PER_S = 30.0
"""Of all channels; some of what is allowed is left for what somebody waits for."""

_TELL_S = 2.0


class Sinks:
    """One per client."""

    def __init__(self, client: discord.Client, allowance: Allowance, typing: TypingIndicators) -> None:
        self._client, self._allowance, self._typing = client, allowance, typing
        self._budgets = EditBudgets(EDITS_PER_S, EDITS_TOGETHER_PER_S)

    @asynccontextmanager
    async def open(self, turn: TurnView) -> AsyncIterator[DiscordSink]:
        """The sink of the Turn, for as long as it is delivered."""
        target = _target(turn)
        with self._budgets.streaming(str(target.channel)) as budget, self.waiting(turn) as on_shown:
            yield DiscordSink(self._client, target, turn.language, budget, self._allowance, on_shown)

    def waiting(self, turn: TurnView) -> AbstractContextManager[Callable[[], None]]:
        """Typing, where the answer is still to come, for all; an interaction shows by itself that it is thought about."""
        target = _target(turn)
        if turn.state.ended or target.token_lives or target.ephemeral:
            return nullcontext(_nothing)
        return self._typing.shown(target.channel)

    async def tell_wait(self, turn: TurnView, sentence: str, nonce: str) -> None:
        """Tell whoever waits, where the answer will stand: it takes the sentence's place in an interaction.

        Tried once and not for long, so that it comes before the answer or not at all.
        """
        target = _target(turn)
        ways = Ways(self._client, target)

        async def write(**reply: Any) -> None:
            await ways.channel.send(sentence, nonce=nonce, **reply)

        try:
            async with asyncio.timeout(_TELL_S):
                if not target.token_lives and not target.ephemeral:
                    await as_reply(write, target.channel, target.reply_to)
                elif target.token_lives and turn.answer is None:  # or one of before stands there
                    await ways.interaction().edit_message(ORIGINAL, content=sentence)
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:  # OSError: also out of time
            reason = str(error) or repr(error)
            log.info("Whoever waits cannot be told.", action="wait_refused", turn_id=turn.turn_id, reason=reason)


def _target(turn: TurnView) -> Target:
    return Target.model_validate({"channel": channel_of(turn.place), **turn.target})  # a forgotten one is empty


def _nothing() -> None:
    """Nothing is shown that would end."""
