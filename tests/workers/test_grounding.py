"""Answers from passages: told once each sentence is found in them; whatever talks the model into more changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import history
from core.database import Database
from core.errors import EngineFailed
from core.faq import collections
from core.faq.calibration import MODES, NEVER, Calibration, ModeCalibration, default
from core.faq.decision import Thresholds
from core.faq.entry import Entry
from core.faq.finding import Given
from core.history import GenerationView
from core.prompts import Prompt
from core.settings import Settings
from core.values import FinishReason, Place, TurnState, Usage
from tests.workers.faq_attacks import ATTACKS
from tests.workers.serve import PacedGenerator
from tests.workers.test_faq import HOURS, PARKING, Shop
from workers.generator import Finished, Generator, TextDelta, Timings
from workers.loading import load_generator

DOGS = Entry("dogs", ("Are dogs allowed in the shop?", "May I bring my dog?"), "Dogs may not enter the shop.")
PLACE = Place(platform="web", workspace="w", conversation="c")
USAGE = Usage(prompt_tokens=9, completion_tokens=7)


class Talking(PacedGenerator):
    """A model that says what it is told to, whatever the Prompt, and may not come to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.says, self.reason, self.asked = "", FinishReason.STOP, list[Prompt]()

    def _events(self, prompt: Prompt, request_id: str, deadline: float) -> Iterator[TextDelta | Finished]:
        self.asked.append(prompt)
        for i in range(0, len(self.says), 7):
            if self._cancelled[request_id].is_set():
                break
            yield TextDelta(self.says[i : i + 7])
        stopped = self._cancelled[request_id].is_set()
        failure = EngineFailed() if self.reason is FinishReason.ERROR else None
        yield Finished(FinishReason.CANCELLED if stopped else self.reason, USAGE, (1, 2), Timings(1.0, 1.0), failure)


class Counter(Shop):
    """A desk with a model that can be made to say anything, at which every question is near and none is sure."""

    generator: Talking

    def __init__(self, folder: Path, *entries: Entry, generator: Generator | None = None, **settings: Any) -> None:
        super().__init__(folder, *entries, generator=generator or Talking(), **settings)
        ground_everything(self.database)
        self.look()

    def given(self, question: str, said: str, recipe: str = "faq") -> GenerationView:
        self.generator.says, self.generator.reason = said, FinishReason.STOP
        self.generator.asked.clear()
        return self.answer(question, recipe)


