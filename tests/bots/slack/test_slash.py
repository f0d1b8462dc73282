"""The slash command, and the titles of chats."""

from __future__ import annotations

import pytest

from bots import patience
from bots.commands import COMMANDS
from bots.slack import chats
from bots.slack.fitting import TEXT_CHARS
from bots.texts import text
from core.service import Service
from core.settings import Settings
from core.values import InboundMessage, Person, Place, TurnState
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.asking import anywhere, ask, until_seen
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.calls import RESPONSE_URL
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


async def test_in_a_channel_why_and_regenerate_are_about_what_the_asker_asked_last(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    bob: User,
) -> None:  # fmt: skip
    question = await ask(bot, general, ann, "mine")
    await ask(bot, general, bob, "his")
    await acme.slash(ann, general, "/pajama", "why")
    await until_seen(slack, general, ann, text("why_tokens"))
    await acme.slash(ann, general, "/pajama", "regenerate")
    await slack.until(lambda: len(worker.answered) == 3)
    await bot.settled()
    assert worker.answered[0] == worker.answered[2] != worker.answered[1]
    place = Place(platform="slack", workspace=acme.id, conversation=f"{general.id}:{question.ts}")
    (turn,) = await service.history(place)
    assert turn.answer is not None and turn.answer.number == 2


async def test_in_a_channel_stop_ends_what_the_asker_waits_for_and_nothing_else(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    bob: User, gate: Gate,
) -> None:  # fmt: skip
    worker.script["slow"] = ["alpha ", gate, "omega"]
    await general.say(bob, "<@BOT> slow")
    await general.until("alpha")
    waiting = await general.say(ann, "<@BOT> next")
    await slack.deliveries.until_over()
    await acme.slash(ann, general, "/pajama", "stop")
    await until_seen(slack, general, ann, text("stopped"))
    gate.set()
    await general.until("omega")
    await bot.settled()
    place = Place(platform="slack", workspace=acme.id, conversation=f"{general.id}:{waiting.ts}")
    assert [turn.state for turn in await service.history(place)] == [TurnState.CANCELLED]


@pytest.mark.parametrize("command", ["why", "regenerate", "stop"])
async def test_who_has_asked_nothing_is_told_so(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User, bob: User,
    command: str,
) -> None:  # fmt: skip
    await ask(bot, general, ann, "mine")
    await acme.slash(bob, general, "/pajama", command)
    words = text("nothing_to_stop" if command == "stop" else "nothing_yet")
    await until_seen(slack, general, bob, words)
    assert len(worker.answered) == 1


