"""What FAQs give to a Turn: the curated answer as it is, questions to choose from, silence, or the model's own words."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from core import history, workspaces
from core.database import Database, upgrade
from core.errors import DatabaseUnavailable, ModelUnavailable
from core.faq import collections
from core.faq.embedding import Embedder, Vectors
from core.faq.entry import Entry
from core.faq.finding import Given
from core.faq.models import FaqVector
from core.handoffs import views
from core.history import GenerationView
from core.redis import connect
from core.streams import ReplyPublisher
from core.turns import ClaimedTurn
from core.values import FinishReason, HandoffReason, ReplyEvent, ReplyEventKind, TurnState, Usage
from core.workspaces import ChannelSettings
from tests.core.faq.embedders import Trigrams
from tests.workers.serve import PacedGenerator
from tests.workers.test_answering import NOWHERE, Desk
from workers.faq import Advice, FaqDesk
from workers.generator import Generator

HOURS = Entry("hours", ("When are you open?", "What are the opening hours?"), "From **nine** to five.")
PARKING = Entry("parking", ("Where can I park?", "Is there a car park?"), "Behind the house.")
BOTH = "opening hours of the car park 1"
"""A question between the two. A number at a message's end is how many words the paced model says."""
NEAR, HARDLY = "What are your prices? 2", "open car park hours 1"
"""Questions near to one entry, and to one of them, but to none in particular."""


class NotingPublisher(ReplyPublisher):
    """Keeps what it publishes."""

    def __init__(self) -> None:
        super().__init__(connect(NOWHERE), "test", 60)
        self.events: list[ReplyEvent] = []

    def publish(self, event: ReplyEvent) -> None:
        self.events.append(event)
        super().publish(event)


class Shop(Desk):
    """A worker's desk with a collection `shop`."""

    publisher: NotingPublisher

    def __init__(
        self,
        folder: Path,
        *entries: Entry,
        load: Callable[[], Embedder | None] = lambda: None,
        generator: Generator | None = None,
        **settings: Any,
    ) -> None:
        self.load = load
        super().__init__(folder, generator or PacedGenerator(), **settings)
        if entries:
            self.add("shop", *entries)

    def make_publisher(self) -> NotingPublisher:
        return NotingPublisher()

    def make_faq(self) -> FaqDesk:
        return FaqDesk(self.database, self.load)

    def add(self, name: str, *entries: Entry) -> None:
        now = datetime.now(UTC)
        with self.database.write() as session:
            collections.upsert(session, collections.create(session, name, None, now), entries, now)
        self.look()

    def look(self) -> None:
        """What the desk's own thread does every few seconds."""
        assert self.faq._look()

    def set(self, name: str, value: object, channel: str | None = None) -> None:
        with self.database.write() as session:
            workspaces.change(session, "web", "w", name, value, channel, now=datetime.now(UTC))

    def answer(self, words: str, recipe: str = "chat", **more: Any) -> GenerationView:
        """What comes of saying `words`."""
        turn_id = self.say(words, recipe, **more)
        self.publisher.events.clear()
        assert self.answering.answer_next()
        with self.database.read() as session:
            turn = history.turn_view(session, turn_id)
        assert turn.answer is not None
        assert turn.state is TurnState.DONE
        return turn.answer

    def said(self) -> list[str]:
        """The pieces in which the last answer came."""
        return [event.text for event in self.publisher.events if event.kind is ReplyEventKind.DELTA]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, HOURS, PARKING)
    yield made
    made.close()


def given(answer: GenerationView) -> tuple[str, str] | None:
    return (answer.finding.outcome.value, answer.finding.reason) if answer.finding else None


