"""Labelled questions: read whole or refused with the line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import FaqFileRefused
from core.faq.calibration import Trials, default
from core.faq.evaluation import Labelled, ask_all, report, risk_table
from core.faq.index import CollectionIndex
from core.faq.labelled import read_labelled
from tests.core.faq.conftest import entry


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q.csv", "question,key\nHow?,a\nWhy?,\nWho?,oos\n"),
        ("q.csv", "label;text;more\na;How?;x\n-;Why?;\n;Who?;\n"),
        ("q.jsonl", '{"text":"How?","label":"a"}\n\n{"question":"Why?","key":""}\n{"question":"Who?"}\n'),
    ],
)
def test_questions_are_read_with_the_key_of_their_entry(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert read_labelled(file, {"a"}) == [Labelled("How?", "a"), Labelled("Why?", ""), Labelled("Who?", "")]


@pytest.mark.parametrize(
    ("name", "text", "line", "sentence"),
    [
        ("q.csv", "question,key\nHow?,b\n", 2, "no entry 'b'"),
        ("q.csv", "question,key\n,a\n", 2, "is empty"),
        ("q.csv", "a,b\n", 1, "question and key"),
        ("q.csv", 'question,key\n"How?,a\n', 2, "cannot be read"),
        ("q.csv", "question,key\n", 0, "no questions"),
        ("q.jsonl", "[]\n", 1, "JSON object"),
    ],
)
def test_a_bad_file_is_refused_with_the_line(tmp_path: Path, name: str, text: str, line: int, sentence: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(FaqFileRefused) as refused:
        read_labelled(file, {"a"})
    problem = refused.value.problems[-1]
    assert (problem.line, sentence in problem.text) == (line, True), problem


def test_a_report_counts_what_is_right_and_what_is_rightly_silent() -> None:
    index = CollectionIndex(0, None)
    index.load([entry("hours", "When are you open?", "Opening hours"), entry("park", "Where can I park?", "Car park")])
    questions = [
        Labelled("When are you open?", "hours"),
        Labelled("Where can I park?", "hours"),
        Labelled("zzz", "park"),
        Labelled("Who painted this?", ""),
    ]
    found = report(ask_all(index, questions), default)
    assert (found.questions, found.covered, found.uncovered) == (4, 3, 1)
    assert found.top_1 == pytest.approx(1 / 3, abs=1e-3)
    assert found.answered == pytest.approx(2 / 3, abs=1e-3)
    assert (found.answered_wrongly, found.abstention_precision, found.abstention_recall) == (0.5, 0.5, 1.0)
    assert sum(found.outcomes.values()) == 4
    assert [row.threshold > 1 for row in found.table] == [True] * 6  # one of the two sure answers is wrong


def test_a_table_tells_how_many_of_the_questions_could_be_answered_for_each_risk() -> None:
    right, covered = np.array([True, True, False, True] * 5), np.array([True, True, False, True] * 5)
    trials = Trials(np.zeros((20, 4)), right, right, covered, np.ones(20))
    sure = np.array([0.9, 0.9, 0.3, 0.8, 0.9, 0.9, 0.85, 0.8, *[0.9, 0.9, 0.3, 0.8] * 3])
    table = {row.allowed: row for row in risk_table(sure, trials)}
    told = {allowed: (row.threshold, row.answered, row.refused, row.risk) for allowed, row in table.items()}
    assert told[0.02] == told[0.05] == (0.9, 0.6667, 1.0, 0.0)
    assert told[0.1] == told[0.2] == (0.8, 1.0, 0.8, 0.0625)
