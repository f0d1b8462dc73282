"""Pressing: what the buttons below an answer do, and the form behind 👎."""

from __future__ import annotations

from typing import Any

import discord
import structlog

from bots import commands
from bots.courier import Courier
from bots.discord.controls import Action, Pressed, comment_form
from bots.discord.inbound import person_of
from bots.discord.places import PLATFORM, asker_of, channel_of, permissions_of, workspace_of
from bots.discord.responding import Responder
from bots.discord.targets import Target
from bots.discord.wire import Refused, surely
from bots.explanation import prompt_file, summary
from bots.texts import text
from core.errors import NotFound
from core.history import TurnView
from core.service import Service
from core.values import Rating

log = structlog.get_logger(__name__)


class Pressing:
    """One per client."""

    def __init__(self, service: Service, courier: Courier) -> None:
        self._service, self._courier = service, courier

    async def press(self, response: Responder, pressed: Pressed) -> None:
        """Do what the button or form says. Raises PajamaError, TakenElsewhere."""
        if pressed.action is Action.DOWN:
            await response.ask(comment_form(pressed.turn_id, response.language))
        elif pressed.action in (Action.STOP, Action.REGENERATE, Action.CHOOSE):
            await response.stay()
        else:
            await response.think(ephemeral=True)
        if pressed.entry_id is not None:
            await self._pick(response, await self._turn(response.interaction, pressed.turn_id), pressed.entry_id)
            return
        act = {
            Action.STOP: self._stop,
            Action.REGENERATE: self._regenerate,
            Action.UP: self._up,
            Action.DOWN: self._down,
            Action.WHY: self._why,
            Action.COMMENT: self._comment,
        }
        await act[pressed.action](response, await self._turn(response.interaction, pressed.turn_id))

    async def _turn(self, interaction: discord.Interaction, turn_id: int) -> TurnView:
        """The Turn below which the button stands. Raises NotFound where it is not of this Workspace."""
        turn = await self._service.turn_status(turn_id)
        workspace = workspace_of(interaction.guild_id, interaction.channel_id or 0)
        if (turn.place.platform, turn.place.workspace) != (PLATFORM, workspace):
            raise NotFound(f"There is no turn {turn_id} here.")
        return turn

    async def _stop(self, response: Responder, turn: TurnView) -> None:
        interaction = response.interaction
        moderator = permissions_of(interaction).manage_messages
        await self._service.cancel(turn.place, person_of(interaction.user), turn.turn_id, moderator=moderator)

    async def _regenerate(self, response: Responder, turn: TurnView) -> None:
        interaction = response.interaction
        again = await self._service.regenerate(turn.place, person_of(interaction.user), turn.turn_id)
        self._courier.deliver(again)
        if interaction.message is None:
            return
        edit = interaction.message.edit if response.lost else interaction.edit_original_response
        try:  # its buttons are for the answer that comes
            await surely(lambda: edit(view=None, allowed_mentions=interaction.client.allowed_mentions), what="buttons")
        except Refused as error:
            log.info("Buttons stay where they were.", action="buttons_left", turn_id=turn.turn_id, reason=str(error))

    async def _pick(self, response: Responder, turn: TurnView, entry_id: int) -> None:
        """Ask what was chosen; the answer is a reply to the message below which it was offered."""
        interaction = response.interaction
        below = interaction.message.id if interaction.message is not None else None
        asker = asker_of(
            turn.place,
            interaction.user,
            "choice",
            Target(channel=channel_of(turn.place), reply_to=below, asker=interaction.user.id),
            channel=interaction.channel,
            permissions=permissions_of(interaction),
            shared=False,  # where it is, that is known
            locales=(interaction.locale.value,),
        )
        asked = await commands.choose(self._service, turn, entry_id, asker)
        if isinstance(asked, commands.Answering) and not asked.duplicate:
            self._courier.deliver(asked.turn)

    async def _up(self, response: Responder, turn: TurnView) -> None:
        await self._service.rate(turn.place, person_of(response.interaction.user), turn.turn_id, Rating.UP)
        await response.say(text("feedback_thanks", response.language))

    async def _down(self, response: Responder, turn: TurnView) -> None:
        await self._service.rate(turn.place, person_of(response.interaction.user), turn.turn_id, Rating.DOWN)

    async def _comment(self, response: Responder, turn: TurnView) -> None:
        person, comment = person_of(response.interaction.user), _typed(response.interaction.data)
        kept = await self._service.rate(turn.place, person, turn.turn_id, Rating.DOWN, comment)
        await response.say(text("feedback_thanks" if kept else "feedback_without_comment", response.language))

    async def _why(self, response: Responder, turn: TurnView) -> None:
        explanation = await self._service.why(turn.place, turn.turn_id)
        await response.say(summary(explanation, response.language), prompt_file(explanation))


def _typed(data: Any) -> str:
    """What was written into the form's only field."""
    for row in data.get("components", ()):
        for field in [row.get("component"), *row.get("components", ())]:
            if field is not None and "value" in field:
                return str(field["value"])
    return ""
