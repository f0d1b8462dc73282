"""Plot: the coverage-versus-risk curve of a calibration as SVG, for a file and for a page.

How many questions are answered to the right, how many of the answers are wrong upwards, with the owner's target and where
the thresholds stand. Every part has a class, so that a page can give it other colours; without a style sheet it is a
plot on white. What stands in it is given as `Wording`, in the reader's language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from core.faq.calibration import Calibration, Mode, ModeCalibration, RiskPoint

WIDTH, HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 24, 56
_COLOURS = {"meaning": "#4a3fb8", "words": "#b0562f"}
_STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""How far apart lines of the grid may be, upwards."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of the plot. `modes` names each mode of which there may be a curve."""

    title: str
    covered: str
    wrong: str
    target: str
    modes: Mapping[Mode, str]


@dataclass(frozen=True, slots=True)
class Curve:
    """One mode: its points from sure to unsure, and the one where its threshold stands."""

    mode: Mode
    points: tuple[RiskPoint, ...]
    chosen: RiskPoint | None


def curves(made: Calibration) -> list[Curve]:
    """What was measured, by mode. Empty where a collection has too few phrasings to measure anything."""
    return [
        Curve(mode, each.curve, _chosen(each))  # type: ignore[arg-type]
        for mode, each in made.modes.items()
        if each.curve
    ]


def highest(found: Sequence[Curve], target: float) -> float:
    """Where the upward axis ends: above the target, and above the curves as far as that leaves the target visible."""
    steep = max((point.risk for curve in found for point in curve.points), default=0.0)
    wanted = min(max(steep, 2 * target), 8 * target, 1.0)
    step = _step(wanted)
    return step * -(-wanted // step)


def svg(made: Calibration, wording: Wording) -> str:
    """The plot. An image with a title and a description, for those who hear it."""
    found, target = curves(made), made.target_risk
    top = highest(found, target)
    parts = [*_grid(top), *_axes(wording), *_target(target, top, wording)]
    for i, curve in enumerate(found):
        parts += _curve(curve, top, wording.modes[curve.mode], i)
    told = "; ".join(f"{wording.modes[each.mode]}: {_percent(each.chosen.answered)}" for each in found if each.chosen)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="risk-plot"'
        f' font-family="system-ui, sans-serif" font-size="13" aria-labelledby="risk-title risk-told">'
        f'<title id="risk-title">{escape(wording.title)}</title><desc id="risk-told">{escape(told)}</desc>'
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _chosen(each: ModeCalibration) -> RiskPoint | None:
    """The last point that is answered with the threshold."""
    limit = each.sureness.thresholds.answer
    return next((point for point in reversed(each.curve) if point.threshold >= limit - 1e-6), None)


def _step(most: float) -> float:
    return next((step for step in _STEPS if most / step <= 5), _STEPS[-1])


def _x(answered: float) -> float:
    return round(_LEFT + answered * (WIDTH - _LEFT - _RIGHT), 1)


def _y(risk: float, top: float) -> float:
    return round(HEIGHT - _BOTTOM - min(risk / top, 1.0) * (HEIGHT - _TOP - _BOTTOM), 1)


def _grid(top: float) -> list[str]:
    step = _step(top)
    parts = []
    for i in range(round(top / step) + 1):
        y = _y(i * step, top)
        parts.append(f'<path class="grid" d="M{_LEFT} {y}H{WIDTH - _RIGHT}" stroke="#dcd6ca" fill="none"/>')
        parts.append(_text(_LEFT - 8, y + 4, _percent(i * step), "end"))
    for i in range(6):
        parts.append(_text(_x(i / 5), HEIGHT - _BOTTOM + 20, _percent(i / 5), "middle"))
    return parts


def _axes(wording: Wording) -> list[str]:
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    return [
        _text(middle, HEIGHT - 12, wording.covered, "middle"),
        (
            f'<text class="label" x="14" y="{(HEIGHT - _BOTTOM + _TOP) / 2}" text-anchor="middle" fill="#514d63"'
            f' transform="rotate(-90 14 {(HEIGHT - _BOTTOM + _TOP) / 2})">{escape(wording.wrong)}</text>'
        ),
    ]


def _target(target: float, top: float, wording: Wording) -> list[str]:
    y = _y(target, top)
    line = (
        f'<path class="target" d="M{_LEFT} {y}H{WIDTH - _RIGHT}" stroke="#a8261c" stroke-dasharray="6 5" fill="none"/>'
    )
    return [line, _text(_LEFT + 6, y - 6, f"{wording.target} {_percent(target)}", "start", "#a8261c", "target-label")]


def _curve(curve: Curve, top: float, name: str, place: int) -> list[str]:
    kind = curve.mode.partition("-")[0]
    colour = _COLOURS[kind]
    line = " ".join(f"{_x(point.answered)},{_y(point.risk, top)}" for point in curve.points)
    dashes = ' stroke-dasharray="2 4"' if kind == "words" else ""
    legend = _TOP + 4 + 18 * place
    parts = [
        (
            f'<polyline class="curve {kind}" points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"'
            f' stroke-linejoin="round" stroke-linecap="round"{dashes}/>'
        ),
        f'<path class="curve {kind}" d="M{WIDTH - _RIGHT - 24} {legend}h24" stroke="{colour}" stroke-width="2.5"{dashes}/>',
        _text(WIDTH - _RIGHT - 32, legend + 4, name, "end"),
    ]
    if curve.chosen is not None:
        x, y = _x(curve.chosen.answered), _y(curve.chosen.risk, top)
        told = f"{name}: {_percent(curve.chosen.answered)}, {_percent(curve.chosen.risk)}"
        parts.append(
            f'<circle class="chosen {kind}" cx="{x}" cy="{y}" r="5.5" fill="{colour}"><title>{escape(told)}</title></circle>'
        )
    return parts


def _text(x: float, y: float, words: str, anchor: str, colour: str = "#514d63", kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def _percent(share: float) -> str:
    return f"{round(100 * share, 1):g}%"
