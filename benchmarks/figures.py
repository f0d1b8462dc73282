"""Percentiles, and how a measurement is told."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, what it should be at most, and the baseline of the same run.

    `least_ratio`: so many times the baseline it should be at least; `most_ratio`: at most. `spread` is from the lowest to
    the highest run, where there were several.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    baseline: float | None = None
    baseline_name: str = ""
    least_ratio: float | None = None
    most_ratio: float | None = None
    spread: tuple[float, float] | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        ratio = self.value / self.baseline if self.baseline else 0.0
        if self.least_ratio is not None:
            return ratio >= self.least_ratio
        if self.most_ratio is not None:
            return ratio <= self.most_ratio
        return None if self.target is None else self.value <= self.target

    def row(self) -> str:
        """A row of a Markdown table."""
        target = "" if self.reached is None else f"{self._wanted()} {'✓' if self.reached else '✗'}"
        spread = "" if self.spread is None else f" ({self.spread[0]:.3g} – {self.spread[1]:.3g})"
        baseline = "" if self.baseline is None else f"{self.baseline:.3g} ({self.baseline_name})"
        ratio = "" if not self.baseline else f"{self.value / self.baseline:.2f}"
        return f"| {self.name} | {self.value:.3g} {self.unit}{spread} | {target} | {baseline} | {ratio} |"

    def _wanted(self) -> str:
        if self.least_ratio is not None:
            return f"ratio ≥ {self.least_ratio:g}"
        return f"≤ {self.target:g}" if self.most_ratio is None else f"ratio ≤ {self.most_ratio:g}"


HEAD = "| what | measured | target | baseline | ratio |\n|---|---|---|---|---|"


def percentile(samples: Sequence[float], share: float) -> float:
    """The value that `share` of the samples do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(samples: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(samples)
