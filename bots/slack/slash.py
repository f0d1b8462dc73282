"""The slash command and the shortcuts of messages: what each of them does.

Acknowledged when they are done, and done once at most. What they tell is for their user alone; answers of the model come in
a thread of the channel. In a channel a command knows no thread: `why`, `stop` and the like are about what their user
asked last in it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots import commands
from bots.commands import Answering, Asker, Call, Explained, Exported, Outcome, PassedOn, Told
from bots.courier import Courier
from bots.explanation import summary
from bots.rooms import Rooms
from bots.slack.chats import Chats
from bots.slack.guarding import guarded
from bots.slack.inbound import words_of
from bots.slack.once import Once
from bots.slack.people import People
from bots.slack.places import place_of, workspace_of
from bots.slack.questions import Questions
from bots.slack.reading import Reading
from bots.slack.speaking import Speaker
from bots.slack.targets import Target
from bots.slack.threads import conversation_of
from bots.slack.wire import surely
from bots.slack.wording import harmless
from bots.texts import text
from core.history import TurnView, Which
from core.service import Service

log = structlog.get_logger(__name__)

Json = dict[str, Any]

COMMAND = "/pajama"
SHORTCUT_CALLS: dict[str, tuple[str, dict[str, str]]] = {
    "pajama_answer": ("ask", {}),
    "pajama_translate": ("translate", {}),
    "pajama_summarise": ("understand", {"task": "summarise"}),
}
"""What the shortcuts of a message do with its words, by callback_id; the last one with all of its thread."""

SUMMARISE = "pajama_summarise"
_ABOUT: dict[str, Which] = {
    "stop": "open", "regenerate": "any", "why": "answered", "feedback": "answered", "reset": "any",
    "human": "any",
}  # fmt: skip
"""Commands that are about an earlier question, and which of them that is."""

_HUMAN = "human"


class Slash:
    """One per workspace."""

    def __init__(
        self,
        client: AsyncWebClient,
        service: Service,
        courier: Courier,
        rooms: Rooms,
        people: People,
        questions: Questions,
        reading: Reading,
        speaker: Speaker,
        once: Once,
    ) -> None:
        self._client, self._service, self._courier, self._rooms = client, service, courier, rooms
        self._people, self._questions, self._reading = people, questions, reading
        self._speaker, self._once = speaker, once
        self._chats = Chats(client, service)

    async def command(self, body: Json) -> None:
        """Do what was typed after the command."""
        user, channel, trigger = body["user_id"], body["channel_id"], str(body.get("trigger_id") or "")
        workspace = workspace_of(body)

        async def work(language: str) -> None:
            if not await self._once.first(f"command-{workspace}:{trigger}"):
                return
            call = _typed(str(body.get("text") or ""))
            asks = call.name in commands.RECIPE_COMMANDS
            thread = await self._open_thread(channel, call, user, language) if asks else None
            place = await conversation_of(self._service, workspace, channel, thread)
            asker = await self._questions.presser(workspace, place, channel, thread, user, trigger, language)
            asker = await self._about(call, asker)
            if call.name == _HUMAN and asker.shared and asker.about is None:
                asker = await self._in_thread(call, asker, language)
            await self._run(call, asker, language)

        await guarded(self._speaker, self._people, channel, user, work)

    async def _in_thread(self, call: Call, asker: Asker, language: str) -> Asker:
        """The asker in a thread of their own, in which a human can talk with them. Raises Refused."""
        channel, user, workspace = str(asker.channel), asker.person.id, asker.place.workspace
        shown = Call(call.name, {"text": f"/{_HUMAN} {call.arguments.get('reason', '')}".strip()})
        thread = await self._open_thread(channel, shown, user, language)
        place = place_of(workspace, channel, thread)
        self._rooms.note_part(place)
        return await self._questions.presser(workspace, place, channel, thread, user, asker.event_id, language)

    async def shortcut(self, body: Json, bot: str) -> None:
        """Do a command with the words of somebody's message, or of its thread."""
        user, channel, message = body["user"]["id"], body["channel"]["id"], body["message"]
        trigger, workspace = str(body.get("trigger_id") or body.get("action_ts") or ""), workspace_of(body)
        name, arguments = SHORTCUT_CALLS[body["callback_id"]]
        thread = message.get("thread_ts") or message["ts"]

        async def work(language: str) -> None:
            if not await self._once.first(f"command-{workspace}:{trigger}"):
                return
            words = words_of(message, bot, self._people.name_of)
            if body["callback_id"] == SUMMARISE:
                words = await self._whole_thread(workspace, channel, user, message, bot, language) or words
            place = await conversation_of(self._service, workspace, channel, thread)
            asker = await self._questions.presser(workspace, place, channel, thread, user, trigger, language)
            await self._run(Call(name, {**arguments, "text": words}), asker, language)

        await guarded(self._speaker, self._people, channel, user, work, thread=thread)

    async def _run(self, call: Call, asker: Asker, language: str) -> None:
        outcome = await commands.run(self._service, call, asker)
        if call.name == "help" and isinstance(outcome, Told):
            outcome = Told(f"{outcome.text}\n\n{text('slack_how', language)}")
        self._rooms.forget_settings(asker.place.workspace)
        await self._tell(outcome, asker, language, answers_here=call.name in commands.RECIPE_COMMANDS)

    async def _about(self, call: Call, asker: Asker) -> Asker:
        """The asker at the place of what they asked last in the channel, where the command is about that."""
        turn: TurnView | None = None
        if call.name in _ABOUT and asker.shared and asker.channel is not None:
            turn = await self._service.latest_of_person(asker.place, asker.channel, asker.person, _ABOUT[call.name])
        if turn is None:
            return asker
        target = {**asker.target, "thread": turn.place.conversation.partition(":")[2]}
        return replace(asker, place=turn.place, about=turn.turn_id, target=target)

    async def _whole_thread(
        self, workspace: str, channel: str, user: str, message: Json, bot: str, language: str
    ) -> str:
        """What is said in the thread; whoever wants it summed up is told where that is not all."""
        thread = message.get("thread_ts") or message["ts"]
        words, whole = await self._reading.thread(place_of(workspace, channel, thread), message, bot)
        if not whole:
            told = text("thread_in_part" if words else "thread_unread", language)
            await self._speaker.only_to(channel, user, told, thread)
        return words

    async def _open_thread(self, channel: str, call: Call, user: str, language: str) -> str:
        """A message that shows the question, for the answer to stand below. Raises Refused."""
        name = (await self._people.profile(user)).name or user
        words = harmless(f"**{name}**: {call.arguments.get('text', '')}")[:3_000]
        posted = await surely(
            lambda: self._client.chat_postMessage(channel=channel, markdown_text=words), what="question"
        )
        return str(posted["ts"])

    async def _tell(self, outcome: Outcome, asker: Asker, language: str, *, answers_here: bool) -> None:
        target = Target.model_validate(asker.target)
        channel, user = target.channel, asker.person.id
        match outcome:
            case Answering(turn=turn, duplicate=duplicate):
                self._rooms.note_part(turn.place)
                if not duplicate:
                    self._courier.deliver(turn)
                if not answers_here:
                    await self._speaker.only_to(channel, user, text("answering_again", language))
            case PassedOn():
                await self._speaker.only_to(channel, user, text("handoff_passed_on", language))
            case Told(text=words):
                await self._speaker.only_to(channel, user, words)
            case Explained(explanation=explanation):
                await self._speaker.only_to(channel, user, summary(explanation, language))
            case Exported(name=name, document=document):
                await self._speaker.in_private(user, text("privacy_exported", language), (name, document))


def _typed(words: str) -> Call:
    """What was typed after the command: a command of ours by its name, else a question. Raises UnknownCommand."""
    typed = words.strip() or "help"
    known = typed.partition(" ")[0].lower() in commands.COMMANDS
    call = commands.parse(f"/{typed}" if known else f"/ask {typed}")
    assert isinstance(call, Call)
    return call
