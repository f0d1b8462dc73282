"""Hand-offs on Slack: a message with buttons in staff's channel, its thread, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bots.handoff import Button
from bots.texts import text
from core.service import Service
from core.values import Person, Place
from tests.bots.handoff_contract import HandoffContract
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.message import Message
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


class Desk:
    """Ann in a chat with the bot; Bob and Cy in #staff."""

    def __init__(self, bot: Bot, slack: StandInSlack, team: Team, staff: Channel, ann: User) -> None:
        self._bot, self._slack, self._team, self.channel, self._ann = bot, slack, team, staff, ann
        self._dm = team.dm(ann)
        self._root = self._dm.begin(ann)
        self.place = Place(platform="slack", workspace=team.id, conversation=f"{self._dm.id}:{self._root.ts}")
        self.person = Person(id=ann.id)
        self._said: Message | None = None

    async def say(self, typed: str) -> None:
        self._said = await self._dm.say(self._ann, typed, thread=self._root)

    async def reword(self, typed: str) -> None:
        assert self._said is not None
        await self._dm.edit(self._said, typed)

    async def take_back(self) -> None:
        assert self._said is not None
        await self._dm.delete(self._said)

    @property
    def notice(self) -> Message:
        return self.channel.answers[0]

    async def reply(self, typed: str, by: str = "Bob") -> None:
        await self.until(lambda: self.channel.answers)
        await self.channel.say(self._team.user(by), typed, thread=self.notice)

    async def press(self, button: Button, by: str = "Bob") -> str:
        label, person = text(f"button_{button}"), self._team.user(by)
        await self.until(lambda: self.channel.answers and label in str(self.notice.blocks))
        before = len(self._seen_alone(person))
        await self._team.press(person, self.notice, label)
        await self.until(lambda: len(self._seen_alone(person)) > before)
        return self._seen_alone(person)[-1].read

    def _seen_alone(self, person: User) -> list[Message]:
        return [message for message in self.channel.book.values() if message.shown_to is person]

    def person_reads(self) -> list[str]:
        return [answer.read for answer in self._dm.answers]

    def staff_read(self) -> list[str]:
        files = [file.content.decode() for answer in self.channel.answers for file in answer.files]
        return [*(answer.read for answer in self.channel.answers), *files]

    async def until(self, condition: Callable[[], object]) -> None:
        await self._slack.changes.until(condition)

    async def settled(self) -> None:
        await self._bot.settled()

    async def stop(self) -> None:
        await self._bot.stop()

    async def start(self) -> None:
        await self._bot.start()

    def lose_answers(self, *, lost: bool) -> None:
        if lost:
            self._slack.faults.add("chat.postMessage", "hang", work_done=True)
        else:
            self._slack.faults.clear()

    async def close_staff_channel(self, how: str) -> None:
        if how == "gone":
            self.channel.archived = True
        else:
            await self.channel.remove(self._team.bot)


@pytest.fixture
def staff_channel(acme: Team) -> Channel:
    cy = acme.add_user("Cy")
    channel = acme.add_channel("staff")
    channel.members[cy.id] = cy
    return channel


@pytest.fixture
async def desk(
    idle_bot: Bot, service: Service, slack: StandInSlack, acme: Team, staff_channel: Channel, ann: User
) -> Desk:
    place = Place(platform="slack", workspace=acme.id, conversation="any")
    await service.change_setting(place, "handoff_channel", staff_channel.id)
    await idle_bot.start()
    return Desk(idle_bot, slack, acme, staff_channel, ann)


class TestHandoff(HandoffContract):
    async def test_in_a_channel_the_notice_leads_to_the_question_and_pings_nobody(
        self, desk: Desk, slack: StandInSlack, acme: Team, general: Channel, ann: User, service: Service
    ) -> None:
        slack.faults.add("chat.getPermalink", 429)
        question = await general.say(ann, "<@BOT> /human <!channel> help")
        await self.staff_read(desk, f"archives/{general.id}/p{question.ts.replace('.', '')}")
        assert slack.faults.struck == [("chat.getPermalink", 429)] and slack.limits.impatient == []
        await general.until(lambda: [answer.thread_ts for answer in general.answers] == [question.ts])
        await desk.press(Button.CLAIM)
        await general.say(ann, "are you there?", thread=question)
        await self.staff_read(desk, "are you there?")
        await desk.reply("I am")
        await general.until(lambda: any("I am" in answer.read for answer in general.answers))

    async def test_a_long_transcript_is_a_file_that_goes_with_what_it_quotes(
        self, desk: Desk, slack: StandInSlack, worker: ScriptedWorker
    ) -> None:
        worker.script["tell me"] = ["a long answer. " * 200]
        slack.faults.add("files.delete", 429)
        await desk.say("tell me")
        await self.person_reads(desk, "a long answer.")
        await desk.settled()
        await desk.say("/human that was too long")
        await desk.until(lambda: any(words.count("a long answer.") == 200 for words in desk.staff_read()))
        await desk.press(Button.CLAIM)
        await self.staff_read(desk, text("handoff_state_claimed", name="Bob"))
        await desk.settled()
        assert sum(words.count("a long answer.") for words in desk.staff_read()) == 200, "once"
        await desk.say("/privacy forget")
        await desk.until(lambda: not any("a long answer" in words for words in desk.staff_read()))
        assert slack.faults.struck == [("files.delete", 429)] and slack.limits.impatient == []

    async def test_a_slash_command_asks_too_and_is_told_to_the_asker_alone(
        self, desk: Desk, acme: Team, general: Channel, ann: User
    ) -> None:
        await acme.slash(ann, general, "/pajama", "human my parcel")
        await self.staff_read(desk, "my parcel")
        await general.until(lambda: any(text("handoff_requested") in one.read for one in general.seen_by(ann)))
        (opened,) = general.answers
        assert "/human my parcel" in opened.read
        await desk.press(Button.CLAIM)
        await desk.reply("where is it?")
        await general.until(lambda: any("where is it?" in one.read for one in general.thread(opened)))
        await general.say(ann, "lost", thread=opened)
        await self.staff_read(desk, "lost")

    async def test_words_that_slack_took_though_its_answer_was_lost_are_brought_once(
        self, desk: Desk, slack: StandInSlack
    ) -> None:
        slack.limits.commercial = False
        await desk.say("/human my parcel")
        await desk.press(Button.CLAIM)
        await self.person_reads(desk, text("handoff_claimed", name="Bob"))
        await self.staff_read(desk, "What you write here goes to")
        slack.faults.add("chat.postMessage", "reset", work_done=True)
        for words in ("I am here", "and I stay"):
            await desk.reply(words)
        await self.person_reads(desk, "and I stay")
        assert slack.faults.struck and sum("I am here" in read for read in desk.person_reads()) == 1

    async def test_a_file_that_slack_took_though_its_answer_was_lost_is_there_once(
        self, desk: Desk, worker: ScriptedWorker, slack: StandInSlack
    ) -> None:
        slack.limits.commercial = False
        worker.script["tell me"] = ["a long answer. " * 200]
        await desk.say("tell me")
        await self.person_reads(desk, "a long answer.")
        await desk.settled()
        slack.faults.add("files.completeUploadExternal", "reset", work_done=True)
        await desk.say("/human that was too long")
        await desk.until(lambda: desk.channel.answers)
        await desk.press(Button.CLAIM)
        await desk.say("are you there?")
        await self.staff_read(desk, "are you there?")
        assert slack.faults.struck and sum(words.count("a long answer.") for words in desk.staff_read()) == 200
