"""What a Turn is shown to have been given: read with the Turn, and told by `why` in the words of its day."""

from __future__ import annotations

import pytest

from core import history, recipes
from core.errors import LeaseLost, NotFound
from core.faq.finding import Choice, Citation, Finding, Given
from core.faq.passages import marks_in, recall, without_marks
from core.faq.search import FaqSearch
from core.prompts import PromptRequest, Speech, assemble
from core.turns import ClaimedTurn, Source
from tests.core.conftest import Chat
from tests.core.faq.conftest import Shelf, entry
from tests.core.faq.test_search import DAY, HOURS, PARKING


class Asked:
    """A Turn to which a FAQ has something to say."""

    def __init__(self, shelf: Shelf, asked: str, event: str = "m1") -> None:
        self.chat = Chat(shelf.database)
        search = FaqSearch(shelf.database, None)
        search.refresh()
        self.turn_id = self.chat.say(event).turn_id
        self.claimed: ClaimedTurn = self.chat.claimed()
        self.verdict = search.search(None, asked, day=DAY)

    def given(self, given: Given, text: str = "", **more: object) -> None:
        self.chat.finish(self.claimed, text, decided=self.verdict.decided(given), **more)

    def finding(self) -> Finding | None:
        with self.chat.database.read() as session:
            turn = history.turn_view(session, self.turn_id)
            (listed,) = history.conversation_view(session, turn.place, 10)
        assert turn.answer is not None
        assert listed == turn
        return turn.answer.finding


@pytest.fixture
def shop(shelf: Shelf) -> Shelf:
    shelf.create()
    shelf.upsert(HOURS, PARKING)
    return shelf


def test_an_answer_cites_its_entry_in_the_version_of_its_day(shop: Shelf) -> None:
    asked = Asked(shop, "When are you open?")
    asked.given(Given.ANSWER, "From nine to five.")
    shop.upsert(entry("hours", "Another wording?", answer="Changed."))
    hours = asked.verdict.decision.matches[0].hit.stored.entry_id
    cited = Citation(1, hours, 1, "When are you open?")
    assert asked.finding() == Finding(Given.ANSWER, "same_words", citations=(cited,))


def test_asking_back_offers_questions_and_cites_nothing(shop: Shelf) -> None:
    asked = Asked(shop, "open car park hours")
    asked.given(Given.ASK)
    hits = [match.hit.stored for match in asked.verdict.decision.offered]
    finding = asked.finding()
    assert finding is not None
    assert finding.citations == ()
    assert finding.choices == tuple(Choice(hit.entry_id, hit.entry.question) for hit in hits)
    assert {choice.question for choice in finding.choices} == {HOURS.question, PARKING.question}


def test_choices_are_told_apart_by_phrasings_that_only_one_of_them_has(shelf: Shelf) -> None:
    shelf.create()
    shelf.upsert(
        entry("hours", "Are you open?", "Opening hours"),
        entry("market", "Are you open?", "Opening hours of the market"),
        entry("twin", "Are you open?"),
    )
    asked = Asked(shelf, "are you open")
    asked.given(Given.ASK)
    finding = asked.finding()
    assert finding is not None
    told = {choice.question for choice in finding.choices}
    assert told == {"Opening hours", "Opening hours of the market", "Are you open?"}


def test_the_models_words_cite_the_passages_that_they_name(shop: Shelf) -> None:
    asked = Asked(shop, "open car park hours")
    asked.given(Given.GROUNDED, "It is behind the house [2].")
    finding = asked.finding()
    assert finding is not None
    assert [citation.n for citation in finding.citations] == [2]
    assert finding.citations[0].entry_id == asked.verdict.decision.matches[1].hit.stored.entry_id


def test_nothing_was_given_where_no_entry_fits_and_none_was_asked(shop: Shelf) -> None:
    asked = Asked(shop, "Who painted the Mona Lisa?")
    asked.given(Given.ABSTAIN)
    assert asked.finding() == Finding(Given.ABSTAIN, "too_far")
    other = Chat(shop.database)
    turn_id = other.say("m2").turn_id
    other.finish(other.claimed())
    with shop.database.read() as session:
        answer = history.turn_view(session, turn_id).answer
    assert answer is not None
    assert answer.finding is None


def test_what_was_found_is_written_under_the_fence_only(shop: Shelf) -> None:
    asked = Asked(shop, "When are you open?")
    with pytest.raises(LeaseLost):
        asked.chat.finish(
            asked.claimed, "late", fence=asked.claimed.fence - 1, decided=asked.verdict.decided(Given.ANSWER)
        )
    asked.chat.finish(asked.claimed, "in time")
    assert asked.finding() is None


class TestWhy:
    def test_a_curated_answer_is_explained_though_no_model_was_asked(self, shop: Shelf) -> None:
        asked = Asked(shop, "When are you open?")
        asked.given(Given.ANSWER, "From nine to five.", model="faq")
        with shop.database.read() as session:
            told = history.explain(session, asked.turn_id)
        assert told.messages == ()
        assert told.decision is not None
        assert (told.decision.outcome, told.decision.reason) == ("answer", "same_words")
        assert told.decision.thresholds["decided"] == "answer"
        assert told.decision.matches[0].entry == HOURS

    def test_the_passages_are_shown_as_the_model_saw_them(self, shop: Shelf) -> None:
        asked = Asked(shop, "open car park hours")
        recipe, claimed = recipes.load("faq"), asked.claimed
        newest = Speech(claimed.seq, claimed.message_id, claimed.revision, claimed.text)
        request = PromptRequest(recipe, newest, 1000, passages=asked.verdict.passages())
        assembled = assemble(request, lambda prompt: 1)
        asked.given(
            Given.GROUNDED, "Behind the house [2].", prompt=assembled.record.model_dump(mode="json"),
            sources=(Source(recipe.version, "faq", recipe.source), Source(assembled.record.persona_version, "persona", "")),
        )  # fmt: skip
        shop.upsert(entry("hours", "Another wording?", answer="Changed."), replace=True)
        with shop.database.read() as session:
            told = history.explain(session, asked.turn_id)
            assert recall(session, assembled.record.passages) == asked.verdict.passages()
        assert [message.text for message in told.messages] == [part.text for part in assembled.prompt.parts]
        assert told.exact

    def test_a_turn_that_failed_before_anything_was_made_has_nothing_to_tell(self, shop: Shelf) -> None:
        chat = Chat(shop.database)
        turn_id = chat.say("m").turn_id
        chat.finish(chat.claimed())
        with shop.database.read() as session, pytest.raises(NotFound):
            history.explain(session, turn_id)


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("Yes [1].", (1,)),
        ("是的【2】，也可以［3］。", (2, 3)),
        ("Both [1, 2] and [2][1].", (1, 2)),
        ("[0] [12]", (0, 12)),
        ("list[0], [a], [], [1.5], [1234]", (0,)),
        ("none", ()),
    ],
)
def test_citations_are_read_as_people_and_models_write_them(text: str, cited: tuple[int, ...]) -> None:
    assert marks_in(text) == cited
    assert marks_in(without_marks(text)) == ()
