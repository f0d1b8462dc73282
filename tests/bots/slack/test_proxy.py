"""Behind a proxy: the servers' name means something to the proxy alone, so that whatever goes past it goes nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from yarl import URL

from bots.slack import sink
from bots.slack.doctor import examine
from core.settings import Settings
from tests.bots.forwarding import ForwardingProxy
from tests.bots.scripted_worker import ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

NOWHERE = "slack.invalid"


@pytest.fixture
async def proxy(slack: StandInSlack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    async with ForwardingProxy(URL(slack.api_base).port or 0) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        yield url


@pytest.fixture
def settings(settings: Settings, slack: StandInSlack, proxy: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    base = slack.api_base.replace("127.0.0.1", NOWHERE)
    monkeypatch.setattr(StandInSlack, "url", slack.url.replace("127.0.0.1", NOWHERE))
    return settings.model_copy(update={"slack_api_base": base})


async def test_calls_the_connection_and_files_both_ways_all_go_through_it(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, ann: User
) -> None:
    dm = acme.dm(ann)
    worker.script["long"] = ["Many words. " * 100] * (sink.MAX_CHARS * sink.MAX_CHUNKS // 1_000)
    await dm.say(ann, "long")
    await slack.until(lambda: any(answer.files for answer in dm.answers))
    await dm.say(ann, "see", files=[("notes.txt", b"rain at noon")])
    await dm.until("rain at noon")


async def test_the_doctor_asks_our_own_address_through_it_too(
    settings: Settings, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    by_url = {"slack_mode": "http", "slack_public_url": f"http://{NOWHERE}"}
    secret = type(settings.slack_signing_secret)("0" * 32)
    changed = settings.model_copy(update={**by_url, "slack_signing_secret": secret})
    found = {finding.what: finding.detail async for finding in examine(changed)}
    assert "answers 404" in found["Request URL"], "the servers behind the proxy know no such page"
