"""The slash command and the shortcuts of messages: what each of them does.

Acknowledged when they are done, and done once at most. What they tell is for their user alone; answers of the model come in
a thread of the channel, and nothing is shown or kept there of a question that is refused. A command knows no thread: `why`,
`stop` and the like are about what their user asked last in the channel, or in the DM.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bots import commands
from bots.commands import Answering, Asker, Call, Explained, Exported, Outcome, PassedOn, Told
from bots.courier import Courier
from bots.explanation import summary
from bots.privacy import check_quoting
from bots.rooms import Rooms
from bots.slack.guarding import guarded
from bots.slack.inbound import words_of
from bots.slack.once import Once
from bots.slack.people import People
from bots.slack.places import workspace_of
from bots.slack.questions import Questions
from bots.slack.reading import Reading
from bots.slack.roots import Roots
from bots.slack.speaking import Speaker
from bots.slack.threads import conversation_of
from bots.slack.wire import OUTSIDE, Refused
from bots.texts import text
from core.errors import NotInChannel
from core.service import Service
from core.values import Person

Json = dict[str, Any]
Tell = Callable[[str], Awaitable[None]]

COMMAND = "/pajama"
SHORTCUT_CALLS: dict[str, tuple[str, dict[str, str]]] = {
    "pajama_answer": ("ask", {}),
    "pajama_translate": ("translate", {}),
    "pajama_summarise": ("understand", {"task": "summarise"}),
}
"""What the shortcuts of a message do with its words, by callback_id; the last one with all of its thread."""

SUMMARISE = "pajama_summarise"
_HUMAN, _SETTINGS = "human", "settings"


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
        self._service, self._courier, self._rooms = service, courier, rooms
        self._people, self._questions, self._reading = people, questions, reading
        self._speaker, self._once, self._roots = speaker, once, Roots(client, service)

    async def command(self, body: Json, bot: str) -> None:
        """Do what was typed after the command."""
        user, channel, trigger = body["user_id"], body["channel_id"], str(body.get("trigger_id") or "")
        workspace = workspace_of(body)
        tell = self._teller(body, channel, user)

        async def work(language: str) -> None:
            if not await self._once.first(f"command-{workspace}:{trigger}"):
                return
            call = self._read(_typed(str(body.get("text") or "")), bot)
            place = await conversation_of(self._service, workspace, channel, None)
            asker = await self._questions.presser(workspace, place, channel, None, user, trigger, language)
            asker = await self._questions.about_latest(call.name, asker)
            if call.name in commands.RECIPE_COMMANDS:
                await self._run_below(call.arguments["text"], call, asker, tell)
            elif call.name == _HUMAN and asker.about is None:
                await self._run_below(f"/{_HUMAN} {call.arguments.get('reason', '')}".strip(), call, asker, tell)
            else:
                await self._run(call, asker, tell)

        await guarded(self._speaker, self._people, channel, user, work, reply_url=_reply_url(body))

    async def shortcut(self, body: Json, bot: str) -> None:
        """Do a command with the words of somebody's message, or of its thread."""
        user, channel, message = body["user"]["id"], body["channel"]["id"], body["message"]
        trigger, workspace = str(body.get("trigger_id") or body.get("action_ts") or ""), workspace_of(body)
        name, arguments = SHORTCUT_CALLS[body["callback_id"]]
        thread = message.get("thread_ts") or message["ts"]
        seen_in = thread if thread != message["ts"] else None  # a thread that need not be open shows nothing
        tell = self._teller(body, channel, user, seen_in)

        async def work(language: str) -> None:
            if not await self._once.first(f"command-{workspace}:{trigger}"):
                return
            place = await conversation_of(self._service, workspace, channel, thread)
            asker = await self._questions.presser(workspace, place, channel, thread, user, trigger, language)
            words, note = await self._words(body["callback_id"], message, asker, bot)
            call = Call(name, {**arguments, "text": words})
            await commands.check(self._service, call, asker)
            await self._tell_where(asker, seen_in, note, tell)
            await self._run(call, asker, tell)

        await guarded(self._speaker, self._people, channel, user, work, thread=seen_in, reply_url=_reply_url(body))

    def _teller(self, body: Json, channel: str, user: str, thread: str | None = None) -> Tell:
        """What tells whoever did something a sentence, and nobody else."""
        return partial(self._speaker.only_to, channel, user, thread=thread, reply_url=_reply_url(body))

    def _read(self, call: Call, bot: str) -> Call:
        """The call with its words as people read them; in what is set the ids stay, by which it is known."""
        arguments = {
            name: html.unescape(given)
            if call.name == _SETTINGS
            else words_of({"text": given}, bot, self._people.name_of)
            for name, given in call.arguments.items()
        }
        return Call(call.name, arguments)

    async def _run_below(self, shown: str, call: Call, asker: Asker, tell: Tell) -> None:
        """Do it in a thread of its own, below a message that shows what was asked. Raises PajamaError."""
        await commands.check(self._service, call, asker)  # before anybody sees the words
        channel, user, workspace = str(asker.channel), asker.person.id, asker.place.workspace
        words = f"**{asker.person.display_name or user}**: {shown}"
        async with self._roots.opened(workspace, channel, words, asker.event_id) as thread:
            place = await conversation_of(self._service, workspace, channel, thread)
            there = await self._questions.presser(
                workspace, place, channel, thread, user, asker.event_id, asker.language
            )
            await self._run(call, there, tell)

    async def _run(self, call: Call, asker: Asker, tell: Tell) -> None:
        outcome = await commands.run(self._service, call, asker)
        if call.name == "help" and isinstance(outcome, Told):
            outcome = replace(outcome, text=f"{outcome.text}\n\n{text('slack_how', asker.language)}")
        self._rooms.forget_settings(asker.place.workspace)
        await self._tell(outcome, asker, tell, answers_here=call.name in commands.RECIPE_COMMANDS)

    async def _words(self, chosen: str, message: Json, asker: Asker, bot: str) -> tuple[str, str]:
        """What the shortcut is about, and a sentence where that is less than was meant.

        Raises WordsUnwanted where whoever wrote the message wants nothing of it kept.
        """
        note = ""
        if chosen == SUMMARISE:
            words, whole = await self._reading.thread(asker.place, message, bot)
            note = "" if whole else text("thread_in_part" if words else "thread_unread", asker.language)
            if words:
                return words, note
        if message.get("user"):
            await check_quoting(self._service, asker.place, Person(id=message["user"]), asker.person)
        return await self._questions.words(message, bot, asker.language), note

    async def _tell_where(self, asker: Asker, thread: str | None, note: str, tell: Tell) -> None:
        """Say where the answer comes, while nothing is kept yet: where not even that can be said, no answer can.

        Raises NotInChannel.
        """
        words = f"{text('answer_below', asker.language)} {note}".strip()
        try:
            await self._speaker.only_there(str(asker.channel), asker.person.id, words, thread)
        except Refused as error:
            if error.refusal in OUTSIDE:
                raise NotInChannel from error
            await tell(words)

    async def _tell(self, outcome: Outcome, asker: Asker, tell: Tell, *, answers_here: bool) -> None:
        match outcome:
            case Answering(turn=turn, duplicate=duplicate):
                self._rooms.note_part(turn.place)
                if not duplicate:
                    self._courier.deliver(turn)
                if not answers_here:
                    await tell(text("answering_again", asker.language))
            case PassedOn():
                await tell(text("handoff_passed_on", asker.language))
            case Told(text=words, takes_part=takes_part):
                if takes_part:
                    self._rooms.note_part(asker.place)
                await tell(words)
            case Explained(explanation=explanation):
                await tell(summary(explanation, asker.language))
            case Exported(name=name, document=document):
                sentence = text("privacy_exported", asker.language)
                await self._speaker.in_private(asker.person.id, sentence, (name, document))


def _reply_url(body: Json) -> str:
    return str(body.get("response_url") or "")


def _typed(words: str) -> Call:
    """What was typed after the command: a command of ours by its name, else a question. Raises BadCommand.

    A word that names a command without options begins a question where more follows, as in `why is the sky blue?`
    """
    typed = words.strip() or "help"
    name, rest = (*typed.split(None, 1), "")[:2]
    command = commands.COMMANDS.get(name.lower())
    asks = command is None or (rest and not command.options)
    call = commands.parse(f"/ask {typed}" if asks else f"/{typed}")
    assert isinstance(call, Call)
    return call
