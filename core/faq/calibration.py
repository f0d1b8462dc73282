"""Calibration: what the scores of one collection mean, and how sure is sure enough, from held-out phrasings.

Each phrasing is asked as if it had not been written (a question that the collection covers), and as if its whole entry
had not been written (a question near by that it does not cover); a list of questions about anything else is asked too.
From these follow the probability that the first entry is right, and the lowest threshold that keeps to the risk which
the owner allows. Where a collection has too few phrasings to tell, the defaults apply, which were learned from the
training parts of published sets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.faq.classifier import Matrix, hold_out
from core.faq.decision import Evidence, Sureness, Thresholds, evidence_of, evidence_row, probability
from core.faq.index import CollectionIndex, Snapshot, training_rows
from core.faq.passages import AMONG
from core.values import Value

MOST_HELD_OUT = 4_000
"""Phrasings that are held out; of more, each entry gives its share."""
_ABOUT_IT = 0.5
"""The nearness from which on a collection seems to be about a question of `elsewhere.txt`."""
FEWEST = 60
"""Questions of either kind below which a collection cannot tell."""
FEWEST_EACH = 6
"""Phrasings an entry has on average where leaving one out changes little. Of three, the third says something that the
others do not, and held out it is a harder question than people ask."""
RISKS = (0.005, 0.01, 0.02, 0.05, 0.10, 0.20)
ASK, GROUND = 0.7, 0.5
"""How likely the right entry has to be among the first ones to ask back, and to ground the model on them."""
NEVER = 1.01

TARGET_RISK, UNCOVERED = 0.02, 0.2
"""The share of answers that may be wrong, and of questions that no entry covers, where an owner says nothing else."""

Source = Literal["default", "held_out", "given", "outdated"]
"""What a sureness rests on; `outdated`: on the defaults, since what was measured was so with another embedder."""
Mode = Literal["meaning-trained", "meaning-nearest", "words-trained", "words-nearest"]
MODES: tuple[Mode, ...] = ("meaning-trained", "meaning-nearest", "words-trained", "words-nearest")

_SUPPOSED = 2
"""Wrong answers supposed beside those that were seen: with none among a hundred, 2% can be promised."""
_STEPS, _PENALTY = 50, 1e-2
_POINTS = 60


class RiskRow(Value):
    """What a threshold gives: covered questions answered, and rightly; others refused; answers that are wrong."""

    allowed: float
    threshold: float
    answered: float
    right: float
    refused: float
    risk: float


class RiskPoint(Value):
    """A place on the curve: with this threshold so many covered questions are answered, and of all answers wrong."""

    threshold: float
    answered: float
    risk: float


class ModeCalibration(Value):
    """One mode's sureness, what it rests on, and what other risks and thresholds would give."""

    sureness: Sureness
    source: Literal["default", "held_out", "given"]
    covered: int = 0
    uncovered: int = 0
    table: tuple[RiskRow, ...] = ()
    curve: tuple[RiskPoint, ...] = ()


class Calibration(Value):
    """All modes of a collection at one revision. `uncovered_share` of the questions are supposed to have no entry."""

    version: Literal[1] = 1
    revision: int
    embedder: str | None
    target_risk: float
    uncovered_share: float
    modes: dict[str, ModeCalibration]

    def sureness(self, mode: Mode) -> Sureness:
        """The sureness of a mode, or the default one for the owner's target."""
        found = self.modes.get(mode)
        return found.sureness if found is not None else default(mode, self.target_risk)

    def source(self, mode: Mode) -> Source:
        """What a mode's sureness rests on."""
        found = self.modes.get(mode)
        if found is not None:
            return found.source
        return "default" if self.modes else "outdated"

    def with_embedder(self, embedder: str | None) -> Calibration:
        """It as it is, if its scores were made with that embedder; else what is left of it, which is the target."""
        return self if self.embedder == embedder else self.model_copy(update={"embedder": embedder, "modes": {}})


@dataclass(frozen=True, slots=True)
class Trials:
    """Questions with known answers. `first` and `among` say whether the first hit, or one of the first, was right.

    `counts` is how much each counts among the covered, or among the uncovered ones.
    """

    evidence: Evidence
    first: npt.NDArray[np.bool_]
    among: npt.NDArray[np.bool_]
    covered: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)

    @staticmethod
    def joined(several: Sequence[Trials]) -> Trials:
        """All of them as one."""
        return Trials(
            np.concatenate([each.evidence for each in several]),
            np.concatenate([each.first for each in several]),
            np.concatenate([each.among for each in several]),
            np.concatenate([each.covered for each in several]),
            np.concatenate([each.counts for each in several]),
        )

    def with_far(self, far: Trials) -> Trials:
        """These and questions about anything else, which count as much as the uncovered ones that are near by."""
        near = max(int((~self.covered).sum()), 1)
        return Trials.joined([self, replace(far, counts=np.full(len(far), near / max(len(far), 1)))])


