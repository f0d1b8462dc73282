"""Slash commands, buttons, forms and shortcuts of messages: what each of them does.

Every one is acknowledged at once, and answered where only its user sees it, but for answers of the model, which come
in a thread of the channel.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots import commands
from bots.commands import Answering, Asker, Explained, Exported, Outcome, PassedOn, Told
from bots.courier import Courier
from bots.explanation import facts, notes
from bots.rooms import Rooms
from bots.slack.controls import COMMENT_BLOCK, COMMENT_FIELD, DOWN, Action, comment_form, turn_of
from bots.slack.people import People
from bots.slack.places import PLATFORM, team_of, workspace_of
from bots.slack.speaking import Speaker
from bots.slack.targets import Target
from bots.slack.threads import conversation_of
from bots.slack.wire import Refused, surely
from bots.slack.wording import harmless
from bots.texts import sentence_for, text
from core.errors import NotFound, PajamaError
from core.history import TurnView
from core.service import Service
from core.values import Place, Rating

log = structlog.get_logger(__name__)

Json = dict[str, Any]

COMMAND = "/pajama"
SHORTCUT_CALLS = {
    "pajama_answer": ("ask", {}),
    "pajama_translate": ("translate", {}),
    "pajama_summarise": ("understand", {"task": "summarise"}),
}
"""What the shortcuts of a message do with its words, by callback_id."""


class Interactions:
    """Handles everything that people press, choose and fill in."""

    def __init__(
        self,
        client: AsyncWebClient,
        service: Service,
        courier: Courier,
        rooms: Rooms,
        people: People,
        speaker: Speaker,
    ) -> None:
        self._client, self._service, self._courier, self._rooms = client, service, courier, rooms
        self._people, self._speaker = people, speaker

    async def command(self, body: Json) -> None:
        """Do what was typed after the command."""
        user, channel = body["user_id"], body["channel_id"]

        async def work(language: str) -> None:
            typed = str(body.get("text") or "").strip() or "help"
            head = typed.partition(" ")[0]
            known = head.lower() in commands.COMMANDS
            call = commands.parse(f"/{typed}" if known else f"/ask {typed}")
            assert isinstance(call, commands.Call)
            await self._run(body, call, channel, user, str(body.get("trigger_id") or ""), language)

        await self._guarded(channel, user, work)

    async def shortcut(self, body: Json) -> None:
        """Do a command with the words of somebody's message."""
        user, channel, message = body["user"]["id"], body["channel"]["id"], body["message"]
        name, arguments = SHORTCUT_CALLS[body["callback_id"]]

        async def work(language: str) -> None:
            call = commands.Call(name, {**arguments, "text": str(message.get("text") or "")})
            thread = message.get("thread_ts") or message["ts"]
            trigger = str(body.get("trigger_id") or body.get("action_ts") or "")
            await self._run(body, call, channel, user, trigger, language, thread=thread)

        await self._guarded(channel, user, work)

    async def pressed(self, body: Json) -> None:
        """Do what the button says."""
        action, user = body["actions"][0], body["user"]["id"]
        channel = (body.get("channel") or body.get("container") or {}).get("id") or body["container"].get("channel_id")
        thread = body["container"].get("thread_ts") or body["container"].get("message_ts")

        async def work(language: str) -> None:
            turn = await self._turn(body, turn_of(str(action.get("value") or "")))
            act = {
                Action.STOP: self._stop,
                Action.REGENERATE: self._regenerate,
                Action.RATE: self._rate,
                Action.WHY: self._why,
            }[Action(action["action_id"])]
            await act(body, turn, language)

        await self._guarded(channel, user, work, thread=thread)

    async def commented(self, body: Json) -> None:
        """Keep what was written into the form."""
        user, view = body["user"]["id"], body["view"]
        field = view["state"]["values"][COMMENT_BLOCK][COMMENT_FIELD]

        async def work(language: str) -> None:
            turn = await self._turn(body, turn_of(str(view.get("private_metadata") or "")))
            person = await self._people.person(user)
            comment = str(field.get("value") or "")
            await self._service.rate(turn.place, person, turn.turn_id, Rating.DOWN, comment)

        await self._guarded(user, user, work)

    async def stopped(self, body: Json) -> None:
        """Somebody pressed Slack's own stop button in a thread."""
        event, workspace = body["event"], workspace_of(body)
        user, channel, thread = event["user"], event["channel"], event.get("thread_ts")

        async def work(language: str) -> None:
            place = await conversation_of(self._service, workspace, channel, thread)
            asker = await self._asker(workspace, place, channel, thread, user, event["event_ts"], language)
            await commands.run(self._service, commands.Call("stop"), asker)

        await self._guarded(channel, user, work, thread=thread)

    # Commands

    async def _run(
        self,
        body: Json,
        call: commands.Call,
        channel: str,
        user: str,
        event_id: str,
        language: str,
        *,
        thread: str | None = None,
    ) -> None:
        workspace = workspace_of(body)
        if call.name in commands.RECIPE_COMMANDS and thread is None:
            thread = await self._open_thread(channel, call, user, language)
        place = await conversation_of(self._service, workspace, channel, thread)
        asker = await self._asker(workspace, place, channel, thread, user, event_id, language)
        outcome = await commands.run(self._service, call, asker)
        self._rooms.forget_settings(workspace)
        await self._tell(outcome, asker, channel, thread, answers_here=call.name in commands.RECIPE_COMMANDS)

    async def _open_thread(self, channel: str, call: commands.Call, user: str, language: str) -> str:
        """A message that shows the question, for the answer to stand below. Raises Refused."""
        name = (await self._people.profile(user)).name or user
        words = harmless(f"**{name}**: {call.arguments.get('text', '')}")[:3_000]
        posted = await surely(
            lambda: self._client.chat_postMessage(channel=channel, markdown_text=words), what="question"
        )
        return str(posted["ts"])

    async def _asker(
        self, workspace: str, place: Place, channel: str, thread: str | None, user: str, event_id: str, language: str
    ) -> Asker:
        profile, direct = await self._people.profile(user), channel.startswith("D")
        target = Target(channel=channel, thread=thread or "", team=team_of(workspace), asker=user)
        return Asker(
            place=place,
            person=await self._people.person(user),
            event_id=event_id,
            language=language,
            target=target.model_dump(),
            shared=not direct,
            channel=channel,
            admin=profile.admin,
            moderator=profile.admin,
        )

    async def _tell(
        self, outcome: Outcome, asker: Asker, channel: str, thread: str | None, *, answers_here: bool
    ) -> None:
        user, language = asker.person.id, asker.language
        match outcome:
            case Answering(turn=turn, duplicate=duplicate):
                self._rooms.note_part(turn.place)
                if not duplicate:
                    self._courier.deliver(turn)
                if not answers_here:
                    await self._speaker.only_to(channel, user, text("answering_again", language), thread)
            case PassedOn():
                await self._speaker.only_to(channel, user, text("handoff_passed_on", language), thread)
            case Told(text=words):
                await self._speaker.only_to(channel, user, words, thread)
            case Explained(explanation=explanation):
                await self._speaker.only_to(channel, user, _explained(explanation, language), thread)
            case Exported(name=name, document=document):
                await self._speaker.in_private(user, text("privacy_exported", language), (name, document))

    # Buttons

    async def _turn(self, body: Json, turn_id: int | None) -> TurnView:
        """The Turn below which the button stands. Raises NotFound where it is not of this Workspace."""
        if turn_id is None:
            raise NotFound("There is no such turn.")
        turn = await self._service.turn_status(turn_id)
        if (turn.place.platform, turn.place.workspace) != (PLATFORM, workspace_of(body)):
            raise NotFound(f"There is no turn {turn_id} here.")
        return turn

    async def _stop(self, body: Json, turn: TurnView, language: str) -> None:
        user = body["user"]["id"]
        moderator = (await self._people.profile(user)).admin
        await self._service.cancel(turn.place, await self._people.person(user), turn.turn_id, moderator=moderator)

    async def _regenerate(self, body: Json, turn: TurnView, language: str) -> None:
        person = await self._people.person(body["user"]["id"])
        self._courier.deliver(await self._service.regenerate(turn.place, person, turn.turn_id))

    async def _rate(self, body: Json, turn: TurnView, language: str) -> None:
        down = str(body["actions"][0].get("value") or "").startswith(DOWN)
        person = await self._people.person(body["user"]["id"])
        if down:
            form = comment_form(turn.turn_id, language)
            try:
                await surely(
                    lambda: self._client.views_open(trigger_id=body["trigger_id"], view=form), what="form", tries=1
                )
            except Refused as error:
                log.info("No form can be shown.", action="form_refused", reason=str(error))
        await self._service.rate(turn.place, person, turn.turn_id, Rating.DOWN if down else Rating.UP)

    async def _why(self, body: Json, turn: TurnView, language: str) -> None:
        explanation = await self._service.why(turn.place, turn.turn_id)
        container = body["container"]
        thread = container.get("thread_ts") or container.get("message_ts")
        await self._speaker.only_to(
            container["channel_id"], body["user"]["id"], _explained(explanation, language), thread
        )

    async def _guarded(
        self, channel: str, user: str, work: Callable[[str], Awaitable[None]], *, thread: str | None = None
    ) -> None:
        """Do it; whoever asked for what cannot be done is told why."""
        language = await self._people.language(user)
        try:
            await work(language)
        except PajamaError as error:
            log.info("An interaction was refused.", action="interaction_refused", code=error.code, reason=str(error))
            await self._speaker.only_to(channel, user, sentence_for(error, language), thread)


def _explained(explanation: Any, language: str) -> str:
    lines = [f"**{name}**: {value}" for name, value in facts(explanation, language)]
    return "\n".join([*lines, *notes(explanation, language)])
