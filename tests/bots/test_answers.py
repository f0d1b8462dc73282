"""What people are shown of an answer that a FAQ had a part in, and how they choose from what is offered."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from bots import commands
from bots.answers import choices_of, label, shown
from bots.commands import Asker
from bots.delivery import deliver
from bots.texts import LANGUAGES, text
from core import workspaces
from core.database import Database
from core.errors import NotAllowed, NotFound, UnknownCollection
from core.faq.finding import Choice, Citation, Finding, Given
from core.history import GenerationView, TurnView
from core.service import Service
from core.values import FinishReason, Person, TurnState, Usage
from tests.bots.asking import PERSON, ask, place
from tests.bots.channel import Channel, ChannelSink
from tests.bots.contract import BOTH, HOURS, PARKING
from tests.bots.scripted_worker import ScriptedWorker

CITED = (Citation(1, 7, 2, "When are you open?"), Citation(3, 9, 1, "Where can I park?"))
CHOICES = (Choice(7, "When are you open?"), Choice(9, "Where can I park?"))
ASKER = Asker(place=place(), person=PERSON, event_id="e")


def turn_with(finding: Finding | None, words: str, language: str = "en", **changed: Any) -> TurnView:
    answer = GenerationView(1, 1, words, FinishReason.STOP, None, "m", "r", Usage(), {}, None, finding)
    turn = TurnView(
        1, place(), 1, "e", 1, TurnState.DONE, 1, None, False, "asked", "chat", {}, language, {}, datetime.now(UTC), None,
        answer,
    )  # fmt: skip
    return dataclasses.replace(turn, **changed)


class TestShown:
    @pytest.mark.parametrize(
        ("finding", "words", "expected"),
        [
            (None, "Hi.", "Hi."),
            (Finding(Given.ANSWER, "sure", CITED[:1]), "At nine.", "At nine.\n\nSource: When are you open?"),
            (
                Finding(Given.GROUNDED, "near", CITED),
                "At nine [1]. Behind [3].",
                "At nine [1]. Behind [3].\n\nSources:\n[1] When are you open?\n[3] Where can I park?",
            ),
            (
                Finding(Given.PASSAGE, "uncited", CITED[:1]),
                "At nine.",
                "I am not sure, but this may be what you mean:\n\nAt nine.\n\nSource: When are you open?",
            ),
            (
                Finding(Given.ASK, "between_entries", choices=CHOICES),
                "",
                "Which of these do you mean?\n\n1. When are you open?\n2. Where can I park?",
            ),
            (Finding(Given.ABSTAIN, "too_far"), "I am only a model.", "I am only a model."),
        ],
    )
    def test_an_answer_says_what_it_is_from(self, finding: Finding | None, words: str, expected: str) -> None:
        assert shown(turn_with(finding, words)) == expected

    @pytest.mark.parametrize("language", [code for code, _ in LANGUAGES])
    @pytest.mark.parametrize(
        ("reason", "key"),
        [("too_far", "faq_unknown"), ("no_collection", "faq_none"), ("switched_off", "faq_off")],
    )
    def test_silence_becomes_an_honest_sentence(self, reason: str, key: str, language: str) -> None:
        assert shown(turn_with(Finding(Given.ABSTAIN, reason), "", language)) == text(key, language)

    def test_a_human_is_offered_where_the_place_has_one(self) -> None:
        said = shown(turn_with(Finding(Given.ABSTAIN, "too_far", human=True), ""))
        assert said == f"{text('faq_unknown')} {text('faq_offers_human')}"

    def test_of_words_that_are_not_kept_nothing_is_shown(self) -> None:
        purged = turn_with(Finding(Given.ASK, "between_entries", choices=CHOICES), "", text="")
        assert (shown(purged), choices_of(purged)) == ("", ())
        assert shown(turn_with(None, "", answer=None)) == ""

    def test_a_label_fits_its_button(self) -> None:
        assert label(2, CHOICES[0], 80) == "2. When are you open?"
        cut = label(1, Choice(1, "x" * 100), 80)
        assert (len(cut), cut[-1]) == (80, "…")


async def offered(service: Service, worker: ScriptedWorker) -> TurnView:
    """A Turn below which something is offered."""
    worker.know(HOURS, PARKING)
    return await deliver(service, await ask(service, BOTH, event_id="both"), ChannelSink(Channel()))


class TestChoosing:
    async def test_choices_stand_below_the_last_message_of_the_ended_answer(
        self, service: Service, worker: ScriptedWorker
    ) -> None:
        worker.know(HOURS, PARKING)
        channel = Channel()
        turn = await deliver(service, await ask(service, BOTH, event_id="both"), ChannelSink(channel))
        *before, last = channel.messages.values()
        assert last.choices == choices_of(turn) != ()
        assert all(message.choices == () for message in before)

    async def test_to_choose_is_to_ask_and_twice_is_once(self, service: Service, worker: ScriptedWorker) -> None:
        turn = await offered(service, worker)
        choice = next(choice for choice in choices_of(turn) if choice.question == PARKING.question)
        first = await commands.choose(service, turn, choice.entry_id, ASKER)
        second = await commands.choose(service, turn, choice.entry_id, ASKER)
        assert (first.duplicate, second.duplicate) == (False, True)
        assert first.turn.turn_id == second.turn.turn_id
        answered = await deliver(service, first.turn, ChannelSink(Channel()))
        assert answered.text == PARKING.question
        assert answered.answer is not None and answered.answer.finding is not None
        assert (answered.answer.text, answered.answer.finding.reason) == (PARKING.answer, "same_words")

    async def test_only_who_asked_chooses_and_only_what_was_offered(
        self, service: Service, worker: ScriptedWorker
    ) -> None:
        turn = await offered(service, worker)
        entry_id = choices_of(turn)[0].entry_id
        with pytest.raises(NotAllowed):
            await commands.choose(service, turn, entry_id, dataclasses.replace(ASKER, person=Person(id="bob")))
        with pytest.raises(NotFound):
            await commands.choose(service, turn, entry_id + 99, ASKER)
        plain = await deliver(service, await ask(service, "hello"), ChannelSink(Channel()))
        with pytest.raises(NotFound):
            await commands.choose(service, plain, entry_id, ASKER)

    async def test_what_is_chosen_is_asked_as_it_was_asked_first(
        self, service: Service, worker: ScriptedWorker
    ) -> None:
        worker.know(HOURS, PARKING)
        call = commands.parse(f"/faq collection=shop {BOTH}")
        assert isinstance(call, commands.Call)
        asked = await commands.run(service, call, ASKER)
        assert isinstance(asked, commands.Answering)
        turn = await deliver(service, asked.turn, ChannelSink(Channel()))
        chosen = await commands.choose(service, turn, choices_of(turn)[0].entry_id, ASKER)
        assert (turn.recipe, chosen.turn.recipe) == ("faq", "faq")
        entry = str(choices_of(turn)[0].entry_id)
        assert chosen.turn.arguments == {"collection": "shop", "entry": entry}


async def test_a_faq_that_is_not_for_this_channel_is_not_there(
    service: Service, worker: ScriptedWorker, database: Database
) -> None:
    worker.know(HOURS)
    worker.know(PARKING, name="staff")
    await ask(service, "hello")
    with database.write() as session:
        workspaces.change(session, "discord", "w", "faq_collections", "shop", "front", now=datetime.now(UTC))
    call = commands.parse("/faq collection=staff where?")
    assert isinstance(call, commands.Call)
    with pytest.raises(UnknownCollection) as refused:
        await commands.run(service, call, dataclasses.replace(ASKER, channel="front"))
    assert refused.value.known == ("shop",)
    await commands.run(service, call, dataclasses.replace(ASKER, channel="back"))
