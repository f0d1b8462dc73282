"""What people write on Slack, and what becomes of it."""

from __future__ import annotations

import pytest

from bots.slack.budget import START, SendBudget
from bots.texts import text
from core.errors import BadSetting
from core.service import Service
from core.values import Person, Place, Rating, TurnState
from tests.bots.contract import BOTH, HOURS, PARKING
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


def thread_place(team: Team, channel: Channel, ts: str) -> Place:
    return Place(platform="slack", workspace=team.id, conversation=f"{channel.id}:{ts}")


async def test_a_mention_is_answered_once_in_its_thread_and_then_without_a_mention(
    bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, general: Channel, ann: User, bob: User
) -> None:
    question = await general.say(ann, "<@BOT> hello")
    await general.until("You said: hello")
    await bot.settled()
    await general.say(bob, "and more", thread=question)
    await general.until("You said")
    await bot.settled()
    turns = await service.history(thread_place(acme, general, question.ts))
    assert len(turns) == 2 and len(general.answers) == 2
    assert {answer.thread_ts for answer in general.answers} == {question.ts}


async def test_what_is_said_to_others_is_left_alone(
    bot: Bot, worker: ScriptedWorker, general: Channel, ann: User, bob: User
) -> None:
    await general.say(ann, "hello all")
    await general.say(ann, f"{bob.mention} hello")
    await bot.settled()
    assert general.answers == []


async def test_the_persons_language_is_that_of_their_slack(
    bot: Bot, worker: ScriptedWorker, acme: Team, general: Channel
) -> None:
    wang = acme.add_user("Wang", locale="zh-CN")
    general.members[wang.id] = wang
    await general.say(wang, "<@BOT> /hlep")
    await general.until("/help")
    await bot.settled()
    assert any("一" <= letter <= "鿿" for letter in general.answers[0].read)


async def test_a_text_file_is_read(bot: Bot, worker: ScriptedWorker, acme: Team, ann: User) -> None:
    dm = acme.dm(ann)
    await dm.say(ann, "see", files=[("a.txt", b"words in a file")])
    await dm.until("words in a file")
    await bot.settled()


async def test_a_very_long_answer_says_that_its_rest_is_in_the_file(
    bot: Bot, worker: ScriptedWorker, acme: Team, ann: User
) -> None:
    words = [f"Sentence number {number} of a very long answer.\n" for number in range(1_000)]
    worker.script["long"] = words
    dm = acme.dm(ann)
    await dm.say(ann, "long")
    await dm.until(text("rest_in_file"))
    await bot.settled()
    assert [file.content.decode() for answer in dm.answers for file in answer.files] == ["".join(words)]
    assert sum(text("rest_in_file") in answer.read for answer in dm.answers) == 1


async def test_an_edit_asks_again_and_a_deletion_takes_the_answer_away(
    bot: Bot, worker: ScriptedWorker, acme: Team, ann: User
) -> None:
    dm = acme.dm(ann)
    question = await dm.say(ann, "one")
    await dm.until("You said: one")
    await bot.settled()
    await dm.edit(question, "two")
    await dm.until("You said: two")
    await bot.settled()
    assert len(dm.answers) == 1
    await dm.delete(question)
    await dm.until(lambda: not dm.answers)


async def test_a_reaction_is_a_rating(
    bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, ann: User
) -> None:
    dm = acme.dm(ann)
    question = await dm.say(ann, "hello")
    await dm.until("You said: hello")
    await bot.settled()
    await dm.react(ann, dm.answers[0], "+1")
    await bot.settled()
    place = Place(platform="slack", workspace=acme.id, conversation=f"{dm.id}:{question.ts}")
    exported = await service.privacy.export(place, Person(id=ann.id))
    assert Rating.UP.value in str(exported)


async def test_model_text_notifies_nobody(bot: Bot, worker: ScriptedWorker, acme: Team, ann: User) -> None:
    dm = acme.dm(ann)
    worker.script["shout"] = ["<!chan", "nel> and @he", f"re and <@{ann.id}> done"]
    await dm.say(ann, "shout")
    await dm.until("done")
    await bot.settled()  # the stand-in judges


async def test_over_the_budget_an_answer_comes_whole_behind_a_placeholder(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User, gate: Gate
) -> None:
    for _ in range(40):
        await SendBudget(service, acme.id).spare(START)
    dm = acme.dm(ann)
    worker.script["slow"] = ["alpha ", gate, "omega"]
    await dm.say(ann, "slow")
    await dm.until("Thinking")
    gate.set()
    await dm.until("alpha omega")
    await bot.settled()
    assert slack.requests_to("chat.startStream") == [] and len(dm.answers) == 1