class TestAnswering:
    def test_a_sure_match_is_answered_word_for_word_in_one_piece_by_no_model(self, shop: Shop) -> None:
        answer = shop.answer("when are you OPEN?!")
        assert given(answer) == ("answer", "same_words")
        assert (answer.text, shop.said()) == (HOURS.answer, [HOURS.answer])
        assert (answer.model, answer.model_revision, answer.usage) == ("faq", "shop@1", Usage())
        assert set(answer.timings_ms) == {"queue", "total", "faq", "first_token"}
        assert answer.finish_reason is FinishReason.STOP
        assert [event.kind for event in shop.publisher.events] == [
            ReplyEventKind.STARTED,
            ReplyEventKind.DELTA,
            ReplyEventKind.DONE,
        ]

    def test_between_two_entries_the_person_is_asked_which(self, shop: Shop) -> None:
        answer = shop.answer(BOTH)
        assert given(answer) == ("ask", "between_entries")
        assert (answer.text, shop.said()) == ("", [])
        assert answer.finding is not None
        assert {choice.question for choice in answer.finding.choices} == {HOURS.question, PARKING.question}

    def test_what_no_entry_answers_is_the_models_to_answer(self, shop: Shop) -> None:
        answer = shop.answer("say 3")
        assert given(answer) == ("abstain", "nothing_found")
        assert (answer.text, answer.model) == ("w0 w1 w2 ", "paced")

    def test_what_is_near_to_no_entry_in_particular_keeps_no_chat_waiting(self, shop: Shop) -> None:
        answer = shop.answer(HARDLY)
        assert given(answer) == ("abstain", "not_near_enough")
        assert answer.text == "w0 "
        assert given(shop.answer(HARDLY, "faq")) == ("abstain", "uncited")

    @pytest.mark.parametrize("recipe", ["chat", "faq"])
    def test_the_nearest_entry_is_offered_where_it_is_likely_to_be_meant(self, shop: Shop, recipe: str) -> None:
        answer = shop.answer(NEAR, recipe)
        assert given(answer) == ("passage", "uncited")
        assert (answer.text, shop.said()) == (HOURS.answer, [])
        assert answer.finding is not None
        assert [citation.question for citation in answer.finding.citations] == [HOURS.question]

    @pytest.mark.parametrize("recipe", ["chat", "faq"])
    def test_where_nothing_else_is_wanted_it_is_met_with_silence(self, shop: Shop, recipe: str) -> None:
        if recipe == "chat":
            shop.set("faq_mode", "faq-only")
        answer = shop.answer("say 3", recipe)
        assert given(answer) == ("abstain", "nothing_found")
        assert (answer.text, answer.model, shop.said()) == ("", "faq", [])

    def test_the_next_prompt_holds_the_curated_answer(self, shop: Shop) -> None:
        shop.answer("When are you open?")
        shop.answer("say 1")
        with shop.database.read() as session:
            told = history.explain(session, 2)
        assert [message.text for message in told.messages] == ["When are you open?", HOURS.answer, "say 1"]


class TestHumans:
    """Where nothing could be said."""

    @pytest.mark.parametrize(
        ("staffed", "setting", "offered", "called"),
        [
            (False, "auto", False, 0),
            (False, None, False, 0),
            (True, None, True, 0),
            (True, "offer", True, 0),
            (True, "auto", False, 1),
            (True, "never", False, 0),
        ],
    )
    def test_a_human_is_offered_or_called_as_the_place_wants(
        self, shop: Shop, staffed: bool, setting: str | None, offered: bool, called: int
    ) -> None:
        shop.set("faq_mode", "faq-only")
        shop.set("handoff_channel", "staff" if staffed else None)
        shop.set("handoff_on_abstain", setting)
        answer = shop.answer("say 3")
        assert answer.finding is not None
        assert answer.finding.human is offered
        with shop.database.read() as session:
            assert [view.why for view in views.open_views(session)] == [HandoffReason.ABSTENTION] * called
        assert next(shop.rings) == called, "those who relay are called at once"

    def test_nobody_is_called_where_something_was_said(self, shop: Shop) -> None:
        shop.set("handoff_channel", "staff")
        shop.set("handoff_on_abstain", "auto")
        for asked in ("say 1", "When are you open?", BOTH):
            shop.answer(asked)
        with shop.database.read() as session:
            assert views.open_views(session) == []


