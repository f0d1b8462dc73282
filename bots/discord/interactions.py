"""What people do with slash commands, context menus, buttons and forms.

Everything is acknowledged first, since Discord waits three seconds and a database may take longer; what goes wrong
after that is said where the answer would have stood.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import discord
import structlog

from bots import commands
from bots.attachments import Attachments
from bots.commands import Answering, Asker, Call, Explained, Exported, Outcome, Told
from bots.courier import Courier
from bots.discord import slash
from bots.discord.chains import ReplyChains
from bots.discord.controls import Action, Pressed, comment_form, read_id
from bots.discord.inbound import attachments_of, person_of, words_of
from bots.discord.places import PLATFORM, asker_of, is_shared, place_of, settings_channel, workspace_of
from bots.discord.sink import MAX_CHARS
from bots.discord.slash import Chosen, Menu
from bots.discord.targets import Target
from bots.discord.wire import Refused, surely
from bots.explanation import prompt_file, summary
from bots.privacy import check_quoting
from bots.rooms import Rooms
from bots.splitting import split
from bots.texts import negotiate, sentence_for, text
from core.errors import NotFound, PajamaError
from core.history import Explanation, TurnView
from core.service import Service
from core.values import Rating

log = structlog.get_logger(__name__)

_PUBLIC = frozenset({"ask", "write", "translate", "understand"})
"""Commands whose answer everyone in the channel sees."""

_MENU_CALLS = {
    Menu.TRANSLATE: Call("translate"),
    Menu.SUMMARISE: Call("understand", {"task": "summarise"}),
    Menu.ANSWER: Call("ask"),
}
_GONE = frozenset({10062, 40060, 10015})
"""An interaction that ended or was answered by another process: there is nobody to tell."""


class Interactions:
    """Handles every interaction of one client."""

    def __init__(
        self, client: discord.Client, service: Service, courier: Courier, rooms: Rooms, attachments: Attachments
    ) -> None:
        self._client, self._service, self._courier, self._rooms = client, service, courier, rooms
        self._attachments, self._chains = attachments, ReplyChains(client)

    async def handle(self, interaction: discord.Interaction) -> None:
        """Do what is asked, and say what came of it or why not."""
        try:
            await self._handle(interaction)
        except PajamaError as error:
            log.info("An interaction was refused.", action="interaction_refused", code=error.code, reason=str(error))
            await self._say(interaction, sentence_for(error, language_of(interaction)))
        except discord.HTTPException as error:
            if error.code not in _GONE:
                raise
            log.warning("An interaction came too late.", action="interaction_gone", reason=str(error))
        except Exception:  # the edge: whoever asked is told, the operator sees where
            log.exception("An interaction failed.", action="interaction_failed", interaction_id=interaction.id)
            await self._say(interaction, text("error_error", language_of(interaction)))

    async def _handle(self, interaction: discord.Interaction) -> None:
        data: Any = interaction.data or {}
        match interaction.type:
            case discord.InteractionType.autocomplete:
                choices = [discord.app_commands.Choice(name=word, value=word) for word in slash.completions(data)]
                await interaction.response.autocomplete(choices)
            case discord.InteractionType.application_command if chosen := slash.chosen_of(data):
                await self._choose(interaction, chosen)
            case discord.InteractionType.application_command:
                call = slash.call_of(data)
                await self._run(interaction, call, ephemeral=call.name not in _PUBLIC)
            case discord.InteractionType.component | discord.InteractionType.modal_submit:
                pressed = read_id(str(data.get("custom_id", "")))
                if pressed is not None:
                    await self._press(interaction, pressed)
            case _:
                return

    # Commands

    async def _choose(self, interaction: discord.Interaction, chosen: Chosen) -> None:
        """Do a command with what somebody's message says. Only an answer to it is for everyone."""
        answers = chosen.menu is Menu.ANSWER
        await interaction.response.defer(ephemeral=not answers, thinking=True)
        message = _chosen_message(interaction, chosen)
        asker = await self._asker(interaction, ephemeral=not answers, reply_to=message.id if answers else None)
        await check_quoting(self._service, asker.place, person_of(message.author), asker.person)
        if answers:
            asker = replace(asker, context=(await self._chains.above(message)).context)
        said = words_of(message, self._bot_id)
        words = await self._attachments.told(said, attachments_of(message), asker.language)
        call = _MENU_CALLS[chosen.menu]
        await self._do(interaction, Call(call.name, {**call.arguments, "text": words}), asker)

    async def _run(self, interaction: discord.Interaction, call: Call, *, ephemeral: bool) -> None:
        await interaction.response.defer(ephemeral=ephemeral, thinking=True)
        await self._do(interaction, call, await self._asker(interaction, ephemeral=ephemeral, reply_to=None))

    async def _do(self, interaction: discord.Interaction, call: Call, asker: Asker) -> None:
        outcome = await commands.run(self._service, call, asker)
        if call.name == "status" and isinstance(outcome, Told) and not self._client.intents.message_content:
            outcome = Told(f"{outcome.text}\n{text('status_degraded', asker.language)}")
        self._rooms.forget_settings(asker.place.workspace)  # the command may have changed them
        await self._tell(interaction, outcome, asker.language, answers_here=call.name in commands.RECIPE_COMMANDS)

    async def _tell(
        self, interaction: discord.Interaction, outcome: Outcome, language: str, *, answers_here: bool
    ) -> None:
        match outcome:
            case Answering(turn=turn, duplicate=duplicate):
                if not duplicate:
                    self._courier.deliver(turn)
                if not answers_here:  # it is answered where it was asked
                    await self._say(interaction, text("answering_again", language))
            case Told(text=words):
                await self._say(interaction, words)
            case Explained(explanation=explanation):
                await self._explain(interaction, explanation, language)
            case Exported(name=name, document=document):
                await self._say(interaction, text("privacy_exported", language), (name, document))

    async def _asker(self, interaction: discord.Interaction, *, ephemeral: bool, reply_to: int | None) -> Asker:
        channel_id = interaction.channel_id or 0
        workspace = workspace_of(interaction.guild_id, channel_id)
        settings = await self._rooms.settings(workspace, settings_channel(interaction.channel, channel_id)[0])
        place = place_of(interaction.guild_id, interaction.channel, channel_id, interaction.user.id, settings)
        target = Target(
            channel=channel_id,
            reply_to=reply_to,
            interaction=interaction.id,
            token=interaction.token,
            ephemeral=ephemeral,
        )
        return asker_of(
            place,
            interaction.user,
            str(interaction.id),
            target,
            channel=interaction.channel,
            permissions=_permissions(interaction),
            shared=is_shared(interaction.guild_id, interaction.channel, settings),
            locales=(interaction.locale.value,),
        )

    # Buttons and forms

    async def _press(self, interaction: discord.Interaction, pressed: Pressed) -> None:
        language = language_of(interaction)
        if pressed.action is Action.DOWN:
            await interaction.response.send_modal(comment_form(pressed.turn_id, language))
        elif pressed.action in (Action.STOP, Action.REGENERATE):
            await interaction.response.defer()
        else:
            await interaction.response.defer(ephemeral=True, thinking=True)
        turn = await self._turn(interaction, pressed.turn_id)
        act = {
            Action.STOP: self._stop,
            Action.REGENERATE: self._regenerate,
            Action.UP: self._up,
            Action.DOWN: self._down,
            Action.WHY: self._why,
            Action.COMMENT: self._comment,
        }
        await act[pressed.action](interaction, turn, language)

    async def _turn(self, interaction: discord.Interaction, turn_id: int) -> TurnView:
        """The Turn below which the button stands. Raises NotFound where it is not of this Workspace."""
        turn = await self._service.turn_status(turn_id)
        workspace = workspace_of(interaction.guild_id, interaction.channel_id or 0)
        if (turn.place.platform, turn.place.workspace) != (PLATFORM, workspace):
            raise NotFound(f"There is no turn {turn_id} here.")
        return turn

    async def _stop(self, interaction: discord.Interaction, turn: TurnView, language: str) -> None:
        moderator = _permissions(interaction).manage_messages
        await self._service.cancel(turn.place, person_of(interaction.user), turn.turn_id, moderator=moderator)

    async def _regenerate(self, interaction: discord.Interaction, turn: TurnView, language: str) -> None:
        again = await self._service.regenerate(turn.place, person_of(interaction.user), turn.turn_id)
        self._courier.deliver(again)
        if interaction.message is not None:  # its buttons are for the answer that comes
            await surely(lambda: interaction.edit_original_response(view=None), what="buttons")

    async def _up(self, interaction: discord.Interaction, turn: TurnView, language: str) -> None:
        await self._service.rate(turn.place, person_of(interaction.user), turn.turn_id, Rating.UP)
        await self._say(interaction, text("feedback_thanks", language))

    async def _down(self, interaction: discord.Interaction, turn: TurnView, language: str) -> None:
        await self._service.rate(turn.place, person_of(interaction.user), turn.turn_id, Rating.DOWN)

    async def _comment(self, interaction: discord.Interaction, turn: TurnView, language: str) -> None:
        comment = _typed(interaction.data)
        kept = await self._service.rate(turn.place, person_of(interaction.user), turn.turn_id, Rating.DOWN, comment)
        await self._say(interaction, text("feedback_thanks" if kept else "feedback_without_comment", language))

    async def _why(self, interaction: discord.Interaction, turn: TurnView, language: str) -> None:
        await self._explain(interaction, await self._service.why(turn.place, turn.turn_id), language)

    # What is said

    async def _explain(self, interaction: discord.Interaction, explanation: Explanation, language: str) -> None:
        await self._say(interaction, summary(explanation, language), prompt_file(explanation))

    async def _say(self, interaction: discord.Interaction, words: str, file: tuple[str, bytes] | None = None) -> None:
        """Complete the interaction with `words`, whether it was acknowledged or not, in as many messages as it takes."""
        first, *more = split(words, MAX_CHARS) or ["…"]
        files = [discord.File(io.BytesIO(file[1]), file[0])] if file else []

        async def complete() -> None:
            if not interaction.response.is_done():
                await interaction.response.send_message(first, ephemeral=True, files=files)
            elif interaction.response.type in _IN_PLACE:  # the message below which the button stands is not to change
                await interaction.followup.send(first, ephemeral=True, files=files)
            else:
                await interaction.edit_original_response(content=first, attachments=files)

        try:
            await surely(complete, what="interaction")
            for piece in more:
                await surely(_follow_up(interaction, piece), what="interaction")
        except Refused as error:
            log.warning("Nobody can be told.", action="interaction_untold", reason=str(error))

    @property
    def _bot_id(self) -> int:
        return self._client.user.id if self._client.user is not None else 0


