"""The app of one workspace, when that takes it away: the process stays, and says so."""

from __future__ import annotations

import pytest
import redis
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack import tokens
from bots.slack.handlers import REMOVED
from core.redis import adapter_key, note_key
from core.service import Service
from core.settings import Settings
from core.values import Place, TurnState
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


async def test_what_is_being_answered_ends_and_the_bot_stays(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, acme: Team, ann: User, gate: Gate
) -> None:
    dm = acme.dm(ann)
    worker.script["slow"] = ["alpha ", gate, "omega"]
    question = await dm.say(ann, "slow")
    await dm.until("alpha")
    await dm.say(ann, "next", thread=question)
    await slack.deliveries.until_over()
    acme.uninstall()
    await bot.settled()
    asked = len(slack.requests)
    gate.set()
    turns = await service.history(Place(platform="slack", workspace=acme.id, conversation=f"{dm.id}:{question.ts}"))
    assert [turn.state for turn in turns] == [TurnState.CANCELLED] * 2
    assert all(turn.delivered_at for turn in turns)
    assert bot.task is not None and not bot.task.done()
    assert len(slack.requests) == asked


@pytest.mark.parametrize("dies", ["uninstall", "revoke_tokens"])
async def test_health_says_that_it_is_gone(bot: Bot, settings: Settings, acme: Team, dies: str) -> None:
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        getattr(acme, dies)()
        while not client.get(note_key(settings.redis_prefix, REMOVED)):
            await bot.settled()
        while client.exists(adapter_key(settings.redis_prefix, "slack")):
            await bot.settled()


async def test_a_users_token_that_is_revoked_takes_nothing_away(
    bot: Bot, worker: ScriptedWorker, acme: Team, ann: User
) -> None:
    revoked = {"type": "tokens_revoked", "tokens": {"oauth": [ann.id], "bot": []}}
    acme.events.tell("tokens_revoked", revoked)
    await bot.settled()
    await acme.dm(ann).say(ann, "hello")
    await acme.dm(ann).until("You said: hello")


async def test_an_app_that_is_installed_again_is_there_again(
    slack: StandInSlack, acme: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tokens.OneToken(AsyncWebClient(acme.bot_token, base_url=slack.api_base, retry_handlers=[]))
    assert await token.open() == "Acme" and await token.present()
    await token.drop(acme.id, 0.0, org=False)
    assert not await token.present()  # it was asked just now
    monkeypatch.setattr(tokens, "LOOK_AGAIN_S", 0.0)
    assert await token.present()
