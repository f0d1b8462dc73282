"""Finding: what one look at something showed, for `pajama doctor` and its like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look showed. `detail` says what is wrong and what would be right."""

    what: str
    verdict: Verdict
    detail: str
