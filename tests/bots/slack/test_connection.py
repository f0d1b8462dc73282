"""The way from Slack to the bot: sockets that end, requests that are not Slack's, and events that come again."""

from __future__ import annotations

import time

import pytest

from bots.slack import server
from core.service import Service
from core.values import Place
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


@pytest.mark.parametrize("reason", ["refresh_requested", "warning"])
async def test_a_connection_that_slack_takes_back_is_made_anew_and_nothing_is_lost(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User, gate: Gate, reason: str
) -> None:
    dm = acme.dm(ann)
    worker.script["slow"] = ["alpha ", gate, "omega"]
    await dm.say(ann, "slow")
    await dm.until("alpha")
    opened = slack.sockets.opened
    await slack.sockets.connection.disconnect(reason)
    await slack.until(lambda: slack.sockets.opened > opened)
    gate.set()
    await dm.until("alpha omega")
    await dm.say(ann, "and now?")
    await dm.until("You said: and now?")
    assert slack.overdue == []


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken connection is noticed sooner, so that tests need not wait."""
    monkeypatch.setattr(server, "_PING_S", 0.2)


@pytest.mark.usefixtures("watchful")
async def test_a_connection_that_breaks_is_made_anew(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User
) -> None:
    opened = slack.sockets.opened
    slack.sockets.connection.drop()
    await slack.until(lambda: slack.sockets.opened > opened and slack.sockets.open)
    await acme.dm(ann).say(ann, "hello")
    await acme.dm(ann).until("You said: hello")


async def test_what_is_not_signed_by_slack_or_long_ago_is_refused_and_does_nothing(
    by_http: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User
) -> None:
    dm = acme.dm(ann)
    root = dm.begin(ann)
    await dm.say(ann, "hello", thread=root)
    await acme.dm(ann).until("You said: hello")
    await by_http.settled()
    told = slack.deliveries.named("message")[0]
    forged = {**told.payload, "event": {**told.payload["event"], "ts": "1700000000.000001", "text": "forged"}}
    told.payload = forged
    answers = [
        await slack.poster.forge(told, secret="somebody else's"),
        await slack.poster.forge(told, timestamp=str(int(time.time()) - 301)),  # signed well, for another time
        await slack.poster.forge(told, timestamp=str(int(time.time()) + 301)),
        *[await slack.poster.forge(told, timestamp=at) for at in ("soon", "", "1e9", "-1", "１７", "9" * 40)],
        await slack.poster.replay(told, signature="v0=" + "0" * 64),
    ]
    assert [answer.status for answer in answers] == [401] * len(answers)
    await by_http.settled()
    place = Place(platform="slack", workspace=acme.id, conversation=f"{dm.id}:{root.ts}")
    assert [turn.text for turn in await service.history(place)] == ["hello"]


async def test_a_replay_within_the_window_is_the_same_message(
    by_http: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, general: Channel, ann: User
) -> None:
    await general.say(ann, "<@BOT> hello")
    await general.until("You said: hello")
    await by_http.settled()
    for told in list(slack.deliveries.sent):
        assert (await slack.poster.replay(told)).status == 200
    await by_http.settled()
    assert len(worker.answered) == 1


async def test_what_nobody_listens_to_is_acknowledged(
    by_http: Bot, slack: StandInSlack, acme: Team, general: Channel, ann: User
) -> None:
    await general.invite(acme.add_user("Cleo"))
    acme.events.tell("member_left_channel", {"type": "member_left_channel", "user": ann.id}, general)
    await slack.deliveries.until_over()
    assert slack.overdue == [] and all(len(told.attempts) == 1 for told in slack.deliveries.sent)
