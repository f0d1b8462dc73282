"""The classifier: what it finds, and that holding out in closed form is training again without."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from core.faq import classifier as classifier_module
from core.faq import lexical
from core.faq.classifier import RIDGE, SHARE_OF_WORDS, InMemory, Kernel, Matrix, hold_out, train
from core.faq.lexical import LexicalIndex, Likeness, Terms, Vocabulary
from tests.core.faq.embedders import Trigrams

GROUPS = [
    ["reset my password", "forgot password", "change the password"],
    ["where is my order", "track the order", "order did not arrive"],
    ["opening hours", "when are you open"],
    ["怎么退货", "退货流程是什么"],
    ["can I pay by card"],
]
TEXTS = [text for group in GROUPS for text in group]
OWNERS = np.repeat(np.arange(len(GROUPS)), [len(group) for group in GROUPS])
ALL = np.arange(len(TEXTS))


def kernel_of(*, meaning: bool) -> tuple[Kernel, Vocabulary, Trigrams]:
    vocabulary, embedder = Vocabulary(), Trigrams()
    words = lexical.build([vocabulary.learn(text) for text in TEXTS], len(vocabulary))
    read = np.array([meaning and embedder.reads(text) for text in TEXTS])
    vectors = embedder.embed(TEXTS) * read[:, None].astype(np.float32)
    return Kernel(InMemory(vectors) if meaning else None, read, words), vocabulary, embedder


def row_of(kernel: Kernel, vector: Matrix | None, terms: Terms) -> Matrix:
    likeness = kernel.words.search(terms)
    return kernel.of_question(kernel.cosines(vector, likeness), likeness)


@pytest.mark.parametrize("meaning", [True, False])
@pytest.mark.parametrize(
    ("question", "owner"),
    [("I forgot my password", 0), ("track my order please", 1), ("退货怎么办理", 3), ("card payment", 4)],
)
def test_a_question_is_given_to_its_entry(meaning: bool, question: str, owner: int) -> None:
    kernel, vocabulary, embedder = kernel_of(meaning=meaning)
    classifier = train(kernel, OWNERS, len(GROUPS), ALL)
    vector = embedder.embed([question])[0] if meaning and embedder.reads(question) else None
    row = row_of(kernel, vector, vocabulary.look_up(question))
    scores = classifier.scores(row, range(len(GROUPS)))
    np.testing.assert_array_equal(classifier.scores(row, [3, 1]), scores[[3, 1]])
    assert int(scores.argmax()) == owner


@pytest.mark.parametrize("meaning", [True, False])
def test_the_kernel_of_phrasings_is_that_of_questions(meaning: bool) -> None:
    kernel, vocabulary, embedder = kernel_of(meaning=meaning)
    square = kernel.of_phrasings(ALL)
    for i, text in enumerate(TEXTS):
        vector = embedder.embed([text])[0] if kernel.read[i] else None
        row = row_of(kernel, vector, vocabulary.look_up(text))
        np.testing.assert_allclose(square[i], row, atol=1e-4)
    assert np.linalg.eigvalsh(square).min() > -1e-5
    np.testing.assert_allclose(np.diag(square), 1, atol=1e-5)


@pytest.mark.parametrize("meaning", [True, False])
@pytest.mark.parametrize("rows", [ALL, np.array([7, 2, 4, 0])])
def test_a_kernel_in_panels_is_the_whole_one(meaning: bool, rows: npt.NDArray[np.int64]) -> None:
    kernel, _, _ = kernel_of(meaning=meaning)
    square = kernel.of_phrasings(ALL)[np.ix_(rows, rows)]
    np.testing.assert_allclose(square, square.T, atol=1e-6)
    for end, panel in zip([*range(3, len(rows), 3), len(rows)], kernel.panels(rows, 3), strict=True):
        np.testing.assert_allclose(panel, square[end - len(panel) : end, :end], atol=1e-6)


@pytest.mark.parametrize("meaning", [True, False])
def test_what_is_learned_solves_the_system(meaning: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, _, _ = kernel_of(meaning=meaning)
    square = kernel.of_phrasings(ALL).astype(np.float64)
    targets = np.eye(len(GROUPS))[OWNERS]
    weights = np.linalg.solve(square + np.eye(len(ALL)) * RIDGE / (1 + SHARE_OF_WORDS), targets)
    classifier = train(kernel, OWNERS, len(GROUPS), ALL)
    np.testing.assert_allclose(classifier.weights, weights.T, atol=1e-5)
    monkeypatch.setattr(classifier_module, "_ALONE", 3)
    question = square[1].astype(np.float32)
    np.testing.assert_allclose(classifier.scores(question, [2, 0]), (square[1] @ weights)[[2, 0]], atol=1e-5)


@pytest.mark.parametrize("meaning", [True, False])
def test_holding_out_is_training_again_without(meaning: bool) -> None:
    kernel, _, _ = kernel_of(meaning=meaning)
    square = kernel.of_phrasings(ALL)
    held = hold_out(square, OWNERS, len(GROUPS))
    for i in ALL:
        for left_out, found in ((i == ALL, held.without_it), (OWNERS[i] == OWNERS, held.without_entry)):
            rest = np.flatnonzero(~left_out)
            again = train(kernel, OWNERS[rest], len(GROUPS), rest)
            np.testing.assert_allclose(found[i], again.scores(square[i], range(len(GROUPS))), atol=1e-4)


def test_one_thread_learns() -> None:
    """Several wait for each other where the cores are busy with answers."""

    class Watched(LexicalIndex):
        def panels(self, rows: npt.NDArray[np.int64], size: int) -> Iterator[Likeness]:
            threads.extend(blas_threads())
            return super().panels(rows, size)

    threads: list[int] = []
    made, _, _ = kernel_of(meaning=True)
    words = Watched(made.words.weights, made.words.rows, made.words.starts, made.words.phrasings)
    kernel = Kernel(made.meaning, made.read, words)
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        train(kernel, OWNERS, len(GROUPS), ALL)
        kernel.of_phrasings(ALL)
        assert blas_threads() == before
    assert set(threads) <= {1}


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_an_entry_that_is_left_out_whole_scores_nothing() -> None:
    kernel, _, _ = kernel_of(meaning=True)
    held = hold_out(kernel.of_phrasings(ALL), OWNERS, len(GROUPS))
    np.testing.assert_allclose(held.without_entry[ALL, OWNERS], 0, atol=1e-4)
