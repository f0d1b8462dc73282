"""`pajama faq calibrate --plot FILE`: the coverage-versus-risk curve as SVG or PNG."""

from __future__ import annotations

from pathlib import Path

from core.errors import FaqRefused, SettingsError
from core.faq.calibration import Calibration
from core.faq.plot import Wording, curves, highest, svg

_WORDING = Wording(
    title="Wrong answers by share of questions answered",
    covered="Share of covered questions that are answered",
    wrong="Share of answers that are wrong",
    target="at most",
    modes={
        "meaning-trained": "by meaning and words",
        "meaning-nearest": "by meaning and words",
        "words-trained": "by words",
        "words-nearest": "by words",
    },
)
_FORMS = (".svg", ".png")


def check_name(target: Path) -> None:
    """Raises SettingsError where the file's name says no form that can be written."""
    if target.suffix.lower() not in _FORMS:
        raise SettingsError(f"{target.name}: the plot's name should end in {' or '.join(_FORMS)}.")


def write(made: Calibration, target: Path) -> None:
    """Write the plot. Raises FaqRefused where nothing was measured, and SettingsError where it cannot be written."""
    if not curves(made):
        raise FaqRefused(
            "There is no curve to plot: the collection has too few phrasings to measure. Give labelled questions:"
            " --questions."
        )
    try:
        if target.suffix.lower() == ".svg":
            target.write_text(svg(made, _WORDING), encoding="utf-8")
        else:
            _write_png(made, target)
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror or error}.") from error


def _write_png(made: Calibration, target: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = curves(made)
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(title=_WORDING.title, xlabel=_WORDING.covered, ylabel=_WORDING.wrong)
    axes.axhline(made.target_risk, color="#a8261c", linestyle="--", label=f"{_WORDING.target} {made.target_risk:.1%}")
    for curve in found:
        by_words = curve.mode.startswith("words")
        colour, line = ("#b0562f", ":") if by_words else ("#4a3fb8", "-")
        xs, ys = [point.answered for point in curve.points], [point.risk for point in curve.points]
        axes.plot(xs, ys, label=_WORDING.modes[curve.mode], linewidth=2, color=colour, linestyle=line)
        if curve.chosen is not None:
            axes.plot([curve.chosen.answered], [curve.chosen.risk], "o", color=colour)
    axes.set(xlim=(0, 1), ylim=(0, highest(found, made.target_risk)))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.1%}")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    figure.savefig(target)
