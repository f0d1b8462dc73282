"""What Slack refuses one process of a workspace holds back all of them, and nobody else."""

from __future__ import annotations

import pytest

from bots.slack.budget import ALONE, DELETE, PLACEHOLDER, POST, RATES, REPLIES, SHARE, UPDATE, UPLOAD, SendBudget
from core.rates import Rate
from core.service import Service
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

HELD_S = 60.0


@pytest.mark.parametrize("method", [UPDATE, POST, REPLIES])
async def test_what_is_refused_is_held_for_all_of_the_workspace_and_for_no_other(service: Service, method: str) -> None:
    await SendBudget(service, "T1").gate(method, "C1").refused(HELD_S)
    assert not await SendBudget(service, "T1").spare(method, "C1")
    assert await SendBudget(service, "T2").spare(method, "C1")
    other_channel = await SendBudget(service, "T1").spare(method, "C2")
    assert other_channel == (method == POST)


async def test_a_placeholder_that_may_not_be_posted_uses_up_none(service: Service) -> None:
    budget = SendBudget(service, "T1")
    while await budget.spare(POST, "C1"):
        pass
    assert not any([await budget.spare_placeholder("C1") for _ in range(RATES[PLACEHOLDER].most)])
    assert await budget.spare_placeholder("C2")


async def test_whatever_is_said_waits_in_line(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, general: Channel, ann: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for method in (POST, DELETE, ALONE, UPLOAD, SHARE):
        monkeypatch.setitem(RATES, method, Rate(1_000, HELD_S))
    dm = acme.dm(ann)
    await dm.say(ann, "hello")
    await dm.until("You said: hello")
    await dm.say(ann, "/why")
    await slack.until(lambda: any(answer.files for answer in dm.answers))
    await dm.delete(dm.messages[0])
    await dm.until(lambda: not any("You said" in answer.read for answer in dm.answers))
    await acme.slash(ann, general, "/pajama", "help")
    await acme.slash(ann, general, "/pajama", "ask what now?")
    await general.until("You said: what now?")
    await bot.settled()
    for method, channels in {
        POST: (dm.id, general.id),
        DELETE: ("",),
        ALONE: ("",),
        UPLOAD: ("",),
        SHARE: ("",),
    }.items():
        for channel in channels:
            made = [one for one in slack.requests_to(method) if channel in {"", one.arguments.get("channel")}]
            left = 0
            while await SendBudget(service, acme.id).spare(method, channel):
                left += 1
            assert made and left + len(made) == RATES[method].most, method
