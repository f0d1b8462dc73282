"""Many workspaces: installed by OAuth in a browser, each answered with its own token, and left one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.installations import Installations, States
from bots.slack.installing import Installing
from bots.slack.manifest import INSTALL_PATH, REDIRECT_PATH
from bots.slack.pages import make_web_app
from core.database import AsyncDatabase
from core.service import Service
from core.settings import Settings
from core.values import Place, TurnState
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.conftest import Bot, by_oauth
from tests.bots.slack.standin.browser import Page, install
from tests.bots.slack.standin.message import Message
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

pytestmark = pytest.mark.filterwarnings("ignore:BasicAuth is deprecated")  # slack_sdk uses it for oauth.v2.access


@pytest.fixture
def acme(slack: StandInSlack) -> Team:
    return slack.add_team("Acme", users=["Ann"], installed=False)


@pytest.fixture
def brick(slack: StandInSlack) -> Team:
    return slack.add_team("Brick", users=["Ann"], installed=False)


@pytest.fixture
def settings(settings: Settings, slack: StandInSlack) -> Settings:
    return by_oauth(settings, slack)


async def visit(settings: Settings, team: Team, *, allow: bool = True, state: str | None = None) -> Page:
    """Install the app in a team, as Ann does."""
    url = f"{settings.slack_public_url}{INSTALL_PATH}"
    return await install(team, team.user("Ann"), url, allow=allow, state=state)


async def ask(team: Team, words: str, *, thread: Message | None = None) -> Message:
    """Ask in private, and wait for the answer."""
    dm = team.dm(team.user("Ann"))
    question = await dm.say(team.user("Ann"), words, thread=thread)
    await dm.until(f"You said: {words}")
    return question


async def test_each_workspace_is_answered_with_its_own_token_and_nobody_is_asked_whose_it_is(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, settings: Settings, acme: Team, brick: Team
) -> None:
    for team in (acme, brick):
        page = await visit(settings, team)
        assert page.status == 200 and team.name in page.text
    asked = len(slack.requests_to("auth.test"))
    for team in (acme, brick, acme):
        await ask(team, f"hello {team.name}")
    await bot.settled()
    assert len(slack.requests_to("auth.test")) == asked == 2
    wrote = {(one.team_id, one.token) for one in slack.requests_to("chat.startStream", "chat.postMessage")}
    assert wrote == {(team.id, team.bot_token) for team in (acme, brick)}


async def test_an_installation_that_is_too_much_for_slack_is_made_once_more(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, settings: Settings, acme: Team
) -> None:
    slack.faults.add("oauth.v2.access", 429)
    page = await visit(settings, acme)
    assert page.status != 200 and INSTALL_PATH in page.text
    assert (await visit(settings, acme)).status == 200
    await ask(acme, "hello")


async def test_the_page_speaks_the_browsers_language(bot: Bot, settings: Settings) -> None:
    url, headers = f"{settings.slack_public_url}{INSTALL_PATH}", {"Accept-Language": "zh-CN,zh;q=0.9"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
        assert "添加到 Slack" in await answer.text()
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_cancelled_and_a_forged_installation_give_nothing(bot: Bot, settings: Settings, acme: Team) -> None:
    assert "access_denied" in (await visit(settings, acme, allow=False)).text
    assert (await visit(settings, acme, state="forged")).status >= 400
    assert not acme.installed


async def test_a_way_back_is_gone_once(bot: Bot, settings: Settings, acme: Team) -> None:
    back = f"{settings.slack_public_url}{REDIRECT_PATH}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{settings.slack_public_url}{INSTALL_PATH}") as answer:
            state = answer.cookies["slack-app-oauth-state"].value
        headers, statuses = {"Cookie": f"slack-app-oauth-state={state}"}, []
        for _ in range(2):
            code = acme.allow(acme.user("Ann"), redirect_uri=back)
            async with session.get(back, params={"state": state, "code": code}, headers=headers) as answer:
                statuses.append(answer.status)
    assert statuses == [200, 401]


@pytest.fixture
async def rotating(slack: StandInSlack, bot: Bot, settings: Settings, acme: Team) -> None:
    """Acme, installed with a token that ends in a minute; the next one lives for twelve hours."""
    slack.tokens.rotation, slack.tokens.expires_s = True, 60
    await visit(settings, acme)
    slack.tokens.expires_s = 43_200


@pytest.fixture
async def second_bot(settings: Settings, service: Service, slack: StandInSlack, bot: Bot) -> AsyncIterator[Bot]:
    """Another process on the same database and Redis."""
    second = Bot(settings.model_copy(update={"slack_http_port": 0}), service, slack)
    await second.start(connections=2)
    yield second
    await second.stop()


@pytest.mark.usefixtures("rotating", "second_bot")
async def test_a_token_that_ends_is_renewed_once_however_many_ask(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team
) -> None:
    first = acme.bot_token
    channels = [acme.add_channel(f"c{number}") for number in range(5)]
    await asyncio.gather(*(channel.say(acme.user("Ann"), "<@BOT> hello") for channel in channels))
    for channel in channels:
        await channel.until("You said: hello")
    renewals = [one for one in slack.requests_to("oauth.v2.access") if one.arguments.get("grant_type")]
    assert [one.ok for one in renewals] == [True]
    assert acme.bot_token != first
    await ask(acme, "with the new one")


@pytest.mark.usefixtures("rotating")
async def test_who_gets_no_new_token_is_answered_with_the_old_one_until_it_ends(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team
) -> None:
    slack.faults.add("oauth.v2.access", "invalid_refresh_token", times=99)
    await ask(acme, "hello")


async def test_a_workspace_that_leaves_in_mid_answer_is_closed_and_the_others_are_answered(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, settings: Settings, acme: Team,
    brick: Team, gate: Gate,
) -> None:  # fmt: skip
    for team in (acme, brick):
        await visit(settings, team)
    dm = acme.dm(acme.user("Ann"))
    worker.script["slow"] = ["alpha ", gate, "omega"]
    question = await dm.say(acme.user("Ann"), "slow")
    await dm.until("alpha")
    await dm.say(acme.user("Ann"), "next", thread=question)
    await slack.deliveries.until_over()
    acme.uninstall()
    await bot.settled()
    refused = len(slack.requests)
    gate.set()
    await ask(brick, "still there?")
    await bot.settled()
    turns = await service.history(Place(platform="slack", workspace=acme.id, conversation=f"{dm.id}:{question.ts}"))
    assert [turn.state for turn in turns] == [TurnState.CANCELLED] * 2
    assert all(turn.delivered_at for turn in turns)
    assert all(one.team_id == brick.id for one in slack.requests[refused:])
    assert bot.task is not None and not bot.task.done()


async def test_a_workspace_that_comes_back_goes_on_where_it_was(
    bot: Bot, worker: ScriptedWorker, service: Service, slack: StandInSlack, settings: Settings, acme: Team
) -> None:
    await visit(settings, acme)
    question = await ask(acme, "one")
    acme.uninstall()
    await bot.settled()
    (gone,) = slack.deliveries.named("app_uninstalled")
    await visit(settings, acme)
    gone.payload["event_time"] -= 60
    slack.deliveries.again(gone)  # old news
    await bot.settled()
    await ask(acme, "two", thread=question)
    await bot.settled()
    place = Place(platform="slack", workspace=acme.id, conversation=f"{question.channel.id}:{question.ts}")
    assert [turn.text for turn in await service.history(place)] == ["one", "two"]


async def test_an_installation_while_the_database_is_away_says_so(settings: Settings) -> None:
    away = AsyncDatabase("postgresql+psycopg://nobody@127.0.0.1:1/none")
    installing = Installing(
        settings, AsyncWebClient(), Installations(away, "client"), States(away), installed=lambda: None
    )
    runner = web.AppRunner(make_web_app(None, installing), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", settings.slack_http_port).start()
    url = f"{settings.slack_public_url}{INSTALL_PATH}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 503 and "unavailable" in await answer.text()
    await runner.cleanup()
    await away.close()
