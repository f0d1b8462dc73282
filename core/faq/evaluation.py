"""Evaluation: labelled questions put to an index, and how it did.

Knows an index and measures; knows no file. The same figures for `pajama faq eval` and for the benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from core.faq.calibration import NEVER, RISKS, Mode, RiskRow, Trials, mode_of, risk_row
from core.faq.decision import Decision, Outcome, Sureness, decide, evidence_of, evidence_row
from core.faq.index import CollectionIndex, Hit
from core.faq.measures import auroc, coverage_and_risk, reciprocal_rank
from core.faq.passages import AMONG
from core.values import Value

RANKS = 50
"""How deep a ranking is looked at."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question and the key of the entry that answers it; empty where none does."""

    text: str
    key: str


class Report(Value):
    """How labelled questions went. Shares are of the covered or of the uncovered questions, as each says.

    `abstention` counts every outcome but an answer as silence: precision is the share of silences that were right to be
    silent, recall the share of uncovered questions that got one. MAP is MRR here, since one entry answers a question.
    `table` tells how many of just these questions could be answered with at most so many of the answers wrong.
    """

    questions: int
    covered: int
    uncovered: int
    top_1: float
    top_5: float
    mrr: float
    auroc: float | None
    answered: float
    answered_rightly: float
    answered_wrongly: float
    uncovered_answered: float
    abstention_precision: float | None
    abstention_recall: float | None
    outcomes: dict[str, int]
    table: tuple[RiskRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A labelled question, what was found for it, and in which mode."""

    labelled: Labelled
    hits: tuple[Hit, ...]
    mode: Mode


def ask_all(
    index: CollectionIndex, questions: Iterable[Labelled], on_asked: Callable[[], None] = lambda: None
) -> list[Asked]:
    """Put every question to the index."""
    asked = []
    for labelled in questions:
        question = index.question(labelled.text)
        snapshot = index.snapshot
        hits = tuple(snapshot.search(question, RANKS))
        asked.append(Asked(labelled, hits, mode_of(snapshot, meaning=question.vector is not None)))
        on_asked()
    return asked


def trials_by_mode(asked: Sequence[Asked]) -> dict[Mode, Trials]:
    """The questions as trials for calibration."""
    modes = dict.fromkeys(each.mode for each in asked)
    return {mode: _trials([each for each in asked if each.mode == mode]) for mode in modes}


def report(asked: Sequence[Asked], sureness: Callable[[Mode], Sureness]) -> Report:
    """How the questions went, with the sureness of each mode."""
    decisions = [decide(each.hits, sureness(each.mode)) for each in asked]
    covered = np.array([bool(each.labelled.key) for each in asked], dtype=bool)
    first = np.array([_first(each, decision) for each, decision in zip(asked, decisions, strict=True)], dtype=bool)
    answered = np.array([decision.outcome is Outcome.ANSWER for decision in decisions], dtype=bool)
    sure = np.array([decision.probability_first for decision in decisions], dtype=float)
    return Report(
        questions=len(asked),
        covered=int(covered.sum()),
        uncovered=int((~covered).sum()),
        top_1=_share(np.array([_right(each, 1) for each in asked], dtype=bool)[covered]),
        top_5=_share(np.array([_right(each, 5) for each in asked], dtype=bool)[covered]),
        mrr=_mean([reciprocal_rank(_ranking(each)) for each in asked if each.labelled.key]),
        auroc=round(auroc(sure[covered], sure[~covered]), 4) if covered.any() and not covered.all() else None,
        answered=_share(answered[covered]),
        answered_rightly=_share((answered & first)[covered]),
        answered_wrongly=_share((~first | ~covered)[answered]),
        uncovered_answered=_share(answered[~covered]),
        abstention_precision=_share(~covered[~answered]) if (~answered).any() else None,
        abstention_recall=_share(~answered[~covered]) if (~covered).any() else None,
        outcomes={outcome.value: sum(d.outcome is outcome for d in decisions) for outcome in Outcome},
        table=risk_table(sure, replace(_trials(asked), first=first)) if asked else (),
    )


def risk_table(sure: npt.NDArray[np.float64], trials: Trials) -> tuple[RiskRow, ...]:
    """Coverage and risk of questions as they went; nothing is supposed beside them, as it is where a risk is promised."""
    thresholds, _, risks = coverage_and_risk(sure, trials.first)
    limits = {risk: thresholds[risks <= risk].min(initial=NEVER) for risk in RISKS}
    return tuple(risk_row(risk, float(limit), sure, trials, trials.counts) for risk, limit in limits.items())


def _trials(asked: Sequence[Asked]) -> Trials:
    nothing = evidence_row(np.zeros((1, 3)))[0]
    evidence = np.array([evidence_of(each.hits) if each.hits else nothing for each in asked], dtype=np.float64)
    return Trials(
        evidence.reshape(-1, 4),
        np.array([_right(each, 1) for each in asked], dtype=bool),
        np.array([_right(each, AMONG) for each in asked], dtype=bool),
        np.array([bool(each.labelled.key) for each in asked], dtype=bool),
        np.ones(len(asked)),
    )


def _ranking(asked: Asked) -> list[bool]:
    return [hit.stored.entry.key == asked.labelled.key for hit in asked.hits]


def _right(asked: Asked, most: int) -> bool:
    return bool(asked.labelled.key) and any(_ranking(asked)[:most])


def _first(asked: Asked, decision: Decision) -> bool:
    """Whether the entry that would be given is right: where the question stands in one, not always the first hit."""
    return bool(decision.matches) and decision.matches[0].hit.stored.entry.key == asked.labelled.key


def _share(marks: npt.NDArray[np.bool_]) -> float:
    return round(float(marks.mean()), 4) if len(marks) else 0.0


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4) if values else 0.0
