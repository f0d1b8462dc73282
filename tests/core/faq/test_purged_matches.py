"""Which entries were found tells what somebody asked: with their words it goes, and an answer is explained without it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from core import deliveries, history, privacy, purging, retention
from core.faq.models import FaqDecision, FaqEntry, FaqMatch
from core.models import Generation
from core.places import find_participant
from tests.core.faq.asking import People
from tests.core.faq.conftest import Shelf, entry


@pytest.fixture
def people(shelf: Shelf) -> People:
    shelf.create()
    shelf.upsert(entry("hours", "When are you open?"))
    return People(shelf.database, shelf.now)


def asked(people: People, person: str) -> int:
    """Somebody is given the entry. Returns the Turn."""
    with people.database.read() as session:
        entry_id = session.scalars(select(FaqEntry.id)).one()
    return people.ask(f"When is {person} open?", "answer", person=person, entry_id=entry_id, answer="At nine.")


def matched(people: People) -> list[int]:
    """Turns of which it is known what was found for them."""
    with people.database.read() as session:
        rows = session.scalars(select(Generation.turn_id).join(FaqMatch, FaqMatch.generation_id == Generation.id))
        return sorted(rows)


def forget(people: People, person: str) -> None:
    with people.database.write() as session:
        known = find_participant(session, "web", person)
        assert known is not None
        privacy.forget(session, known.id, people.now)


def test_forgetting_takes_what_was_found_for_them_and_for_nobody_else(people: People) -> None:
    of_ann, of_bob = asked(people, "ann"), asked(people, "bob")
    assert matched(people) == [of_ann, of_bob]
    forget(people, "ann")
    assert matched(people) == [of_bob]
    with people.database.read() as session:
        assert len(session.scalars(select(FaqDecision.turn_id)).all()) == 2  # how many were answered stays
        told = history.explain(session, of_ann)
        view = history.turn_view(session, of_ann)
    assert told.decision is not None and told.decision.matches == ()
    assert view.answer is not None and view.answer.finding is not None and view.answer.finding.citations == ()


def test_retention_takes_it_with_the_answer(people: People) -> None:
    asked(people, "ann")
    people.now += timedelta(days=10)
    of_bob = asked(people, "bob")
    list(retention.purge_old(people.database, 5, people.now))
    assert matched(people) == [of_bob]


def test_who_opted_out_may_choose_for_a_while(people: People) -> None:
    with people.database.read() as session:
        entry_id = session.scalars(select(FaqEntry.id)).one()
    with people.database.write() as session:
        privacy.opt(session, "web", "ann", out=True, now=people.now)
    offered = people.ask("When is what?", "ask", person="ann", entry_id=entry_id)
    for turn_id in (offered, asked(people, "ann")):
        with people.database.write() as session:
            deliveries.delivered(session, turn_id, history.turn_view(session, turn_id).fence, people.now)
    assert matched(people) == [offered]
    for before, left in ((people.now, [offered]), (people.now + timedelta(seconds=1), [])):
        with people.database.write() as session:
            purging.drop_offers(session, before)
        assert matched(people) == left
