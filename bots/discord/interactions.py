"""What people do with slash commands and context menus, and where buttons and forms go from here.

Everything is acknowledged first, since Discord waits three seconds and a database may take longer; what goes wrong
after that is said where the answer would have stood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import discord
import structlog

from bots import commands
from bots.attachments import Attachments
from bots.commands import Answering, Asker, Call, Explained, Exported, Outcome, PassedOn, Told
from bots.courier import Courier
from bots.discord import slash
from bots.discord.chains import ReplyChains
from bots.discord.controls import read_id
from bots.discord.handoff import HandoffRooms
from bots.discord.inbound import attachments_of, person_of, words_of
from bots.discord.locales import Locales
from bots.discord.places import asker_of, is_shared, permissions_of, place_of, settings_channel, workspace_of
from bots.discord.pressing import Pressing
from bots.discord.responding import Responder, TakenElsewhere
from bots.discord.slash import Chosen, Menu
from bots.discord.status import whole_status
from bots.discord.targets import Target
from bots.explanation import prompt_file, summary
from bots.privacy import check_quoting
from bots.rooms import Rooms
from bots.texts import sentence_for, text
from core.errors import PajamaError, ServiceUnavailable
from core.service import Service
from core.workspaces import ChannelSettings

log = structlog.get_logger(__name__)

_PUBLIC = frozenset({"ask", "faq", "write", "translate", "understand"})
"""Commands whose answer everyone in the channel sees, but where it is to be quiet."""

_LOOK_S = 1.0
"""Of the three seconds in which an interaction is to be acknowledged."""

_MENU_CALLS = {
    Menu.TRANSLATE: Call("translate"),
    Menu.SUMMARISE: Call("understand", {"task": "summarise"}),
    Menu.ANSWER: Call("ask"),
}


class Interactions:
    """Handles every interaction of one client."""

    def __init__(
        self,
        client: discord.Client,
        service: Service,
        courier: Courier,
        rooms: Rooms,
        attachments: Attachments,
        locales: Locales,
        handoffs: HandoffRooms,
    ) -> None:
        self._client, self._service, self._courier, self._rooms = client, service, courier, rooms
        self._locales, self._handoffs = locales, handoffs
        self._attachments, self._chains, self._pressing = attachments, ReplyChains(client), Pressing(service, courier)

    async def handle(self, interaction: discord.Interaction) -> None:
        """Do what is asked, and say what came of it or why not."""
        self._locales.note(interaction)
        response = Responder(interaction)
        try:
            await self._handle(response, interaction.data or {})
        except TakenElsewhere:
            log.info("An interaction is done elsewhere.", action="interaction_taken", interaction_id=interaction.id)
        except PajamaError as error:
            log.info("An interaction was refused.", action="interaction_refused", code=error.code, reason=str(error))
            await response.say(sentence_for(error, response.language))
        except Exception:  # the edge: whoever asked is told, the operator sees where
            log.exception("An interaction failed.", action="interaction_failed", interaction_id=interaction.id)
            await response.say(text("error_error", response.language))

    async def _handle(self, response: Responder, data: Mapping[str, Any]) -> None:
        interaction = response.interaction
        match interaction.type:
            case discord.InteractionType.autocomplete:
                await _complete(interaction, slash.completions(data))
            case discord.InteractionType.application_command if chosen := slash.chosen_of(data):
                await self._choose(response, chosen)
            case discord.InteractionType.application_command:
                await self._run(response, slash.call_of(data))
            case discord.InteractionType.component | discord.InteractionType.modal_submit:
                custom_id = str(data.get("custom_id", ""))
                pressed = read_id(custom_id)
                if pressed is not None:
                    await self._pressing.press(response, pressed)
                elif (told := await self._handoffs.pressed(response, custom_id)) is not None:
                    await response.say(told)
            case _:
                return

    async def _choose(self, response: Responder, chosen: Chosen) -> None:
        """Do a command with what somebody's message says. Only an answer to it is for everyone, but in a quiet channel."""
        answers = chosen.menu is Menu.ANSWER
        ephemeral = not answers or await self._is_quiet(response.interaction)
        await response.think(ephemeral=ephemeral)
        message = _chosen_message(response.interaction, chosen)
        asker = await self._asker(response, ephemeral=ephemeral, reply_to=message.id if answers else None)
        await check_quoting(self._service, asker.place, person_of(message.author), asker.person)
        if answers:
            asker = replace(asker, context=(await self._chains.above(message)).context)
        said = words_of(message, self._client.user.id if self._client.user is not None else 0)
        words = await self._attachments.told(said, attachments_of(message), asker.language)
        call = _MENU_CALLS[chosen.menu]
        await self._do(response, Call(call.name, {**call.arguments, "text": words}), asker)

    async def _run(self, response: Responder, call: Call) -> None:
        ephemeral = call.name not in _PUBLIC or await self._is_quiet(response.interaction)
        await response.think(ephemeral=ephemeral)
        await self._do(response, call, await self._asker(response, ephemeral=ephemeral, reply_to=None))

    async def _do(self, response: Responder, call: Call, asker: Asker) -> None:
        outcome = await commands.run(self._service, call, asker)
        outcome = whole_status(self._client, call, outcome, asker.language)
        self._rooms.forget_settings(asker.place.workspace)  # the command may have changed them
        await self._tell(response, outcome, asker.language, answers_here=call.name in commands.RECIPE_COMMANDS)

    async def _tell(self, response: Responder, outcome: Outcome, language: str, *, answers_here: bool) -> None:
        match outcome:
            case Answering(turn=turn, duplicate=duplicate):
                if not duplicate:
                    self._courier.deliver(turn)
                if not answers_here:  # it is answered where it was asked
                    await response.say(text("answering_again", language))
            case PassedOn():
                await response.say(text("handoff_passed_on", language))
            case Told(text=words):
                await response.say(words)
            case Explained(explanation=explanation):
                await response.say(summary(explanation, language), prompt_file(explanation))
            case Exported(name=name, document=document):
                await response.say(text("privacy_exported", language), (name, document))

    async def _is_quiet(self, interaction: discord.Interaction) -> bool:
        """Whether nothing is answered in this channel for all to read; a database that is away is not waited for."""
        if interaction.guild_id is None:
            return False
        try:
            async with asyncio.timeout(_LOOK_S):
                return (await self._settings(interaction)).answer == "never"
        except (ServiceUnavailable, TimeoutError) as error:
            log.warning("A channel's settings cannot be read.", action="settings_unread", reason=repr(error))
            return False

    async def _settings(self, interaction: discord.Interaction) -> ChannelSettings:
        """What is set for its channel. Raises DatabaseUnavailable."""
        channel_id = interaction.channel_id or 0
        found_by, _ = settings_channel(interaction.channel, channel_id)
        return await self._rooms.settings(workspace_of(interaction.guild_id, channel_id), found_by)

    async def _asker(self, response: Responder, *, ephemeral: bool, reply_to: int | None) -> Asker:
        interaction = response.interaction
        channel_id = interaction.channel_id or 0
        settings = await self._settings(interaction)
        place = place_of(interaction.guild_id, interaction.channel, channel_id, interaction.user.id, settings)
        target = Target(
            channel=channel_id,
            reply_to=reply_to,
            asker=interaction.user.id,
            interaction=interaction.id,
            token=interaction.token if not response.lost else None,
            ephemeral=ephemeral,
        )
        return asker_of(
            place,
            interaction.user,
            str(interaction.id),
            target,
            channel=interaction.channel,
            permissions=permissions_of(interaction),
            shared=is_shared(interaction.guild_id, interaction.channel, settings),
            locales=(interaction.locale.value,),
        )


async def _complete(interaction: discord.Interaction, words: list[str]) -> None:
    """Offer what may be meant; nobody waits for it, and the next letter asks again."""
    choices = [discord.app_commands.Choice(name=word, value=word) for word in words]
    try:
        await interaction.response.autocomplete(choices)
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
        log.info("Nothing can be offered.", action="autocomplete_failed", reason=str(error) or repr(error))


def _chosen_message(interaction: discord.Interaction, chosen: Chosen) -> discord.Message:
    """The message that a context menu was used on, which Discord sends along whole."""
    data: Any = interaction.data
    state: Any = interaction._state  # noqa: SLF001 - as discord.py makes it for its own menus
    channel: Any = interaction.channel
    return discord.Message(state=state, channel=channel, data=data["resolved"]["messages"][str(chosen.message_id)])
