"""Talking: what somebody who waits for a human, or talks to one, hears where no bot brings it: on a page, in a terminal.

Knows the Service and SQL's order; what is shown of it, and how, is the platform's affair.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from core.handoffs.transcripts import Line
from core.handoffs.views import HandoffView
from core.service import Service
from core.values import Place

POLL_S = 5.0
"""How often SQL is asked where no bell rings."""


@dataclass(frozen=True, slots=True)
class Heard:
    """How the hand-off stands, None where there is none any more, and what was said since the last time."""

    view: HandoffView | None
    lines: tuple[Line, ...]


async def listen(service: Service, place: Place, after_seq: int = 0) -> AsyncGenerator[Heard]:
    """How it stands at once, then whatever changes, without end. Raises DatabaseUnavailable."""
    bell = service.handoffs.bell
    shown: object = ()
    while True:
        rung = bell.rung
        view = await service.handoffs.standing(place)
        lines = await service.handoffs.said(
            place, after_seq
        )  # after it: what was said before a release comes before it
        stands = (view.handoff_id, view.state) if view is not None else None
        if lines or stands != shown:
            yield Heard(view, tuple(lines))
        shown, after_seq = stands, max((line.seq for line in lines), default=after_seq)
        await bell.after(rung, POLL_S)


def plain(sentence: str) -> str:
    """A sentence of the catalogue where Markdown is not read."""
    return sentence.replace("**", "").replace("`", "")
