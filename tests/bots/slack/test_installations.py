"""Tokens and states in the database, on both kinds of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from slack_sdk.oauth.installation_store import Installation
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import func, select, update

from bots.slack.installations import Installations, States
from bots.slack.tokens import InstalledTokens
from core.database import AsyncDatabase
from core.errors import DatabaseUnavailable
from core.installations import SlackBot, SlackInstallation, SlackOauthState
from core.service import Service
from core.settings import Settings


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def tables(database_url: str) -> AsyncIterator[AsyncDatabase]:
    database = AsyncDatabase(database_url)
    yield database
    await database.close()


@pytest.fixture
def installations(tables: AsyncDatabase) -> Installations:
    return Installations(tables, "client")


@pytest.fixture
def tokens(service: Service, installations: Installations, settings: Settings) -> InstalledTokens:
    return InstalledTokens(AsyncWebClient(), service, installations, settings)


def installation(team: str | None, token: str, *, enterprise: str | None = None) -> Installation:
    return Installation(
        app_id="A1", team_id=team, enterprise_id=enterprise, user_id="U1", bot_token=token, bot_id="B1",
        bot_user_id="UB", is_enterprise_install=team is None,
    )  # fmt: skip


async def count(tables: AsyncDatabase, model: type) -> int:
    return await tables.read(lambda session: session.scalar(select(func.count()).select_from(model)) or 0)


async def test_of_a_team_only_the_newest_token_is_kept(tables: AsyncDatabase, installations: Installations) -> None:
    for token in ("xoxb-1", "xoxb-2"):
        await installations.async_save(installation("T1", token))
    await installations.async_save(installation("T2", "xoxb-3"))
    bot = await installations.async_find_bot(enterprise_id=None, team_id="T1")
    assert bot is not None and bot.bot_token == "xoxb-2"
    assert await count(tables, SlackBot) == await count(tables, SlackInstallation) == 2


async def test_an_organisation_is_answered_with_its_own_token_and_a_team_with_the_teams(
    installations: Installations, tokens: InstalledTokens
) -> None:
    await installations.async_save(installation(None, "xoxb-org", enterprise="E1"))
    await installations.async_save(installation("T1", "xoxb-team", enterprise="E1"))
    found = [await tokens.of(workspace) for workspace in ("E1-T1", "E1-T2", "E2-T1", "T1")]
    assert [bot and bot.bot_token for bot in found] == ["xoxb-team", "xoxb-org", None, None]


async def test_who_leaves_is_forgotten_and_nobody_else(installations: Installations, tokens: InstalledTokens) -> None:
    for team in ("T1", "T2"):
        await installations.async_save(installation(team, f"xoxb-{team}"))
    assert await tokens.drop("T1", time.time() + 1, org=False)
    assert await tokens.of("T1") is None
    assert await tokens.of("T2") is not None


async def test_old_news_of_an_end_does_not_end_what_is_installed_since(
    installations: Installations, tokens: InstalledTokens
) -> None:
    await installations.async_save(installation("T1", "xoxb-1"))
    assert not await tokens.drop("T1", time.time() - 60, org=False)
    assert await tokens.of("T1") is not None


async def test_a_state_is_good_once(tables: AsyncDatabase) -> None:
    states = States(tables)
    state = await states.async_issue()
    assert not await states.async_consume("forged")
    assert sorted(await asyncio.gather(*(states.async_consume(state) for _ in range(4)))) == [False] * 3 + [True]


async def test_a_state_that_nobody_brings_back_in_time_is_no_good_and_goes(tables: AsyncDatabase) -> None:
    states = States(tables)
    late = await states.async_issue()
    await tables.write(lambda session: session.execute(update(SlackOauthState).values(expire_at=func.now())))
    assert not await states.async_consume(late)
    await states.async_issue()
    assert await count(tables, SlackOauthState) == 1


async def test_a_database_that_is_away_is_said_to_be() -> None:
    away = Installations(AsyncDatabase("postgresql+psycopg://nobody@127.0.0.1:1/none"), "client")
    with pytest.raises(DatabaseUnavailable):
        await away.async_find_bot(enterprise_id=None, team_id="T1")
