"""Chats in a DM: each is a thread, with a history and a queue of its own."""

from __future__ import annotations

import pytest

from bots.slack.budget import SESSION, SendBudget
from bots.texts import text
from core.service import Service
from core.values import InboundMessage, Person, Place, TurnState
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.message import Message
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


def chat(team: Team, root: Message) -> Place:
    return Place(platform="slack", workspace=team.id, conversation=f"{root.channel.id}:{root.ts}")


async def until_told(slack: StandInSlack, root: Message, person: User, words: str) -> None:
    await slack.until(lambda: any(words in message.read for message in root.channel.seen_by(person)))


async def states(service: Service, team: Team, root: Message) -> list[tuple[str, TurnState]]:
    return [(turn.text, turn.state) for turn in await service.history(chat(team, root))]


async def test_slacks_own_stop_ends_the_answers_of_its_chat_alone(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User, gate: Gate
) -> None:
    dm = acme.dm(ann)
    worker.script["slow"] = ["alpha ", gate, "omega"]
    first = await dm.say(ann, "slow")
    await dm.until("alpha")
    await dm.say(ann, "more", thread=first)
    second = await dm.say(ann, "other")
    await slack.deliveries.until_over()
    await acme.stop_session(ann, first)
    await dm.until("You said: other")
    await bot.settled()
    assert await states(service, acme, first) == [("slow", TurnState.CANCELLED), ("more", TurnState.CANCELLED)]
    assert await states(service, acme, second) == [("other", TurnState.DONE)]


async def test_what_follows_in_a_chat_goes_on_with_it(
    bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, ann: User
) -> None:
    dm = acme.dm(ann)
    first, other = await dm.say(ann, "one"), await dm.say(ann, "other")
    await dm.say(ann, "two", thread=first)
    await dm.until("You said: two")
    await dm.until("You said: other")
    await bot.settled()
    assert [words for words, _ in await states(service, acme, first)] == ["one", "two"]
    assert [words for words, _ in await states(service, acme, other)] == ["other"]


@pytest.mark.parametrize("way", ["slash", "message"])
async def test_a_command_outside_of_chats_is_about_the_latest_one(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User, way: str
) -> None:
    dm = acme.dm(ann)
    chats = []
    for words in ("one", "two"):
        chats.append(await dm.say(ann, words))
        await dm.until(f"You said: {words}")
        await bot.settled()
    if way == "slash":
        await acme.slash(ann, dm, "/pajama", "reset")
    else:
        await dm.say(ann, "/reset")
    await until_told(slack, chats[0], ann, text("reset_done"))
    await bot.settled()
    latest = [await service.latest_turn(chat(acme, root)) for root in chats]
    assert [turn.text if turn else None for turn in latest] == ["one", None]


async def test_a_human_who_is_called_outside_of_chats_is_talked_to_in_one(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User
) -> None:
    dm = acme.dm(ann)
    await acme.slash(ann, dm, "/pajama", "human my parcel")
    await dm.until("/human my parcel")
    await bot.settled()
    (opened,) = dm.answers
    assert await service.handoffs.standing(chat(acme, opened)) is not None


async def test_questions_of_when_a_dm_was_one_conversation_are_still_known(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User
) -> None:
    dm = acme.dm(ann)
    place, root = Place(platform="slack", workspace=acme.id, conversation=dm.id), dm.new_message(ann, "of old")
    dm.book[root.ts] = root
    target = {"channel": dm.id, "thread": root.ts, "team": acme.id, "asker": ann.id}
    asked = InboundMessage(
        place=place,
        person=Person(id=ann.id),
        event_id=f"{dm.id}:{root.ts}",
        text="of old",
        target=target,
        channel=dm.id,
    )
    await service.receive(asked)
    await dm.say(ann, "and more", thread=root)
    await dm.until("You said: and more")
    await dm.edit(root, "of new")
    await dm.until("You said: of new")
    await bot.settled()
    assert [turn.text for turn in await service.history(place)] == ["of new", "and more"]


@pytest.mark.parametrize("ends", [TurnState.CANCELLED, TurnState.DONE])
async def test_slacks_own_stop_is_there_before_the_first_word_and_gone_after_the_last(
    bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, ann: User, gate: Gate, ends: TurnState
) -> None:
    dm = acme.dm(ann)
    worker.script["slow"] = [gate, "omega"]
    question = await dm.say(ann, "slow")
    sessions = dm.assistance.sessions
    await dm.until(lambda: question.ts in sessions and sessions[question.ts].status == "processing")
    if ends is TurnState.CANCELLED:
        await acme.stop_session(ann, question)
        await dm.until(text("stopped"))
    gate.set()
    await bot.settled()
    assert sessions[question.ts].status == "active"
    assert await states(service, acme, question) == [("slow", ends)]


async def test_no_session_is_begun_where_only_its_end_could_be_told(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User, gate: Gate
) -> None:
    while await SendBudget(service, acme.id).spare(SESSION, keep=10):
        pass
    dm = acme.dm(ann)
    worker.script["slow"] = [gate, "omega"]
    question = await dm.say(ann, "slow")
    await dm.until(lambda: dm.assistance.status(question.ts))
    gate.set()
    await dm.until("omega")
    await bot.settled()
    assert [one.arguments["status"] for one in slack.requests_to(SESSION)].count("processing") == 0