async def test_an_unknown_word_is_a_question_and_an_empty_command_is_help(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    await acme.slash(ann, general, "/pajama", "how are you")
    await general.until("You said: how are you")
    await acme.slash(ann, general, "/pajama", "")
    await until_seen(slack, general, ann, "/translate")
    await until_seen(slack, general, ann, text("slack_how")[:20])
    await bot.settled()


@pytest.mark.parametrize("words", ["why is the sky blue?", "help me write\na letter", "STATUS quo, what is that?"])
async def test_a_command_that_takes_no_words_begins_a_question_where_words_follow(
    bot: Bot, worker: ScriptedWorker, acme: Team, general: Channel, ann: User, words: str
) -> None:
    await acme.slash(ann, general, "/pajama", words)
    await general.until(f"You said: {words}")
    await bot.settled()


@pytest.mark.parametrize("typed", ["privacy exprot", "feedback great", "translate to=fr", "write task=sing x"])
async def test_a_command_that_is_used_wrongly_is_told_how_and_asks_nothing(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User, typed: str
) -> None:
    await acme.slash(ann, general, "/pajama", typed)
    await until_seen(slack, general, ann, COMMANDS[typed.partition(" ")[0]].usage)
    await bot.settled()
    assert worker.answered == [] and general.answers == []


async def test_what_slack_escapes_is_read_as_it_was_typed(
    bot: Bot, worker: ScriptedWorker, acme: Team, general: Channel, ann: User, bob: User
) -> None:
    typed = f"translate to=fr a &lt; b &amp; c, says <@{bob.id}|bob> in <#{general.id}|general> {acme.bot.mention}"
    await acme.slash(ann, general, "/pajama", typed)
    await general.until("a < b & c, says @bob in #general")
    await bot.settled()
    question, answer = general.answers
    assert question.read == "*Ann*: a &lt; b &amp; c, says @bob in #general"
    assert answer.read.startswith("You said: ") and answer.read.endswith("a < b & c, says @bob in #general")


async def test_settings_keep_the_ids_of_what_was_picked_and_the_letters_that_were_typed(
    bot: Bot, service: Service, slack: StandInSlack, acme: Team, general: Channel, bob: User
) -> None:
    await acme.slash(acme.owner, general, "/pajama", f"settings blocked_users <@{bob.id}|bob>")
    await until_seen(slack, general, acme.owner, "blocked_users")
    await acme.slash(acme.owner, general, "/pajama", "settings persona A &lt;3 &amp; kind owl")
    await until_seen(slack, general, acme.owner, "A <3 & kind owl")
    settings = await service.workspace_settings(anywhere(acme))
    assert (settings.blocked_users, settings.persona) == ((bob.id,), "A <3 & kind owl")


@pytest.mark.parametrize("private", [False, True])
async def test_a_question_where_the_bot_is_not_is_told_so_there_and_asks_nothing(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User, private: bool
) -> None:
    outside = acme.add_channel("outside", bot=False, private=private)
    asked = await acme.slash(ann, outside, "/pajama", "ask what is up")
    assert text("error_not_in_channel") in await asked.answered()
    await bot.settled()
    assert outside.texts == [] and acme.dm(ann).answers == []
    assert worker.answered == [] and await service.waiting("slack") == []


async def test_what_a_command_tells_is_told_where_it_was_given_also_where_the_bot_is_not(
    bot: Bot, slack: StandInSlack, acme: Team, ann: User
) -> None:
    outside = acme.add_channel("outside", bot=False)
    asked = await acme.slash(ann, outside, "/pajama", "help")
    assert "/translate" in await asked.answered()
    await bot.settled()
    assert outside.texts == [] and acme.dm(ann).answers == []


async def test_where_slack_takes_no_reply_either_it_is_told_in_private(
    bot: Bot, slack: StandInSlack, acme: Team, ann: User
) -> None:
    slack.faults.add(RESPONSE_URL, 404)
    await acme.slash(ann, acme.add_channel("outside", bot=False), "/pajama", "ask what is up")
    await acme.dm(ann).until(text("error_not_in_channel"))


@pytest.mark.parametrize(
    ("typed", "setting", "sentence"),
    [
        ("ask rude words", "blocked_users", "error_access"),
        ("human rude words", "blocked_users", "error_access"),
        ("ask more words", "turns_per_person_per_day", "error_quota"),
        ("faq collection=none words", "", "error_unknown_collection"),
        ("ask " + "long " * 8_000, "", "error_too_long"),
    ],
)
async def test_nobody_sees_a_question_that_is_refused(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    typed: str, setting: str, sentence: str,
) -> None:  # fmt: skip
    if setting == "turns_per_person_per_day":
        await ask(bot, general, ann, "hello")
        await service.change_setting(anywhere(acme), setting, 1)
    elif setting:
        await service.change_setting(anywhere(acme), setting, ann.id)
    before = general.texts
    await acme.slash(ann, general, "/pajama", typed)
    await until_seen(slack, general, ann, text(sentence).partition("{")[0])
    await bot.settled()
    assert general.texts == before and len(slack.requests_to("chat.postMessage")) == 0


async def test_a_question_that_is_refused_only_when_it_is_kept_is_taken_away(
    bot: Bot, slack: StandInSlack, settings: Settings, acme: Team, general: Channel, ann: User
) -> None:
    await acme.slash(ann, general, "/pajama", "human " + "x" * (settings.max_message_chars + 1))
    await until_seen(slack, general, ann, text("error_too_long").partition("{")[0])
    await bot.settled()
    assert general.texts == [] and len(slack.requests_to("chat.postMessage")) == 1


@pytest.mark.parametrize("work_done", [False, True], ids=["before", "after"])
async def test_a_question_stands_there_once_though_its_post_fails(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User, work_done: bool
) -> None:
    slack.faults.add("chat.postMessage", "reset", work_done=work_done)
    await acme.slash(ann, general, "/pajama", "ask what is up")
    await general.until("You said: what is up")
    await bot.settled()
    assert [answer.read for answer in general.answers] == ["*Ann*: what is up", "You said: what is up"]


async def test_a_long_question_is_shown_by_its_beginning(
    bot: Bot, worker: ScriptedWorker, acme: Team, general: Channel, ann: User
) -> None:
    await acme.slash(ann, general, "/pajama", "ask " + "a&b" * 1_600)
    await general.until(lambda: len(general.answers) == 2)
    await bot.settled()
    question = general.answers[0].text
    assert question.startswith("*Ann*: ") and question.endswith("…") and len(question) <= TEXT_CHARS


async def test_the_first_question_of_a_chat_is_its_title(
    bot: Bot, worker: ScriptedWorker, acme: Team, ann: User
) -> None:
    dm, words = acme.dm(ann), "how do I " + "water " * 20 + "a fern?"
    question = await dm.say(ann, words)
    await dm.until("You said: how do I")
    await bot.settled()
    title = dm.assistance.sessions[question.ts].title
    assert title.startswith("how do I water") and title.endswith("…") and len(title) <= chats.TITLE_CHARS


async def test_where_there_are_no_sessions_the_thread_gets_the_title(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User
) -> None:
    slack.faults.add("agents.sessions.setStatus", "unknown_method", times=9)
    dm = acme.dm(ann)
    question = await dm.say(ann, "hello")
    await dm.until("You said: hello")
    await bot.settled()
    assert dm.assistance.titles == {question.ts: "hello"}


async def test_a_title_that_cannot_be_had_keeps_nobody_from_an_answer(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User
) -> None:
    slack.faults.add("agents.sessions.setStatus", 429, times=9)
    await acme.dm(ann).say(ann, "hello")
    await acme.dm(ann).until("You said: hello")
    await bot.settled()
    assert slack.requests_to("assistant.threads.setTitle") == []


async def test_who_comes_when_many_are_ahead_is_told(
    bot: Bot, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(patience, "LONG_WAIT_S", 0.0)
    place = Place(platform="web", workspace="w", conversation="c")
    for number in range(patience.LONG_QUEUE):
        person = Person(id=f"p{number}")
        await service.receive(InboundMessage(place=place, person=person, event_id=f"e{number}", text="hi"))
    await general.say(ann, "<@BOT> hello")
    await until_seen(slack, general, ann, text("ahead", count=patience.LONG_QUEUE))
    assert not any("ahead" in message.read for message in general.messages)
