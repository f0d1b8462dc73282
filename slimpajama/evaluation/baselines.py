"""Baselines: what answers without a language model, on the same questions. A model that does not beat them is no use."""

from __future__ import annotations

import re
from collections.abc import Sequence

import bm25s

from slimpajama.evaluation.held_out import Choice, Intents, Messages
from slimpajama.evaluation.scores import words

REFUSAL = "The passages do not say."
_SENTENCE_END = re.compile(r"(?<=[.!?])[”’\"']*\s+|(?<=[。！？])[”’]*|\n+")
_INSTRUCTION = re.compile(r"\A.*?\n\n(?:Passage: |资料：)?", re.DOTALL)
_ENTRY = re.compile(r"^\[\d+\] ", re.MULTILINE)
_TITLE = re.compile(r"\A[^?？]*[?？]\s*")


def passages(messages: Messages) -> list[str]:
    """What may be quoted: the sentences of a passage, or whole entries where they are numbered."""
    text = _INSTRUCTION.sub("", messages[0]["content"], count=1)
    entries = _ENTRY.split(text)[1:]
    found = entries or _SENTENCE_END.split(text)
    return [each.strip() for each in found if each.strip()]


def first(messages: Messages) -> str:
    """The first sentence or entry."""
    return _untitled(passages(messages)[0])


def best(messages: Messages) -> str:
    """The sentence or entry that BM25 finds nearest to the question; a refusal where they share no word."""
    found = passages(messages)
    asked = words(messages[-1]["content"])
    indexed = [words(each) for each in found]
    known = {word for each in indexed for word in each}
    if not known.intersection(asked):
        return REFUSAL
    engine = bm25s.BM25(method="lucene", backend="numpy", csc_backend="numpy")
    engine.index(indexed, show_progress=False)
    scores = engine.get_scores([word for word in asked if word in known])
    return _untitled(found[int(scores.argmax())])


def _untitled(entry: str) -> str:
    """An entry's answer: what follows its question."""
    return _TITLE.sub("", entry, count=1) or entry


def untranslated(messages: Messages) -> str:
    """The sentence as it stands."""
    return messages[-1]["content"].partition(": ")[2]


def classified(intents: Intents) -> list[int]:
    """For each choice the label that TF-IDF and logistic regression, trained on the set's training part, find best."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    classifier = make_pipeline(vectors, LogisticRegression(C=30.0, max_iter=200))
    classifier.fit(intents.texts, intents.labels)
    chances = classifier.predict_proba([choice.text for choice in intents.choices])
    column = {label: i for i, label in enumerate(classifier.classes_)}
    return [_likeliest(choice, row, column) for choice, row in zip(intents.choices, chances, strict=True)]


def _likeliest(choice: Choice, chances: Sequence[float], column: dict[str, int]) -> int:
    scored = [chances[column[label]] if label in column else -1.0 for label in choice.labels]
    return scored.index(max(scored))