def mode_of(snapshot: Snapshot, *, meaning: bool) -> Mode:
    """How a question is scored: with a vector or without, by a classifier or by the nearest phrasing."""
    if meaning:
        return "meaning-trained" if snapshot.classifier is not None else "meaning-nearest"
    return "words-trained" if snapshot.classifier is not None else "words-nearest"


@cache
def _defaults() -> dict[str, ModeCalibration]:
    text = files(__package__ or "core.faq").joinpath("defaults.json").read_text(encoding="utf-8")
    return {mode: ModeCalibration.model_validate(value) for mode, value in json.loads(text).items()}


def default(mode: Mode, target_risk: float = TARGET_RISK) -> Sureness:
    """What holds for a collection that was never calibrated."""
    found = _defaults()[mode]
    fitting = [row.threshold for row in found.table if row.allowed <= target_risk]
    answer = min(fitting, default=1 - target_risk)
    thresholds = found.sureness.thresholds.model_copy(update={"answer": min(answer, 1.0)})
    return found.sureness.model_copy(update={"thresholds": thresholds})


def calibrate(
    index: CollectionIndex,
    *,
    target_risk: float = TARGET_RISK,
    uncovered_share: float = UNCOVERED,
    given: dict[Mode, Trials] | None = None,
) -> Calibration:
    """Calibrate a collection from its own phrasings, or in the modes for which they suffice from `given` questions."""
    trials = {
        mode: own.with_far(far[mode]) if mode in far else own
        for far in [elsewhere_trials(index)]
        for mode, own in hold_out_trials(index.snapshot).items()
    }
    snapshot = index.snapshot
    modes: dict[str, ModeCalibration] = {}
    for meaning in (True, False):
        mode = mode_of(snapshot, meaning=meaning)
        real = (given or {}).get(mode)
        own = trials.get(mode)
        if real is not None and _suffices(real):
            modes[mode] = fitted(real, "given", target_risk, uncovered_share)
        elif own is not None and _suffices(own):
            modes[mode] = fitted(own, "held_out", target_risk, uncovered_share)
        else:
            modes[mode] = ModeCalibration(sureness=default(mode, target_risk), source="default")
    return Calibration(
        revision=snapshot.revision,
        embedder=index.embedder_revision,
        target_risk=target_risk,
        uncovered_share=uncovered_share,
        modes=modes,
    )


