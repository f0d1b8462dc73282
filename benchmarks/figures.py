"""Percentiles, and how a measurement is told."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, what it should be at most, and the baseline of the same run."""

    name: str
    value: float
    unit: str
    target: float | None = None
    baseline: float | None = None
    baseline_name: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        return None if self.target is None else self.value <= self.target

    def row(self) -> str:
        """A row of a Markdown table."""
        target = "" if self.target is None else f"≤ {self.target:g} {'✓' if self.reached else '✗'}"
        baseline = "" if self.baseline is None else f"{self.baseline:.3g} ({self.baseline_name})"
        ratio = "" if not self.baseline else f"{self.value / self.baseline:.2f}"
        return f"| {self.name} | {self.value:.3g} {self.unit} | {target} | {baseline} | {ratio} |"


HEAD = "| what | measured | target | baseline | ratio |\n|---|---|---|---|---|"


def percentile(samples: Sequence[float], share: float) -> float:
    """The value that `share` of the samples do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(samples: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(samples)
