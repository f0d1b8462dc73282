"""Messages that are edited or deleted while they are answered, and after."""

from __future__ import annotations

from core.service import Service
from core.values import Place, TurnState
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


async def test_a_message_that_is_edited_in_mid_answer_is_answered_anew(
    bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, ann: User, gate: Gate
) -> None:
    dm = acme.dm(ann)
    worker.script["slow"] = ["alpha ", gate, "omega"]
    question = await dm.say(ann, "slow")
    await dm.until("alpha")
    await dm.edit(question, "quick")
    await dm.until("You said: quick")
    gate.set()
    await bot.settled()
    assert [answer.read for answer in dm.answers] == ["You said: quick"]
    place = Place(platform="slack", workspace=acme.id, conversation=f"{dm.id}:{question.ts}")
    assert [(turn.text, turn.state) for turn in await service.history(place)] == [("quick", TurnState.DONE)]


async def test_a_message_that_is_deleted_in_mid_answer_leaves_nothing(
    bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, ann: User, gate: Gate
) -> None:
    dm = acme.dm(ann)
    worker.script["slow"] = ["alpha ", gate, "omega"]
    question = await dm.say(ann, "slow")
    await dm.until("alpha")
    await dm.delete(question)
    await dm.until(lambda: not dm.answers)
    gate.set()
    await bot.settled()
    assert dm.answers == []
    place = Place(platform="slack", workspace=acme.id, conversation=f"{dm.id}:{question.ts}")
    assert [(turn.text, turn.state) for turn in await service.history(place)] == [("", TurnState.CANCELLED)]


async def test_every_answer_to_a_message_that_is_edited_goes(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    question = await general.say(ann, "<@BOT> one")
    await general.until("You said: one")
    await bot.settled()
    await acme.press(ann, general.answers[0], "pajama_again")
    await slack.until(lambda: len(worker.answered) == 2)
    await bot.settled()
    await general.edit(question, "<@BOT> two")
    await general.until("You said: two")
    await bot.settled()
    assert [answer.read for answer in general.answers] == ["You said: two"]


async def test_a_preview_of_a_link_asks_nothing_anew(bot: Bot, worker: ScriptedWorker, acme: Team, ann: User) -> None:
    dm = acme.dm(ann)
    question = await dm.say(ann, "see https://example.com")
    await dm.until("You said")
    await bot.settled()
    await dm.unfurl(question, "An example")
    await bot.settled()
    assert len(worker.answered) == 1


async def test_a_mention_that_is_added_later_is_answered_and_one_of_long_ago_is_deleted(
    bot: Bot, worker: ScriptedWorker, general: Channel, ann: User
) -> None:
    question = await general.say(ann, "hello")
    await general.edit(question, "<@BOT> hello")
    await general.until("You said: hello")
    await bot.settled()
    await general.delete(question)
    await general.until(lambda: not general.answers)


async def test_a_question_in_a_channel_that_is_deleted_takes_its_answer_and_its_words_away(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    question = await general.say(ann, "<@BOT> hello")
    await general.until("You said: hello")
    await bot.settled()
    await general.delete(question)  # of which Slack tells a change: it has a reply
    await general.until(lambda: not general.answers)
    await bot.settled()
    place = Place(platform="slack", workspace=acme.id, conversation=f"{general.id}:{question.ts}")
    assert [(turn.text, turn.answer.text if turn.answer else "") for turn in await service.history(place)] == [("", "")]


async def test_a_question_that_is_deleted_while_it_waits_is_answered_no_more(
    bot: Bot, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    question = await general.say(ann, "<@BOT> hello")
    await slack.deliveries.until_over()
    await general.delete(question)  # to which nothing was replied: Slack tells a deletion
    await bot.settled()
    place = Place(platform="slack", workspace=acme.id, conversation=f"{general.id}:{question.ts}")
    assert [(turn.text, turn.state) for turn in await service.history(place)] == [("", TurnState.CANCELLED)]
