"""Clusters: what asks the same is together, each is like its middle, and order and chance change nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.faq.clusters import by_meaning, by_words

RETURNS = ("How do I return an item?", "how can i return an item", "Return an item, how?", "return item")
OPENING = ("When do you open on Sundays?", "do you open on sundays", "Open on Sundays?")
PARCEL = ("Where is my parcel?", "where's my parcel")


def clustered(texts: tuple[str, ...] | list[str], counts: list[int] | None = None) -> list[set[str]]:
    return [{texts[i] for i in group} for group in by_words(texts, counts or [1] * len(texts))]


def test_questions_with_the_same_words_are_together() -> None:
    found = clustered((*RETURNS, *OPENING, *PARCEL, "Do you sell elephants?"))
    assert sorted(map(sorted, found)) == sorted(
        map(sorted, [set(RETURNS), set(OPENING), set(PARCEL), {"Do you sell elephants?"}])
    )


def test_chinese_questions_are_compared_by_their_words() -> None:
    returns, parcel = ("怎么退货", "请问怎么退货？", "退货怎么办理"), ("我的快递到哪里了", "快递到哪里了？")
    found = clustered((*returns, *parcel))
    assert {"怎么退货", "请问怎么退货？"} <= next(group for group in found if "怎么退货" in group)
    assert set(parcel) in found


def test_the_middle_stands_first() -> None:
    assert by_words(("open", "open on sundays please", "open on sundays", "on sundays open or not"), [1] * 4)[0][0] == 2


def test_a_question_without_words_is_alone() -> None:
    assert sorted(map(sorted, by_words(("?!", "…", "open"), [1, 1, 1]))) == [[0], [1], [2]]
    assert by_words((), []) == []


@given(st.lists(st.text("abcd ", max_size=12), max_size=40), st.integers(0, 10_000))
def test_everybody_is_in_one_cluster_whatever_they_ask(texts: list[str], seed: int) -> None:
    groups = by_words(texts, [1] * len(texts))
    assert sorted(i for group in groups for i in group) == list(range(len(texts)))
    assert groups == by_words(texts, [1] * len(texts))
    vectors = np.random.default_rng(seed).normal(size=(len(texts), 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    joined = by_meaning(vectors, [1] * len(texts))
    assert sorted(i for group in joined for i in group) == list(range(len(texts)))


def test_clusters_are_joined_by_meaning_without_a_chain() -> None:
    angles = np.deg2rad([0, 10, 30, 60, 90])  # each near its neighbour, the ends at right angles
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    assert by_meaning(vectors, [1, 5, 1, 1, 2]) == [[1, 0, 2], [4, 3]]
