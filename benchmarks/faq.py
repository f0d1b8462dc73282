"""`python -m benchmarks.faq --data DIR`: finding and refusing on published sets, beside the published figures.

Everything that is chosen is fixed in core, from training and validation parts; where a threshold has to be chosen for a
set, it is on its validation part, or, as the published rows do it, at a given accuracy. `--record` writes the table
into docs/faq.md; of parts that are named, their rows only.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog

from benchmarks import faq_pgvector
from benchmarks.faq_data import Part, Remembering, part, question_of, rows
from benchmarks.faq_table import HEAD, Row, recorded
from benchmarks.figures import percentile
from core.faq.calibration import Calibration, calibrate, default, weigh
from core.faq.decision import Outcome, decide
from core.faq.embedding import Embedder, Vectors
from core.faq.entry import Entry
from core.faq.evaluation import Asked, Labelled, Report, ask_all, report
from core.faq.index import CollectionIndex, Hit, Question
from core.faq.measures import auroc, average_precision
from workers.embedding import PACKAGED, SentenceEmbedder

PAGE = Path(__file__).parents[1] / "docs" / "faq.md"
HINT3 = {"sofmattress": (0.636, 0.765), "curekart": (0.803, 0.523), "powerplay11": (0.436, 0.754)}
"""In-scope accuracy and out-of-scope recall of the published BERT at a threshold of 0.9."""
SHOWN_RISKS = (0.02, 0.05, 0.1)
COVERAGE = "covered questions answered with 2 / 5 / 10 of a hundred answers wrong"
CLINC_LOSS = 0.005
"""How much in-scope accuracy on CLINC150's validation part refusing may cost: that sets its threshold."""

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tried:
    """The questions of a part as one kind of search answered them."""

    asked: list[Asked]
    covered: Marks
    right: Marks
    scores: npt.NDArray[np.float64]

    @property
    def accuracy(self) -> float:
        """The share of covered questions whose first entry is right."""
        return float(self.right[self.covered].mean())

    @property
    def auroc(self) -> float:
        """The chance that a covered question scores above another."""
        return auroc(self.scores[self.covered], self.scores[~self.covered])

    def at(self, threshold: float) -> tuple[float, float]:
        """In-scope accuracy, a refusal being wrong, and out-of-scope recall."""
        given = self.scores >= threshold
        return float((given & self.right)[self.covered].mean()), float((~given)[~self.covered].mean())

    def threshold_for(self, accuracy: float) -> float | None:
        """The highest threshold that keeps an in-scope accuracy."""
        fitting = [t for t in np.unique(self.scores) if self.at(float(t))[0] >= accuracy]
        return float(max(fitting)) if fitting else None


