"""Slash commands, context menus, buttons and forms."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta

import pytest
import structlog
from sqlalchemy import select

from bots import attachments
from bots.attachments import MAX_FILE_BYTES
from bots.commands import COMMANDS
from bots.discord import sink, slash
from bots.discord.wire import REQUESTS_AT_ONCE, REQUESTS_PER_S
from bots.texts import sentence_for, text
from core.database import Database
from core.errors import NotAllowed, QuotaUsed
from core.models import Feedback, Turn
from core.values import Rating, TurnState
from tests.bots.contract import BOTH, HOURS, PARKING
from tests.bots.discord.conftest import Bot, answered, anywhere, buttons, eventually
from tests.bots.discord.looking import words_kept
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.components import NotOffered
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.message import Message
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.scripted_worker import Gate, ScriptedWorker

SILENT = 1 << 12
"""The flag of a message that calls nobody."""


async def complete(channel: Channel, discord: StandInDiscord, person: User, words: str = "hello") -> Message:
    """The complete answer to `words`."""
    await channel.say(person, words, mentions=[discord.bot])
    return await answered(channel, f"You said: {words}")


class TestCommands:
    async def test_a_question_is_answered_for_everyone(self, asked: Channel, ann: User) -> None:
        interaction = await asked.slash(ann, "ask", {"text": "hello"})
        await interaction.until("You said: hello")
        assert [message.content for message in asked.answers] == ["You said: hello"]

    async def test_a_task_takes_its_options(
        self, asked: Channel, ann: User, worker: ScriptedWorker, database: Database
    ) -> None:
        interaction = await asked.slash(ann, "translate", {"text": "good night", "to": "zh"})
        await interaction.until("You said: good night")
        with database.read() as session:
            (turn,) = session.scalars(select(Turn)).all()
        assert (turn.recipe, turn.arguments) == ("translate", {"to": "zh"})

    async def test_what_is_only_for_the_asker_is_shown_only_to_them(self, asked: Channel, ann: User, bob: User) -> None:
        interaction = await asked.slash(ann, "reset")
        assert await interaction.answered() == text("reset_done")
        assert text("reset_done") in [message.content for message in asked.seen_by(ann)]
        assert asked.seen_by(bob) == []

    async def test_every_command_is_offered_in_both_languages(self, discord: StandInDiscord, bot: Bot) -> None:
        registered = {command["name"]: command for command in discord.commands[None].values()}
        assert set(COMMANDS) <= set(registered)
        assert registered["ask"]["name_localizations"]["zh-CN"] == text("slash_ask", "zh-CN")
        options = [option for command in registered.values() for option in command.get("options") or ()]
        choices = [choice for option in options for choice in option.get("choices") or ()]
        assert len(options) > 10 and len(choices) > 20
        assert all(re.search(r"[\u4e00-\u9fff]", one["name_localizations"]["zh-CN"]) for one in [*options, *choices])
        assert all(re.search(r"[\u4e00-\u9fff]", one["description_localizations"]["zh-CN"]) for one in options)

    async def test_commands_are_registered_once_and_again_only_when_they_change(
        self, discord: StandInDiscord, bot: Bot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        route = "PUT /applications/{application_id}/commands"
        await bot.stop()
        await bot.start()
        assert len(discord.requests_to(route)) == 1
        await bot.stop()
        monkeypatch.setattr(slash, "fingerprint", lambda: "changed")
        await bot.start()
        await discord.until(lambda: len(discord.requests_to(route)) == 2)

    async def test_commands_that_another_program_replaced_are_registered_again(
        self, discord: StandInDiscord, bot: Bot
    ) -> None:
        await bot.stop()
        discord.commands[None].clear()
        await bot.start()
        assert {command["name"] for command in discord.commands[None].values()} >= set(COMMANDS)

    async def test_so_are_commands_that_another_program_changed(self, discord: StandInDiscord, bot: Bot) -> None:
        await bot.stop()
        ask = next(command for command in discord.commands[None].values() if command["name"] == "ask")
        ask["options"] = []
        await bot.start()
        await bot.settled()
        ask = next(command for command in discord.commands[None].values() if command["name"] == "ask")
        assert [option["name"] for option in ask["options"]] == ["text"]

    async def test_in_a_quiet_channel_only_whoever_asks_sees_the_answer(
        self, bot: Bot, asked: Channel, shop: Guild, ann: User, bob: User
    ) -> None:
        await bot.service.change_setting(anywhere(shop), "answer", "never", channel=str(asked.id))
        await (await asked.slash(ann, "ask", {"text": "hello"})).until("You said: hello")
        message = await asked.say(bob, "does it rain?")
        interaction = await asked.use_on_message(ann, text("menu_answer"), message)
        await interaction.until("You said: does it rain?")
        assert asked.answers == [] and len(asked.seen_by(ann)) == 3

    async def test_values_that_are_only_suggested_are_completed(self, asked: Channel, ann: User) -> None:
        interaction = await asked.autocomplete(ann, "translate", "to", "z", {"text": "x"})
        await interaction.acknowledged()
        assert [choice["value"] for choice in interaction.choices or []] == ["zh"]

    async def test_the_language_is_that_of_the_person(
        self, discord: StandInDiscord, asked: Channel, shop: Guild
    ) -> None:
        mei = shop.add_member(discord.add_user("Mei", locale="zh-CN"))
        assert await (await asked.slash(mei, "reset")).answered() == text("reset_done", "zh-CN")

    async def test_a_refusal_is_a_sentence(self, bot: Bot, asked: Channel, shop: Guild, ann: User) -> None:
        await bot.service.change_setting(anywhere(shop), "turns_per_person_per_day", "1")
        await (await asked.slash(ann, "ask", {"text": "one"})).until("You said: one")
        interaction = await asked.slash(ann, "ask", {"text": "two"})
        refusal = sentence_for(QuotaUsed(1, 24), "en")
        assert (await interaction.answered())[:20] == refusal[:20]

    async def test_settings_are_for_those_who_manage_the_guild(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, shop: Guild, ann: User
    ) -> None:
        admin = discord.add_user("Ada")
        shop.add_member(admin, shop.add_role("admins", "manage_guild"))
        interaction = await asked.slash(admin, "persona", {"text": "A night owl."})
        await interaction.answered()
        assert (await bot.service.workspace_settings(anywhere(shop))).persona == "A night owl."
        refused = await (await asked.slash(ann, "persona", {"text": "A lark."})).answered()
        assert refused != text("error_error")
        assert (await bot.service.workspace_settings(anywhere(shop))).persona == "A night owl."
        with pytest.raises(NotOffered):
            await asked.slash(ann, "settings")

    async def test_a_dm_belongs_to_whoever_writes_there(
        self, discord: StandInDiscord, bot: Bot, worker: ScriptedWorker, ann: User
    ) -> None:
        dm = discord.dm(ann)
        await (await dm.slash(ann, "settings", {"name": "language", "value": "zh-CN"})).answered()
        await dm.say(ann, "/reset")
        await dm.until(text("reset_done", "zh-CN"))

    async def test_a_setting_counts_at_once(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, shop: Guild, ann: User
    ) -> None:
        admin = discord.add_user("Ada")
        shop.add_member(admin, shop.add_role("admins", "manage_guild"))
        await complete(asked, discord, ann)
        options = {"name": "answer", "value": "always", "here": "channel"}
        await (await asked.slash(admin, "settings", options)).answered()
        await asked.say(ann, "no mention")
        await asked.until("You said: no mention")

    async def test_why_shows_the_facts_and_the_prompt_as_a_file(
        self, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        await (await asked.slash(ann, "ask", {"text": "hello"})).until("You said: hello")
        interaction = await asked.slash(ann, "why")
        assert "scripted-model" in await interaction.answered()
        assert interaction.response is not None
        ((_, prompt),) = interaction.response.files.items()
        assert b"hello" in prompt

    async def test_what_is_kept_of_someone_is_handed_to_them_alone(self, asked: Channel, ann: User, bob: User) -> None:
        await (await asked.slash(ann, "ask", {"text": "hello"})).until("You said: hello")
        interaction = await asked.slash(ann, "privacy", {"action": "export"})
        await interaction.answered()
        assert interaction.response is not None
        ((name, document),) = interaction.response.files.items()
        assert name.endswith(".json")
        assert "hello" in json.dumps(json.loads(document))
        assert all(not message.files for message in asked.seen_by(bob))

    async def test_status_says_that_messages_cannot_be_read(
        self, discord: StandInDiscord, idle_bot: Bot, general: Channel, ann: User
    ) -> None:
        discord.message_content_allowed = False
        await idle_bot.start()
        assert text("status_degraded") in await (await general.slash(ann, "status")).answered()
        await general.say(ann, "/status", mentions=[discord.bot])
        await general.until(text("status_degraded"))

    async def test_that_they_are_not_asked_for_is_in_the_log_once_and_in_the_status(
        self, idle_bot: Bot, general: Channel, ann: User
    ) -> None:
        idle_bot.settings = idle_bot.settings.model_copy(update={"discord_message_content": False})
        with structlog.testing.capture_logs() as logged:
            await idle_bot.start()
            assert text("status_degraded") in await (await general.slash(ann, "status")).answered()
        assert [line["action"] for line in logged].count("discord_degraded") == 1


class TestMenus:
    async def test_somebodys_message_is_answered_for_everyone(self, asked: Channel, ann: User, bob: User) -> None:
        message = await asked.say(bob, "does it rain?")
        interaction = await asked.use_on_message(ann, text("menu_answer"), message)
        await interaction.until("You said: does it rain?")
        assert len(asked.answers) == 1

    async def test_a_translation_is_for_the_asker_alone(self, asked: Channel, ann: User, bob: User) -> None:
        message = await asked.say(bob, "good night")
        interaction = await asked.use_on_message(ann, text("menu_translate"), message)
        await interaction.until("You said: good night")
        assert asked.answers == []

    async def test_the_files_of_a_message_are_read_as_those_of_a_question(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User
    ) -> None:
        files = [
            discord.attachment("notes.txt", b"rain at noon", content_type="text/plain"),
            discord.attachment("cat.png", b"\x89PNG", content_type="image/png"),
            discord.attachment("all.log", b"x", announced_size=MAX_FILE_BYTES + 1),
        ]
        message = await asked.say(bob, attachments=files)
        interaction = await asked.use_on_message(ann, text("menu_summarise"), message)
        await interaction.until("rain at noon")
        assert text("attachment_unseen", name="cat.png") in interaction.text
        assert text("attachment_too_large", name="all.log", limit=MAX_FILE_BYTES // 1024) in interaction.text
        assert len(discord.cdn.served) == 1

    async def test_files_that_are_slow_to_come_are_acknowledged_before(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(attachments, "FETCH_TIMEOUT_S", 1.0)
        slow = discord.attachment("slow.txt", b"x" * 100_000, content_type="text/plain", chunk_delay_s=30)
        interaction = await asked.use_on_message(ann, text("menu_answer"), await asked.say(bob, attachments=[slow]))
        await interaction.until(text("attachment_unread", name="slow.txt"))
        assert interaction.acknowledged_after_s is not None and interaction.acknowledged_after_s < 1.0

    async def test_a_message_without_anything_to_read_is_refused(self, asked: Channel, ann: User, bob: User) -> None:
        interaction = await asked.use_on_message(ann, text("menu_answer"), await asked.say(bob))
        assert await interaction.answered() == text("error_empty")

    async def test_what_led_to_the_message_is_read_with_it(
        self, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        message = await asked.say(bob, "no", reply_to=await asked.say(ann, "does it rain?"))
        await (await asked.use_on_message(ann, text("menu_answer"), message)).until("You said: no")
        assert "does it rain?" in words_kept(database)

    async def test_the_words_of_somebody_who_opted_out_are_left_alone(
        self, discord: StandInDiscord, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        await (await asked.slash(bob, "privacy", {"action": "opt-out"})).answered()
        message = await asked.say(bob, "my secret")
        refused = await asked.use_on_message(ann, text("menu_translate"), message)
        assert await refused.answered() == text("error_unwanted")
        await (await asked.use_on_message(bob, text("menu_translate"), message)).until("You said: my secret")
        await eventually(lambda: words_kept(database) == set())


class TestButtons:
    async def test_an_answer_that_is_written_can_be_stopped(
        self, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha", gate]
        await asked.say(ann, "slow", mentions=[discord.bot])
        await asked.until(lambda: asked.answers and buttons(asked.answers[0]))
        await asked.press(ann, asked.answers[0], text("button_stop"))
        await asked.until(text("stopped"))
        assert asked.answers[0].content == "alpha"
        answer, stopped = discord.requests_to(routes.CREATE_MESSAGE)
        assert [sent.json["allowed_mentions"]["replied_user"] for sent in (answer, stopped)] == [True, False]
        assert stopped.json["flags"] & SILENT

    async def test_only_the_asker_or_a_moderator_may_stop(
        self,
        discord: StandInDiscord,
        asked: Channel,
        shop: Guild,
        worker: ScriptedWorker,
        ann: User,
        bob: User,
        gate: Gate,
    ) -> None:
        worker.script["slow"] = ["alpha", gate]
        await asked.say(ann, "slow", mentions=[discord.bot])
        await asked.until(lambda: asked.answers and buttons(asked.answers[0]))
        refused = await asked.press(bob, asked.answers[0], text("button_stop"))
        await refused.until(sentence_for(NotAllowed(), "en"))
        moderator = discord.add_user("Mo")
        shop.add_member(moderator, shop.add_role("moderators", "manage_messages"))
        await asked.press(moderator, asked.answers[0], text("button_stop"))
        await asked.until(text("stopped"))

    async def test_what_was_written_stays_where_it_is_stopped_after_a_restart(
        self, bot: Bot, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha", gate]
        interaction = await asked.slash(ann, "ask", {"text": "slow"})
        await interaction.until("alpha")
        await bot.stop()
        await bot.start()
        await asked.press(ann, asked.answers[0], text("button_stop"))
        await asked.until(text("stopped"))
        await bot.settled()
        assert [answer.content for answer in asked.answers] == ["alpha", text("stopped")]

    async def test_an_answer_can_be_made_anew(
        self, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User
    ) -> None:
        answer = await complete(asked, discord, ann, "dice")
        worker.script["dice"] = ["five"]
        await asked.press(ann, answer, text("button_regenerate"))
        await asked.until("five")
        await asked.until(lambda: not answer.components)

    async def test_one_vote_a_person_that_can_be_changed(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, ann: User, bob: User, database: Database
    ) -> None:
        answer = await complete(asked, discord, ann)
        await (await asked.press(ann, answer, "👍")).answered()
        await (await asked.press(bob, answer, "👍")).answered()
        form = await asked.press(ann, answer, "👎")
        sent = await form.submit({"comment": "too short"})
        assert await sent.answered() == text("feedback_thanks")
        await (await asked.press(ann, answer, "👎")).opened()  # and closed again, which takes no comment away
        await bot.settled()
        with database.read() as session:
            rows = session.scalars(select(Feedback).order_by(Feedback.participant_id)).all()
        assert [(row.rating, row.comment) for row in rows] == [(Rating.DOWN, "too short"), (Rating.UP, "")]

    async def test_a_thumb_down_counts_without_its_form(
        self, discord: StandInDiscord, asked: Channel, ann: User, database: Database
    ) -> None:
        answer = await complete(asked, discord, ann)
        await (await asked.press(ann, answer, "👎")).opened()

        def ratings() -> list[Rating]:
            with database.read() as session:
                return list(session.scalars(select(Feedback.rating)))

        await eventually(lambda: ratings() == [Rating.DOWN])

    async def test_buttons_outlive_a_restart(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, ann: User
    ) -> None:
        answer = await complete(asked, discord, ann)
        await bot.stop()
        await bot.start()
        assert "scripted-model" in await (await asked.press(ann, answer, text("button_why"))).answered()

    async def test_what_is_offered_is_asked_by_its_button_also_after_a_restart(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, ann: User, bob: User, worker: ScriptedWorker
    ) -> None:
        worker.know(HOURS, PARKING)
        await asked.say(ann, BOTH, mentions=[discord.bot])
        await asked.until(text("faq_which"))
        await bot.settled()
        (offer,) = asked.answers
        await bot.stop()
        await bot.start()
        parking = f"{1 if f'1. {PARKING.question}' in offer.content else 2}. {PARKING.question}"
        await (await asked.press(bob, offer, parking)).until(sentence_for(NotAllowed(), "en"))
        for _ in range(2):
            await asked.press(ann, offer, parking)
        answer = await answered(asked, text("faq_source", question=PARKING.question))
        await bot.settled()
        assert answer.content.startswith(PARKING.answer)
        assert answer.reference is not None and answer.reference["message_id"] == str(offer.id)
        assert [message.content for message in asked.answers].count(answer.content) == 1
        assert text("faq_which") in offer.content, "what was offered stays"

    async def test_a_button_from_another_guild_finds_nothing(
        self, discord: StandInDiscord, asked: Channel, ann: User, database: Database
    ) -> None:
        answer = await complete(asked, discord, ann)
        elsewhere = discord.add_guild("Elsewhere", members=[ann]).add_text_channel("general")
        other = await complete(elsewhere, discord, ann)
        other.components = answer.components
        await (await elsewhere.press(ann, other, text("button_why"))).until(text("error_not_found"))
        with database.read() as session:
            assert {turn.state for turn in session.scalars(select(Turn))} == {TurnState.DONE}


class TestLateness:
    async def test_the_end_of_an_answer_that_took_long_is_a_message(
        self,
        discord: StandInDiscord,
        asked: Channel,
        worker: ScriptedWorker,
        ann: User,
        gate: Gate,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sink, "UNREAD_AFTER", timedelta())
        worker.script["slow"] = ["alpha", gate, " omega"]
        await asked.say(ann, "slow", mentions=[discord.bot])
        await asked.until("alpha")
        gate.set()
        await asked.until(text("answer_complete", link="")[:-1])
        assert asked.answers[0].content == "alpha omega"

    async def test_the_message_at_its_end_waits_where_the_bot_has_much_to_say(
        self,
        discord: StandInDiscord,
        bot: Bot,
        asked: Channel,
        worker: ScriptedWorker,
        ann: User,
        gate: Gate,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sink, "UNREAD_AFTER", timedelta())
        worker.script["slow"] = ["alpha", gate, " omega"]
        await asked.say(ann, "slow", mentions=[discord.bot])
        await asked.until("alpha")
        allowance, clock = bot.client.handlers.typing._allowance, asyncio.get_running_loop().time  # type: ignore[union-attr]
        allowance._used_until = clock() + REQUESTS_AT_ONCE / REQUESTS_PER_S + 0.3
        assert not allowance.spare()
        gate.set()
        await asked.until(text("answer_complete", link="")[:-1])
        assert asked.answers[0].content == "alpha omega"

    async def test_where_its_end_cannot_be_told_the_answer_stands_all_the_same(
        self,
        discord: StandInDiscord,
        asked: Channel,
        worker: ScriptedWorker,
        ann: User,
        gate: Gate,
        bot: Bot,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sink, "UNREAD_AFTER", timedelta())
        asked.deny(discord.bot, "send_messages")
        worker.script["slow"] = ["alpha", gate, " omega"]
        interaction = await asked.slash(ann, "ask", {"text": "slow"})
        await interaction.until("alpha")
        gate.set()
        with structlog.testing.capture_logs() as logged:
            await interaction.until("alpha omega")
            await bot.settled()
        assert "delivery_failed" not in [line["action"] for line in logged]

    @pytest.mark.parametrize("begun", [False, True], ids=["before a word", "in mid-answer"])
    async def test_a_private_answer_after_the_token_ended_comes_in_private(
        self,
        discord: StandInDiscord,
        bot: Bot,
        asked: Channel,
        worker: ScriptedWorker,
        ann: User,
        bob: User,
        gate: Gate,
        begun: bool,
    ) -> None:
        words = [f"Sentence number {number} of a long answer.\n" for number in range(90)]
        worker.script["slow"] = [*words[:2], gate, *words[2:]] if begun else [gate, *words]
        interaction = await asked.use_on_message(ann, text("menu_translate"), await asked.say(bob, "slow"))
        await (interaction.until("number 1") if begun else interaction.acknowledged())
        discord.clock.advance(16 * 60)
        gate.set()
        await discord.dm(ann).until("Sentence number 89")
        await bot.settled()
        assert "".join(f"{answer.content}\n" for answer in discord.dm(ann).answers) == "".join(words)
        assert asked.answers == []

    async def test_an_answer_after_the_token_ended_comes_as_a_message(
        self, discord: StandInDiscord, asked: Channel, worker: ScriptedWorker, ann: User, gate: Gate
    ) -> None:
        worker.script["slow"] = [gate, "late"]
        interaction = await asked.slash(ann, "ask", {"text": "slow"})
        await interaction.acknowledged()
        discord.clock.advance(16 * 60)
        gate.set()
        await asked.until(lambda: any(answer.content == "late" and not answer.loading for answer in asked.answers))
