"""The picture of the engine's rates: who is in it, and that it is drawn."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engine_plot import bars, draw
from benchmarks.figures import Figure

RATES = [
    Figure("8 requests: rate", 120.0, "tokens/s", None, 90.0, "static batch"),
    Figure("8 requests: rate", 120.0, "tokens/s", None, 130.0, "llama.cpp"),
]
OTHERS = [
    Figure("nano: rate", 900.0, "tokens/s", None, 910.0, "its dense twin"),
    Figure("8 requests: time to the first token", 1.0, "s", None, 2.0, "static batch"),
]


def test_rates_told_against_several_are_drawn_fastest_first() -> None:
    assert {name: list(rates.items()) for name, rates in bars([*RATES, *OTHERS]).items()} == {
        "8 requests: rate": [("llama.cpp", 130.0), ("the engine", 120.0), ("static batch", 90.0)]
    }


def test_a_picture_is_written_only_where_there_is_something_to_draw(tmp_path: Path) -> None:
    draw(OTHERS, tmp_path / "none.png")
    draw(RATES, tmp_path / "rates.png")
    assert [path.name for path in tmp_path.iterdir()] == ["rates.png"]
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