async def test_a_stream_that_slack_ends_is_replaced_by_the_whole_text(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, gate: Gate
) -> None:
    dm = acme.dm(ann)
    worker.script["slow"] = ["alpha ", gate, "omega"]
    await dm.say(ann, "slow")
    await dm.until("alpha")
    slack.streams.life_s = 0.0
    gate.set()
    await dm.until("alpha omega")
    await bot.settled()
    assert len(dm.answers) == 1


async def test_stop_button_below_a_placeholder(
    bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, ann: User, gate: Gate
) -> None:
    for _ in range(40):
        await SendBudget(service, acme.id).spare(START)
    dm = acme.dm(ann)
    worker.script["slow"] = ["alpha ", gate, "omega"]
    question = await dm.say(ann, "slow")
    await dm.until("Thinking")
    await acme.press(ann, dm.answers[0], "Stop")
    await dm.until("(stopped)")
    await bot.settled()
    place = Place(platform="slack", workspace=acme.id, conversation=f"{dm.id}:{question.ts}")
    assert [turn.state for turn in await service.history(place)] == [TurnState.CANCELLED]


async def test_the_buttons_of_an_answer(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    await general.say(ann, "<@BOT> hello")
    await general.until("You said: hello")
    await bot.settled()
    (answer,) = general.answers
    await acme.press(ann, answer, "pajama_why")
    await slack.until(lambda: any("Tokens" in message.read for message in general.seen_by(ann)))
    await acme.press(ann, answer, "pajama_again")
    await slack.until(lambda: len(worker.answered) == 2)
    await bot.settled()


async def test_the_slash_command_answers_in_a_thread_and_tells_help(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    await acme.slash(ann, general, "/pajama", "ask what is up")
    await general.until("You said: what is up")
    await acme.slash(ann, general, "/pajama", "help")
    await slack.until(lambda: any("/translate" in message.read for message in general.seen_by(ann)))
    await bot.settled()


async def test_the_home_shows_help_and_the_chat_offers_prompts(
    bot: Bot, slack: StandInSlack, acme: Team, ann: User
) -> None:
    dm = await acme.open_home(ann)
    await slack.until(lambda: acme.home(ann))
    await acme.open_home(ann, "messages")
    await slack.until(lambda: dm.assistance.prompts)
    await bot.settled()


async def test_a_chat_offers_the_prompts_of_its_workspace(
    bot: Bot, service: Service, slack: StandInSlack, acme: Team, ann: User
) -> None:
    place = Place(platform="slack", workspace=acme.id, conversation="any")
    await service.change_setting(place, "prompts", "Write an offer| Sum <this> up |")
    dm = await acme.open_home(ann, "messages")
    await slack.until(lambda: dm.assistance.prompts)
    words = ["Write an offer", "Sum <this> up"]
    assert dm.assistance.prompts == [{"title": each, "message": each} for each in words]
    for wrong in ("a|b|c|d|e", "x" * 201, "|"):
        with pytest.raises(BadSetting):
            await service.change_setting(place, "prompts", wrong)


async def test_a_comment_comes_by_a_form(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User
) -> None:
    dm = acme.dm(ann)
    question = await dm.say(ann, "hello")
    await dm.until("You said: hello")
    await bot.settled()
    await acme.press(ann, dm.answers[0], "pajama_rate", "👎")
    await slack.until(lambda: acme.views)
    (form,) = acme.views.values()
    await acme.submit_view(ann, form, {"comment": "too short"})
    await bot.settled()
    place = Place(platform="slack", workspace=acme.id, conversation=f"{dm.id}:{question.ts}")
    assert "too short" in str(await service.privacy.export(place, Person(id=ann.id)))


async def test_a_dm_makes_nobody_an_admin_of_the_workspace(
    bot: Bot, worker: ScriptedWorker, acme: Team, ann: User
) -> None:
    dm = acme.dm(ann)
    await dm.say(ann, "/settings persona A pirate")
    await dm.until("Only people who manage")
    await bot.settled()


async def test_what_is_offered_is_asked_by_its_button(
    bot: Bot, worker: ScriptedWorker, acme: Team, slack: StandInSlack, general: Channel, ann: User, bob: User
) -> None:
    worker.know(HOURS, PARKING)
    question = await general.say(ann, f"<@BOT> {BOTH}")
    await general.until(text("faq_which"))
    await bot.settled()
    (offer,) = general.answers
    number = 1 if f"1. {PARKING.question}" in offer.read else 2
    await acme.press(bob, offer, f"pajama_choose_{number}")
    await slack.until(lambda: any(text("error_not_allowed") in message.read for message in general.seen_by(bob)))
    for _ in range(2):
        await acme.press(ann, offer, f"pajama_choose_{number}")
    await general.until(PARKING.answer)
    await bot.settled()
    assert len(general.answers) == 2
    answer = general.answers[1]
    assert answer.thread_ts == question.ts
    assert text("faq_source", question=PARKING.question) in answer.read
