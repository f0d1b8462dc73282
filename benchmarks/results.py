"""RESULTS.md: a section for each part, kept until the part is measured again. Knows no measurement."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import HEAD, Figure

PATH = Path(__file__).parent / "RESULTS.md"

_INTRODUCTION = """\
# Results

Written by `python -m benchmarks --record`; not by hand. A ratio is the figure over its baseline of the same run. Outside
of the parts "engine" and "model", the engine is a source of tokens (the first at once, then 20 a second a stream, 4 for Discord and
Slack), so that what is left is what Pajama itself costs. A part that a run leaves out keeps its figures.
"""
_SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def record(measured: Mapping[str, Sequence[Figure]], circumstances: Sequence[str], order: Sequence[str]) -> None:
    """Write the figures of the parts that were measured, under `circumstances`; the other sections stay."""
    sections = dict(_SECTION.findall(PATH.read_text(encoding="utf-8"))) if PATH.exists() else {}
    for part, figures in measured.items():
        facts = [f"- {circumstance}" for circumstance in circumstances]
        sections[part] = "\n".join(["", *facts, "", HEAD, *(figure.row() for figure in figures), ""])
    known = [part for part in order if part in sections]
    page = [_INTRODUCTION, *(f"## {part}\n{sections[part].rstrip()}\n" for part in known)]
    PATH.write_text("\n".join(page), encoding="utf-8")