def hold_out_trials(snapshot: Snapshot) -> dict[Mode, Trials]:
    """Every phrasing asked without itself and without its entry, by mode; none where entries have few phrasings."""
    if len(snapshot.stored) < 2 or len(snapshot.kernel.read) < FEWEST_EACH * len(snapshot.stored):
        return {}
    owners = snapshot.owners
    rows = training_rows(owners, MOST_HELD_OUT)
    if len(rows) > MOST_HELD_OUT:
        rows = rows[:: len(rows) // MOST_HELD_OUT + 1]
    kept, owners_kept = _dense(owners[rows])
    kernel = snapshot.kernel.of_phrasings(rows)
    nearness = _nearest_without(kernel, owners_kept)
    scores = nearness
    if snapshot.classifier is not None:
        held = hold_out(kernel, owners_kept, kept)
        scores = (held.without_it, held.without_entry)
    read = snapshot.kernel.read[rows]
    return {
        mode_of(snapshot, meaning=meaning): _trials(scores, nearness, owners_kept, read == meaning)
        for meaning in (True, False)
        if (read == meaning).any()
    }


def elsewhere_trials(index: CollectionIndex) -> dict[Mode, Trials]:
    """Questions about anything else, which no collection but one about them covers, by mode."""
    snapshot = index.snapshot
    found: dict[Mode, list[Evidence]] = {}
    for text in elsewhere():
        question = index.question(text)
        hits = snapshot.search(question, AMONG)
        if not hits or hits[0].nearness < _ABOUT_IT:
            told = evidence_of(hits) if hits else evidence_row(np.zeros((1, 3)))[0]
            found.setdefault(mode_of(snapshot, meaning=question.vector is not None), []).append(told)
    return {mode: _all_wrong(np.array(evidence)) for mode, evidence in found.items()}


def _all_wrong(evidence: Evidence) -> Trials:
    wrong = np.zeros(len(evidence), dtype=bool)
    return Trials(evidence, wrong, wrong, wrong, np.ones(len(evidence)))


@cache
def elsewhere() -> tuple[str, ...]:
    """Questions about anything."""
    text = files(__package__ or "core.faq").joinpath("elsewhere.txt").read_text(encoding="utf-8")
    return tuple(text.split("\n")[:-1])


def fitted(
    trials: Trials, source: Literal["held_out", "given"], target_risk: float, uncovered_share: float
) -> ModeCalibration:
    """Probabilities and thresholds from trials."""
    weights = weigh(trials.covered, uncovered_share, trials.counts)
    first = _logistic(trials.evidence, trials.first, weights)
    among = _logistic(trials.evidence, trials.among, weights)
    sure_first = probability(trials.evidence, first)
    thresholds = Thresholds(
        answer=_limit(sure_first, trials.first, weights, target_risk),
        ask=ASK,
        ground=GROUND,
    )
    return ModeCalibration(
        sureness=Sureness(first=first, among=among, thresholds=thresholds),
        source=source,
        covered=int(trials.covered.sum()),
        uncovered=int((~trials.covered).sum()),
        table=tuple(
            risk_row(risk, threshold(sure_first, trials.first, weights, risk), sure_first, trials, weights)
            for risk in RISKS
        ),
        curve=_curve(sure_first, trials, weights, thresholds.answer),
    )


def threshold(
    sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64], risk: float
) -> float:
    """The lowest threshold above which at most `risk` of the answers are wrong, two more wrong ones supposed.

    `NEVER` where there is none: too few questions, or too many wrong answers, to show that.
    """
    order = np.argsort(-sure, kind="stable")
    ordered, weight = sure[order], weights[order]
    supposed = _SUPPOSED * weight.mean()
    wrong = (np.cumsum(weight * ~right[order]) + supposed) / (np.cumsum(weight) + supposed)
    last = np.append(ordered[1:] != ordered[:-1], True)  # equal ones are answered together
    good = np.flatnonzero(last & (wrong <= risk))
    return float(ordered[good[-1]]) if len(good) else NEVER


def _limit(
    sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64], risk: float
) -> float:
    """The threshold for `risk`; where the questions are too few to show one, the probability has to promise it."""
    found = threshold(sure, right, weights, risk)
    few = len(sure) * risk < 2 * _SUPPOSED
    return 1 - risk if found == NEVER and few else found


