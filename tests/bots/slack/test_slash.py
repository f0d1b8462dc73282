"""The slash command and the shortcuts of messages."""

from __future__ import annotations

import pytest

from bots import patience
from bots.slack import chats
from bots.texts import text
from core.service import Service
from core.settings import Settings
from core.values import InboundMessage, Person, Place, TurnState
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.message import Message
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


async def ask(bot: Bot, channel: Channel, person: User, words: str) -> Message:
    """Ask in a thread of its own, and wait for the whole answer."""
    question = await channel.say(person, f"<@BOT> {words}")
    await channel.until(f"You said: {words}")
    await bot.settled()
    return question


async def until_seen(slack: StandInSlack, channel: Channel, person: User, words: str) -> None:
    await slack.until(lambda: any(words in message.read for message in channel.seen_by(person)))


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


async def test_a_thread_is_summed_up_below_it(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    bob: User,
) -> None:  # fmt: skip
    root = await general.say(ann, "shall we meet?")
    await general.say(bob, "on Friday", thread=root)
    worker.script["Ann: shall we meet?\n\nBob: on Friday"] = ["They meet on Friday."]
    await acme.shortcut(ann, root, "pajama_summarise")
    await general.until("They meet on Friday.")
    await bot.settled()
    assert general.answers[0].thread_ts == root.ts
    place = Place(platform="slack", workspace=acme.id, conversation=f"{general.id}:{root.ts}")
    (turn,) = await service.history(place)
    assert turn.recipe == "understand"


async def test_of_who_opted_out_nothing_is_read_and_who_asks_is_told_that_it_is_not_all(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    bob: User,
) -> None:  # fmt: skip
    place = Place(platform="slack", workspace=acme.id, conversation="any")
    await service.opt_out(place, Person(id=bob.id), True)
    root = await general.say(ann, "shall we meet?")
    await general.say(bob, "on Friday", thread=root)
    await acme.shortcut(ann, root, "pajama_summarise")
    await general.until("You said: Ann: shall we meet?")
    await until_seen(slack, general, ann, text("thread_in_part")[:40])
    await bot.settled()
    assert not any("Friday" in answer.read for answer in general.answers)


async def test_a_long_thread_is_read_in_part_and_a_second_one_in_the_same_minute_by_its_message_alone(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, settings: Settings, acme: Team, general: Channel, ann: User
) -> None:
    root = await general.say(ann, "begin")
    for number in range(30):  # of which Slack shows such an app 15 in a minute
        await general.say(ann, f"line {number}", thread=root)
    await acme.shortcut(ann, root, "pajama_summarise")
    await until_seen(slack, general, ann, text("thread_in_part")[:40])
    await general.until("line 13")
    other = await general.say(ann, "another")
    await acme.shortcut(ann, other, "pajama_summarise")
    await until_seen(slack, general, ann, text("thread_unread")[:40])
    await general.until("You said: another")
    await bot.settled()
    assert slack.limits.impatient == []


async def test_a_shortcut_reads_names_where_the_message_has_mentions(
    bot: Bot, worker: ScriptedWorker, acme: Team, general: Channel, ann: User, bob: User
) -> None:
    await ask(bot, general, bob, "hello")
    message = await general.say(ann, f"{bob.mention} is here & well")
    await acme.shortcut(ann, message, "pajama_answer")
    await general.until("You said: @Bob is here & well")
    await bot.settled()


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
