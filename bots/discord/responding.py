"""Responder: one interaction, from its acknowledgement to the last word about it.

Discord waits three seconds for the acknowledgement and takes only one, whatever became of the answer to the first try.
Where it has given the interaction up, what is to be said is said in private: an ordinary message instead. Knows no
Turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import discord
import structlog
from discord import InteractionResponseType, ui

from bots.discord.sink import MAX_CHARS
from bots.discord.speaking import File, files_of
from bots.discord.wire import Refused, surely
from bots.splitting import split
from bots.texts import negotiate

log = structlog.get_logger(__name__)

ACKNOWLEDGE_S = 2.7
"""Discord's three seconds, but for the way here."""

TRY_S = 0.9
"""For one try; discord.py would wait a second and then three before it tries a failed one again."""

_PAUSE_S = 0.1
_TAKEN, _UNKNOWN = 40060, 10062
_GONE = frozenset({10008, 10015, _UNKNOWN, 50027})
"""Unknown message, webhook or interaction, or a token that ended: Discord takes no answer to it any more."""

_IN_PLACE = (InteractionResponseType.deferred_message_update, InteractionResponseType.modal)


class TakenElsewhere(Exception):
    """Another process has acknowledged the interaction, or this one did at the same event before: it is done there."""


class Responder:
    """Acknowledges once and says what came of it."""

    def __init__(self, interaction: discord.Interaction) -> None:
        self.interaction = interaction
        self.language = negotiate((interaction.locale.value,))
        self.lost = False
        """Whether Discord has given the interaction up, so that nothing can be said as its answer."""
        self._until = asyncio.get_running_loop().time() + ACKNOWLEDGE_S

    async def think(self, *, ephemeral: bool) -> None:
        """Show that the answer is being made. Raises TakenElsewhere, as every acknowledgement."""
        defer = self.interaction.response.defer
        await self._acknowledge(
            lambda: defer(ephemeral=ephemeral, thinking=True), InteractionResponseType.deferred_channel_message
        )

    async def stay(self) -> None:
        """Leave the message as it is, below which something was pressed."""
        await self._acknowledge(self.interaction.response.defer, InteractionResponseType.deferred_message_update)

    async def ask(self, form: ui.Modal) -> None:
        """Show a form."""
        await self._acknowledge(lambda: self.interaction.response.send_modal(form), InteractionResponseType.modal)

    async def say(self, words: str, file: File | None = None) -> None:
        """Say it to whoever acted, in as many messages as it takes; in private where Discord gave the answer up."""
        pieces = split(words, MAX_CHARS) or ["…"]
        try:
            await self._answer(pieces, file)
        except Refused as error:
            self.lost = self.lost or error.refusal in _GONE
            log.warning("An interaction cannot be answered.", action="interaction_unanswered", reason=str(error))
        if self.lost:
            await self._say_in_private(pieces, file)

    async def _answer(self, pieces: list[str], file: File | None) -> None:
        """Raises Refused."""
        interaction, (first, *more) = self.interaction, pieces
        response = interaction.response
        if self.lost:
            return
        if not response.is_done():
            send = response.send_message
            await self._acknowledge(
                lambda: send(first, ephemeral=True, files=files_of(file)), InteractionResponseType.channel_message
            )
        elif response.type in _IN_PLACE:  # the message below which the button stands is not to change
            await surely(
                lambda: interaction.followup.send(first, ephemeral=True, files=files_of(file)), what="interaction"
            )
        else:
            edit = interaction.edit_original_response
            await surely(lambda: edit(content=first, attachments=files_of(file)), what="interaction")
        for piece in more if not self.lost else ():
            await surely(_follow_up(interaction, piece), what="interaction")

    async def _say_in_private(self, pieces: list[str], file: File | None) -> None:
        user = self.interaction.user
        try:
            for index, piece in enumerate(pieces):
                await surely(_write_to(user, piece, file if index == 0 else None), what="private")
        except Refused as error:
            log.warning("Nobody can be told.", action="interaction_untold", reason=str(error))

    async def _acknowledge(self, call: Callable[[], Awaitable[object]], kind: InteractionResponseType) -> None:
        """Try until Discord takes it or its time is over; then the interaction is `lost`."""
        tries, clock = 0, asyncio.get_running_loop().time
        while (reason := await self._failure(call, kind, again=tries > 0)) is not None:
            tries += 1
            if self.lost or clock() + _PAUSE_S > self._until:
                log.warning("An interaction came too late.", action="interaction_gone", tries=tries, reason=reason)
                self.lost = True
                return
            log.warning("An interaction is acknowledged again.", action="acknowledge_again", reason=reason)
            await asyncio.sleep(_PAUSE_S)

    async def _failure(
        self, call: Callable[[], Awaitable[object]], kind: InteractionResponseType, *, again: bool
    ) -> str | None:
        """Why a try failed; None where it did not, or an earlier one had not, of which only the answer was lost."""
        try:
            async with asyncio.timeout(TRY_S):
                await call()
        except discord.HTTPException as error:
            if error.code == _TAKEN and not again:
                raise TakenElsewhere from error
            if error.code == _TAKEN:
                self.interaction.response._response_type = kind  # noqa: SLF001 - as discord.py notes it itself
                return None
            if error.code != _UNKNOWN and error.status < 500:
                raise
            self.lost = error.code == _UNKNOWN
            return str(error)
        except (aiohttp.ClientError, OSError) as error:  # also out of time
            return str(error) or repr(error)
        return None


def _follow_up(interaction: discord.Interaction, words: str) -> Callable[[], Awaitable[object]]:
    return lambda: interaction.followup.send(words, ephemeral=True)


def _write_to(user: discord.User | discord.Member, words: str, file: File | None) -> Callable[[], Awaitable[object]]:
    return lambda: user.send(words, files=files_of(file))
