"""What was said while no bot listened."""

from __future__ import annotations

import pytest

from bots import lines
from bots.slack import backfill
from bots.slack.backfill import Look, looks
from bots.slack.manifest import INSTALL_PATH
from core.backfill import BackfillPoint
from core.service import Service
from core.settings import Settings
from core.values import Place
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.conftest import Bot, by_oauth
from tests.bots.slack.standin.browser import install
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

NOW = 1_800_000_000.0


async def away(bot: Bot, slack: StandInSlack) -> None:
    """Nobody listens from now on, and what is said reaches nobody later either."""
    await bot.settled()
    await bot.stop()
    slack.deliveries.hold("message")
    slack.deliveries.hold("app_mention")


async def back(bot: Bot, slack: StandInSlack) -> None:
    """The bot listens again, and what is said from now on reaches it."""
    for name in ("message", "app_mention"):
        for given_up in slack.deliveries._held.pop(name):
            given_up.over = True
    await bot.start()


async def test_what_was_said_meanwhile_is_answered_once_in_its_order_and_before_what_is_said_now(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    dm = acme.dm(ann)
    question = await dm.say(ann, "before")
    await dm.until("You said: before")
    await away(bot, slack)
    for words in ("missed one", "/reset", "missed two"):
        await dm.say(ann, words, thread=question)
    await back(bot, slack)
    await dm.say(ann, "now", thread=question)
    await dm.until("You said: now")
    await bot.settled()
    turns = await service.history(Place(platform="slack", workspace=acme.id, conversation=f"{dm.id}:{question.ts}"))
    assert [turn.text for turn in turns] == ["before", "missed one", "missed two", "now"]  # no command of old is done


async def test_a_mention_in_a_channel_and_what_followed_in_its_thread_are_answered(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, general: Channel, ann: User, bob: User
) -> None:
    await general.say(ann, "<@BOT> hello")
    await general.until("You said: hello")
    await away(bot, slack)
    slack.limits.commercial = False
    root = await general.say(bob, "<@BOT> a new one")
    await general.say(bob, "and more", thread=root)
    await general.say(bob, "said to nobody")
    await back(bot, slack)
    await general.until("You said: a new one")
    await general.until("You said: and more")
    await bot.settled()
    assert len(general.answers) == 3


async def test_a_thread_of_before_that_went_on_is_answered(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, general: Channel, ann: User
) -> None:
    root = await general.say(ann, "<@BOT> hello")
    await general.until("You said: hello")
    await away(bot, slack)
    await general.say(ann, "still there?", thread=root)
    await back(bot, slack)
    await general.until("You said: still there?")
    await bot.settled()
    assert slack.limits.exceeded == []


async def test_where_slack_takes_one_question_a_minute_it_waits_and_goes_on(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    slack.limits.scale, slack.limits.retry_after_s = 0.01, 1  # a minute is less than a second
    for place in (acme.dm(ann), general):
        await place.say(ann, "<@BOT> hello")
        await place.until("You said: hello")
    await away(bot, slack)
    for place in (acme.dm(ann), general):
        await place.say(ann, "<@BOT> missed")
    await back(bot, slack)
    for place in (acme.dm(ann), general):
        await place.until("You said: missed")
    assert slack.limits.impatient == []


async def test_a_bot_that_was_thrown_out_of_a_channel_still_finds_what_was_missed_elsewhere(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    slack.limits.commercial = False
    for place in (acme.dm(ann), general):
        await place.say(ann, "<@BOT> hello")
        await place.until("You said: hello")
    await away(bot, slack)
    await general.remove(acme.bot)
    await acme.dm(ann).say(ann, "missed")
    await back(bot, slack)
    await acme.dm(ann).until("You said: missed")


@pytest.mark.parametrize("answer", [500, "internal_error"])
async def test_a_question_to_slack_that_fails_is_asked_again(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, answer: int | str
) -> None:
    slack.limits.commercial, dm = False, acme.dm(ann)
    await dm.say(ann, "before")
    await dm.until("You said: before")
    await away(bot, slack)
    await dm.say(ann, "missed")
    slack.faults.add("conversations.history", answer)
    await back(bot, slack)
    await dm.until("You said: missed")
    assert slack.faults.struck


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated")
class TestManyWorkspaces:
    @pytest.fixture
    def acme(self, slack: StandInSlack) -> Team:
        return slack.add_team("Acme", users=["Ann"], installed=False)

    @pytest.fixture
    def settings(self, settings: Settings, slack: StandInSlack) -> Settings:
        return by_oauth(settings, slack)

    async def test_where_slack_takes_few_questions_nobody_waits_for_another_workspaces(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, settings: Settings, acme: Team,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        teams = [acme, *(slack.add_team(f"Team {number}", users=["Ann"], installed=False) for number in range(5))]
        for team in teams:
            await install(team, team.user("Ann"), f"{settings.slack_public_url}{INSTALL_PATH}")
        said = [(team.user("Ann"), dm) for team in teams for dm in (team.dm(team.user("Ann")), team.add_channel("any"))]
        for ann, place in said:
            await place.say(ann, "<@BOT> hello")
            await place.until("You said: hello")
        await away(bot, slack)
        monkeypatch.setattr(lines, "HELD_S", 3_600.0)  # only what lets go of a line helps
        await back(bot, slack)
        for ann, place in said:
            await place.say(ann, "<@BOT> now")
        for _, place in said:
            await place.until("You said: now")


def point(conversation: str, event_id: str, workspace: str = "T1") -> BackfillPoint:
    return BackfillPoint(Place(platform="slack", workspace=workspace, conversation=conversation), None, event_id)


def test_the_places_with_the_newest_words_come_first_and_old_threads_not_at_all() -> None:
    points = [
        point("C1:100.000000", "C1:100.000000"),  # long ago
        point(f"C2:{NOW - 50:.6f}", f"C2:{NOW - 40:.6f}"),
        point("D1", f"D1:{NOW - 10:.6f}"),
        point(f"C2:{NOW - 500:.6f}", "17.31.abc"),  # by a slash command, which is no message
        point("D2", "17.31.abc"),
        point("D1", f"D1:{NOW - 5:.6f}", workspace="T2"),
    ]
    found = looks(points, NOW)
    places = [(look.channel, look.thread is not None) for look in found["T1"]]
    assert places[0] == ("D1", False) and places[-1] == ("C1", False)
    assert sorted(places[1:-1]) == [("C2", False), ("C2", True), ("C2", True)]
    assert found["T1"][-1] == Look("C1", None, NOW - backfill.MISSED_WITHIN_S, 100.0)
    assert [look.channel for look in found["T2"]] == ["D1"]