class TestSettings:
    @pytest.mark.parametrize("recipe", ["write", "translate", "understand"])
    def test_the_other_tasks_are_the_models(self, shop: Shop, recipe: str) -> None:
        shop.set("faq_mode", "faq-only")
        answer = shop.answer("When are you open? 2", recipe)
        assert (answer.text, answer.finding) == ("w0 w1 ", None)

    def test_off_is_off_but_for_who_asks_the_faq_itself_and_is_told_so(self, shop: Shop) -> None:
        shop.set("faq_mode", "off")
        assert shop.answer("when are you open 2").finding is None
        assert given(shop.answer("when are you open", "faq")) == ("abstain", "switched_off")

    def test_a_channel_has_a_mode_and_collections_of_its_own(self, shop: Shop) -> None:
        shop.add("house", Entry("cat", ("Is there a cat?", "Do you have a cat?"), "Two."))
        shop.set("faq_mode", "off")
        shop.set("faq_mode", "faq-only", "desk")
        shop.set("faq_collections", "house", "desk")
        assert shop.answer("say 1").finding is None
        at_desk = shop.answer("Is there a cat?", channel="desk")
        assert at_desk.text == "Two."
        assert given(shop.answer("When are you open?", channel="desk")) == ("abstain", "too_far")

    def test_one_collection_may_be_asked_but_none_that_is_not_for_this_place(self, shop: Shop) -> None:
        shop.add("house", Entry("hours", ("When are you open?", "Opening hours?"), "Never."))
        asked = "When are you open?"
        assert shop.answer(asked, "faq", arguments={"collection": "house"}).text == "Never."
        shop.set("faq_collections", "shop")
        assert shop.answer(asked, "faq", arguments={"collection": "shop"}).text == HOURS.answer
        refused = shop.answer(asked, "faq", arguments={"collection": "house"})
        assert given(refused) == ("abstain", "no_collection")

    def test_of_two_entries_with_one_question_the_chosen_one_is_given(self, shop: Shop) -> None:
        twins = [Entry(key, ("Where is it?",), answer) for key, answer in (("a", "Here."), ("b", "There."))]
        shop.add("twins", *twins)
        shop.add("house", Entry("third", ("Where is it?",), "Elsewhere."))
        collection = {"collection": "twins"}
        asked = shop.answer("Where is it?", "faq", arguments=collection)
        assert asked.finding is not None and asked.finding.outcome is Given.ASK
        here, there = asked.finding.choices[:2]
        for choice, answer in ((there, "There."), (here, "Here.")):
            arguments = collection | {"entry": str(choice.entry_id)}
            assert shop.answer(choice.question, "faq", arguments=arguments).text == answer
            assert shop.answer(choice.question, arguments={"entry": str(choice.entry_id)}).text == answer

    def test_without_a_collection_the_model_answers_and_nothing_is_kept(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path)
        assert shop.answer("say 1").finding is None
        shop.set("faq_mode", "faq-only")
        assert given(shop.answer("say 02")) == ("abstain", "no_collection")
        shop.close()


class Interrupted(FaqDesk):
    """Something happens to the Turn while the FAQ is asked."""

    happens: Callable[[int, int], None]

    def consult(self, claimed: ClaimedTurn, here: ChannelSettings) -> Advice | None:
        self.happens(claimed.turn_id, claimed.fence)
        return super().consult(claimed, here)


class InterruptedShop(Shop):
    """A desk at which Turns are stopped, or lost, while the FAQ is asked."""

    def make_faq(self) -> FaqDesk:
        self.interrupted = Interrupted(self.database, self.load)
        return self.interrupted


class TestStopping:
    @pytest.fixture
    def shop(self, tmp_path: Path) -> Iterator[InterruptedShop]:
        made = InterruptedShop(tmp_path, HOURS, PARKING)
        yield made
        made.close()

    def test_a_stopped_turn_says_nothing(self, shop: InterruptedShop) -> None:
        shop.interrupted.happens = shop.running.cancel
        turn_id = shop.say("When are you open?")
        shop.answering.answer_next()
        assert (shop.turn(turn_id).state, shop.generation(turn_id).text) == (TurnState.CANCELLED, "")
        assert shop.said() == []

    def test_a_lost_turn_says_and_writes_nothing(self, shop: InterruptedShop) -> None:
        shop.interrupted.happens = shop.running.lose
        turn_id = shop.say("When are you open?")
        shop.answering.answer_next()
        assert (shop.turn(turn_id).state, shop.generation(turn_id).finish_reason) == (TurnState.RUNNING, None)
        assert shop.said() == []

    def test_a_database_that_is_away_while_vectors_are_looked_up_there_is_waited_for(
        self, shop: InterruptedShop
    ) -> None:
        tries = itertools.count()

        def away_at_first(turn_id: int, fence: int) -> None:
            if next(tries) < 2:
                raise DatabaseUnavailable

        shop.interrupted.happens = away_at_first
        assert shop.answer("When are you open?").text == HOURS.answer
        assert next(tries) == 3


