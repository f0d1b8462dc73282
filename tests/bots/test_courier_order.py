"""Answers of one Conversation come in the order of its questions, whichever process brings each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import pytest

from bots import courier as couriers
from bots.courier import Courier
from core.history import TurnView
from core.service import Service
from tests.bots.asking import ask, ended
from tests.bots.channel import Channel, ChannelSink
from tests.bots.scripted_worker import ScriptedWorker


async def test_what_another_process_is_slow_to_bring_comes_first_all_the_same(
    service: Service, worker: ScriptedWorker
) -> None:
    channel = Channel()
    free, slow_one = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow(turn: TurnView) -> AsyncIterator[ChannelSink]:
        slow_one.set()
        await free.wait()  # as where the platform lets it wait
        yield ChannelSink(channel)

    first, second = Courier(service, slow), Courier(service, lambda turn: nullcontext(ChannelSink(channel)))
    first.deliver(await ask(service, "one"))
    await slow_one.wait()
    second.deliver(await ask(service, "two"))
    asyncio.get_running_loop().call_later(0.5, free.set)
    await asyncio.gather(first.settled(), second.settled())
    assert channel.shown() == ["You said: one", "You said: two"]


async def test_an_answer_does_not_stay_without_end_behind_what_a_process_never_brings(
    service: Service, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Channel()
    monkeypatch.setattr(couriers, "BEHIND_S", 0.2)
    first = await ended(service, await ask(service, "one"))
    await service.new_leases().take([f"delivery-{first.turn_id}"], 3_600.0)
    courier = Courier(service, lambda turn: nullcontext(ChannelSink(channel)))
    courier.deliver(await ask(service, "two"))
    await courier.settled()
    assert channel.shown() == ["You said: two"]
