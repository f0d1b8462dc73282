"""Collections: upsert by key, versions, scope, and what changed since a revision, on both databases."""

from __future__ import annotations

from datetime import date

import pytest

from core.errors import FaqRefused, NotFound
from core.faq import collections
from core.faq.changes import Change, Changes, compare
from core.faq.entry import Entry
from tests.core.faq.conftest import Shelf, entry


def test_an_import_adds_changes_keeps_and_only_removes_where_it_is_told_to(shelf: Shelf) -> None:
    collection = shelf.create()
    a, b, c = entry("a"), entry("b"), entry("c")
    assert shelf.upsert(a, b) == Changes((a, b), (), (), 0)
    other = entry("b", answer="Another.", language="en")
    changes = shelf.upsert(other, c)
    assert changes == Changes((c,), (Change(b, other),), (), 0)
    assert changes.changed[0].fields == ("answer", "language")
    assert shelf.upsert(other) == Changes((), (), (), 1)
    assert shelf.current(collection) == {"a": a, "b": other, "c": c}
    assert shelf.upsert(c, replace=True) == Changes((), (), (a, other), 1)
    assert shelf.current(collection) == {"c": c}


def test_every_version_is_kept_also_of_what_was_removed_and_came_back(shelf: Shelf) -> None:
    collection = shelf.create()
    first, second = entry("a", valid_from=date(2026, 1, 1), tags=("x",)), entry("a", "Another?", "And?")
    for given in ((first,), (second,), (), (first,)):
        shelf.upsert(*given, replace=True)
    assert shelf.current(collection) == {"a": first}
    with shelf.database.read() as session:
        versions = collections.versions_of(session, collection, "a")
        (stored,) = collections.changed_since(session, collection, 0)
        old = collections.version_of(session, stored.entry_id, 2)
        with pytest.raises(NotFound):
            collections.versions_of(session, collection, "b")
        with pytest.raises(NotFound):
            collections.version_of(session, stored.entry_id, 9)
    assert [(version.number, version.entry) for version in versions] == [(1, first), (2, second), (3, first)]
    assert old == second
    assert versions[0].created_at < versions[1].created_at


def test_what_changed_since_a_revision_is_told_with_what_was_removed(shelf: Shelf) -> None:
    collection = shelf.create()
    shelf.upsert(entry("a"), entry("b"), entry("c"))
    shelf.upsert(entry("a", answer="Another."), entry("c"), replace=True)
    with shelf.database.read() as session:
        (view,) = collections.visible(session, None)
        changed = collections.changed_since(session, collection, 1)
        nothing = collections.changed_since(session, collection, 2)
    assert (view.revision, view.entries) == (2, 2)
    assert [(stored.entry.key, stored.version, stored.removed) for stored in changed] == [
        ("a", 2, False),
        ("b", 1, True),
    ]
    assert nothing == []


def test_nothing_changes_the_revision_where_nothing_changed(shelf: Shelf) -> None:
    shelf.create()
    shelf.upsert(entry("a"))
    shelf.upsert(entry("a"))
    with shelf.database.read() as session:
        assert collections.find(session, "shop", None).revision == 1


def test_a_workspace_sees_its_own_collections_and_those_of_all(shelf: Shelf) -> None:
    mine, other = shelf.workspace("mine"), shelf.workspace("other")
    shelf.create("shop", mine)
    shelf.create("shop", other)
    shelf.create("shop")
    shelf.upsert(entry("a"), name="shop", workspace_id=mine)
    with shelf.database.read() as session:
        assert [(c.name, c.workspace_id, c.entries) for c in collections.visible(session, mine)] == [
            ("shop", mine, 1),
            ("shop", None, 0),
        ]
        assert [c.workspace_id for c in collections.visible(session, None)] == [None]
        with pytest.raises(NotFound):
            collections.find(session, "none", mine)


@pytest.mark.parametrize("workspace", [None, "mine"])
def test_a_name_is_taken_once_and_is_free_after_removal(shelf: Shelf, workspace: str | None) -> None:
    workspace_id = shelf.workspace(workspace) if workspace else None
    first = shelf.create("shop", workspace_id)
    shelf.upsert(entry("a"), workspace_id=workspace_id)
    with pytest.raises(FaqRefused, match="already"):
        shelf.create("shop", workspace_id)
    with shelf.database.write() as session:
        assert collections.delete(session, collections.find(session, "shop", workspace_id, lock=True), shelf.now) == 1
        assert collections.visible(session, workspace_id) == []
        assert len(collections.versions_of(session, first, "a")) == 1
    assert shelf.create("shop", workspace_id) != first


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a~1", "x" * 81, "a\n"])
def test_a_name_that_cannot_be_one_is_refused(shelf: Shelf, name: str) -> None:
    with pytest.raises(FaqRefused, match="name"):
        shelf.create(name)


def test_thousands_of_entries_are_brought_in_at_once(shelf: Shelf) -> None:
    collection = shelf.create()
    many = [entry(f"k{i}") for i in range(1_200)]
    assert len(shelf.upsert(*many).added) == 1_200
    changed = [entry(e.key, answer="New.") if i % 2 else e for i, e in enumerate(many)]
    changes = shelf.upsert(*changed[:1_000], replace=True)
    assert (len(changes.changed), len(changes.removed), changes.same) == (500, 200, 500)
    assert list(shelf.current(collection).values()) == changed[:1_000]


def test_a_diff_is_a_value_that_is_false_where_nothing_changes() -> None:
    a: Entry = entry("a")
    assert not compare({"a": a}, [a])
    assert not compare({"a": a}, [])
    assert compare({"a": a}, [], replace=True)