_IN_PLACE = (discord.InteractionResponseType.deferred_message_update, discord.InteractionResponseType.modal)


def language_of(interaction: discord.Interaction) -> str:
    """The language of whoever acts, as their Discord is set."""
    return negotiate((interaction.locale.value,))


def _permissions(interaction: discord.Interaction) -> discord.Permissions:
    """What they may do there; in a DM everything, since it is theirs, and Discord tells nothing of it."""
    return interaction.permissions if interaction.guild_id is not None else discord.Permissions.all()


def _chosen_message(interaction: discord.Interaction, chosen: Chosen) -> discord.Message:
    """The message that a context menu was used on, which Discord sends along whole."""
    data: Any = interaction.data
    state: Any = interaction._state  # noqa: SLF001 - as discord.py makes it for its own menus
    channel: Any = interaction.channel
    return discord.Message(state=state, channel=channel, data=data["resolved"]["messages"][str(chosen.message_id)])


def _follow_up(interaction: discord.Interaction, words: str) -> Callable[[], Awaitable[object]]:
    return lambda: interaction.followup.send(words, ephemeral=True)


def _typed(data: Any) -> str:
    """What was written into the form's only field."""
    for row in data.get("components", ()):
        for field in [row.get("component"), *row.get("components", ())]:
            if field is not None and "value" in field:
                return str(field["value"])
    return ""
