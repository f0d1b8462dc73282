"""Hand-offs on Discord: a message with buttons in staff's channel, its thread, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bots.handoff import Button
from bots.texts import text
from core.service import Service
from core.values import Person, Place
from tests.bots.discord.conftest import Bot, anywhere, buttons
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.message import Message
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.handoff_contract import HandoffContract
from tests.bots.scripted_worker import ScriptedWorker


class Desk:
    """Ann in #general; Bob and Cy in #staff."""

    def __init__(self, bot: Bot, guild: Guild, general: Channel, staff: Channel, ann: User) -> None:
        self._bot, self._guild, self._general, self.channel, self._ann = bot, guild, general, staff, ann
        self.place = Place(platform="discord", workspace=str(guild.id), conversation=f"{general.id}:{ann.id}")
        self.person = Person(id=str(ann.id))
        self._said: Message | None = None

    async def say(self, typed: str) -> None:
        self._said = await self._general.say(self._ann, typed, mentions=[self._bot.discord.bot])

    async def reword(self, typed: str) -> None:
        assert self._said is not None
        await self._general.edit(self._said, f"{self._bot.discord.bot.mention} {typed}")

    async def take_back(self) -> None:
        assert self._said is not None
        await self._general.delete(self._said)

    @property
    def notice(self) -> Message:
        return self.channel.answers[0]

    @property
    def below(self) -> Channel:
        """Where staff write: the thread."""
        assert self.notice.thread is not None
        return self.notice.thread

    async def reply(self, typed: str, by: str = "Bob") -> None:
        await self.until(lambda: self.notice.thread is not None)
        await self.below.say(self.staff(by), typed)

    async def press(self, button: Button, by: str = "Bob") -> str:
        label = text(f"button_{button}")
        await self.until(lambda: self.channel.answers and any(str(button) in one for one in buttons(self.notice)))
        return await (await self.channel.press(self.staff(by), self.notice, label)).answered()

    def staff(self, name: str) -> User:
        return next(member.user for member in self._guild.members.values() if member.user.name == name)

    def person_reads(self) -> list[str]:
        return [answer.content for answer in self._general.answers]

    def staff_read(self) -> list[str]:
        threads = [message.thread for message in self.channel.answers if message.thread is not None]
        shown = [answer for channel in (self.channel, *threads) for answer in channel.answers]
        return [text for one in shown for text in (one.content, *(file.decode() for file in one.files.values()))]

    async def until(self, condition: Callable[[], object]) -> None:
        await self._bot.discord.until(condition)

    async def settled(self) -> None:
        await self._bot.settled()

    async def stop(self) -> None:
        await self._bot.stop()

    async def start(self) -> None:
        await self._bot.start()

    def lose_answers(self, *, lost: bool) -> None:
        if lost:
            self._bot.discord.faults.add(routes.CREATE_MESSAGE, "hang", work_done=True)
        else:
            self._bot.discord.faults.clear()

    async def close_staff_channel(self, how: str) -> None:
        if how == "gone":
            self._guild.remove_channel(self.channel)
        else:
            self.channel.deny(self._bot.discord.bot, "view_channel")


@pytest.fixture
def staff_channel(discord: StandInDiscord, shop: Guild) -> Channel:
    shop.add_member(discord.add_user("Cy"))
    return shop.add_text_channel("staff")


@pytest.fixture
async def desk(
    idle_bot: Bot, service: Service, shop: Guild, general: Channel, staff_channel: Channel, ann: User
) -> Desk:
    await service.change_setting(anywhere(shop), "handoff_channel", str(staff_channel.id))
    await idle_bot.start()
    return Desk(idle_bot, shop, general, staff_channel, ann)


