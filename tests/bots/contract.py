"""What every platform does alike: one contract, which each adapter's tests inherit.

An adapter's tests drive their platform through `Platform` (a terminal, a stand-in for Discord's servers, …), with the
real service, database, streams and a scripted worker behind it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from bots.texts import failure_sentence, sentence_for, text
from core.errors import Busy, EmptyMessage, FailureCode, MessageTooLong, UnknownCollection, UnknownCommand
from core.faq.entry import Entry
from core.service import Service
from core.settings import Settings
from core.values import InboundMessage, Person, Place, TurnState
from tests.bots.scripted_worker import Failure, Gate, ScriptedWorker

HOURS = Entry("hours", ("When are you open?", "What are the opening hours?"), "From **nine** to five.")
PARKING = Entry("parking", ("Where can I park?", "Is there a car park?"), "Behind the house.")
BOTH = "opening hours of the car park"
LONG = "".join(f"word {number} of a long answer.\n" for number in range(400))


class Platform(Protocol):
    """One platform, with one person in one conversation on it."""

    place: Place
    person: Person
    language: str

    async def post(self, typed: str, event_id: str) -> None:
        """Tell the bot what the person typed; returns when the bot has done all about it, or has crashed."""

    async def stop(self) -> None:
        """What the person does to stop the answer that is being written."""

    async def crash(self) -> None:
        """End the bot where it is."""

    async def start(self) -> None:
        """Start a bot anew; returns when it has done what was left to do."""

    async def until_shown(self, words: str) -> None:
        """Wait for the person to see `words`."""

    def shown(self) -> list[str]:
        """What the person reads of the bot now, message by message."""


class AdapterContract:
    """Inherit this, and give a fixture `platform`."""

    async def test_a_message_is_answered_once(
        self, platform: Platform, service: Service, worker: ScriptedWorker
    ) -> None:
        await platform.post("hello", "e1")
        assert together(platform) == "Yousaid:hello"
        (turn,) = await service.history(platform.place)
        assert turn.state is TurnState.DONE and turn.delivered_at is not None

    async def test_what_is_shown_at_the_end_is_what_is_stored(
        self, platform: Platform, service: Service, worker: ScriptedWorker
    ) -> None:
        worker.script["long"] = re.findall(r".{1,700}", LONG, re.DOTALL)
        await platform.post("long", "e1")
        (turn,) = await service.history(platform.place)
        assert turn.answer is not None and turn.answer.text == LONG
        assert together(platform) == without_space(LONG)

    async def test_an_answer_is_shown_while_it_is_written(
        self, platform: Platform, worker: ScriptedWorker, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        async with beside(platform.post("slow", "e1")):
            await platform.until_shown("alpha")
            assert "omega" not in together(platform)
            gate.set()
        assert together(platform) == "alphaomega"

    async def test_the_same_event_twice_is_one_turn(
        self, platform: Platform, service: Service, worker: ScriptedWorker
    ) -> None:
        await asyncio.gather(*(platform.post("hello", "same") for _ in range(2)))
        await platform.post("hello", "same")
        assert len(await service.history(platform.place)) == len(worker.answered) == 1

    async def test_messages_are_answered_in_order(
        self, platform: Platform, service: Service, worker: ScriptedWorker
    ) -> None:
        for number in range(3):
            await platform.post(f"message {number}", f"e{number}")
        assert re.findall("message([0-9])", together(platform)) == ["0", "1", "2"]

    async def test_an_empty_message_is_refused_in_the_persons_language(
        self, platform: Platform, service: Service
    ) -> None:
        await platform.post("\x07", "e1")
        assert without_space(sentence_for(EmptyMessage(), platform.language)) in together(platform)
        assert await service.history(platform.place) == []

    async def test_a_message_that_is_too_long_is_refused_with_the_limit(
        self, platform: Platform, service: Service, settings: Settings
    ) -> None:
        limit = settings.max_message_chars
        await platform.post("x" * (limit + 1), "e1")
        assert without_space(sentence_for(MessageTooLong(limit + 1, limit), platform.language)) in together(platform)
        assert await service.history(platform.place) == []

    async def test_a_message_is_refused_while_too_many_wait(
        self, platform: Platform, service: Service, settings: Settings
    ) -> None:
        waiting = settings.max_queued_turns_per_person
        for number in range(waiting):  # nobody answers: there is no worker
            await service.receive(
                InboundMessage(place=platform.place, person=platform.person, event_id=f"e{number}", text="hi")
            )
        await platform.post("one more", "e-more")
        assert without_space(sentence_for(Busy(waiting), platform.language)) in together(platform)
        assert len(await service.history(platform.place)) == waiting

    async def test_an_unknown_command_names_the_closest(self, platform: Platform, service: Service) -> None:
        await platform.post("/hlep", "e1")
        assert without_space(sentence_for(UnknownCommand("hlep", "help"), platform.language)) in together(platform)
        assert await service.history(platform.place) == []

    async def test_a_command_is_told_and_is_no_turn(self, platform: Platform, service: Service) -> None:
        await platform.post("/stop", "e1")
        assert without_space(text("nothing_to_stop", platform.language)) in together(platform)
        assert await service.history(platform.place) == []

    async def test_what_someone_who_opted_out_says_is_not_kept(
        self, platform: Platform, service: Service, worker: ScriptedWorker
    ) -> None:
        await platform.post("/privacy opt-out", "e1")
        await platform.post("hello", "e2")
        assert together(platform).endswith("Yousaid:hello")
        (turn,) = await service.history(platform.place)
        assert turn.purged and turn.answer is not None and turn.answer.text == ""

    async def test_forgetting_tells_the_counts(
        self, platform: Platform, service: Service, worker: ScriptedWorker
    ) -> None:
        await platform.post("hello", "e1")
        await platform.post("/privacy forget", "e2")
        counts = text("privacy_forgotten", platform.language, messages=1, answers=1, comments=0)
        assert without_space(counts) in together(platform)
        assert [turn.purged for turn in await service.history(platform.place)] == [True]

    async def test_a_curated_answer_is_shown_word_for_word_with_its_source(
        self, platform: Platform, service: Service, worker: ScriptedWorker
    ) -> None:
        worker.know(HOURS, PARKING)
        await platform.post("when are you open", "e1")
        source = text("faq_source", platform.language, question=HOURS.question)
        assert together(platform) == without_space(HOURS.answer + source)
        (turn,) = await service.history(platform.place)
        assert turn.answer is not None and turn.answer.text == HOURS.answer

    async def test_between_two_entries_the_person_is_shown_both(
        self, platform: Platform, worker: ScriptedWorker
    ) -> None:
        worker.know(HOURS, PARKING)
        await platform.post(BOTH, "e1")
        shown = together(platform)
        assert shown.startswith(without_space(text("faq_which", platform.language)))
        assert without_space(HOURS.question) in shown and without_space(PARKING.question) in shown

    async def test_what_no_entry_answers_is_not_made_up(self, platform: Platform, worker: ScriptedWorker) -> None:
        worker.know(HOURS, PARKING)
        await platform.post("/faq Who painted the Mona Lisa?", "e1")
        assert without_space(text("faq_unknown", platform.language)) in together(platform)

    async def test_a_faq_that_is_not_there_is_refused_with_those_that_are(
        self, platform: Platform, service: Service, worker: ScriptedWorker
    ) -> None:
        worker.know(HOURS, PARKING)
        await platform.post("/faq collection=shpo when?", "e1")
        refusal = sentence_for(UnknownCollection("shpo", ("shop",)), platform.language)
        assert without_space(refusal) in together(platform)
        assert await service.history(platform.place) == []

    @pytest.mark.parametrize("words", [[], ["alpha "]], ids=["at once", "in mid-answer"])
    async def test_a_failed_answer_ends_with_an_apology(
        self, platform: Platform, worker: ScriptedWorker, words: list[str]
    ) -> None:
        worker.script["fail"] = [*words, Failure(FailureCode.DEADLINE)]
        await platform.post("fail", "e1")
        apology = failure_sentence(FailureCode.DEADLINE, platform.language)
        assert together(platform) == without_space("".join([*words, apology]))

    async def test_a_stopped_answer_keeps_what_was_written_and_says_so(
        self, platform: Platform, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        async with beside(platform.post("slow", "e1")):
            await platform.until_shown("alpha")
            await platform.stop()
        assert together(platform) == without_space("alpha" + text("stopped", platform.language))
        (turn,) = await service.history(platform.place)
        assert turn.state is TurnState.CANCELLED

    @pytest.mark.parametrize("ends_meanwhile", [True, False], ids=["which ends meanwhile", "which goes on"])
    async def test_a_restart_in_mid_answer_takes_it_up_without_repeating(
        self, platform: Platform, service: Service, worker: ScriptedWorker, gate: Gate, ends_meanwhile: bool
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        async with beside(platform.post("slow", "e1")):
            await platform.until_shown("alpha")
            await platform.crash()
        if ends_meanwhile:
            gate.set()
        async with beside(platform.start()):
            gate.set()
        assert together(platform).count("alpha") == together(platform).count("alphaomega") == 1
        (turn,) = await service.history(platform.place)
        assert turn.delivered_at is not None
        assert len(worker.answered) == 1


@asynccontextmanager
async def beside(bot: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Runs `bot` beside the block, and waits for its end after it."""
    task = asyncio.ensure_future(bot)
    try:
        yield
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def together(platform: Platform) -> str:
    """All that the person reads, without white space: platforms cut messages there."""
    return without_space("".join(platform.shown()))


def without_space(words: str) -> str:
    """`words` without white space."""
    return re.sub(r"\s", "", words)
