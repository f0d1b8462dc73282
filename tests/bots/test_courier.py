"""Answers come in the background and in order, each brought by one process, also what a bot left that ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext

import pytest

from bots import courier as couriers
from bots.courier import Courier
from bots.delivery import deliver_surely
from core.history import TurnView
from core.service import Service
from core.tasks import end
from tests.bots.asking import ask, ended
from tests.bots.channel import Channel, ChannelSink, Crashed, resumed
from tests.bots.looking import eventually
from tests.bots.scripted_worker import Gate, ScriptedWorker


@pytest.fixture
def quick_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended is noticed at once."""
    monkeypatch.setattr(couriers, "LEASE_S", 0.1)
    monkeypatch.setattr(couriers, "LOOK_S", 0.02)


async def die() -> None:
    """End as a process does that is killed: nothing is given back."""
    on_their_way = [task for task in asyncio.all_tasks() if task.get_name().startswith("deliver-")]
    for task in on_their_way:
        task.cancel()
    await asyncio.gather(*on_their_way, return_exceptions=True)


class TestResuming:
    async def test_answers_of_while_the_bot_was_away_come_in_order(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        for words in ("one", "two"):
            await ended(service, await ask(service, words))
        assert await resumed(service, channel) == 2
        assert channel.shown() == ["You said: one", "You said: two"]

    async def test_an_answer_on_its_way_is_followed_to_its_end(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        for words in ("slow", "next"):
            await ask(service, words)
        async with asyncio.TaskGroup() as group:
            group.create_task(resumed(service, channel))
            await channel.until("alpha")
            gate.set()
        assert channel.shown() == ["alpha omega", "You said: next"]

    async def test_a_slow_conversation_holds_up_no_other(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate
    ) -> None:
        await ended(service, await ask(service, "done", "other"))
        worker.script["slow"] = ["alpha ", gate]
        await ask(service, "slow")
        async with asyncio.TaskGroup() as group:
            group.create_task(resumed(service, channel))
            await channel.until("You said: done")
            gate.set()

    async def test_a_channel_that_is_gone_is_given_up_and_holds_up_nothing(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        for words, conversation in (("lost", "gone"), ("hello", "here")):
            await ended(service, await ask(service, words, conversation))
        gone = Channel(closed=True)
        channels = {"gone": gone, "here": channel}
        courier = Courier(service, lambda turn: nullcontext(ChannelSink(channels[turn.place.conversation])))
        await courier.resume("discord")
        await courier.settled()
        assert (gone.shown(), channel.shown()) == ([], ["You said: hello"])
        assert await service.waiting("discord") == []

    async def test_an_answer_that_is_refused_in_its_middle_is_noted_at_its_end_and_never_tried_again(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        turn, gone = await ask(service, "slow"), Channel(closed=True)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(deliver_surely(service, turn, ChannelSink(gone)))
            await gone.until_refused()
            await asyncio.wait({task}, timeout=0.1)
            assert not task.done(), "the end is still to be noted"
            gate.set()
        assert await resumed(service, channel) == 0
        assert (gone.refused, channel.shown()) == (1, [])

    async def test_another_platforms_turns_are_left_alone(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        await ended(service, await ask(service, "hello"))
        assert await resumed(service, channel, "slack") == 0
        assert channel.shown() == []


class TestCourier:
    async def test_a_turn_that_is_asked_for_again_on_its_way_is_followed_to_its_next_end(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate
    ) -> None:
        courier = Courier(service, lambda turn: nullcontext(ChannelSink(channel)))
        worker.script["slow"] = ["alpha ", gate, "omega"]
        turn = await ask(service, "slow")
        courier.deliver(turn)
        await channel.until("alpha")
        again = await service.edit(turn.place, turn.event_id, "quick")
        assert again is not None
        courier.deliver(again)
        gate.set()
        await courier.settled()
        assert channel.shown() == ["You said: quick"]

    async def test_the_answers_of_a_conversation_come_one_after_another(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        courier = Courier(service, lambda turn: nullcontext(ChannelSink(channel)))
        turns = [await ask(service, words) for words in ("one", "two")]
        for turn in turns:
            courier.deliver(turn)
        await courier.settled()
        assert channel.shown() == ["You said: one", "You said: two"]

    @pytest.mark.parametrize("ends", ["delivered", "let go of", "crashed"])
    async def test_a_turn_is_shown_as_waited_for_from_when_it_is_given_until_its_own_sink_is_open(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate, ends: str
    ) -> None:
        waiting, opened = set(), []

        @contextmanager
        def shown(turn: TurnView) -> Iterator[None]:
            waiting.add(turn.text)
            yield
            waiting.remove(turn.text)

        @asynccontextmanager
        async def sink(turn: TurnView) -> AsyncIterator[ChannelSink]:
            opened.append((turn.text, set(waiting)))
            if ends == "crashed" and turn.text == "next":
                raise Crashed
            yield ChannelSink(channel)

        courier = Courier(service, sink, shown)
        worker.script["slow"] = ["alpha ", gate, "omega"]
        for turn in [await ask(service, words) for words in ("slow", "next")]:
            courier.deliver(turn)
        assert waiting == {"slow", "next"}
        await channel.until("alpha")
        assert waiting == {"next"}
        if ends == "let go of":
            await courier.close()
        gate.set()
        await courier.settled()
        assert waiting == set()
        assert opened == [("slow", {"slow", "next"}), ("next", {"next"})][: 1 if ends == "let go of" else 2]

    async def test_what_is_on_its_way_in_one_process_is_left_alone_by_the_others(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate, quick_leases: None
    ) -> None:
        courier, other = (Courier(service, lambda turn: nullcontext(ChannelSink(channel))) for _ in range(2))
        worker.script["slow"] = ["alpha ", gate, "omega"]
        courier.deliver(await ask(service, "slow"))
        await channel.until("alpha")
        keeping = asyncio.create_task(courier.keep("discord"))
        await other.resume("discord")
        edits = channel.edits
        gate.set()
        await courier.settled()
        after = channel.edits
        await other.settled()
        await end(keeping)
        assert (channel.shown(), channel.edits) == (["alpha omega"], after)
        assert after > edits

    async def test_what_is_said_after_it_waits_for_what_another_process_has(
        self, service: Service, worker: ScriptedWorker, channel: Channel, quick_leases: None
    ) -> None:
        first = await ended(service, await ask(service, "one"))
        await service.new_leases().take([f"delivery-{first.turn_id}"], couriers.LEASE_S)  # and it ends
        courier = Courier(service, lambda turn: nullcontext(ChannelSink(channel)))
        await courier.resume("discord")
        courier.deliver(await ask(service, "two"))
        await courier.settled()
        assert channel.shown() == ["You said: one", "You said: two"]

    async def test_what_a_process_did_that_ended_is_taken_over_by_another_that_looks(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate, quick_leases: None
    ) -> None:
        courier, other = (Courier(service, lambda turn: nullcontext(ChannelSink(channel))) for _ in range(2))
        worker.script["slow"] = ["alpha ", gate, "omega"]
        courier.deliver(await ask(service, "slow"))
        await channel.until("alpha")
        await die()
        keeping = asyncio.create_task(other.keep("discord"))
        gate.set()
        await channel.until("omega")
        await other.settled()
        await end(keeping)
        assert channel.shown() == ["alpha omega"]
        assert await service.waiting("discord") == []

    async def test_a_process_that_slept_lets_go_of_what_another_has_taken_over(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate, quick_leases: None
    ) -> None:
        courier, other = (Courier(service, lambda turn: nullcontext(ChannelSink(channel))) for _ in range(2))
        worker.script["slow"] = ["alpha ", gate, "omega"]
        courier.deliver(await ask(service, "slow"))
        await channel.until("alpha")
        await other.resume("discord")
        await eventually(lambda: channel.edits)  # it has the lease now
        keeping = [asyncio.create_task(each.keep("discord")) for each in (courier, other)]
        await courier.settled()
        gate.set()
        await other.settled()
        await end(*keeping)
        assert channel.shown() == ["alpha omega"]

    async def test_what_is_let_go_of_is_delivered_at_the_next_start(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate
    ) -> None:
        courier = Courier(service, lambda turn: nullcontext(ChannelSink(channel)))
        worker.script["slow"] = ["alpha ", gate, "omega"]
        courier.deliver(await ask(service, "slow"))
        await channel.until("alpha")
        await courier.close()
        gate.set()
        await resumed(service, channel)
        assert channel.shown() == ["alpha omega"]