def main() -> None:
    """Measure what is asked for and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faq", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure; all where nothing is named")
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77.jsonl.zst and others")
    parser.add_argument("--cache", type=Path, default=Path("build/faq"), help="where vectors are kept")
    parser.add_argument("--record", action="store_true", help="write the table into docs/faq.md")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    embedder = Remembering(SentenceEmbedder(PACKAGED), given.cache)
    measured: list[str] = []
    for name in given.parts or PARTS:
        for row in PARTS[name](given.data, embedder):
            measured.append(str(row))
            sys.stderr.write(f"{row}\n")
    sys.stdout.write("\n".join([HEAD, *measured]) + "\n")
    if given.record:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(recorded(page, measured, whole=not given.parts), encoding="utf-8")


def _both(given: Part, embedder: Remembering) -> tuple[Tried, Tried]:
    """The same part searched by words, and by meaning and words."""
    return tried(given, None), tried(given, embedder)


def tried(given: Part, embedder: Embedder | None) -> Tried:
    """Make a collection of the training part and ask it the test part."""
    return _asked(indexed(given, embedder), given)


def indexed(given: Part, embedder: Embedder | None) -> CollectionIndex:
    """The training part as a collection."""
    if isinstance(embedder, Remembering):
        embedder.learn([question_of(asked.text) for asked in (*given.train, *given.test)])
    return _index_of(given.entries(), embedder)


def _asked(index: CollectionIndex, given: Part) -> Tried:
    return tried_of(ask_all(index, (Labelled(question_of(each.text), each.label or "") for each in given.test)))


def tried_of(asked: list[Asked]) -> Tried:
    """Questions as they were answered."""
    return Tried(
        asked=asked,
        covered=np.array([bool(each.labelled.key) for each in asked]),
        right=np.array([bool(each.hits) and each.hits[0].stored.entry.key == each.labelled.key for each in asked]),
        scores=np.array([each.hits[0].score if each.hits else 0.0 for each in asked]),
    )


def _further(name: str, words: Tried, meaning: Tried, *, auroc: bool = True) -> Iterator[Row]:
    """What is told of every set: the rank of the right entry, and how many could be answered at which risk."""
    reports = [report(each.asked, default) for each in (words, meaning)]
    yield Row(name, "MRR", "", *(f"{each.mrr:.3f}" for each in reports))
    if auroc and not words.covered.all():
        yield Row(name, "AUROC", "", _p(words.auroc), _p(meaning.auroc))
    yield Row(name, COVERAGE, "", *map(_coverage, reports))


def _coverage(figures: Report) -> str:
    answered = {row.allowed: row.answered for row in figures.table}
    return " / ".join(_p(answered[risk]) for risk in SHOWN_RISKS)


def banking77(data: Path, embedder: Remembering) -> Iterator[Row]:
    """77 intents of a bank, all training questions."""
    words, meaning = _both(part(rows(data, "banking77"), "train", "test"), embedder)
    published = "93.08 bge-small + LinearSVC; 91.17 TF-IDF + LinearSVC; 80.26 BM25"
    yield Row(
        "BANKING77, all", "accuracy", published, _p(words.accuracy), _p(meaning.accuracy), _t(meaning.accuracy, 0.93)
    )
    yield from _further("BANKING77, all", words, meaning)


def banking77_few(data: Path, embedder: Remembering) -> Iterator[Row]:
    """The same with ten and five training questions an intent."""
    tests = [row for row in rows(data, "banking77") if row["split"] == "test"]
    published = {10: "89.79 ICDA; 85.19 USE + ConveRT", 5: "84.01 ICDA; 77.75 USE + ConveRT"}
    for shots, told in published.items():
        given = part([*rows(data, "banking77-fewshot"), *map(_named_alike, tests)], f"train_{shots}", "test")
        words, meaning = _both(given, embedder)
        target = _t(meaning.accuracy, 0.85) if shots == 10 else ""
        yield Row(f"BANKING77, {shots}-shot", "accuracy", told, _p(words.accuracy), _p(meaning.accuracy), target)
        yield from _further(f"BANKING77, {shots}-shot", words, meaning)


def _named_alike(row: dict[str, str]) -> dict[str, str]:
    """One label is written with a capital in one file and not in the other."""
    return {**row, "label": {"refund_not_showing_up": "Refund_not_showing_up"}.get(row["label"], row["label"])}


def clinc150(data: Path, embedder: Remembering) -> Iterator[Row]:
    """150 intents and questions about anything else."""
    found = [row for row in rows(data, "clinc150") if not (row["split"] == "train" and row["label"] == "oos")]
    validation, test = part(found, "train", "val"), part(found, "train", "test")
    both = [_refusing(validation, test, chosen) for chosen in (None, embedder)]
    (words, words_limit), (meaning, meaning_limit) = both
    accuracies = words.at(words_limit)[0], meaning.at(meaning_limit)[0]
    recalls = words.at(words_limit)[1], meaning.at(meaning_limit)[1]
    yield Row("CLINC150", "accuracy, nothing refused", "", _p(words.accuracy), _p(meaning.accuracy))
    told = "96.2 BERT; 91.5 Rasa; 92.42 TF-IDF"
    yield Row("CLINC150", "in-scope accuracy, with refusal", told, *map(_p, accuracies), _t(accuracies[1], 0.95))
    told = "52.3 BERT; 45.3 Rasa; 34.30 TF-IDF"
    yield Row("CLINC150", "out-of-scope recall at that threshold", told, *map(_p, recalls), _t(recalls[1], 0.60))
    yield Row("CLINC150", "AUROC", "94.92 TF-IDF", _p(words.auroc), _p(meaning.auroc))
    yield from _further("CLINC150", words, meaning, auroc=False)


def _refusing(validation: Part, test: Part, embedder: Embedder | None) -> tuple[Tried, float]:
    """The test part as it went, and the threshold that the validation part sets."""
    index = indexed(Part(test.train, (*validation.test, *test.test)), embedder)
    on_validation = _asked(index, validation)
    return _asked(index, test), on_validation.threshold_for(on_validation.accuracy - CLINC_LOSS) or 0.0


def hwu64(data: Path, embedder: Remembering) -> Iterator[Row]:
    """64 intents of a home assistant, ten and five training questions each."""
    tests = [row for row in rows(data, "hwu64") if row["split"] == "test"]
    for shots, told in ((10, "87.13 CPFT"), (5, "")):
        given = part([*rows(data, "hwu64-fewshot"), *tests], f"train_{shots}", "test")
        words, meaning = _both(given, embedder)
        yield Row(f"HWU64, {shots}-shot", "accuracy", told, _p(words.accuracy), _p(meaning.accuracy))
        yield from _further(f"HWU64, {shots}-shot", words, meaning)


def hint3(data: Path, embedder: Remembering) -> Iterator[Row]:
    """What customers of three shops really asked; recall at the in-scope accuracy of the published BERT."""
    for shop, (accuracy, recall) in HINT3.items():
        given = part((row for row in rows(data, "hint3") if row["domain"] == shop), "train", "test")
        told, both = [], _both(given, embedder)
        for each in both:
            limit = each.threshold_for(accuracy)
            told.append(f"{_p(each.at(limit)[1])}" if limit is not None else "not reached")
        what = f"out-of-scope recall at {_p(accuracy)} in-scope accuracy"
        reached = told[1] != "not reached" and float(told[1]) > 100 * recall
        yield Row(
            f"HINT3 {shop}", what, f"{_p(recall)} BERT", told[0], told[1], f"> {_p(recall)} {'✓' if reached else '✗'}"
        )
        yield from _further(f"HINT3 {shop}", *both)


def stackfaq(data: Path, embedder: Remembering) -> Iterator[Row]:
    """125 questions, their paraphrases and 719 answers, nothing trained on any of it."""
    found = rows(data, "stackfaq")
    questions = [Entry(f"q{i}", (question_of(row["question"]),), "-") for i, row in enumerate(found)]
    answers = [
        Entry(f"q{i}.{j}", (question_of(answer),), "-")
        for i, row in enumerate(found)
        for j, answer in enumerate(row["answers"])
    ]
    asked = [Labelled(question_of(text), f"q{i}") for i, row in enumerate(found) for text in row["paraphrases"]]
    counts = {f"q{i}": len(row["answers"]) for i, row in enumerate(found)}
    embedder.learn([*(e.question for e in (*questions, *answers)), *(each.text for each in asked)])
    by_question = [_mean_precision(questions, asked, counts, chosen) for chosen in (None, embedder)]
    by_answer = [_mean_precision(answers, asked, counts, chosen) for chosen in (None, embedder)]
    told = "0.665 without training, 0.761 trained on the FAQs, 0.978 supervised"
    reached = "✓" if by_question[1] >= 0.70 else "✗"
    shown = [f"{value:.3f}" for value in by_question]
    yield Row("StackFAQ", "MAP of the 719 answers, by their questions", told, *shown, f"≥ 0.70 {reached}")
    yield Row("StackFAQ", "MAP, by the answers' own text", told, *(f"{value:.3f}" for value in by_answer))
    words, meaning = (tried_of(ask_all(_index_of(questions, chosen), asked)) for chosen in (None, embedder))
    yield from _further("StackFAQ", words, meaning)


def _index_of(entries: Sequence[Entry], embedder: Embedder | None) -> CollectionIndex:
    index = CollectionIndex(0, embedder)
    index.load(entries)
    return index


def _mean_precision(
    entries: Sequence[Entry], asked: Sequence[Labelled], counts: dict[str, int], embedder: Embedder | None
) -> float:
    """Of each question the precision over its answers; an entry that is a question stands for all of its answers."""
    index = _index_of(entries, embedder)
    total = 0.0
    for each in asked:
        hits = index.snapshot.search(index.question(each.text), len(entries))
        total += average_precision(list(_relevant(hits, each.key, counts)), counts[each.key])
    return total / len(asked)


def _relevant(hits: Sequence[Hit], key: str, counts: dict[str, int]) -> Iterator[bool]:
    for hit in hits:
        owner, _, answer = hit.stored.entry.key.partition(".")
        yield from [owner == key] * (1 if answer else counts[owner])


def promised(data: Path, embedder: Remembering) -> Iterator[Row]:
    """Whether thresholds that promise at most so many wrong answers keep that on questions that nobody calibrated on."""
    given = part(rows(data, "banking77-oos"), "train", "test")
    indexes = [indexed(given, chosen) for chosen in (None, embedder)]
    found = [_asked(index, given) for index in indexes]
    yield from _further("BANKING77-OOS", *found)
    for risk in SHOWN_RISKS:
        made = [calibrate(index, target_risk=risk, uncovered_share=0.2) for index in indexes]
        told = [_kept(each, calibration) for each, calibration in zip(found, made, strict=True)]
        what = f"answered of covered / refused of uncovered / wrong of answered, at most {_p(risk)} allowed"
        yield Row("BANKING77-OOS", what, "", *told)


def _kept(found: Tried, made: Calibration) -> str:
    figures = report(found.asked, made.sureness)
    weights = weigh(found.covered, made.uncovered_share, np.ones(len(found.covered)))
    answered = np.array([_answered(each, made) for each in found.asked])
    wrong = weights[answered & ~found.right].sum() / max(weights[answered].sum(), 1e-9)
    return f"{_p(figures.answered)} / {_p(1 - figures.uncovered_answered)} / {_p(float(wrong))}"


def _answered(asked: Asked, made: Calibration) -> bool:
    return decide(asked.hits, made.sureness(asked.mode)).outcome is Outcome.ANSWER


def speed(data: Path, embedder: Remembering) -> Iterator[Row]:
    """How long a search takes in large collections, as it is served, without the embedding of the question.

    Of 16,000 phrasings of 2,000 entries as much is learned as ever is.
    """
    texts = [question_of(row["text"]) for name in ("clinc150", "hwu64", "banking77") for row in rows(data, name)]
    for phrasings, each, most in ((10_000, 5, 10.0), (16_000, 8, None), (100_000, 5, 50.0)):
        chance = np.random.default_rng(3)
        many = [f"{texts[i % len(texts)]} {chance.integers(10**6)}" for i in range(phrasings)]
        entries = [Entry(f"k{i}", tuple(many[i : i + each]), "-") for i in range(0, phrasings, each)]
        told = []
        for chosen in (None, _Random()):
            index = CollectionIndex(0, chosen)
            began = time.perf_counter()
            index.load(entries)
            built_s = time.perf_counter() - began
            questions = [index.question(text) for text in texts[:: len(texts) // 400]]
            taken = [_search_ms(index, question) for question in questions]
            told.append((percentile(taken, 0.5), percentile(taken, 0.99), built_s))
        shown = [f"{middle:.1f} / {slow:.1f}; index {built:.0f} s" for middle, slow, built in told]
        target = f"≤ {most:g} {'✓' if told[1][1] <= most else '✗'}" if most is not None else ""
        yield Row(f"{phrasings:,} phrasings", "search in ms, p50 / p99; making the index", "", *shown, target)


class _Random:
    """Vectors without meaning, since only the time is looked at."""

    revision = "random"

    def reads(self, text: str) -> bool:
        return True

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.random.default_rng(len(texts)).standard_normal((len(texts), 384)).astype(np.float32)
        return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _search_ms(index: CollectionIndex, question: Question) -> float:
    began = time.perf_counter()
    index.snapshot.search(question, 5)
    return 1000 * (time.perf_counter() - began)


def _p(share: float) -> str:
    return f"{100 * share:.1f}" if share < 1 else "100"


def _t(value: float, least: float) -> str:
    return f"≥ {100 * least:g} {'✓' if value >= least else '✗'}"


PARTS: dict[str, Callable[[Path, Remembering], Iterator[Row]]] = {
    each.__name__: each for each in (banking77, banking77_few, clinc150, hwu64, hint3, stackfaq, promised, speed)
} | {"pgvector": faq_pgvector.measure}

if __name__ == "__main__":
    main()