def weigh(
    covered: npt.NDArray[np.bool_], uncovered_share: float, counts: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weights that make questions that no entry covers this share of all; their mean is 1 where both are there."""
    within = np.where(covered, counts / max(counts[covered].sum(), 1e-9), counts / max(counts[~covered].sum(), 1e-9))
    scaled: npt.NDArray[np.float64] = within * np.where(covered, 1 - uncovered_share, uncovered_share) * len(covered)
    return scaled


def _suffices(trials: Trials) -> bool:
    return int(trials.covered.sum()) >= FEWEST and int((~trials.covered).sum()) >= FEWEST


def _dense(owners: npt.NDArray[np.int64]) -> tuple[int, npt.NDArray[np.int64]]:
    """The owners numbered without gaps, and how many there are."""
    names, numbered = np.unique(owners, return_inverse=True)
    return len(names), numbered.astype(np.int64)


def _nearest_without(kernel: Matrix, owners: npt.NDArray[np.int64]) -> tuple[Matrix, Matrix]:
    """The nearness of every entry to each phrasing, without that phrasing, and without its entry."""
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    masked = kernel.copy()
    np.fill_diagonal(masked, 0)
    without_it = np.maximum.reduceat(masked, starts, axis=1)
    without_entry = without_it.copy()
    without_entry[np.arange(len(owners)), owners] = 0
    return without_it, without_entry


def _trials(
    scores: tuple[Matrix, Matrix],
    nearness: tuple[Matrix, Matrix],
    owners: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.bool_],
) -> Trials:
    several = np.bincount(owners)[owners] > 1  # the others are covered by nothing once they are left out
    covered = trials_of(scores[0][chosen & several], nearness[0][chosen & several], owners[chosen & several])
    uncovered = trials_of(scores[1][chosen], nearness[1][chosen], np.full(int(chosen.sum()), -1))
    return Trials.joined([covered, uncovered])


def trials_of(scores: Matrix, nearness: Matrix, owners: npt.NDArray[np.int64]) -> Trials:
    """The trials of questions with a score and a nearness for every entry; `owners` is -1 where none is right."""
    most = min(AMONG, scores.shape[1])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :most]
    best = np.take_along_axis(scores, order, axis=1)
    near = np.take_along_axis(nearness, order[:, :1], axis=1)[:, 0]
    second = best[:, 1] if most > 1 else np.zeros(len(best))
    evidence = evidence_row(np.column_stack([best[:, 0], best[:, 0] - second, near]).astype(np.float64))
    hit = order == owners[:, None]
    return Trials(evidence, hit[:, 0], hit.any(axis=1), owners >= 0, np.ones(len(owners)))


def _logistic(
    evidence: Evidence, right: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """Weights of the evidence by penalised maximum likelihood; more of it never makes a match less likely."""
    used = [0, 1, 2, 3]
    while True:
        found = np.zeros(4)
        found[used] = _newton(evidence[:, used], right, weights)
        negative = [i for i in used[1:] if found[i] < 0]
        if not negative:
            first, second, third, fourth = (round(float(each), 4) for each in found)
            return first, second, third, fourth
        used.remove(min(negative, key=lambda i: found[i]))


def _newton(
    evidence: Evidence, right: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Newton's method, a step halved for as long as it does not help."""
    found = np.zeros(evidence.shape[1])
    penalty = _PENALTY * np.eye(len(found))
    loss = _loss(evidence, right, weights, found)
    for _ in range(_STEPS):
        sure = probability(evidence, found)
        slope = evidence.T @ (weights * (right - sure)) - penalty @ found
        curvature = (evidence * (weights * sure * (1 - sure))[:, None]).T @ evidence + penalty
        step = np.linalg.solve(curvature, slope)
        while np.abs(step).max() > 1e-6 and _loss(evidence, right, weights, found + step) > loss:
            step /= 2
        if np.abs(step).max() <= 1e-6:
            break
        found = found + step
        loss = _loss(evidence, right, weights, found)
    return found


def _loss(
    evidence: Evidence,
    right: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64],
    found: npt.NDArray[np.float64],
) -> float:
    told = evidence @ found
    return float((weights * (np.logaddexp(0, told) - right * told)).sum() + _PENALTY / 2 * (found**2).sum())


def risk_row(
    allowed: float, limit: float, sure: npt.NDArray[np.float64], trials: Trials, weights: npt.NDArray[np.float64]
) -> RiskRow:
    """What the threshold `limit` gives."""
    answered = sure >= limit
    covered, uncovered = trials.covered, ~trials.covered
    given = float(weights[answered].sum())
    return RiskRow(
        allowed=allowed,
        threshold=round(limit, 4),
        answered=_share(answered[covered]),
        right=_share((answered & trials.first)[covered]),
        refused=1 - _share(answered[uncovered]),
        risk=round(float(weights[answered & ~trials.first].sum()) / given, 4) if given else 0.0,
    )


def _curve(
    sure: npt.NDArray[np.float64], trials: Trials, weights: npt.NDArray[np.float64], limit: float
) -> tuple[RiskPoint, ...]:
    """Coverage and risk as the threshold falls, where coverage grows by about as much each time, and at `limit`."""
    order = np.argsort(-sure, kind="stable")
    last = np.append(np.diff(sure[order]) != 0, True)  # equal ones are answered together
    given = np.cumsum(weights[order])[last]
    wrong = np.cumsum((weights * ~trials.first)[order])[last]
    answered = np.cumsum(trials.covered[order])[last] / max(int(trials.covered.sum()), 1)
    places = np.searchsorted(answered, np.linspace(answered[0], answered[-1], _POINTS))
    chosen = np.flatnonzero(sure[order][last] >= limit)[-1:]
    shown = np.unique(np.append(places, chosen))
    return tuple(
        RiskPoint(
            threshold=round(float(sure[order][last][i]), 6),
            answered=round(float(answered[i]), 4),
            risk=round(float(wrong[i] / given[i]), 4),
        )
        for i in shown
    )


def _share(marks: npt.NDArray[np.bool_]) -> float:
    return round(float(marks.mean()), 4) if len(marks) else 0.0
