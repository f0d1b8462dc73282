"""The index: kept fresh from SQL, swapped while it serves, and what it finds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import date

import numpy as np
import pytest

from core.faq import index as index_module
from core.faq.classifier import InMemory
from core.faq.embedding import Vectors
from core.faq.entry import Entry
from core.faq.index import CollectionIndex, top, training_rows
from tests.core.faq.conftest import Shelf, entry
from tests.core.faq.embedders import Trigrams

PASSWORD = entry("password", "How do I reset my password?", "I forgot my password")
ORDER = entry("order", "Where is my order?", "Track an order")
REFUND = entry("refund", "怎么退货？", "退货流程是什么？")


def found(index: CollectionIndex, text: str, **how: object) -> list[str]:
    hits = index.snapshot.search(index.question(text), **how)  # type: ignore[arg-type]
    return [hit.stored.entry.key for hit in hits]


@pytest.mark.parametrize("embedder", [None, Trigrams()])
def test_what_changed_in_sql_is_found_and_what_went_is_not(shelf: Shelf, embedder: Trigrams | None) -> None:
    index = CollectionIndex(shelf.create(), embedder)
    assert found(index, "password") == []
    shelf.upsert(PASSWORD, ORDER, REFUND)
    assert index.refresh(shelf.database)
    assert not index.refresh(shelf.database)
    assert found(index, "forgot the password")[0] == "password"
    assert found(index, "我要退货")[0] == "refund"
    shelf.upsert(entry("password", "Change my secret word"), ORDER, replace=True)
    assert index.refresh(shelf.database)
    assert found(index, "secret word")[0] == "password"
    assert "refund" not in found(index, "我要退货")
    (hit,) = index.snapshot.search(index.question("change my secret word"), 1)
    assert (hit.stored.version, hit.phrasing) == (2, 0)


def test_only_new_phrasings_are_embedded_and_another_process_embeds_none(shelf: Shelf) -> None:
    collection, first, second = shelf.create(), Trigrams(), Trigrams()
    shelf.upsert(PASSWORD, ORDER, REFUND)
    index = CollectionIndex(collection, first)
    index.refresh(shelf.database)
    assert sorted(first.embedded) == sorted((*PASSWORD.phrasings, *ORDER.phrasings))  # it reads no Chinese
    first.embedded.clear()
    shelf.upsert(entry("order", *ORDER.phrasings, "My parcel is late"))
    index.refresh(shelf.database)
    assert first.embedded == ["My parcel is late"]
    again = CollectionIndex(collection, second)
    again.refresh(shelf.database)
    assert second.embedded == []
    kept, made = again.snapshot.kernel.meaning, index.snapshot.kernel.meaning
    assert isinstance(kept, InMemory) and isinstance(made, InMemory)
    np.testing.assert_allclose(kept.vectors, made.vectors, atol=1e-3)
    other = Trigrams("trigrams@2")
    CollectionIndex(collection, other).refresh(shelf.database)
    assert len(other.embedded) == 5


def test_a_search_goes_on_with_the_snapshot_that_it_began_with(shelf: Shelf) -> None:
    index = CollectionIndex(shelf.create(), None)
    shelf.upsert(PASSWORD, ORDER)
    index.refresh(shelf.database)
    before, question = index.snapshot, index.question("reset password")
    shelf.upsert(ORDER, replace=True)
    index.refresh(shelf.database)
    assert next(hit.stored.entry.key for hit in before.search(question)) == "password"
    assert found(index, "where is my order") == ["order"]


def test_searches_while_it_is_rebuilt_find_an_old_or_a_new_answer(shelf: Shelf) -> None:
    index = CollectionIndex(shelf.create(), Trigrams())
    shelf.upsert(PASSWORD, ORDER)
    index.refresh(shelf.database)
    stop, wrong = threading.Event(), []

    def search() -> None:
        while not stop.is_set():
            keys = found(index, "How do I reset my password?")
            if keys[0] != "password":
                wrong.append(keys)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(10):
        shelf.upsert(entry(f"more{i}", f"What about number {i}?"))
        index.refresh(shelf.database)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(index.snapshot.stored) == 12


@pytest.mark.parametrize(("day", "keys"), [(1, ["always"]), (2, ["always", "then"]), (4, ["always"])])
def test_an_entry_is_found_on_the_days_on_which_it_holds(day: int, keys: list[str]) -> None:
    index = CollectionIndex(0, None)
    then = entry("then", "Sale of shoes", valid_from=date(2026, 5, 2), valid_until=date(2026, 5, 3))
    index.load([entry("always", "Price of shoes"), then])
    assert sorted(found(index, "shoes", day=date(2026, 5, day))) == keys
    assert sorted(found(index, "shoes")) == ["always", "then"]


def test_a_question_that_shares_nothing_finds_nothing() -> None:
    index = CollectionIndex(0, None)
    index.load([PASSWORD, ORDER])
    assert found(index, "zzz") == []
    assert found(index, "") == []
    assert found(index, "怎么退货") == []


def test_a_language_that_the_embedder_does_not_read_is_compared_by_words() -> None:
    index = CollectionIndex(0, Trigrams())
    index.load([PASSWORD, REFUND])
    assert index.question("退货").vector is None
    (hit,) = index.snapshot.search(index.question("怎么退货？"), 1)
    assert (hit.stored.entry.key, hit.dense) == ("refund", None)
    assert hit.nearness == pytest.approx(1, abs=1e-3)


def test_a_hit_tells_its_nearest_phrasing_and_its_likeness() -> None:
    index = CollectionIndex(0, Trigrams())
    index.load([PASSWORD, ORDER])
    hit, *_ = index.snapshot.search(index.question("I forgot my password"))
    assert (hit.stored.entry, hit.phrasing) == (PASSWORD, 1)
    assert (hit.nearness, hit.lexical, hit.dense) == pytest.approx((1, 1, 1), abs=1e-3)


def test_entries_with_one_phrasing_are_not_learned_from() -> None:
    index = CollectionIndex(0, None)
    index.load([entry("a", "Red shoes"), entry("b", "Blue shoes")])
    assert index.snapshot.classifier is None
    index.load([PASSWORD, ORDER])
    assert index.snapshot.classifier is not None


def test_what_is_too_large_to_learn_from_is_found_by_the_nearest_phrasing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "MOST_WEIGHTS", 3)
    index = CollectionIndex(0, None)
    index.load([PASSWORD, ORDER])
    assert index.snapshot.classifier is None
    assert found(index, "forgot my password")[0] == "password"


def test_where_entries_are_many_each_gives_fewer_phrasings(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry("a", *(f"Red shoes {i}" for i in range(5))), entry("b", "Blue hat", "Blue cap", "A blue one")]
    monkeypatch.setattr(index_module, "MOST_WEIGHTS", 8)
    index = CollectionIndex(0, None)
    index.load(entries)
    assert index.snapshot.classifier is not None
    assert np.bincount(index.snapshot.owners[index.snapshot.classifier.rows]).tolist() == [2, 2]
    monkeypatch.setattr(index_module, "MOST_WEIGHTS", 6)
    index.load(entries)
    assert index.snapshot.classifier is None


def test_vectors_that_cannot_be_learned_from_are_searched_by_the_nearest_phrasing() -> None:
    class Long(Trigrams):
        """Of length 4, not 1: between two that are the same the kernel is so large that the ridge is lost."""

        def embed(self, texts: Sequence[str]) -> Vectors:
            return np.array([[4, 0] if "shoe" in text else [0, 4] for text in texts], dtype=np.float32)

    index = CollectionIndex(0, Long())
    index.load([entry("a", "Red shoes", "Two shoes"), entry("b", "Blue hat", "A hat")])
    assert index.snapshot.classifier is None
    assert found(index, "a blue hat")[0] == "b"


def test_of_many_entries_the_nearest_are_scored_and_the_same_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    index = CollectionIndex(0, None)
    old = entry("old", "I forgot my password", "password forgotten", valid_until=date(2025, 1, 1))
    index.load([PASSWORD, ORDER, old, *(entry(f"k{i}", f"word{i} one", f"word{i} two") for i in range(9))])
    for asked in ("forgot my password", "where is the order", "word7"):
        question = index.question(asked)
        whole = index.snapshot.search(question, 1, day=date(2026, 1, 1))
        monkeypatch.setattr(index_module, "MOST_SCORED", 1)
        assert index.snapshot.search(question, 1, day=date(2026, 1, 1)) == whole
        assert len(index.snapshot.search(question, 9)) <= 9
        monkeypatch.undo()


def test_of_too_many_phrasings_each_entry_gives_its_share() -> None:
    owners = np.repeat([0, 1, 2], [10, 2, 4])
    assert len(training_rows(owners, 16)) == 16
    assert np.bincount(owners[training_rows(owners, 9)]).tolist() == [3, 2, 3]
    index = CollectionIndex(0, None, most_trained=4)
    index.load([entry("a", *(f"Red shoes {i}" for i in range(9))), entry("b", "Blue hat", "Blue cap")])
    assert index.snapshot.classifier is not None
    assert len(index.snapshot.classifier.rows) == 4


def test_the_top_is_in_order_and_ties_stay() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.9], dtype=np.float32)
    assert [top(scores, 2), top(scores, 9)] == [[1, 3], [1, 3, 2, 0]]


def test_a_collection_without_entries_is_searched_in_vain() -> None:
    index = CollectionIndex(0, Trigrams())
    index.load([])
    assert found(index, "anything") == []
    index.load([Entry("a", ("?",), "b")])
    assert found(index, "anything") == []