class TestHandoff(HandoffContract):
    async def test_the_notice_says_where_and_pings_nobody(
        self, desk: Desk, general: Channel, discord: StandInDiscord
    ) -> None:
        await desk.say("/human @everyone help")
        await self.staff_read(desk, "help")
        assert f"https://discord.com/channels/{desk.place.workspace}/{general.id}/" in desk.notice.content
        sent = [call for call in discord.requests_to(routes.CREATE_MESSAGE) if "help" in str(call.json)]
        assert [call.json["allowed_mentions"]["parse"] for call in sent] == [[]]

    async def test_what_the_person_is_told_replies_to_their_wish(self, desk: Desk, general: Channel) -> None:
        await self.claimed(desk)
        told = next(answer for answer in general.answers if text("handoff_claimed", name="Bob") in answer.content)
        assert told.reply_to is not None and told.reply_to.content.endswith("/human")

    async def test_without_threads_staff_reply_to_the_notice(
        self, desk: Desk, discord: StandInDiscord, worker: ScriptedWorker
    ) -> None:
        desk.channel.deny(discord.bot, "create_public_threads")
        await self.claimed(desk)
        await desk.say("are you there?")
        await self.staff_read(desk, "are you there?")
        assert desk.notice.thread is None and desk.channel.answers[-1].reply_to is desk.notice
        await desk.channel.say(desk.staff("Bob"), "hello Ann", reply_to=desk.notice, ping=False)
        await self.person_reads(desk, "hello Ann")

    async def test_a_long_transcript_is_a_file_that_goes_with_what_it_quotes(
        self, desk: Desk, worker: ScriptedWorker
    ) -> None:
        worker.script["tell me"] = ["a long answer. " * 100]
        await desk.say("tell me")
        await self.person_reads(desk, "a long answer.")
        await desk.settled()
        await desk.say("/human that was too long")
        await desk.until(lambda: any(words.count("a long answer.") == 100 for words in desk.staff_read()))
        await desk.press(Button.CLAIM)
        await self.person_reads(desk, text("handoff_claimed", name="Bob"))
        assert sum(words.count("a long answer.") for words in desk.staff_read()) == 100, "once"
        await desk.say("/privacy forget")
        await desk.until(lambda: not any("a long answer" in words for words in desk.staff_read()))

    async def test_what_staff_write_while_the_bot_is_away_is_brought_when_it_is_back(self, desk: Desk) -> None:
        await self.claimed(desk)
        await desk.settled()
        await desk.stop()
        await desk.reply("written while it was away")
        await desk.start()
        await self.person_reads(desk, "written while it was away")
        await desk.settled()
        assert "".join(desk.person_reads()).count("written while it was away") == 1

    async def test_staff_who_mention_the_bot_in_the_thread_talk_to_it(
        self, desk: Desk, discord: StandInDiscord, worker: ScriptedWorker
    ) -> None:
        await self.claimed(desk)
        await desk.below.say(desk.staff("Bob"), "what would you say?", mentions=[discord.bot])
        await self.staff_read(desk, "You said: what would you say?")
        assert "what would you say?" not in "".join(desk.person_reads())

    async def test_a_slash_command_asks_too_and_is_told_to_the_asker_alone(
        self, desk: Desk, general: Channel, ann: User
    ) -> None:
        asked = await general.slash(ann, "human", {"reason": "help"})
        assert await asked.answered() == text("handoff_requested")
        await self.staff_read(desk, "help")
        await desk.press(Button.CLAIM)
        passed_on = await general.slash(ann, "ask", {"text": "are you there?"})
        assert await passed_on.answered() == text("handoff_passed_on")
        await self.staff_read(desk, "are you there?")

    async def test_a_channel_of_another_guild_gets_nothing(
        self, desk: Desk, discord: StandInDiscord, service: Service, shop: Guild, bob: User
    ) -> None:
        other = discord.add_guild("Other", members=[bob]).add_text_channel("theirs")
        await service.change_setting(anywhere(shop), "handoff_channel", str(other.id))
        await desk.say("/human")
        await self.person_reads(desk, text("handoff_unreachable"))
        assert other.answers == []
