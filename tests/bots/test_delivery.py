"""An answer reaches a platform that keeps messages once, whole and in order, whenever the bot crashes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bots import courier as couriers
from bots import replies
from bots.courier import Courier
from bots.delivery import deliver, deliver_surely, nonce, notice_nonce
from bots.replies import watch
from bots.splitting import split
from bots.texts import failure_sentence, text
from core import turns
from core.database import Database
from core.deliveries import DeliveryView
from core.errors import FailureCode
from core.history import TurnView
from core.service import Service
from core.tasks import end
from core.values import DeliveryState, InboundMessage, TurnState
from tests.bots.asking import PERSON, ask, lose_the_worker, place
from tests.bots.channel import LIMIT, Channel, ChannelSink, Crash, Crashed
from tests.bots.looking import eventually
from tests.bots.scripted_worker import Failure, Gate, ScriptedWorker

WORDS = [f"word {number}. " for number in range(40)]
LONG = "".join(WORDS)
CHUNKS = split(LONG, LIMIT)
SENT = len(CHUNKS)


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL is asked sooner."""
    monkeypatch.setattr(replies, "QUIET_S", 0.05)


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


async def ended(service: Service, turn: TurnView) -> TurnView:
    async for _ in watch(service, turn.turn_id):
        pass
    return await service.turn_status(turn.turn_id)


async def resumed(service: Service, channel: Channel, platform: str = "discord") -> int:
    courier = Courier(service, lambda turn: nullcontext(ChannelSink(channel)))
    waiting = await courier.resume(platform)
    await courier.settled()
    return waiting


