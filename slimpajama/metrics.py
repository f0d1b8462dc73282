"""Metrics: `metrics.jsonl`, a line a step and one for each measure of held-out text, and their plot.

After a kill the lines of steps that are taken again are cut, so that every step stands there once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_SMOOTH = 0.98


class Metrics:
    """The lines of one run. Without a path nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def cut(self, step: int) -> None:
        """Keep what was written up to `step`."""
        if self._path is not None and self._path.exists():
            kept = [json.dumps(line) + "\n" for line in read(self._path) if line["step"] <= step]
            aside = self._path.with_suffix(".new")
            aside.write_text("".join(kept), encoding="utf-8")
            aside.replace(self._path)

    def write(self, **values: Any) -> None:
        """Add a line."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Every whole line; a kill may have cut the last one."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def plot(metrics: Path, target: Path) -> None:
    """Loss and held-out bits per byte by tokens, as PNG. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read(metrics)
    steps = [line for line in lines if "loss" in line]
    measured = [line for line in lines if "held_out" in line]
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(title="Training", xlabel="tokens", ylabel="loss, nats a token")
    tokens = [line["tokens"] for line in steps]
    axes.plot(tokens, [line["loss"] for line in steps], color="#c9c3e8", linewidth=0.7)
    axes.plot(tokens, _smoothed([line["loss"] for line in steps]), color="#4a3fb8", label="loss")
    if measured:
        _add_held_out(axes.twinx(), measured)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3)
    figure.savefig(target)


def _add_held_out(axes: Any, measured: list[dict[str, Any]]) -> None:
    axes.set_ylabel("held out, bits per byte")
    for language, colour in (("en", "#b0562f"), ("zh", "#2f7a4d")):
        points = [(line["tokens"], line["held_out"][language]) for line in measured if language in line["held_out"]]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=colour, markersize=3, label=f"held out, {language}")


def _smoothed(values: list[float]) -> list[float]:
    """A running mean that weighs the first values as much as they are."""
    mean = weight = 0.0
    smoothed = []
    for value in values:
        mean, weight = _SMOOTH * mean + (1 - _SMOOTH) * value, _SMOOTH * weight + (1 - _SMOOTH)
        smoothed.append(mean / weight)
    return smoothed
