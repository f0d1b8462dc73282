"""Trouble while many people talk to a bot: faults of the platform's servers, and kills of the bot and of workers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from core.database import Database
from tests.e2e.processes import BotProcess, Workers


async def disturb(
    make_fault: Callable[[], None],
    bot: BotProcess,
    workers: Workers,
    database: Database,
    progress: asyncio.Semaphore,
    *,
    beginning: int,
    messages: int,
    answers_per_fault: int,
    kills: int,
) -> None:
    """After the first `beginning` answers: a fault again and again, and now and then a kill that falls into work."""
    for _ in range(beginning):
        await progress.acquire()
    kinds = itertools.cycle(["bot", "worker"])
    to_kill = [next(kinds) for _ in range(kills)]
    between, due = (messages - beginning) // (kills + 1), 0
    for answer in range(1, messages - beginning):
        await progress.acquire()
        if answer % answers_per_fault == 0:
            make_fault()
        due += answer % between == 0
        while due and to_kill and await killed(to_kill[0], bot, workers, database):
            to_kill.pop(0)
            due -= 1
    assert not to_kill


async def killed(kind: str, bot: BotProcess, workers: Workers, database: Database) -> bool:
    """Kill a process of this kind; False where no worker is at work just now."""
    if kind == "worker":
        return await asyncio.to_thread(workers.kill_one_at_work, database)
    await bot.kill()
    await bot.start()
    return True
