"""What people write: when the bot answers, with what, and what comes of edits, deletions and reactions."""

from __future__ import annotations

import pytest
import structlog
from sqlalchemy import DDL, select

from bots.attachments import MAX_FILE_BYTES
from bots.discord import handlers
from bots.texts import text
from core.database import Database
from core.models import Delivery, Feedback, MessageRevision, Turn
from core.values import Rating, TurnState
from tests.bots.discord.conftest import Bot, answered, anywhere, eventually
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.scripted_worker import Gate, ScriptedWorker


class TestTriggers:
    async def test_a_mention_is_answered_as_a_reply(self, discord: StandInDiscord, asked: Channel, ann: User) -> None:
        question = await asked.say(ann, "hello", mentions=[discord.bot])
        await asked.until("You said: hello")
        (answer,) = asked.answers
        assert answer.reply_to is question

    async def test_a_direct_message_is_answered(
        self, bot: Bot, worker: ScriptedWorker, discord: StandInDiscord, ann: User
    ) -> None:
        dm = discord.dm(ann)
        await dm.say(ann, "hello")
        await dm.until("You said: hello")

    async def test_what_is_said_to_nobody_or_others_is_left_alone(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        await asked.say(ann, "hello all")
        await asked.say(ann, "hello", mentions=[bob])
        await asked.say(bob, "thanks", reply_to=asked.messages[0])
        await asked.say(ann, "hello", mentions=[discord.bot])
        await asked.until("You said: hello")
        with database.read() as session:
            assert len(session.scalars(select(Turn)).all()) == 1

    async def test_a_reply_to_an_answer_needs_no_mention_and_goes_on_with_it(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        await asked.say(ann, "hello", mentions=[discord.bot])
        answer = await answered(asked, "You said: hello")
        await asked.say(bob, "and me?", reply_to=answer, ping=False)
        await asked.until("You said: and me?")
        with database.read() as session:
            assert len({turn.conversation_id for turn in session.scalars(select(Turn))}) == 1

    async def test_two_people_in_a_channel_do_not_wait_for_each_other(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        for person in (ann, bob):
            await asked.say(person, f"from {person.name}", mentions=[discord.bot])
        await asked.until("You said: from Ann")
        await asked.until("You said: from Bob")
        with database.read() as session:
            assert len({turn.conversation_id for turn in session.scalars(select(Turn))}) == 2

    async def test_a_thread_goes_on_without_a_mention(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User
    ) -> None:
        thread = await asked.start_thread(ann, "a thread")
        await thread.say(ann, "not yet")
        await thread.say(ann, "hello", mentions=[discord.bot])
        await thread.until("You said: hello")
        await thread.say(bob, "go on")
        await thread.until("You said: go on")
        assert len(thread.answers) == 2

    async def test_what_discord_does_not_let_it_read_is_left_alone_in_a_thread(
        self, discord: StandInDiscord, idle_bot: Bot, worker: ScriptedWorker, general: Channel, ann: User, bob: User
    ) -> None:
        discord.message_content_allowed = False
        await idle_bot.start()
        thread = await general.start_thread(ann, "a thread")
        await thread.say(ann, "hello", mentions=[discord.bot])
        await thread.until("You said: hello")
        await thread.say(bob, "nice weather")
        await thread.say(ann, "and now?", mentions=[discord.bot])
        await thread.until("You said: and now?")
        await idle_bot.settled()
        assert len(thread.answers) == 2

    async def test_whoever_replies_with_what_it_may_not_read_is_told_so(
        self, discord: StandInDiscord, idle_bot: Bot, worker: ScriptedWorker, general: Channel, ann: User
    ) -> None:
        discord.message_content_allowed = False
        await idle_bot.start()
        await general.say(ann, "hello", mentions=[discord.bot])
        await general.until("You said: hello")
        await general.say(ann, "and now?", reply_to=general.answers[0], ping=False)
        await general.until(text("status_degraded"))

    async def test_a_forum_post_is_answered_where_the_bot_always_answers(
        self, bot: Bot, worker: ScriptedWorker, shop: Guild, ann: User
    ) -> None:
        forum = shop.add_forum("help")
        await bot.service.change_setting(anywhere(shop), "answer", "always", channel=str(forum.id))
        post = await forum.post(ann, "A question", "does it rain?")
        await post.until("You said: does it rain?")

    async def test_a_quiet_channel_is_quiet(
        self, bot: Bot, worker: ScriptedWorker, discord: StandInDiscord, shop: Guild, ann: User, database: Database
    ) -> None:
        quiet, loud = shop.add_text_channel("quiet"), shop.add_text_channel("loud")
        await bot.service.change_setting(anywhere(shop), "answer", "never", channel=str(quiet.id))
        await quiet.say(ann, "hello", mentions=[discord.bot])
        await loud.say(ann, "hi", mentions=[discord.bot])
        await loud.until("You said: hi")
        assert quiet.answers == []

    async def test_the_same_event_twice_is_answered_once(
        self, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        message = await asked.say(ann, "hello", mentions=[discord.bot])
        asked.publish(message)
        await asked.until("You said: hello")
        await asked.say(ann, "bye", mentions=[discord.bot])
        await asked.until("You said: bye")
        assert [answer.content for answer in asked.answers] == ["You said: hello", "You said: bye"]


class TestWords:
    async def test_mentions_are_read_as_names(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User
    ) -> None:
        await asked.say(ann, f"who is {bob.mention} in <#{asked.id}>?", mentions=[discord.bot])
        await asked.until("You said: who is @Bob in #general?")

    async def test_a_text_file_is_read_and_a_picture_named(
        self, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        files = [
            discord.attachment("notes.txt", b"rain ```at``` noon", content_type="text/plain"),
            discord.attachment("cat.png", b"\x89PNG", content_type="image/png"),
        ]
        await asked.say(ann, "look", mentions=[discord.bot], attachments=files)
        await asked.until("rain ```at``` noon")
        assert text("attachment_unseen", name="cat.png") in asked.answers[0].content

    async def test_files_are_fetched_from_nowhere_but_discord_and_no_larger_than_they_may_be(
        self, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        inside = discord.attachment("inside.txt", b"inner secret", content_type="text/plain")
        discord.cdn.publish(asked, inside)
        at_home = inside.url.replace("127.0.0.1", "localhost")
        files = [
            discord.attachment("moved.txt", b"", content_type="text/plain", redirect_to=at_home),
            discord.attachment("elsewhere.txt", b"", content_type="text/plain", url=at_home),
            discord.attachment("lie.txt", b"x" * (MAX_FILE_BYTES + 1), content_type="text/plain", announced_size=1),
        ]
        await asked.say(ann, "look", mentions=[discord.bot], attachments=files)
        await asked.until("lie.txt")
        told = "\n\n".join(text("attachment_unread", name=file.filename) for file in files)
        assert asked.answers[0].content == f"You said: look\n\n{told}"
        assert {path.rpartition("/")[2] for path in discord.cdn.served} == {"lie.txt", "moved.txt"}

    async def test_an_answer_pings_nobody(
        self, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User, bob: User
    ) -> None:
        worker.script["ping"] = ["@everyone ", bob.mention, " wake up"]
        await asked.say(ann, "ping", mentions=[discord.bot])
        await asked.until("wake up")
        (sent,) = discord.requests_to("POST /channels/{channel_id}/messages")
        assert sent.json["allowed_mentions"] == {"parse": [], "replied_user": True}

    async def test_a_command_is_understood_as_a_message_too(
        self, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        await asked.say(ann, "/reset", mentions=[discord.bot])
        await asked.until(text("reset_done"))
        await asked.say(ann, "/rest", mentions=[discord.bot])
        await asked.until("/reset")

    async def test_the_language_is_that_of_the_guild(
        self, bot: Bot, worker: ScriptedWorker, discord: StandInDiscord, ann: User
    ) -> None:
        channel = discord.add_guild("茶馆", members=[ann], locale="zh-CN").add_text_channel("chat")
        await channel.say(ann, "/reset", mentions=[discord.bot])
        await channel.until(text("reset_done", "zh-CN"))


class TestLanguageOfDirectMessages:
    """Discord tells it with commands and buttons only."""

    @pytest.fixture
    def mei(self, discord: StandInDiscord, shop: Guild) -> User:
        return shop.add_member(discord.add_user("Mei", locale="zh-CN"))

    async def test_it_is_english_until_discord_tells_it(
        self, bot: Bot, worker: ScriptedWorker, discord: StandInDiscord, general: Channel, mei: User
    ) -> None:
        dm = discord.dm(mei)
        await dm.say(mei, "/reset")
        await dm.until(text("reset_done"))
        await (await general.slash(mei, "help")).answered()
        await dm.say(mei, "/reset")
        await dm.until(text("reset_done", "zh-CN"))

    async def test_after_a_restart_it_is_that_of_the_last_question(
        self, bot: Bot, worker: ScriptedWorker, discord: StandInDiscord, mei: User, database: Database
    ) -> None:
        dm = discord.dm(mei)
        await (await dm.slash(mei, "help")).answered()
        await dm.say(mei, "hello")
        await answered(dm, "You said: hello")
        await bot.stop()
        await bot.start()
        await dm.say(mei, "/stop")
        await dm.until(text("nothing_to_stop", "zh-CN"))
        with database.read() as session:
            assert session.scalars(select(Turn.language)).all() == ["zh-CN"]

    async def test_what_is_set_counts_more(
        self, bot: Bot, worker: ScriptedWorker, discord: StandInDiscord, mei: User
    ) -> None:
        dm = discord.dm(mei)
        await (await dm.slash(mei, "settings", {"name": "language", "value": "en"})).answered()
        await dm.say(mei, "/reset")
        await dm.until(text("reset_done", "en"))


class TestClosedChannels:
    @pytest.mark.parametrize("words", ["hello", "/help"])
    async def test_whoever_asks_where_the_bot_may_not_write_is_told_in_private(
        self, discord: StandInDiscord, asked: Channel, ann: User, words: str
    ) -> None:
        asked.deny(discord.bot, "send_messages")
        await asked.say(ann, words, mentions=[discord.bot])
        await discord.dm(ann).until(text("channel_closed", channel=f"<#{asked.id}>"))
        assert asked.answers == []


class TestLongAnswers:
    async def test_it_is_split_at_the_limit_with_buttons_below_the_last_message(
        self, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User
    ) -> None:
        words = [f"Sentence number {number} of a long answer.\n" for number in range(120)]
        worker.script["long"] = words
        await asked.say(ann, "long", mentions=[discord.bot])
        await asked.until(lambda: asked.answers and asked.answers[-1].components and "119" in asked.answers[-1].content)
        assert "".join(answer.content + "\n" for answer in asked.answers) == "".join(words)
        assert [bool(answer.components) for answer in asked.answers] == [False] * (len(asked.answers) - 1) + [True]

    async def test_a_very_long_one_becomes_a_file(
        self, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User
    ) -> None:
        words = [f"Sentence number {number} of a very long answer.\n" for number in range(600)]
        worker.script["long"] = words
        await asked.say(ann, "long", mentions=[discord.bot])
        await asked.until(lambda: asked.answers and asked.answers[-1].attachments)
        (file,) = asked.answers[-1].attachments
        assert (file.filename, file.content.decode()) == ("answer.md", "".join(words))
        assert [answer.content.endswith(text("rest_in_file")) for answer in asked.answers] == [False] * 4 + [True]


class TestAfterwards:
    async def test_a_deletion_waits_for_a_database_that_is_away(
        self,
        discord: StandInDiscord,
        bot: Bot,
        general: Channel,
        ann: User,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def rename(table: str, name: str) -> None:
            with database.write() as session:
                session.execute(DDL(f"ALTER TABLE {table} RENAME TO {name}"))

        def words() -> list[str | None]:
            with database.read() as session:
                return list(session.scalars(select(MessageRevision.text)))

        monkeypatch.setattr(handlers, "_AGAIN_S", 0.05)
        question = await general.say(ann, "my secret", mentions=[discord.bot])
        await eventually(lambda: words() == ["my secret"])
        rename("message", "message_away")
        with structlog.testing.capture_logs() as logged:
            await general.delete(question)
            await eventually(lambda: "discord_waits" in [line["action"] for line in logged])
        rename("message_away", "message")
        await eventually(lambda: "my secret" not in words())

    async def test_an_edited_question_is_answered_again_in_place_of_the_old_answer(
        self, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        question = await asked.say(ann, "one", mentions=[discord.bot])
        await answered(asked, "You said: one")
        await asked.edit(question, f"{discord.bot.mention} two")
        await asked.until("You said: two")
        await asked.until(lambda: "You said: one" not in asked.texts)

    async def test_a_preview_that_discord_adds_asks_nothing(
        self, discord: StandInDiscord, asked: Channel, ann: User, database: Database
    ) -> None:
        question = await asked.say(ann, "one", mentions=[discord.bot])
        await answered(asked, "You said: one")
        asked.publish_edit(question, rewritten=False)
        asked.publish_edit(question, rewritten=True)
        await asked.say(ann, "two", mentions=[discord.bot])
        await asked.until("You said: two")
        assert len(asked.answers) == 2

    async def test_a_mention_that_is_added_later_counts(
        self, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        message = await asked.say(ann, "hello")
        await asked.edit(message, f"{discord.bot.mention} hello")
        await asked.until("You said: hello")

    async def test_a_deleted_question_takes_its_answer_and_its_words_along(
        self, discord: StandInDiscord, asked: Channel, ann: User, database: Database
    ) -> None:
        question = await asked.say(ann, "secret", mentions=[discord.bot])
        await answered(asked, "You said: secret")
        await asked.delete(question)
        await asked.until(lambda: not asked.answers)
        with database.read() as session:
            assert session.scalars(select(MessageRevision.text)).all() == [""]

    async def test_a_question_that_is_deleted_in_mid_answer_is_stopped(
        self, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate, database: Database
    ) -> None:
        worker.script["slow"] = ["alpha", gate, "omega"]
        question = await asked.say(ann, "slow", mentions=[discord.bot])
        await asked.until("alpha")
        await asked.delete(question)
        await asked.until(lambda: "alpha" not in asked.texts)
        with database.read() as session:
            assert session.scalars(select(Turn.state)).all() == [TurnState.CANCELLED]

    async def test_thumbs_are_ratings_also_of_others_and_can_be_taken_back(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        await asked.say(ann, "hello", mentions=[discord.bot])
        answer = await answered(asked, "You said: hello")

        def ratings() -> list[Rating]:
            with database.read() as session:
                return list(session.scalars(select(Feedback.rating).order_by(Feedback.id)))

        await asked.react(ann, answer, "👎")
        await eventually(lambda: ratings() == [Rating.DOWN])
        await asked.react(bob, answer, "👍")
        await eventually(lambda: ratings() == [Rating.DOWN, Rating.UP])
        await asked.unreact(bob, answer, "👍")
        await eventually(lambda: ratings() == [Rating.DOWN])
        await asked.react(bob, answer, "🎉")
        await asked.react(ann, answer, "👍")
        await eventually(lambda: ratings() == [Rating.UP])
        await asked.unreact(ann, answer, "👎")  # which changes nothing: the newer one counts
        await asked.react(bob, answer, "👎")
        await eventually(lambda: ratings() == [Rating.UP, Rating.DOWN])


class TestFastPeople:
    """An answer stands before the ledger has it: its row waits here for a server that answers badly."""

    @pytest.fixture(autouse=True)
    def slow_ledger(self, discord: StandInDiscord, asked: Channel) -> None:
        discord.faults.add(routes.CREATE_MESSAGE, 503, work_done=True)

    async def test_a_reaction_at_once_is_a_rating(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        await asked.say(ann, "hello", mentions=[discord.bot])
        await asked.until(lambda: asked.answers)
        with database.read() as session:
            assert session.scalars(select(Delivery.external_id)).all() == [None]
        await asked.react(ann, asked.answers[0], "👎")
        await asked.react(bob, asked.answers[0], "👍")
        await asked.unreact(bob, asked.answers[0], "👍")

        def ratings() -> list[Rating]:
            with database.read() as session:
                return list(session.scalars(select(Feedback.rating)))

        await answered(asked, "You said: hello")
        await bot.settled()
        assert ratings() == [Rating.DOWN]

    async def test_a_reply_at_once_goes_on_with_the_answer(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        await asked.say(ann, "hello", mentions=[discord.bot])
        await asked.until(lambda: asked.answers)
        await asked.say(bob, "and me?", reply_to=asked.answers[0])
        await answered(asked, "You said: and me?")
        with database.read() as session:
            assert len({turn.conversation_id for turn in session.scalars(select(Turn))}) == 1

    async def test_a_reaction_to_what_is_no_answer_is_left_alone(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, ann: User, database: Database
    ) -> None:
        await asked.say(ann, "/stop", mentions=[discord.bot])
        await asked.until(text("nothing_to_stop"))
        await asked.react(ann, asked.answers[0], "👎")
        await bot.settled()
        with database.read() as session:
            assert session.scalars(select(Feedback)).all() == []
