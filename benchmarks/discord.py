"""The Discord bot's process against the stand-in: latency, 500 streams at once under the real rate limits, memory.

The baseline is a naive bot of the same library on a stand-in of its own. Everything here shares one machine: what the
stand-in itself costs, which runs in this process, is told as well.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import SecretStr

from benchmarks.discord_world import FULL, QUICK, Asked, Scale, World, first_texts_ms
from benchmarks.figures import Figure, median, percentile
from benchmarks.processes import cpu_s, environment, python, token_endpoint, token_worker
from benchmarks.token_source import PACE_VARIABLE
from benchmarks.vitals import Vitals, note_vitals
from core.database import upgrade
from core.settings import Settings
from pajama.valkey import EmbeddedValkey
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.server import StandInDiscord

PACE = {PACE_VARIABLE: "4"}
NAIVE = "naive discord.py bot"
_SETTLE_S, _BETWEEN_S = 4.0, 0.1
_PATIENCE_S = 120.0


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """All of it, on SQLite."""
    scale = QUICK if quick else FULL
    with EmbeddedValkey(folder / "valkey-discord") as valkey:
        settings = Settings(
            data_dir=folder,
            database_url=f"sqlite:///{folder / 'discord.db'}",
            redis_url=valkey.url,
            max_batch_size=scale.conversations,
        )
        upgrade(settings.effective_database_url)
        with token_worker(settings, **PACE):
            return asyncio.run(_measured(settings, folder, scale))


@dataclass(frozen=True, slots=True)
class Streams:
    """What came of asking from every seat at once."""

    asked: list[Asked]
    requests: Counter[str]
    refused: int
    violations: int
    vitals: Vitals

    @property
    def inexact(self) -> int:
        """How many answers do not stand there as they should."""
        return sum(not each.exact for each in self.asked)

    def an_answer(self, *wanted: str) -> float:
        """Requests to these routes, or to all, an answer."""
        return sum(count for route, count in self.requests.items() if not wanted or route in wanted) / len(self.asked)


async def _measured(settings: Settings, folder: Path, scale: Scale) -> list[Figure]:
    own = asyncio.create_task(note_vitals(folder / "standin.vitals"))
    async with _naive(folder, scale) as naive:
        async with _pajama(settings, folder, scale) as pajama:
            await asyncio.sleep(_SETTLE_S)
            memory = [pajama.memory_mib(), naive.memory_mib()]
            figures = [*_memory(scale, memory), *await _latency(scale, pajama, naive)]
            began, used = time.time(), cpu_s(psutil.Process())
            ours = await pajama.stream(_PATIENCE_S)
            used = cpu_s(psutil.Process()) - used
            standin = Vitals.of(folder / "standin.vitals", began)
        theirs = await naive.stream(scale.patience_s)
    own.cancel()
    return [*figures, *_streams(scale, ours, theirs), *_standin(ours, used, standin)]


@dataclass(frozen=True, slots=True)
class Bot:
    """A bot's process and its world."""

    world: World
    vitals: Path

    def memory_mib(self) -> float:
        """What it has now."""
        return Vitals.of(self.vitals, time.time() - 2.0).memory_mib[-1]

    async def stream(self, patience_s: float) -> Streams:
        """Ask from every seat."""
        discord, began = self.world.discord, time.time()
        requests, refused, broken = len(discord.requests), len(discord.limits.exceeded), len(discord.violations)
        asked = await self.world.ask_all(patience_s)
        return Streams(
            asked,
            self.world.requests_by_route(requests),
            len(discord.limits.exceeded) - refused,
            len(discord.violations) - broken,
            Vitals.of(self.vitals, began),
        )


async def _latency(scale: Scale, pajama: Bot, naive: Bot) -> list[Figure]:
    """To the first visible text while nobody else asks, in turns with the naive bot."""
    ours, theirs = [], []
    for number in range(scale.samples + 10):
        ours.append(await pajama.world.ask_alone(number))
        await asyncio.sleep(_BETWEEN_S)
        theirs.append(await naive.world.ask_alone(number))
        await asyncio.sleep(_BETWEEN_S)
    ours, theirs = ours[10:], theirs[10:]
    return [
        Figure("message → first visible text, p50", median(ours), "ms", None, median(theirs), NAIVE),
        Figure("… p99", percentile(ours, 0.99), "ms", None, percentile(theirs, 0.99), NAIVE),
    ]


