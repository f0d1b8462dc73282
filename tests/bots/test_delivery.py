"""An answer reaches a platform that keeps messages once, whole and in order, whenever the bot crashes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bots import replies
from bots.delivery import deliver, nonce, notice_nonce
from bots.splitting import split
from bots.texts import failure_sentence, text
from core import turns
from core.database import Database
from core.deliveries import DeliveryView
from core.errors import FailureCode
from core.service import Service
from core.values import DeliveryState, InboundMessage, TurnState
from tests.bots.asking import PERSON, ask, ended, lose_the_worker, place
from tests.bots.channel import LIMIT, Channel, ChannelSink, Crash, Crashed, resumed
from tests.bots.scripted_worker import Failure, Gate, ScriptedWorker

WORDS = [f"word {number}. " for number in range(40)]
LONG = "".join(WORDS)
CHUNKS = split(LONG, LIMIT)
SENT = len(CHUNKS)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL is asked sooner."""
    monkeypatch.setattr(replies, "QUIET_S", 0.05)


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

    async def test_one_that_is_regenerated_as_it_is_noted_stands_too(
        self, service: Service, worker: ScriptedWorker, channel: Channel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turn, mark = await ask(service, "dice"), service.ledger.delivered

        async def too_late(*given: Any) -> bool:
            monkeypatch.undo()
            worker.script["dice"] = ["five"]
            await service.regenerate(turn.place, PERSON, turn.turn_id)
            return await mark(*given)

        monkeypatch.setattr(service.ledger, "delivered", too_late)
        await deliver(service, turn, ChannelSink(channel))
        assert channel.shown() == ["You said: dice", "five"]
        assert channel.removed == []

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
