"""The Slack bot's process against the stand-in: acknowledgements, latency, a hundred who ask at once under the real limits.

The baseline is a naive bot of slack-bolt on a stand-in of its own. Everything here shares one machine with the stand-ins,
which run in this process.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from benchmarks.figures import Figure, median, percentile
from benchmarks.processes import environment, python, token_endpoint, token_worker
from benchmarks.slack_world import FULL, QUICK, Asked, Scale, World
from benchmarks.token_source import PACE_VARIABLE
from benchmarks.vitals import Vitals
from bots.slack.manifest import EVENTS, INSTALL_PATH, SCOPES
from core.database import upgrade
from core.settings import Settings
from pajama.ports import free_port
from pajama.valkey import EmbeddedValkey
from tests.bots.slack.standin.browser import install
from tests.bots.slack.standin.deliveries import Delivery
from tests.bots.slack.standin.server import StandInSlack

PACE = {PACE_VARIABLE: "4"}
NAIVE = "naive slack-bolt bot"
ACKNOWLEDGED_WITHIN_MS = 300.0
_SETTLE_S, _BETWEEN_S, _WARM_UP = 2.0, 0.1, 4
_PATIENCE_S = 180.0


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """All of it, on SQLite."""
    scale = QUICK if quick else FULL
    with EmbeddedValkey(folder / "valkey-slack") as valkey:
        settings = Settings(
            data_dir=folder,
            database_url=f"sqlite:///{folder / 'slack.db'}",
            redis_url=valkey.url,
            max_batch_size=scale.at_once,
        )
        upgrade(settings.effective_database_url)
        with token_worker(settings, **PACE):
            return asyncio.run(_measured(settings, folder, scale))


@dataclass(frozen=True, slots=True)
class AtOnce:
    """What came of all asking at once."""

    asked: list[Asked]
    calls: Counter[str]
    silences_s: list[float]
    refused: int
    violations: int
    vitals: Vitals

    @property
    def inexact(self) -> int:
        """How many answers do not stand there as they should."""
        return sum(not each.exact for each in self.asked)

    @property
    def first_texts_ms(self) -> list[float]:
        """The latencies of those that were answered."""
        return [each.first_text_ms for each in self.asked if each.first_text_ms is not None]

    def an_answer(self, *methods: str) -> float:
        """Calls of these methods, or of all, an answer."""
        return sum(count for method, count in self.calls.items() if not methods or method in methods) / len(self.asked)


@dataclass(frozen=True, slots=True)
class Bot:
    """A bot's process and its world."""

    world: World
    vitals: Path

    async def at_once(self, scale: Scale, patience_s: float) -> AtOnce:
        """Let all ask at once."""
        slack, began = self.world.slack, time.time()
        calls, refused, broken = len(slack.requests), len(slack.limits.exceeded), len(slack.violations)
        asked = await self.world.ask_all(scale, patience_s)
        return AtOnce(
            asked,
            self.world.calls(calls),
            self.world.silences_s(asked),
            len(slack.limits.exceeded) - refused,
            len(slack.violations) - broken,
            Vitals.of(self.vitals, began),
        )


async def _measured(settings: Settings, folder: Path, scale: Scale) -> list[Figure]:
    async with _naive(folder, scale) as naive, _pajama(settings, folder, scale) as pajama:
        await asyncio.sleep(_SETTLE_S)
        latency = await _latency(scale, pajama, naive)
        ours, theirs = await pajama.at_once(scale, _PATIENCE_S), await naive.at_once(scale, scale.patience_s)
        busy = await pajama.world.be_busy(scale), await naive.world.be_busy(scale)
    return [*_acknowledged(scale, *busy), *latency, *_at_once(ours, theirs)]


async def _latency(scale: Scale, pajama: Bot, naive: Bot) -> list[Figure]:
    """To the first visible text while nobody else asks, in turns with the naive bot."""
    ours, theirs = [], []
    for number in range(scale.alone):
        ours.append(await pajama.world.ask_alone(number))
        await asyncio.sleep(_BETWEEN_S)
        theirs.append(await naive.world.ask_alone(number))
        await asyncio.sleep(_BETWEEN_S)
    ours, theirs = ours[_WARM_UP:], theirs[_WARM_UP:]
    return [
        Figure(
            "event → first visible text, of an engine whose first token is there at once, p50",
            median(ours),
            "ms",
            None,
            median(theirs),
            NAIVE,
        ),
        Figure("… p99", percentile(ours, 0.99), "ms", None, percentile(theirs, 0.99), NAIVE),
    ]