def _memory(scale: Scale, memory: list[float]) -> list[Figure]:
    name = f"bot's memory, {scale.guilds:,} guilds and {scale.guilds * scale.members_a_guild:,} members announced"
    return [Figure(name, memory[0], "MiB", None, memory[1], NAIVE)]


def _streams(scale: Scale, ours: Streams, theirs: Streams) -> list[Figure]:
    first = [sorted(first_texts_ms(each.asked)) for each in (ours, theirs)]
    lags = [percentile(each.vitals.lags_ms, 0.99) for each in (ours, theirs)]
    label = f"{scale.conversations} streams"
    edits, posts, typing = routes.EDIT_MESSAGE, routes.CREATE_MESSAGE, routes.TYPING
    return [
        Figure(f"{label}: answers whose text is not exact", ours.inexact, "", 0.0, theirs.inexact, NAIVE),
        Figure(f"{label}: requests refused (429)", ours.refused, "", 0.0, theirs.refused, NAIVE),
        Figure(f"{label}: other rules of the platform broken", ours.violations, "", 0.0),
        Figure(f"{label}: requests an answer", ours.an_answer(), "", None, theirs.an_answer(), NAIVE),
        *(
            Figure(f"{label}: … {name}", ours.an_answer(route), "", None, theirs.an_answer(route), NAIVE)
            for name, route in (("new messages", posts), ("edits", edits), ("typing", typing))
        ),
        Figure(f"{label}: first visible text, p50", median(first[0]), "ms", None, median(first[1]), NAIVE),
        Figure(f"{label}: … p99", percentile(first[0], 0.99), "ms", None, percentile(first[1], 0.99), NAIVE),
        Figure(f"{label}: bot's event-loop lag, p99", lags[0], "ms", 50.0, lags[1], NAIVE),
        Figure(f"{label}: bot's CPU an answer", *_cpu_ms(ours), None, _cpu_ms(theirs)[0], NAIVE),
        Figure(f"{label}: bot's memory", *_most_mib(ours), None, _most_mib(theirs)[0], NAIVE),
    ]


def _cpu_ms(streams: Streams) -> tuple[float, str]:
    return 1000 * streams.vitals.cpu_s / len(streams.asked), "ms"


def _most_mib(streams: Streams) -> tuple[float, str]:
    return max(streams.vitals.memory_mib), "MiB"


def _standin(ours: Streams, used_s: float, standin: Vitals) -> list[Figure]:
    """What hosting Discord costs here."""
    return [
        Figure("stand-in: CPU a request, with its events", 1000 * used_s / ours.requests.total(), "ms"),
        Figure("stand-in: event-loop lag, p99", percentile(standin.lags_ms, 0.99), "ms"),
    ]


@asynccontextmanager
async def _pajama(settings: Settings, folder: Path, scale: Scale) -> AsyncIterator[Bot]:
    """The bot that is measured, connected to a stand-in of its own."""
    vitals = folder / "pajama.vitals"
    async with StandInDiscord() as discord:
        world = World(discord, scale)
        told = settings.model_copy(
            update={
                "discord_token": SecretStr(discord.token),
                "discord_api_base": discord.api_base,
                "discord_gateway_url": discord.gateway_url,
            }
        )
        with python("benchmarks.discord_bot", str(vitals), env=environment(told)):
            await discord.until_connected()
            await discord.until_commands("ask")
            yield Bot(world, vitals)


@asynccontextmanager
async def _naive(folder: Path, scale: Scale) -> AsyncIterator[Bot]:
    """The baseline, connected to a stand-in of its own."""
    vitals = folder / "naive.vitals"
    async with StandInDiscord() as discord:
        world = World(discord, scale)
        with token_endpoint(**PACE) as url:
            given = {
                "NAIVE_API_BASE": discord.api_base,
                "NAIVE_GATEWAY_URL": discord.gateway_url,
                "NAIVE_TOKEN": discord.token,
                "NAIVE_MODEL_URL": url,
            }
            with python("benchmarks.naive_discord", str(vitals), env={**PACE, **given}):
                await discord.until_connected()
                yield Bot(world, vitals)
