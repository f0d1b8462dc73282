"""/privacy, as every platform has it: what it tells, and that it does what it tells."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import UTC, datetime

import pytest

from bots import commands
from bots.commands import Exported, Told
from bots.delivery import deliver
from bots.texts import sentence_for, text
from core import privacy
from core.database import Database
from core.errors import WordsPurged
from core.redis import connect, reply_key
from core.service import Service, open_service
from core.settings import Settings
from core.values import Person
from tests.bots.channel import Channel, ChannelSink, resumed
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.test_commands import ADA, BOB, EVENTS, PLACE, answered, asker, do
from tests.core.test_privacy import everything

SECRET = "xylophone"


async def told(service: Service, typed: str, person: Person = ADA) -> str:
    outcome = await do(service, typed, person)
    assert isinstance(outcome, Told)
    return outcome.text


async def delivered(service: Service, typed: str, person: Person = ADA) -> tuple[int, list[str]]:
    """Say it and bring the answer to a platform: the Turn, and what stands there."""
    outcome = await do(service, typed, person)
    assert isinstance(outcome, commands.Answering)
    channel = Channel()
    await deliver(service, outcome.turn, ChannelSink(channel))
    return outcome.turn.turn_id, channel.shown()


class TestNotice:
    async def test_it_tells_what_is_kept_for_how_long_and_how_to_change_it(self, service: Service) -> None:
        shown = await told(service, "/privacy")
        for part in (text("privacy_what"), text("privacy_no_end"), text("privacy_is_in"), text("privacy_how")):
            assert part in shown

    async def test_it_tells_the_days_and_who_opted_out(self, settings: Settings) -> None:
        async with open_service(settings.model_copy(update={"retention_days": 30})) as service:
            await do(service, "/privacy opt-out")
            shown = await told(service, "/privacy")
            assert text("privacy_days", days=30) in shown and text("privacy_is_out") in shown
            assert text("privacy_is_in") in await told(service, "/privacy", BOB)
            assert await told(service, "/privacy OPT-IN") == text("privacy_opted_in")
            assert text("privacy_is_in") in await told(service, "/privacy")

    async def test_it_speaks_the_askers_language(self, service: Service) -> None:
        chinese = dataclasses.replace(asker(f"event-{next(EVENTS)}"), language="zh-CN")
        outcome = await commands.handle(service, "/privacy", chinese)
        assert isinstance(outcome, Told) and text("privacy_what", "zh-CN") in outcome.text


async def test_export_is_the_persons_own_words_as_a_file(service: Service, worker: ScriptedWorker) -> None:
    await answered(service, f"{SECRET} 木琴")
    await answered(service, "somebody else's", BOB)
    exported = await do(service, "/privacy export")
    assert isinstance(exported, Exported)
    assert exported.name.startswith("pajama-terminal-2") and exported.name.endswith(".json")
    assert "木琴" in exported.document.decode() and "somebody" not in exported.document.decode()
    document = json.loads(exported.document)
    assert (document["version"], len(document["messages"])) == (1, 1)


class TestForgetting:
    async def test_it_tells_the_counts_and_leaves_nothing(
        self, service: Service, worker: ScriptedWorker, database: Database, settings: Settings
    ) -> None:
        turn_id = await answered(service, SECRET)
        await do(service, f"/feedback down {SECRET}")
        outcome = await do(service, "/privacy forget")
        assert outcome == Told(text("privacy_forgotten", messages=1, answers=1, comments=1), forgotten=True)
        assert SECRET not in everything(database)
        with connect(settings.redis_url) as client:
            assert client.xlen(reply_key(settings.redis_prefix, turn_id)) == 0
        assert await told(service, "/privacy forget") == text("privacy_forgotten", messages=0, answers=0, comments=0)

    async def test_someone_who_never_said_anything_is_told_so_in_numbers(self, service: Service) -> None:
        assert await told(service, "/privacy forget") == text("privacy_forgotten", messages=0, answers=0, comments=0)

    async def test_an_answer_that_is_being_written_is_taken_away(
        self, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        worker.script[SECRET] = [f"about {SECRET}", gate]
        outcome = await do(service, SECRET)
        assert isinstance(outcome, commands.Answering)
        channel = Channel()
        delivering = asyncio.ensure_future(deliver(service, outcome.turn, ChannelSink(channel)))
        await channel.until(SECRET)
        await do(service, "/privacy forget")
        await delivering
        assert channel.shown() == []

    async def test_someone_elses_answer_of_these_words_is_begun_anew(
        self, service: Service, worker: ScriptedWorker, gate: Gate, database: Database
    ) -> None:
        await answered(service, SECRET)
        worker.script["what did Ada say?"] = [f"Ada said {SECRET}", gate]
        outcome = await do(service, "what did Ada say?", BOB)
        assert isinstance(outcome, commands.Answering)
        channel = Channel()
        delivering = asyncio.ensure_future(deliver(service, outcome.turn, ChannelSink(channel)))
        await channel.until(SECRET)
        worker.script["what did Ada say?"] = ["I do not know."]
        await do(service, "/privacy forget")
        await delivering
        assert channel.shown() == ["I do not know."]
        assert SECRET not in everything(database)


class TestOptingOut:
    async def test_the_person_is_told_that_earlier_words_stay_until_they_are_forgotten(
        self, service: Service, worker: ScriptedWorker, database: Database
    ) -> None:
        await answered(service, SECRET)
        assert "/privacy forget" in await told(service, "/privacy opt-out")
        assert SECRET in everything(database)

    async def test_the_answer_comes_and_then_nothing_is_left(
        self, service: Service, worker: ScriptedWorker, database: Database, settings: Settings
    ) -> None:
        await do(service, "/privacy opt-out")
        turn_id, shown = await delivered(service, SECRET)
        assert shown == [f"You said: {SECRET}"]
        assert SECRET not in everything(database)
        with connect(settings.redis_url) as client:
            assert client.xlen(reply_key(settings.redis_prefix, turn_id)) == 0
        turn = await service.turn(PLACE, turn_id)
        assert turn.purged and turn.answer is not None and turn.answer.usage.prompt_tokens == 20

    async def test_the_next_prompt_knows_nothing_of_it(self, service: Service, worker: ScriptedWorker) -> None:
        await do(service, "/privacy opt-out")
        await delivered(service, SECRET)
        turn_id = await answered(service, "and now?")
        assert SECRET not in repr(await service.why(PLACE, turn_id))

    async def test_why_and_regenerate_say_that_the_words_are_gone(
        self, service: Service, worker: ScriptedWorker
    ) -> None:
        await do(service, "/privacy opt-out")
        turn_id, _ = await delivered(service, f"/understand classify labels={SECRET} is it?")
        explanation = await service.why(PLACE, turn_id)
        assert explanation.turn.purged and SECRET not in repr(explanation)
        with pytest.raises(WordsPurged) as caught:
            await do(service, "/regenerate")
        assert sentence_for(caught.value, "en") == text("error_purged")

    async def test_a_rating_is_kept_and_its_comment_is_not(
        self, service: Service, worker: ScriptedWorker, database: Database
    ) -> None:
        await do(service, "/privacy opt-out")
        await delivered(service, "hello")
        assert await told(service, f"/feedback down {SECRET}") == text("feedback_without_comment")
        assert await told(service, "/feedback down") == text("feedback_thanks")
        assert SECRET not in everything(database)

    async def test_who_comes_too_late_is_told_that_it_was_not_kept(
        self, service: Service, worker: ScriptedWorker, database: Database
    ) -> None:
        await do(service, "/privacy opt-out")
        turn = await service.turn(PLACE, await answered(service, SECRET))
        with database.write() as session:
            now = datetime.now(UTC)
            assert privacy.purge_overdue(session, now, now).messages == 1
        channel = Channel()
        assert await resumed(service, channel, "terminal") == 1
        assert channel.shown() == [text("answer_not_kept")]
        assert (await service.turn(PLACE, turn.turn_id)).delivered_at is not None

    async def test_a_second_deliverer_leaves_the_first_ones_answer_alone(
        self, service: Service, worker: ScriptedWorker
    ) -> None:
        await do(service, "/privacy opt-out")
        outcome = await do(service, SECRET)
        assert isinstance(outcome, commands.Answering)
        channel = Channel()
        for _ in range(2):
            await deliver(service, outcome.turn, ChannelSink(channel))
        assert channel.shown() == [f"You said: {SECRET}"]
