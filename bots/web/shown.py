"""What a visitor is shown of a Turn, and the note in the ledger that they were.

Here a TurnView gets its sentences: where it waits, why it failed. Delivery is one chunk: a page has no size limit.
"""

from __future__ import annotations

from collections.abc import Iterable

from bots.answers import finding_of, lead, sources
from bots.texts import failure_sentence, text
from bots.web.schemas import FindingBody, Refusal, TurnBody
from core.history import TurnView
from core.service import Service
from core.values import TurnState

CHUNK = 0
"""The page shows an answer whole."""


async def turn_body(service: Service, view: TurnView, language: str) -> TurnBody:
    """The Turn with its sentences."""
    failure = None
    if view.state is TurnState.FAILED:
        failure = Refusal(code=view.failure or "error", message=failure_sentence(view.failure, language))
    said = text("not_kept", language) if view.purged else view.text
    status = await status_of(service, view, language)
    return TurnBody.of(view, said=said, status=status, failure=failure, finding=_finding(view, language))


def _finding(view: TurnView, language: str) -> FindingBody | None:
    finding = finding_of(view)
    if finding is None or view.answer is None:
        return None
    above = lead(finding, view.answer.text, language)
    return FindingBody.of(finding, lead=above, sources=sources(finding, language))


async def status_of(service: Service, view: TurnView, language: str) -> str:
    """The sentence below a Turn: how many are ahead, that it began, or that it was stopped; none where it is done."""
    if view.state is TurnState.QUEUED:
        ahead = await service.queue_position(view.turn_id)
        return text("ahead", language, count=ahead) if ahead else text("waiting", language)
    sentences = {TurnState.RUNNING: "thinking", TurnState.CANCELLED: "stopped"}
    return text(sentences[view.state], language) if view.state in sentences else ""


async def note_shown(service: Service, views: Iterable[TurnView]) -> None:
    """Note in the ledger that the page has these ended Turns."""
    for view in views:
        if view.answer is not None:
            await service.ledger.sending(view.answer.generation_id, CHUNK)
            await service.ledger.sent(view.answer.generation_id, CHUNK, f"web:{view.answer.generation_id}")
        await service.ledger.delivered(view.turn_id, view.fence)
