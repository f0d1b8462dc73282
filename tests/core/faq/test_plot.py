"""The curve of coverage and risk, and its picture."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from core.faq.calibration import Calibration, Mode, calibrate
from core.faq.plot import Wording, curves, highest, svg
from tests.core.faq.test_calibration import varied

NAMES: dict[Mode, str] = {
    "meaning-trained": "by meaning", "meaning-nearest": "m", "words-trained": "by <words>", "words-nearest": "w",
}  # fmt: skip
WORDING = Wording("Risk & coverage", "answered", "wrong", "at most", NAMES)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made() -> Calibration:
    return calibrate(varied(40, 8), target_risk=0.05)


def test_a_curve_runs_from_sure_to_unsure_and_passes_the_chosen_threshold(made: Calibration) -> None:
    (curve,) = curves(made)
    assert curve.mode == "meaning-trained"
    for one, next_one in zip(curve.points, curve.points[1:], strict=False):
        assert one.threshold >= next_one.threshold and one.answered <= next_one.answered
    assert curve.points[-1].answered == 1.0
    assert len(curve.points) <= 61
    row = next(row for row in made.modes["meaning-trained"].table if row.allowed == 0.05)
    assert curve.chosen is not None
    assert (curve.chosen.answered, curve.chosen.risk) == (row.answered, row.risk)
    assert curve.chosen.risk <= 0.05


def test_a_calibration_of_before_the_curve_is_still_read(made: Calibration) -> None:
    stored = made.model_dump(mode="json")
    for mode in stored["modes"].values():
        del mode["curve"]
    assert curves(Calibration.model_validate(stored)) == []


def test_the_picture_is_whole_xml_with_words_escaped_and_nothing_outside(made: Calibration) -> None:
    picture = svg(made, WORDING)
    root = ElementTree.fromstring(picture)
    assert root.find(f"{SVG}title").text == "Risk & coverage"  # type: ignore[union-attr]
    assert root.get("role") == "img"
    assert {"grid", "curve meaning", "target", "chosen meaning", "label", "paper"} <= {
        e.get("class") for e in root.iter()
    }
    assert not [element for element in root.iter() if "style" in element.attrib or element.tag == f"{SVG}style"]
    line = next(element for element in root.iter(f"{SVG}polyline")).get("points", "")
    xs, ys = zip(*(map(float, point.split(",")) for point in line.split()), strict=True)
    assert min(xs) > 0 and max(xs) <= 640 and min(ys) > 0 and max(ys) <= 360
    assert svg(made, WORDING) == picture


@pytest.mark.parametrize(("target", "top"), [(0.02, 0.16), (0.005, 0.04)])
def test_the_target_stays_visible_below_a_steep_curve(made: Calibration, target: float, top: float) -> None:
    (curve,) = curves(made)
    assert highest([curve], target) <= top + 1e-9 and highest([], target) >= 2 * target