class TestDelivering:
    async def test_a_long_answer_is_sent_in_messages_within_the_limit(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        worker.script["long"] = WORDS
        await deliver(service, await ask(service, "long"), ChannelSink(channel))
        assert channel.shown() == CHUNKS
        assert all(message.final for message in channel.messages.values())

    async def test_only_the_last_message_is_the_place_for_buttons(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        worker.script["long"] = WORDS
        await deliver(service, await ask(service, "long"), ChannelSink(channel))
        assert [message.last for message in channel.messages.values()] == [False] * (SENT - 1) + [True]

    async def test_a_very_long_answer_is_its_beginning_and_a_file(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        worker.script["long"] = WORDS
        await deliver(service, await ask(service, "long"), ChannelSink(channel, max_chunks=2))
        first, last = channel.shown()
        assert first == CHUNKS[0] and len(last) <= LIMIT
        assert CHUNKS[1].startswith(last.removesuffix(text("rest_in_file")).strip())
        assert [message.whole for message in channel.messages.values()] == [None, LONG]

    async def test_where_the_rest_is_is_told_in_the_persons_language_and_only_at_the_end(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate
    ) -> None:
        worker.script["long"] = [*WORDS, gate]
        message = InboundMessage(place=place(), person=PERSON, event_id="e", text="long", language="zh-CN")
        turn = await service.turn_status((await service.receive(message)).turn_id)
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver(service, turn, ChannelSink(channel, max_chunks=2)))
            await channel.until(CHUNKS[1])
            gate.set()
        assert channel.shown()[1].endswith(text("rest_in_file", "zh-CN"))

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("call", range(2))
    async def test_a_crash_before_the_file_is_sent_repeats_nothing(
        self, service: Service, worker: ScriptedWorker, channel: Channel, call: int, when: str
    ) -> None:
        worker.script["long"] = WORDS
        turn = await ended(service, await ask(service, "long"))
        channel.crash = Crash(call, when)  # type: ignore[arg-type]
        with pytest.raises(Crashed):
            await deliver(service, turn, ChannelSink(channel, max_chunks=2))
        await deliver(service, turn, ChannelSink(channel, max_chunks=2))
        assert channel.shown()[0] == CHUNKS[0]
        assert [message.whole for message in channel.messages.values()] == [None, LONG]
        assert channel.shown()[1].count(text("rest_in_file")) == 1

    async def test_every_message_is_in_the_ledger_and_the_turn_is_delivered(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        worker.script["long"] = WORDS
        turn = await deliver(service, await ask(service, "long"), ChannelSink(channel))
        assert turn.answer is not None
        assert await service.ledger.of_generation(turn.answer.generation_id) == [
            DeliveryView(index, DeliveryState.SENT, message_id) for index, message_id in enumerate(channel.messages)
        ]
        assert (await service.turn_status(turn.turn_id)).delivered_at is not None
        assert await service.waiting("discord") == []

    async def test_an_answer_is_edited_while_it_grows_no_more_often_than_the_platform_allows(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate
    ) -> None:
        worker.script["slow"] = ["a", gate, *"bcdefgh"]
        turn = await ask(service, "slow")
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver(service, turn, ChannelSink(channel, edit_interval_s=60)))
            await channel.until("a")
            gate.set()
        assert (channel.shown(), channel.edits) == (["abcdefgh"], 1)

    async def test_a_cancelled_turn_keeps_its_beginning_and_says_so(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha", gate]
        turn = await ask(service, "slow")
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver(service, turn, ChannelSink(channel)))
            await channel.until("alpha")
            await service.cancel(turn.place, PERSON, turn.turn_id)
        assert channel.shown() == ["alpha", text("stopped")]

    async def test_a_turn_that_was_given_up_takes_its_beginning_back_and_apologises(
        self,
        service: Service,
        worker: ScriptedWorker,
        channel: Channel,
        database: Database,
        gate: Gate,
        soon: None,
    ) -> None:
        worker.script["slow"] = ["alpha", gate]
        turn = await ask(service, "slow")
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver(service, turn, ChannelSink(channel)))
            await channel.until("alpha")
            with database.write() as session:
                turns.reap(session, max_attempts=1, now=datetime.now(UTC) + timedelta(hours=1))
        assert channel.shown() == [failure_sentence(FailureCode.ATTEMPTS, "en")]

    async def test_regenerating_that_fails_leaves_the_answer_of_before(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        turn = await deliver(service, await ask(service, "dice"), ChannelSink(channel))
        worker.script["dice"] = [Failure(FailureCode.ENGINE)]
        again = await service.regenerate(turn.place, PERSON, turn.turn_id)
        await deliver(service, again, ChannelSink(channel))
        assert channel.shown() == ["You said: dice", failure_sentence(FailureCode.ENGINE, "en")]
        assert channel.removed == []

    async def test_a_regenerated_answer_is_a_message_of_its_own(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        turn = await deliver(service, await ask(service, "dice"), ChannelSink(channel))
        worker.script["dice"] = ["five"]
        again = await service.regenerate(turn.place, PERSON, turn.turn_id)
        await deliver(service, again, ChannelSink(channel))
        assert channel.shown() == ["You said: dice", "five"]

    async def test_a_try_that_was_lost_is_written_over_and_what_is_too_much_is_removed(
        self, service: Service, worker: ScriptedWorker, channel: Channel, database: Database, gate: Gate
    ) -> None:
        worker.script["long"] = [*WORDS, gate]
        turn = await ask(service, "long")
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver(service, turn, ChannelSink(channel)))
            await channel.until(CHUNKS[-1])
            lose_the_worker(database)
            worker.script["long"] = ["short"]
            gate.set()
        assert channel.shown() == ["short"]
        assert len(channel.removed) == SENT - 1

    async def test_editing_the_question_in_mid_answer_takes_the_old_beginning_away(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha", gate]
        turn = await ask(service, "slow")
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver(service, turn, ChannelSink(channel)))
            await channel.until("alpha")
            await service.edit(turn.place, turn.event_id, "better")
        assert channel.shown() == ["You said: better"]

    async def test_a_question_that_is_deleted_as_its_answer_is_noted_takes_it_away(
        self, service: Service, worker: ScriptedWorker, channel: Channel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turn, mark = await ask(service, "hello"), service.ledger.delivered

        async def too_late(*given: Any) -> bool:
            monkeypatch.undo()
            await service.delete(turn.place, turn.event_id)
            return await mark(*given)

        monkeypatch.setattr(service.ledger, "delivered", too_late)
        await deliver(service, turn, ChannelSink(channel))
        assert channel.shown() == [] and len(channel.removed) == 1
        assert await service.waiting("discord") == []


class TestCrashes:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("call", range(SENT))
    async def test_a_crash_at_any_send_is_taken_up_there(
        self, service: Service, worker: ScriptedWorker, channel: Channel, call: int, when: str
    ) -> None:
        worker.script["long"] = WORDS
        turn = await ended(service, await ask(service, "long"))
        channel.crash = Crash(call, when)  # type: ignore[arg-type]
        with pytest.raises(Crashed):
            await deliver(service, turn, ChannelSink(channel))
        assert await resumed(service, channel) == 1
        assert channel.shown() == CHUNKS
        assert await resumed(service, channel) == 0

    async def test_a_crash_again_and_again_repeats_nothing(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        worker.script["long"] = WORDS
        turn = await ended(service, await ask(service, "long"))
        crashes = 0
        while not (await service.turn_status(turn.turn_id)).delivered_at:
            channel.crash = Crash(channel.calls + crashes, "after")
            try:
                await deliver(service, turn, ChannelSink(channel))
            except Crashed:
                crashes += 1
        assert crashes >= SENT
        assert channel.shown() == CHUNKS

    async def test_what_was_sent_but_not_noted_shows_the_newest_text_in_the_end(
        self, service: Service, worker: ScriptedWorker, channel: Channel, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        turn = await ask(service, "slow")
        channel.crash = Crash(0, "after")
        with pytest.raises(Crashed):
            await deliver(service, turn, ChannelSink(channel))
        assert channel.shown() == ["alpha "]
        gate.set()
        await resumed(service, channel)
        assert channel.shown() == ["alpha omega"]

    async def test_an_apology_that_was_sent_but_not_noted_is_not_said_twice(
        self, service: Service, worker: ScriptedWorker, channel: Channel
    ) -> None:
        worker.script["fail"] = [Failure(FailureCode.DEADLINE)]
        turn = await ask(service, "fail")
        channel.crash = Crash(0, "after")
        with pytest.raises(Crashed):
            await deliver(service, turn, ChannelSink(channel))
        await resumed(service, channel)
        assert channel.shown() == [failure_sentence(FailureCode.DEADLINE, "en")]


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


class TestNonces:
    def test_a_nonce_is_short_and_of_one_chunk_of_one_generation(self) -> None:
        nonces = [nonce(generation, chunk) for generation in (1, 17, 2**63 - 1) for chunk in (0, 1, 16, 999)]
        assert len(set(nonces)) == len(nonces)
        assert max(map(len, nonces)) <= 25

    async def test_the_nonce_of_an_apology_changes_with_the_try(self, service: Service, worker: ScriptedWorker) -> None:
        first = await ended(service, await ask(service, "hello"))
        await service.regenerate(first.place, PERSON, first.turn_id)
        second = await ended(service, first)
        assert first.state is second.state is TurnState.DONE
        assert len({notice_nonce(first), notice_nonce(second), nonce(first.turn_id, 0)}) == 3
