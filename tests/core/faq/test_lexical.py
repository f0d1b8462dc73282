"""Likeness by words: cosines of BM25 vectors, the same however they are computed."""

from __future__ import annotations

import numpy as np
import pytest

from core.faq import lexical
from core.faq.lexical import LexicalIndex, Vocabulary

PHRASINGS = [
    "How do I reset my password?",
    "I forgot my password",
    "Where is my order ORD-2291?",
    "怎么退货？",
    "退货要多少天？",
]


@pytest.fixture
def built() -> tuple[Vocabulary, LexicalIndex]:
    vocabulary = Vocabulary()
    ids = [vocabulary.learn(text) for text in PHRASINGS]
    return vocabulary, lexical.build(ids, len(vocabulary))


def test_a_phrasing_is_like_itself_and_less_like_others(built: tuple[Vocabulary, LexicalIndex]) -> None:
    vocabulary, index = built
    for i, text in enumerate(PHRASINGS):
        found = index.search(vocabulary.look_up(text))
        assert found[i] == pytest.approx(1, abs=1e-4)
        assert np.delete(found, i).max() < 0.8


@pytest.mark.parametrize(
    ("dense", "columns"), [(1, 9), (50, 999), (50, 9)], ids=["term by term", "all at once", "some at once"]
)
@pytest.mark.parametrize("pairs", [1, 1_000])
@pytest.mark.parametrize("size", [1, 3, 9])
def test_likeness_among_phrasings_is_what_a_search_finds(
    built: tuple[Vocabulary, LexicalIndex],
    monkeypatch: pytest.MonkeyPatch,
    dense: int,
    columns: int,
    pairs: int,
    size: int,
) -> None:
    monkeypatch.setattr(lexical, "_DENSE", dense)
    monkeypatch.setattr(lexical, "_COLUMNS", columns)
    monkeypatch.setattr(lexical, "_PAIRS", pairs)
    vocabulary, index = built
    rows = np.array([4, 0, 1, 3])
    searched = np.array([index.search(vocabulary.look_up(PHRASINGS[i]))[rows] for i in rows])
    ends = [min(first + size, len(rows)) for first in range(0, len(rows), size)]
    for end, panel in zip(ends, index.panels(rows, size), strict=True):
        np.testing.assert_allclose(panel, searched[end - len(panel) : end, :end], atol=1e-6)


def test_what_nobody_wrote_lowers_the_likeness(built: tuple[Vocabulary, LexicalIndex]) -> None:
    vocabulary, index = built
    asked = index.search(vocabulary.look_up("reset my password"))[0]
    more = index.search(vocabulary.look_up("reset my password zzyzx quux frobnicate"))[0]
    assert 0 < more < asked < 1
    assert index.search(vocabulary.look_up("zzyzx")).max() < 0.2


def test_a_typing_error_and_a_number_are_found(built: tuple[Vocabulary, LexicalIndex]) -> None:
    vocabulary, index = built
    assert int(index.search(vocabulary.look_up("forgott my pasword")).argmax()) == 1
    assert int(index.search(vocabulary.look_up("2291")).argmax()) == 2
    assert int(index.search(vocabulary.look_up("几天内可以退货")).argmax()) in (3, 4)


def test_an_index_does_not_mind_terms_that_were_learned_after_it(built: tuple[Vocabulary, LexicalIndex]) -> None:
    vocabulary, index = built
    terms = vocabulary.learn("reset the frobnicator")
    assert index.search(terms)[0] > 0


def test_nothing_is_like_nothing() -> None:
    vocabulary = Vocabulary()
    empty = lexical.build([], 0)
    assert empty.search(vocabulary.look_up("anything")).tolist() == []
    only_signs = lexical.build([vocabulary.learn("")], len(vocabulary))
    assert only_signs.search(vocabulary.look_up("anything")).tolist() == [0.0]
