"""What the bot says of itself is there once, also where Slack did it and the answer was lost."""

from __future__ import annotations

import pytest

from bots.slack import wire
from bots.slack.budget import POST, SHARE
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


@pytest.fixture(autouse=True)
def _quick(slack: StandInSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_FIRST_RETRY_S", 0.01)
    slack.limits.commercial = False  # what was said is looked up once a minute else


@pytest.mark.parametrize("answer", [500, "reset", "internal_error"])
async def test_a_reply_in_a_thread(bot: Bot, slack: StandInSlack, acme: Team, ann: User, answer: int | str) -> None:
    dm = acme.dm(ann)
    slack.faults.add(POST, answer, work_done=True)
    await dm.say(ann, "/reset")
    await slack.until(lambda: slack.faults.struck)
    await bot.settled()
    assert len(dm.answers) == 1


@pytest.mark.parametrize("method", [POST, SHARE])
async def test_an_export_in_private(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, general: Channel, ann: User, method: str
) -> None:
    slack.faults.add(method, "reset", work_done=True)
    await acme.slash(ann, general, "/pajama", "privacy export")
    await slack.until(lambda: slack.faults.struck)
    await bot.settled()
    assert [len(answer.files) for answer in acme.dm(ann).answers] == [0, 1]
