"""What a message leads back to, reply by reply, is read beside it: within bounds, and as far as it may be."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from bots.discord import chains
from bots.texts import sentence_for, text
from core.database import Database
from core.errors import WordsUnwanted
from core.models import Message as KeptMessage
from core.models import MessageRevision, Turn
from tests.bots.discord.conftest import Bot, answered
from tests.bots.discord.looking import ask, words_kept, written
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.message import Message
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.scripted_worker import ScriptedWorker


async def chain(channel: Channel, people: list[User], sayings: list[str], above: Message | None = None) -> Message:
    """People reply to each other, in turn. Returns the last message."""
    for number, saying in enumerate(sayings):
        above = await channel.say(people[number % len(people)], saying, reply_to=above, ping=False)
    assert above is not None
    return above


async def ask_below(channel: Channel, person: User, above: Message, words: str = "is that so?") -> None:
    """Ask the bot about it, and wait for the answer."""
    await channel.say(person, words, mentions=[channel.discord.bot], reply_to=above, ping=False)
    await answered(channel, f"You said: {words}")


def read(database: Database) -> list[str]:
    """What was read or asked, in the order in which the model sees it."""
    newest = (MessageRevision.message_id == KeptMessage.id) & (MessageRevision.number == KeptMessage.revision)
    with database.read() as session:
        return list(session.scalars(select(MessageRevision.text).join(KeptMessage, newest).order_by(KeptMessage.seq)))


class TestReading:
    async def test_everything_that_led_to_a_question_is_read_the_oldest_first(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        sayings = [f"saying {number}" for number in range(5)]
        await ask_below(asked, ann, await chain(asked, [ann, bob], sayings))
        assert read(database) == [*sayings, "is that so?"]
        assert len(discord.requests_to(routes.MESSAGE)) == 2  # one for two steps, and the first two come along

    async def test_it_is_read_once_however_often_is_asked_below(
        self, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        last = await chain(asked, [ann, bob], ["one", "two"])
        await ask_below(asked, ann, last)
        await ask_below(asked, ann, last, "and why?")
        assert read(database) == ["one", "two", "is that so?", "and why?"]

    async def test_a_chain_that_leads_to_an_answer_goes_on_with_its_conversation(
        self, asked: Channel, ann: User, bob: User, discord: StandInDiscord, database: Database
    ) -> None:
        await ask(asked, ann, "hello")
        answer = await answered(asked, "You said: hello")
        carl = asked.guild.add_member(discord.add_user("Carl"))  # type: ignore[union-attr]
        asked.deny(discord.bot, "view_channel")  # so that what is said in between is heard by nobody
        above = await chain(asked, [bob, carl], ["I doubt it", "so do I"], answer)
        asked.allow(discord.bot, "view_channel")
        await ask_below(asked, bob, above)
        assert read(database) == ["hello", "I doubt it", "so do I", "is that so?"]
        with database.read() as session:
            assert len({turn.conversation_id for turn in session.scalars(select(Turn))}) == 1

    async def test_a_reply_that_pings_goes_on_with_the_answer_of_somebody_else(
        self, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        await ask(asked, ann, "hello")
        await asked.say(bob, "and me?", reply_to=await answered(asked, "You said: hello"))
        await answered(asked, "You said: and me?")
        with database.read() as session:
            assert len({turn.conversation_id for turn in session.scalars(select(Turn))}) == 1


class TestBounds:
    async def test_a_chain_without_end_is_read_so_far(
        self, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        sayings = [f"saying {number}" for number in range(chains.MAX_STEPS + 5)]
        await ask_below(asked, ann, await chain(asked, [ann, bob], sayings))
        assert read(database) == [*sayings[5:], "is that so?"]

    async def test_a_chain_of_long_messages_is_read_so_far(
        self, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        sayings = [str(number) * 1_999 for number in range(6)]
        await ask_below(asked, ann, await chain(asked, [ann, bob], sayings))
        assert read(database) == [*sayings[2:], "is that so?"]

    async def test_servers_that_do_not_answer_hold_nobody_up(
        self,
        discord: StandInDiscord,
        asked: Channel,
        ann: User,
        bob: User,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(chains, "MAX_S", 0.2)
        discord.faults.add(routes.MESSAGE, "hang")
        await ask_below(asked, ann, await chain(asked, [ann, bob], ["one", "two", "three"]))
        assert read(database) == ["three", "is that so?"]


class TestRights:
    async def test_it_ends_at_a_message_that_is_deleted(
        self, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        first = await chain(asked, [ann, bob], ["one", "two"])
        last = await chain(asked, [ann, bob], ["three", "four"], first)
        await asked.delete(first)
        await ask_below(asked, ann, last)
        assert read(database) == ["three", "four", "is that so?"]

    async def test_what_is_deleted_later_is_not_kept(
        self, asked: Channel, ann: User, bob: User, bot: Bot, database: Database
    ) -> None:
        first = await chain(asked, [ann], ["one"])
        await ask_below(asked, ann, await chain(asked, [bob], ["two"], first))
        await asked.delete(first)
        await bot.settled()
        assert "one" not in words_kept(database)

    async def test_without_the_history_only_what_comes_along_is_read(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        last = await chain(asked, [ann, bob], ["one", "two", "three"])
        asked.deny(discord.bot, "read_message_history")
        await ask_below(asked, ann, last)
        assert read(database) == ["three", "is that so?"]

    async def test_somebody_who_opted_out_is_passed_over(
        self, asked: Channel, ann: User, bob: User, bot: Bot, database: Database
    ) -> None:
        await ask(asked, bob, "/privacy opt-out")
        await asked.until(text("privacy_opted_out"))
        await ask_below(asked, ann, await chain(asked, [ann, bob], ["one", "two", "three"]))
        assert read(database) == ["one", "three", "is that so?"]

    async def test_without_message_content_it_asks_for_nothing_that_it_would_not_be_shown(
        self, discord: StandInDiscord, idle_bot: Bot, worker: ScriptedWorker, general: Channel, ann: User, bob: User,
        database: Database,
    ) -> None:  # fmt: skip
        discord.message_content_allowed = False
        await idle_bot.start()
        await ask_below(general, ann, await chain(general, [ann, bob], ["one", "two", "three"]))
        assert read(database) == ["is that so?"]
        assert discord.requests_to(routes.MESSAGE) == []


class TestReplyingWithoutWords:
    async def test_the_words_and_files_replied_to_are_the_question(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User
    ) -> None:
        notes = discord.attachment("notes.txt", b"rain at noon", content_type="text/plain")
        above = await asked.say(bob, "look", attachments=[notes])
        await asked.say(ann, mentions=[discord.bot], reply_to=above, ping=False)
        await asked.until("rain at noon")
        assert written(asked)[0].startswith("You said: look")

    async def test_a_command_replied_to_is_only_words(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User
    ) -> None:
        above = await asked.say(bob, "/privacy forget")
        await asked.say(ann, mentions=[discord.bot], reply_to=above, ping=False)
        await answered(asked, "You said: /privacy forget")

    async def test_the_words_of_somebody_who_opted_out_are_left_alone(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        await ask(asked, bob, "/privacy opt-out")
        await asked.until(text("privacy_opted_out"))
        above = await asked.say(bob, "my secret")
        await asked.say(ann, mentions=[discord.bot], reply_to=above, ping=False)
        await asked.until(sentence_for(WordsUnwanted(), "en"))
        assert "my secret" not in words_kept(database)