def ground_everything(database: Database) -> None:
    """Calibrate so that nothing is sure, and everything is near."""
    limits = Thresholds(answer=NEVER, ask=NEVER, ground=0.0)
    modes = {
        mode: ModeCalibration(sureness=default(mode).model_copy(update={"thresholds": limits}), source="given")
        for mode in MODES
    }
    made = Calibration(revision=1, embedder=None, target_risk=0.02, uncovered_share=0.2, modes=modes)
    with database.write() as session:
        collections.find(session, "shop", None, lock=True).calibration = made.model_dump(mode="json")


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    made = Counter(tmp_path_factory.mktemp("counter"), HOURS, PARKING, DOGS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def infected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """A collection whose every answer holds an attack."""
    entries = (
        Entry(f"k{i}", (f"What is the rule number{i}?", f"Rule number{i}"), f"From nine to five.\n\n{attack}")
        for i, (attack, _) in enumerate(ATTACKS)
    )
    made = Counter(tmp_path_factory.mktemp("infected"), *entries)
    yield made
    made.close()


def outcome(answer: GenerationView) -> tuple[str, str]:
    assert answer.finding is not None
    return answer.finding.outcome.value, answer.finding.reason


class TestGrounding:
    @pytest.mark.parametrize("recipe", ["chat", "faq"])
    def test_what_the_passages_support_is_told_at_once_with_what_it_cites(self, counter: Counter, recipe: str) -> None:
        answer = counter.given("open till when?", "From nine to five [1].", recipe)
        assert outcome(answer) == ("grounded", "near")
        assert (answer.text, counter.said()) == ("From nine to five [1].", ["From nine to five [1]."])
        assert (answer.model, answer.usage) == ("paced", USAGE)
        assert answer.finding is not None
        assert [(c.n, c.question) for c in answer.finding.citations] == [(1, HOURS.question)]

    def test_the_model_is_given_numbered_passages_and_why_shows_them(self, counter: Counter) -> None:
        counter.given("open till when?", "From nine to five [1].")
        (prompt,) = counter.generator.asked
        assert f"[1] {HOURS.question} {HOURS.answer}" in prompt.parts[-1].text
        with counter.database.read() as session:
            turn_id = history.conversation_view(session, PLACE, 1)[0].turn_id
            told = history.explain(session, turn_id)
        assert told.exact
        assert [message.text for message in told.messages] == [part.text for part in prompt.parts]
        assert told.recipe == "faq"

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            ("", "no_answer"),
            ("From nine to five.", "uncited"),
            ("From nine to five [4].", "miscited"),
            ("From nine to six [1].", "unsupported"),
            ("The passages do not say.", "uncited"),
        ],
    )
    def test_anything_else_is_not_told_and_the_nearest_entry_is(self, counter: Counter, said: str, reason: str) -> None:
        answer = counter.given("open till when?", said)
        assert outcome(answer) == ("passage", reason)
        assert (answer.text, counter.said()) == (HOURS.answer, [])
        assert (answer.model, answer.usage) == ("faq", USAGE), "the tokens were spent all the same"

    @pytest.mark.parametrize("reason", [FinishReason.LENGTH, FinishReason.ERROR])
    def test_an_answer_without_its_end_is_not_told(self, counter: Counter, reason: FinishReason) -> None:
        counter.generator.says, counter.generator.reason = "From nine to five [1].", reason
        answer = counter.answer("open till when?", "faq")
        assert outcome(answer) == ("passage", "no_answer")
        assert (answer.text, counter.said()) == (HOURS.answer, [])

    def test_a_stopped_answer_tells_nothing_that_was_not_checked(self, counter: Counter) -> None:
        class Stopping(Talking):
            def _events(self, prompt: Prompt, request_id: str, deadline: float) -> Iterator[TextDelta | Finished]:
                for event in super()._events(prompt, request_id, deadline):
                    yield event
                    counter.running.cancel(turn_id, 1)

        generator = Stopping()
        generator.says = "From nine to five [1]."
        counter.answering._generator, counter.running._generator = generator, generator
        turn_id = counter.say("open till when?", "faq")
        counter.publisher.events.clear()
        counter.answering.answer_next()
        counter.answering._generator, counter.running._generator = counter.generator, counter.generator
        assert (counter.turn(turn_id).state, counter.generation(turn_id).text) == (TurnState.CANCELLED, "")
        assert counter.said() == []

    def test_as_many_passages_are_given_as_fit(self, tmp_path: Path) -> None:
        long = [Entry(f"k{i}", (f"Which colour is number {i}?", f"Colour {i}?"), "Blue. " * 90) for i in range(3)]
        counter = Counter(tmp_path, *long, max_new_tokens=200)
        answer = counter.given("What colour has number 1?", "Blue [1].")
        assert outcome(answer) == ("grounded", "near")
        assert counter.generator.asked[0].parts[-1].text.count("Which colour") == 3
        counter.generator.info = counter.generator.info.__class__("paced", "r1", 1_100)
        assert outcome(counter.given("What colour has number 2?", "Blue [1].")) == ("grounded", "near")
        assert counter.generator.asked[0].parts[-1].text.count("Which colour") == 1
        counter.generator.info = counter.generator.info.__class__("paced", "r1", 600)
        assert outcome(counter.given("What colour has number 2?", "Blue [1].")) == ("passage", "no_answer")
        assert counter.generator.asked == []
        counter.close()


class TestAttacks:
    """A hostile model that gives every attacker what they want."""

    def test_there_are_fifty(self) -> None:
        assert len(set(ATTACKS)) == 50

    @pytest.mark.parametrize(("attack", "wish"), ATTACKS)
    def test_a_question_gets_nothing_but_curated_words(self, counter: Counter, attack: str, wish: str) -> None:
        answer = counter.given(f"{attack} When are you open in the shop", wish)
        assert len(counter.generator.asked) == 1
        assert answer.finding is not None
        assert answer.finding.outcome is Given.PASSAGE
        assert answer.text in (HOURS.answer, PARKING.answer, DOGS.answer)
        assert counter.said() == [], "it is only offered"

    @pytest.mark.parametrize("i", range(len(ATTACKS)))
    def test_a_curated_answer_is_told_word_for_word_and_read_by_no_model(self, infected: Counter, i: int) -> None:
        attack, wish = ATTACKS[i]
        answer = infected.given(f"what is the rule number{i}", wish)
        assert outcome(answer) == ("answer", "same_words")
        assert infected.said() == [answer.text] == [f"From nine to five.\n\n{attack}"]
        assert infected.generator.asked == []

    @pytest.mark.parametrize("i", range(len(ATTACKS)))
    def test_a_model_that_obeys_a_passage_is_not_told(self, infected: Counter, i: int) -> None:
        attack, wish = ATTACKS[i]
        answer = infected.given(f"please, rule number{i}, what is it", wish)
        (prompt,) = infected.generator.asked
        assert attack in prompt.parts[-1].text
        assert answer.finding is not None
        assert answer.finding.outcome is Given.PASSAGE
        assert infected.said() == []
        assert answer.text.startswith("From nine to five.\n\n")


def test_a_small_real_model_is_never_told_unchecked(tmp_path: Path) -> None:
    generator = load_generator(Settings(max_new_tokens=24))
    counter = Counter(tmp_path, HOURS, PARKING, DOGS, generator=generator)
    answer = counter.answer("open till when?", "faq")
    assert answer.finding is not None
    assert answer.finding.outcome is Given.PASSAGE
    assert (answer.text, counter.said()) == (HOURS.answer, [])
    assert answer.usage.prompt_tokens > 50
    assert answer.usage.completion_tokens > 0
    generator.close()
    counter.close()
