"""An answer is followed to its end, whatever happens to the stream, and nothing of it is told twice."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots import replies
from bots.replies import Pace, ReplyUpdate, _Progress, unpaced, watch
from core import turns
from core.database import Database
from core.errors import FailureCode, NotFound
from core.redis import connect, reply_key
from core.service import Service, open_service
from core.settings import Settings
from core.values import ReplyEvent, ReplyEventKind, TurnState
from pajama.valkey import EmbeddedValkey
from tests.bots.asking import PERSON, ask, lose_the_worker
from tests.bots.scripted_worker import Failure, Gate, ScriptedWorker


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL is asked sooner."""
    monkeypatch.setattr(replies, "QUIET_S", 0.05)
    monkeypatch.setattr(replies, "POLL_S", 0.05)


async def followed(service: Service, turn_id: int, pace: Pace = unpaced) -> list[ReplyUpdate]:
    return [update async for update in watch(service, turn_id, pace=pace)]


async def until_told(updates: AsyncIterator[ReplyUpdate], words: str) -> ReplyUpdate:
    async for update in updates:
        if words in update.text:
            return update
    raise AssertionError(f"{words!r} was never told")


class TestFollowing:
    async def test_an_answer_grows_and_ends_with_what_is_stored(
        self, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        words = [f"{number} " for number in range(200)]
        worker.script["count"] = [*words[:100], gate, *words[100:]]
        turn = await ask(service, "count")
        updates = []
        async for update in watch(service, turn.turn_id):
            updates.append(update)
            gate.set()
        *growing, end = updates
        assert growing
        texts = [update.text for update in growing]
        assert all(later.startswith(earlier) and later != earlier for earlier, later in itertools.pairwise(texts))
        stored = await service.turn_status(turn.turn_id)
        assert stored.answer is not None and end.turn == stored
        assert end.text == stored.answer.text == "".join(words)
        assert [update.final for update in growing] == [False] * len(growing)

    async def test_an_ended_turn_is_told_at_once(self, service: Service, worker: ScriptedWorker) -> None:
        turn = await ask(service, "hello")
        await followed(service, turn.turn_id)
        (end,) = await followed(service, turn.turn_id)
        assert end.final and end.text == "You said: hello"

    async def test_a_follower_that_comes_late_is_told_everything(
        self, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        turn = await ask(service, "slow")
        async with aclosing(watch(service, turn.turn_id)) as first:
            await until_told(first, "alpha")
        async with aclosing(watch(service, turn.turn_id)) as second:
            await until_told(second, "alpha")
            gate.set()
            assert (await until_told(second, "omega")).text == "alpha omega"

    async def test_updates_within_the_interval_are_joined(
        self, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        worker.script["slow"] = ["a", gate, *"bcdefgh"]
        turn = await ask(service, "slow")
        async with aclosing(watch(service, turn.turn_id, pace=lambda: 60)) as updates:
            await until_told(updates, "a")
            gate.set()
            rest = [update async for update in updates]
        assert [(update.text, update.final) for update in rest] == [("abcdefgh", True)]

    async def test_an_update_that_was_held_back_is_told_when_the_interval_ends(
        self, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        last = Gate()
        worker.script["slow"] = ["a", gate, "b", last, "c"]
        turn = await ask(service, "slow")
        async with aclosing(watch(service, turn.turn_id, pace=lambda: 0.2)) as updates:
            await until_told(updates, "a")
            gate.set()
            assert (await until_told(updates, "ab")).text == "ab"
            last.set()

    async def test_a_failed_turn_ends_with_its_reason(self, service: Service, worker: ScriptedWorker) -> None:
        worker.script["fail"] = ["Hm", Failure(FailureCode.DEADLINE)]
        turn = await ask(service, "fail")
        end = (await followed(service, turn.turn_id))[-1]
        assert end.turn is not None
        assert (end.turn.state, end.turn.failure, end.text) == (TurnState.FAILED, "deadline", "Hm")

    async def test_a_queued_turn_that_is_cancelled_ends_at_once(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replies, "QUIET_S", 3600)
        turn = await ask(service, "hello")
        async with asyncio.TaskGroup() as group:
            task = group.create_task(followed(service, turn.turn_id))
            await service.cancel(turn.place, PERSON, turn.turn_id)
        (end,) = task.result()
        assert end.turn is not None and end.turn.state is TurnState.CANCELLED

    async def test_a_cancel_ends_a_queued_turn_though_redis_is_away(
        self, settings: Settings, tmp_path: Path, soon: None
    ) -> None:
        without = settings.model_copy(update={"redis_url": f"unix://{tmp_path}/none.sock"})
        async with open_service(without) as service:
            turn = await ask(service, "hello")
            assert await service.cancel(turn.place, PERSON, turn.turn_id) is TurnState.CANCELLED
            (end,) = await followed(service, turn.turn_id)
        assert end.turn is not None and end.turn.state is TurnState.CANCELLED

    async def test_an_unknown_turn_is_not_found(self, service: Service) -> None:
        with pytest.raises(NotFound):
            await followed(service, 4711)

    async def test_leaving_early_leaves_nothing_behind(
        self, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        worker.script["slow"] = ["a", gate]
        turn = await ask(service, "slow")
        before = asyncio.all_tasks()
        async with aclosing(watch(service, turn.turn_id, pace=lambda: 0.01)) as updates:
            await until_told(updates, "a")
        assert asyncio.all_tasks() == before


class TestFaults:
    async def test_a_try_that_was_lost_starts_over_under_a_greater_fence(
        self, service: Service, worker: ScriptedWorker, database: Database, gate: Gate
    ) -> None:
        worker.script["slow"] = ["first try, ", gate, "late"]
        turn = await ask(service, "slow")
        async with aclosing(watch(service, turn.turn_id)) as updates:
            before = await until_told(updates, "first")
            lose_the_worker(database)
            worker.script["slow"] = ["second", " try"]
            gate.set()
            after = [update async for update in updates]
        news = [update for update in after if update.fence > before.fence]
        assert news and all("second try".startswith(update.text) for update in news)
        assert after[-1].final and after[-1].text == "second try"

    async def test_a_stream_that_is_gone_is_made_up_for_from_sql(
        self, service: Service, worker: ScriptedWorker, settings: Settings, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "beta ", "gamma"]
        turn = await ask(service, "slow")
        with connect(settings.redis_url) as client:
            async with aclosing(watch(service, turn.turn_id)) as updates:
                await until_told(updates, "alpha")
            client.delete(reply_key(settings.redis_prefix, turn.turn_id))
        async with aclosing(watch(service, turn.turn_id)) as updates:
            gate.set()
            told = [update async for update in updates]
        assert [update.text for update in told] == ["alpha beta gamma"]

    async def test_an_answer_is_told_though_redis_was_never_there(
        self, worker: ScriptedWorker, settings: Settings, tmp_path: Path, soon: None
    ) -> None:
        without = settings.model_copy(update={"redis_url": f"unix://{tmp_path}/none.sock"})
        async with open_service(without) as service:
            turn = await ask(service, "hello")
            (end,) = await followed(service, turn.turn_id)
        assert end.text == "You said: hello"

    async def test_redis_that_is_killed_in_mid_answer_costs_nothing(
        self, settings: Settings, tmp_path_factory: pytest.TempPathFactory, gate: Gate, soon: None
    ) -> None:
        valkey = EmbeddedValkey(tmp_path_factory.mktemp("v"))
        settings = settings.model_copy(update={"redis_url": valkey.start()})
        worker = ScriptedWorker(settings).start()
        worker.script["slow"] = ["alpha ", gate, "omega"]
        try:
            async with open_service(settings) as service:
                turn = await ask(service, "slow")
                async with aclosing(watch(service, turn.turn_id)) as updates:
                    await until_told(updates, "alpha")
                    os.kill(valkey.pid, signal.SIGKILL)
                    gate.set()
                    rest = [update async for update in updates]
            assert [(update.text, update.final) for update in rest] == [("alpha omega", True)]
        finally:
            gate.set()
            worker.close()
            valkey.stop()

    async def test_a_turn_that_was_given_up_without_a_word_on_the_stream_ends(
        self, service: Service, worker: ScriptedWorker, database: Database, gate: Gate, soon: None
    ) -> None:
        worker.script["slow"] = ["alpha ", gate]
        turn = await ask(service, "slow")
        async with aclosing(watch(service, turn.turn_id)) as updates:
            await until_told(updates, "alpha")
            with database.write() as session:
                turns.reap(session, max_attempts=1, now=datetime.now(UTC) + timedelta(hours=1))
            rest = [update async for update in updates]
        assert rest[-1].turn is not None
        assert (rest[-1].turn.failure, rest[-1].text) == (FailureCode.ATTEMPTS, "")


ANSWERS = {1: "the first answer", 2: "another one", 3: "the last"}


@st.composite
def deltas(draw: st.DrawFn) -> ReplyEvent:
    """Any piece of any try, where it stands."""
    fence = draw(st.sampled_from(sorted(ANSWERS)))
    start = draw(st.integers(0, len(ANSWERS[fence])))
    end = draw(st.integers(start, len(ANSWERS[fence])))
    text = ANSWERS[fence][start:end]
    return ReplyEvent(turn_id=1, generation_id=1, fence=fence, kind=ReplyEventKind.DELTA, offset=start, text=text)


class TestProgress:
    @given(st.lists(deltas(), max_size=40))
    def test_whatever_comes_in_whatever_order_is_the_beginning_of_one_answer(self, events: list[ReplyEvent]) -> None:
        progress = _Progress(1)
        for event in events:
            before = (progress.fence, progress.text)
            news = progress.take(event)
            assert ANSWERS[progress.fence].startswith(progress.text)
            assert progress.fence >= before[0]
            if progress.fence == before[0]:
                assert progress.text.startswith(before[1])
                assert news == (len(progress.text) > len(before[1]))