class TestFreshness:
    def test_a_change_is_seen_at_the_next_look(self, shop: Shop) -> None:
        shop.add("house", Entry("cat", ("Cats?", "Is there a cat?"), "One."))
        assert shop.answer("is there a cat").text == "One."
        with shop.database.write() as session:
            house = collections.find(session, "house", None, lock=True)
            collections.upsert(session, house, [Entry("cat", ("Cats?", "Is there a cat?"), "Two.")], datetime.now(UTC))
        assert shop.answer("is there a cat").text == "One."
        shop.look()
        assert shop.answer("is there a cat").text == "Two."

    def test_a_turn_waits_for_the_first_look_and_not_for_the_embedder(self, tmp_path: Path) -> None:
        loading = threading.Event()

        def slow() -> Trigrams:
            loading.wait(30)
            return Trigrams()

        filled = Shop(tmp_path, HOURS, PARKING)
        filled.close()
        shop = Shop(tmp_path, load=slow)
        assert shop.answer("When are you open?").text == HOURS.answer
        assert shop.faq._search.embedder_revision is None
        loading.set()
        shop.faq.close()
        shop.faq._thread.join(30)  # it ends what it is at
        assert shop.faq._search.embedder_revision == "trigrams@1"
        assert shop.answer("When are you open??").text == HOURS.answer
        shop.close()

    def test_the_vectors_of_another_embedder_are_dropped_and_its_own_are_kept(self, tmp_path: Path) -> None:
        with_other = Shop(tmp_path, HOURS, load=lambda: Trigrams("other@1"))
        with_other.faq.fresh()
        with_other.close()
        shop = Shop(tmp_path, load=Trigrams)
        for _ in range(2):
            shop.faq.fresh()
            with shop.database.read() as session:
                assert set(session.scalars(select(FaqVector.embedder))) == {"trigrams@1"}
        shop.close()

    def test_a_large_collection_is_left_to_pgvector_with_this_embedder_only(self, vector_database_url: str) -> None:
        database, now = Database(vector_database_url), datetime.now(UTC)
        with database.write() as session:
            collections.upsert(session, collections.create(session, "shop", None, now), [HOURS, PARKING], now)
        tables = []
        for revision in ("other@1", "trigrams@1", "trigrams@1"):
            search = FaqDesk(database, lambda name=revision: Trigrams(name), pgvector_from=4).fresh()
            with database.read() as session:
                names = session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'pajama_faq'")).all()
            tables.append(names)
            found = search.search(None, "the opening hours", day=now.date())
            assert found.decision.matches[0].hit.stored.entry == HOURS
        assert [len(names) for names in tables] == [1, 1, 1]
        assert tables[0] != tables[1] == tables[2]
        database.close()

    def test_an_embedder_that_cannot_be_loaded_leaves_the_words(self, tmp_path: Path) -> None:
        def broken() -> Trigrams:
            raise ModelUnavailable

        shop = Shop(tmp_path, HOURS, PARKING, load=broken)
        assert shop.answer("When are you open?").text == HOURS.answer
        shop.close()

    def test_an_embedder_that_fails_leaves_the_words(self, tmp_path: Path) -> None:
        class Failing(Trigrams):
            def embed(self, texts: Sequence[str]) -> Vectors:
                if len(texts) == 1:  # a question
                    raise ModelUnavailable
                return super().embed(texts)

        shop = Shop(tmp_path, HOURS, PARKING, load=Failing)
        answer = shop.answer(BOTH)
        assert answer.finding is not None
        assert answer.failure is None
        assert shop.answer("when are you open").text == HOURS.answer
        shop.close()

    def test_where_there_is_no_collection_no_embedder_is_loaded(self, tmp_path: Path) -> None:
        def never() -> Trigrams:
            raise AssertionError("nothing is to be embedded")

        shop = Shop(tmp_path, load=never)
        shop.look()
        assert shop.answer("say 1").finding is None
        shop.close()

    def test_a_database_that_is_away_is_looked_at_again(self, tmp_path: Path) -> None:
        database = Database(f"sqlite:///{tmp_path / 'nowhere' / 'pajama.db'}")
        desk = FaqDesk(database, lambda: None)
        assert not desk._look()
        (tmp_path / "nowhere").mkdir()
        upgrade(f"sqlite:///{tmp_path / 'nowhere' / 'pajama.db'}")
        assert desk._look()
        database.close()


def test_given_is_kept_in_the_words_that_reports_ask_for() -> None:
    assert {each.value for each in Given} == {"answer", "ask", "grounded", "passage", "abstain"}