def _acknowledged(scale: Scale, ours: list[Delivery], theirs: list[Delivery]) -> list[Figure]:
    label = f"{scale.events_per_s} events a second, a fifth of them questions"
    took = [
        sorted(1000 * (one.acknowledged_after_s or 0.0) for one in told if one.acknowledged) for told in (ours, theirs)
    ]
    missed = [sum(not one.acknowledged or len(one.attempts) > 1 for one in told) for told in (ours, theirs)]
    return [
        Figure(f"{label}: acknowledged after, p50", median(took[0]), "ms", None, median(took[1]), NAIVE),
        Figure("… p99", percentile(took[0], 0.99), "ms", ACKNOWLEDGED_WITHIN_MS, percentile(took[1], 0.99), NAIVE),
        Figure("… not, or not the first time", missed[0], "", 0.0, missed[1], NAIVE),
    ]


def _at_once(ours: AtOnce, theirs: AtOnce) -> list[Figure]:
    label = f"{len(ours.asked)} at once in a workspace"
    streams = [sum(each.streamed for each in all_.asked) for all_ in (ours, theirs)]
    first = [sorted(all_.first_texts_ms) for all_ in (ours, theirs)]
    silent = [max(all_.silences_s) for all_ in (ours, theirs)]
    return [
        Figure(f"{label}: answers whose text is not exact", ours.inexact, "", 0.0, theirs.inexact, NAIVE),
        Figure(f"{label}: calls refused (429)", ours.refused, "", 0.0, theirs.refused, NAIVE),
        Figure(f"{label}: other rules of the platform broken", ours.violations, "", 0.0),
        Figure(f"{label}: answers that are streamed; the others come whole", streams[0], "", None, streams[1], NAIVE),
        Figure(f"{label}: longest wait for any sign", silent[0], "s", None, silent[1], NAIVE),
        Figure(f"{label}: first visible text, p50", median(first[0]), "ms", None, median(first[1]), NAIVE),
        Figure(f"{label}: … p99", percentile(first[0], 0.99), "ms", None, percentile(first[1], 0.99), NAIVE),
        Figure(f"{label}: calls an answer", ours.an_answer(), "", None, theirs.an_answer(), NAIVE),
        *(
            Figure(f"{label}: … {method}", ours.an_answer(method), "", None, theirs.an_answer(method), NAIVE)
            for method, _ in ours.calls.most_common(6)
        ),
        Figure(f"{label}: bot's CPU an answer", _cpu_ms(ours), "ms", None, _cpu_ms(theirs), NAIVE),
        Figure(
            f"{label}: bot's memory", max(ours.vitals.memory_mib), "MiB", None, max(theirs.vitals.memory_mib), NAIVE
        ),
    ]


def _cpu_ms(at_once: AtOnce) -> float:
    return 1000 * at_once.vitals.cpu_s / len(at_once.asked)


@asynccontextmanager
async def _standin() -> AsyncIterator[StandInSlack]:
    async with StandInSlack() as slack:
        slack.scopes, slack.subscriptions = set(SCOPES), set(EVENTS)
        yield slack


@asynccontextmanager
async def _pajama(settings: Settings, folder: Path, scale: Scale) -> AsyncIterator[Bot]:
    """The bot that is measured, in Socket Mode, installed in every workspace of a stand-in of its own."""
    vitals, port = folder / "pajama.vitals", free_port()
    async with _standin() as slack:
        teams = [slack.add_team(f"Team {number}", installed=False) for number in range(scale.teams)]
        told = settings.model_copy(
            update={
                "slack_api_base": slack.api_base,
                "slack_app_token": SecretStr(slack.app_token),
                "slack_client_id": slack.client_id,
                "slack_client_secret": SecretStr(slack.client_secret),
                "slack_http_port": port,
                "slack_public_url": f"http://127.0.0.1:{port}",
            }
        )
        with python("benchmarks.slack_bot", str(vitals), env=environment(told)):
            await slack.until_connected()
            for team in teams:
                await install(team, team.owner, f"{told.slack_public_url}{INSTALL_PATH}")
            yield Bot(World(slack, teams), vitals)


@asynccontextmanager
async def _naive(folder: Path, scale: Scale) -> AsyncIterator[Bot]:
    """The baseline, in one workspace of a stand-in of its own: it knows no more than that."""
    vitals = folder / "naive.vitals"
    async with _standin() as slack:
        team = slack.add_team("Team")
        with token_endpoint(**PACE) as url:
            given = {
                "NAIVE_API_BASE": slack.api_base,
                "NAIVE_APP_TOKEN": slack.app_token,
                "NAIVE_BOT_TOKEN": team.bot_token,
                "NAIVE_MODEL_URL": url,
            }
            with python("benchmarks.naive_slack", str(vitals), env=given):
                await slack.until_connected()
                yield Bot(World(slack, [team] * scale.teams), vitals)
