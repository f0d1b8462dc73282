"""One entry at a time: checked, kept in versions, and refused where somebody else was faster."""

from __future__ import annotations

import pytest

from core.errors import EntryRefused, FaqChanged, NameTaken, NotFound
from core.faq import collections, editing
from core.faq.entry import MAX_PHRASINGS, Draft
from tests.core.faq.conftest import Shelf, entry

DRAFT = Draft(0, question="Do you deliver?", phrasings=("Delivery",), answer="Yes.", tags=("shop",))


@pytest.fixture
def shop(shelf: Shelf) -> int:
    collection_id = shelf.create()
    shelf.upsert(entry("hours", "When are you open?", answer="From nine to five."))
    return collection_id


def test_an_entry_is_added_once(shelf: Shelf, shop: int) -> None:
    with shelf.database.write() as session:
        added = editing.add(session, shop, DRAFT, shelf.now)
    assert (added.entry.key, added.version, added.entry.tags) == ("do-you-deliver", 1, ("shop",))
    with shelf.database.write() as session, pytest.raises(NameTaken, match="do-you-deliver"):
        editing.add(session, shop, DRAFT, shelf.now)
    with shelf.database.write() as session, pytest.raises(NotFound):
        editing.add(session, shop + 1, DRAFT, shelf.now)


def test_what_is_wrong_is_told_whole(shelf: Shelf, shop: int) -> None:
    wrong = Draft(0, question=" ", answer="", key="a b", valid_from="tomorrow")
    with shelf.database.write() as session, pytest.raises(EntryRefused) as refused:
        editing.add(session, shop, wrong, shelf.now)
    assert len(refused.value.wrong) == 4


def test_a_change_keeps_the_version_before_and_the_key(shelf: Shelf, shop: int) -> None:
    with shelf.database.write() as session:
        changed = editing.change(
            session, shop, "hours", 1, Draft(0, question="Open when?", answer="Always.", key="x"), shelf.now
        )
        assert (changed.entry.key, changed.version, changed.entry.question) == ("hours", 2, "Open when?")
        same = editing.change(session, shop, "hours", 2, Draft(0, question="Open when?", answer="Always."), shelf.now)
        assert same.version == 2
        assert [v.entry.answer for v in collections.versions_of(session, shop, "hours")] == [
            "From nine to five.",
            "Always.",
        ]


def test_whoever_looked_at_an_older_version_is_refused(shelf: Shelf, shop: int) -> None:
    shelf.upsert(entry("hours", answer="From ten to six."))
    with shelf.database.write() as session:
        with pytest.raises(FaqChanged, match="version 2, not 1"):
            editing.change(session, shop, "hours", 1, DRAFT, shelf.now)
        with pytest.raises(FaqChanged):
            editing.retire(session, shop, "hours", 1, shelf.now)
    assert shelf.current(shop)["hours"].answer == "From ten to six."


def test_phrasings_are_added_where_they_are_new(shelf: Shelf, shop: int) -> None:
    with shelf.database.write() as session:
        given = ["when are you open", "Opening hours", "Opening hours"]
        extended = editing.extend(session, shop, "hours", given, shelf.now)
        assert extended.entry.phrasings == ("When are you open?", "Opening hours")
        assert editing.extend(session, shop, "hours", ["opening hours!"], shelf.now).version == 2
        with pytest.raises(EntryRefused, match="at most"):
            editing.extend(session, shop, "hours", [f"phrasing {i}" for i in range(MAX_PHRASINGS)], shelf.now)
        with pytest.raises(NotFound):
            editing.extend(session, shop, "nothing", ["x"], shelf.now)


def test_a_retired_entry_is_gone_until_it_is_added_again(shelf: Shelf, shop: int) -> None:
    with shelf.database.write() as session:
        editing.retire(session, shop, "hours", 1, shelf.now)
        assert collections.current(session, shop) == {}
        with pytest.raises(NotFound):
            editing.extend(session, shop, "hours", ["x"], shelf.now)
        again = editing.add(session, shop, Draft(0, question="Hours?", answer="Nine to five.", key="hours"), shelf.now)
        assert again.version == 2 and len(collections.versions_of(session, shop, "hours")) == 2
