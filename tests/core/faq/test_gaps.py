"""Gaps: what was asked and not answered, gathered, counted and turned into suggestions; on both databases."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from core import conversations, privacy
from core.faq import asked, gaps
from core.faq.asked import Asked
from core.faq.gaps import Gap, GapReport, gather
from core.faq.models import FaqEntry
from core.handoffs import states
from core.models import Participant, Workspace
from core.values import HandoffRequest, Person, Place, Rating, Staff
from tests.core.faq.asking import People
from tests.core.faq.conftest import Shelf, entry
from tests.core.faq.embedders import Trigrams


@pytest.fixture
def people(shelf: Shelf) -> People:
    shelf.create()
    shelf.upsert(entry("hours", "When are you open?"), entry("returns", "How do I return an item?"))
    return People(shelf.database, shelf.now)


def entry_id(people: People, key: str) -> int:
    with people.database.read() as session:
        return session.scalars(select(FaqEntry.id).where(FaqEntry.key == key)).one()


def found(people: People, **more: object) -> GapReport:
    return gaps.report(people.database, **more)  # type: ignore[arg-type]


def test_the_same_question_is_one_gap_with_its_counts_and_newest_examples(people: People) -> None:
    asked = ["Do you deliver abroad?", "do you deliver abroad", "Can you deliver abroad?", "Do you deliver abroad?!"]
    for i, text in enumerate(asked):
        people.ask(text, ("abstain", "abstain", "ask", "passage")[i], person=f"p{i % 2}")
    people.ask("Is there a discount for students?")
    people.ask("When are you open?", "answer")
    report = found(people)
    assert (report.questions, report.complete, report.embedder) == (5, True, None)
    first, second = report.gaps
    assert (first.question, first.phrasings) == ("Do you deliver abroad?!", ("Can you deliver abroad?",))
    assert (first.count, first.people, first.language) == (4, 2, "en")
    assert first.outcomes == {"abstain": 2, "ask": 1, "passage": 1}
    assert [example.text for example in first.examples] == asked[::-1]
    assert first.first_asked_at < first.last_asked_at == first.examples[0].asked_at
    assert (second.question, second.count, second.draft, second.nearest) == (
        "Is there a discount for students?",
        1,
        None,
        None,
    )


def test_an_answer_that_did_not_help_is_a_gap_whatever_gave_it(people: People) -> None:
    helped, useless = people.ask("When are you open?", "answer"), people.ask("Open on Sundays", "answer")
    chat = people.ask("Tell me a joke")
    people.rate(helped, Rating.UP)
    people.rate(useless, Rating.DOWN)
    people.rate(useless, Rating.DOWN, by="another")
    people.rate(chat, Rating.DOWN)
    told = {gap.question: gap.outcomes for gap in found(people).gaps}
    assert told == {"Open on Sundays": {"not_helpful": 1}, "Tell me a joke": {"abstain": 1}}


def test_a_chat_answer_that_people_liked_is_a_draft_and_a_curated_one_is_none(people: People) -> None:
    liked = people.ask("Do you deliver abroad?", answer="Yes, to all of Europe.")
    disputed = people.ask("Do you sell elephants?", answer="Yes.")
    passage = people.ask("Which colours are there?", "passage", answer="Red and blue.")
    for turn_id in (liked, disputed, passage):
        people.rate(turn_id, Rating.UP)
    people.rate(disputed, Rating.DOWN, by="another")
    drafts = {gap.question: gap.draft for gap in found(people).gaps}
    draft = drafts["Do you deliver abroad?"]
    assert draft is not None and (draft.text, draft.source) == ("Yes, to all of Europe.", "liked_chat_answer")
    assert drafts["Do you sell elephants?"] is None and drafts["Which colours are there?"] is None


def test_what_staff_replied_is_a_draft_until_it_is_purged(people: People) -> None:
    turn_id = people.ask("Do you deliver abroad?", answer="Perhaps.")
    people.rate(turn_id, Rating.UP)
    place, bo = people.place(), Staff(platform="web", person=Person(id="bo"))
    asked = HandoffRequest(place=place, person=Person(id="p"), event_id="human", turn_id=turn_id)
    with people.database.write() as session:
        handoff_id = states.request(session, asked, "A human, please", people.now).handoff_id
        states.claim(session, place, handoff_id, bo, people.now)
        for i, words in enumerate(("Hello!", "Yes, to all of Europe.")):
            states.staff_says(session, place, handoff_id, bo, f"reply-{i}", words, people.now)
        states.release(session, place, handoff_id, bo, people.now)
    draft = found(people).gaps[0].draft
    assert draft is not None and (draft.source, draft.text) == ("staff", "Hello!\n\nYes, to all of Europe.")
    with people.database.write() as session:
        member = session.scalars(select(Participant.id).where(Participant.external_id == "bo")).one()
        privacy.forget(session, member, people.now)
    draft = found(people).gaps[0].draft
    assert draft is not None and draft.source == "liked_chat_answer"


def test_the_nearest_entry_is_named_for_as_long_as_it_is_there(people: People, shelf: Shelf) -> None:
    hours = entry_id(people, "hours")
    people.ask("What about Christmas?", entry_id=hours)
    people.ask("what about christmas")
    nearest = found(people).gaps[0].nearest
    assert nearest is not None
    assert (nearest.key, nearest.question, nearest.collection, nearest.share) == (
        "hours",
        "When are you open?",
        "shop",
        0.5,
    )
    shelf.upsert(entry("returns", "How do I return an item?"), replace=True)
    assert found(people).gaps[0].nearest is None


def test_what_was_written_since_in_these_words_is_no_gap_any_more(people: People, shelf: Shelf) -> None:
    people.ask("Do you deliver abroad?")
    people.ask("Do you deliver to Norway?")
    shelf.now = people.now
    shelf.upsert(entry("abroad", "do you deliver abroad"))
    assert [gap.question for gap in found(people).gaps] == ["Do you deliver to Norway?"]
    people.now = shelf.now
    people.ask("Do you deliver abroad?", "answer")
    people.rate(people.ask("Do you deliver abroad?", "answer"), Rating.DOWN)
    assert "Do you deliver abroad?" in {gap.question for gap in found(people).gaps}  # it is written, and helps nobody


def test_an_entry_of_another_workspace_closes_no_gap(people: People, shelf: Shelf) -> None:
    people.ask("Do you deliver abroad?")
    people.ask("Do you deliver abroad?", workspace="other")
    shelf.now = people.now
    other = shelf.workspace("other")
    shelf.create("theirs", other)
    shelf.upsert(entry("abroad", "Do you deliver abroad?"), name="theirs", workspace_id=other)
    assert [gap.count for gap in found(people).gaps] == [1]
    assert found(people, workspace_id=other).gaps == ()


def test_a_workspace_a_collection_and_a_time_are_enough_to_look_at(people: People) -> None:
    people.ask("Do you deliver abroad?")
    people.ask("Where do I park?", workspace="other", collection_id=2)
    with people.database.read() as session:
        mine, other = (
            session.scalars(select(Workspace.id).where(Workspace.external_id == name)).one() for name in ("w", "other")
        )

    def only(**more: object) -> list[str]:
        return [gap.question for gap in found(people, **more).gaps]

    assert only(workspace_id=mine) == ["Do you deliver abroad?"]
    assert only(workspace_id=other) == ["Where do I park?"] == only(collection_ids=(2, 3))
    assert only(since=people.now - timedelta(minutes=1)) == ["Where do I park?"]
    assert only(since=people.now + timedelta(minutes=1)) == []


def test_words_that_were_purged_forgotten_or_never_to_be_kept_are_in_no_report(people: People) -> None:
    for person in ("deleter", "forgotten", "silent", "kept"):
        people.ask(f"Something of {person} that nobody else asks", person=person, answer="Secret.")
    with people.database.write() as session:
        event_id = "event-0"
        conversations.delete(session, people.place(person="deleter"), event_id, people.now)
        someone = session.scalars(select(Participant.id).where(Participant.external_id == "forgotten")).one()
        privacy.forget(session, someone, people.now)
        privacy.opt(session, "web", "silent", out=True, now=people.now)
    assert [gap.question for gap in found(people).gaps] == ["Something of kept that nobody else asks"]


def test_what_was_dismissed_comes_back_when_it_is_asked_anew(people: People) -> None:
    for words in ("Do you deliver?", "do you deliver", "Where are you?"):
        people.ask(words)
    gap = next(each for each in found(people).gaps if each.count == 2)
    for count in (2, 0):
        with people.database.write() as session:
            assert asked.dismiss(session, gap.turn_ids, people.now) == count
    assert [each.question for each in found(people).gaps] == ["Where are you?"]
    people.ask("Do you deliver?")
    assert sorted((each.question, each.count) for each in found(people).gaps) == [
        ("Do you deliver?", 1),
        ("Where are you?", 1),
    ]


def test_only_the_answer_that_stands_counts(people: People) -> None:
    turn_id = people.ask("Do you deliver abroad?")
    place = Place(platform="web", workspace="w", conversation="of-p")
    with people.database.write() as session:
        conversations.regenerate(session, place, Person(id="p"), turn_id, people.now)
    assert found(people).gaps[0].count == 1  # nothing stands in its place yet
    people.now += timedelta(hours=1)


def test_languages_are_kept_apart(people: People) -> None:
    people.ask("怎么开发票", language="zh-CN")
    people.ask("请问怎么开发票？", language="en")
    people.ask("iPhone?", language="zh-CN")
    people.ask("Invoice, please", language="de")
    told = {gap.question: (gap.language, gap.count) for gap in found(people).gaps}
    assert told == {"请问怎么开发票？": ("zh-CN", 2), "iPhone?": ("", 1), "Invoice, please": ("de", 1)}


def question(number: int, text: str, person: int = 1) -> Asked:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    return Asked(number, 1, person, text, "en", "abstain", moment, "shop", None, "")


TEXTS = ("where is my parcel", "where's my parcel?", "parcel, where is it", "cancel my order", "please cancel my order",
         "I would like to have my money back", "refund", "refund please", "do you sell elephants")  # fmt: skip


@pytest.mark.parametrize("embedder", [None, Trigrams()])
def test_the_order_of_questions_makes_no_difference(embedder: Trigrams | None) -> None:
    asked = [question(i, text) for i, text in enumerate(TEXTS * 3)]
    expected = gather(asked, embedder)
    for seed in range(5):
        shuffled = random.Random(seed).sample(asked, len(asked))
        assert gather(shuffled, embedder) == expected
    assert sum(len(wording.times) for wordings in expected for wording in wordings) == len(asked)


def test_meaning_joins_what_words_keep_apart() -> None:
    asked = [question(i, text) for i, text in enumerate(("parcelservice", "parcelserviceman", "parcelservicemen"))]
    assert len(gather(asked)) > len(gather(asked, Trigrams())) == 1


def test_a_gap_keeps_its_name(people: People) -> None:
    people.ask("Do you deliver abroad?")
    (before,) = found(people).gaps
    people.ask("do you deliver abroad")
    (after,) = found(people).gaps
    assert before.gap_id == after.gap_id
    assert Gap.model_validate_json(after.model_dump_json()) == after
