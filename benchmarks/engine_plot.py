"""The engine's rates beside everybody else's, as bars: `engine.png`. Knows figures; needs matplotlib, of the extra `plot`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure

PATH = Path(__file__).parent / "engine.png"
_OWN = "the engine"


def draw(figures: Sequence[Figure], path: Path = PATH) -> None:
    """A picture for each name that has a rate beside several baselines, in one file."""
    groups = bars(figures)
    if not groups:
        return
    if importlib.util.find_spec("matplotlib") is None:
        sys.stderr.write(f"{path.name} is left out: matplotlib is not installed; the extra `plot` has it.\n")
        return
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(9, 1.2 + sum(0.6 + 0.3 * len(rates) for rates in groups.values())), layout="constrained")
    heights = [2 + len(rates) for rates in groups.values()]
    for axes, (name, rates) in zip(
        picture.subplots(len(groups), height_ratios=heights, squeeze=False)[:, 0], groups.items(), strict=True
    ):
        colours = ["tab:orange" if peer == _OWN else "tab:gray" for peer in rates]
        axes.bar_label(axes.barh(list(rates), list(rates.values()), color=colours), fmt="%.0f", padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.set_title(f"{name}, tokens/s", fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    picture.savefig(path, dpi=120)


def bars(figures: Sequence[Figure]) -> dict[str, dict[str, float]]:
    """The rates of everybody by name, fastest first, of each figure that is told against several others."""
    groups: dict[str, dict[str, float]] = {}
    for figure in figures:
        if figure.unit == "tokens/s" and figure.baseline is not None:
            groups.setdefault(figure.name, {_OWN: figure.value})[figure.baseline_name] = figure.baseline
    known = {name: rates for name, rates in groups.items() if len(rates) > 2}
    return {name: dict(sorted(rates.items(), key=lambda pair: -pair[1])) for name, rates in known.items()}
