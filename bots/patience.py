"""Patience: what somebody who waits for an answer is told: how many are ahead, or why nothing has begun.

Knows SQL's order and which workers are ready; how it is told is the platform's affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bots.texts import text
from core.errors import ServiceUnavailable
from core.history import TurnView
from core.service import Service
from core.values import TurnState

log = structlog.get_logger(__name__)

LONG_QUEUE, LONG_WAIT_S = 3, 2.0
"""With so many ahead for so long, whoever asks is told."""

NO_START_S = 10.0
"""Of a question that has not begun after so long, whoever asks is told why."""

Telling = Callable[[TurnView, str, str], Awaitable[None]]
"""Tells whoever asked the Turn a sentence, which is no part of the answer; the last is its nonce, of at most 25 characters."""


async def tell_wait(service: Service, turn: TurnView, tell: Telling) -> None:
    """Tell whoever waits for this queued Turn what there is to tell; cancelled once it is answered."""
    try:
        await asyncio.sleep(LONG_WAIT_S)
        ahead = await service.queue_position(turn.turn_id)
        if many := ahead >= LONG_QUEUE:
            await tell(turn, text("ahead", turn.language, count=ahead), _nonce(turn, 0))
        await asyncio.sleep(NO_START_S - LONG_WAIT_S)
        if (reason := await _reason(service, turn, told=many)) is not None:
            await tell(turn, reason, _nonce(turn, 1))
    except ServiceUnavailable as error:
        log.info("Whoever waits is not told why.", action="wait_untold", turn_id=turn.turn_id, reason=str(error))
    except Exception:  # the edge: the answer comes all the same
        log.exception("Whoever waits cannot be told.", action="wait_failed", turn_id=turn.turn_id)


async def _reason(service: Service, turn: TurnView, *, told: bool) -> str | None:
    """Why the Turn has not begun; None where it has, or that was told. Raises ServiceUnavailable."""
    if (await service.turn_status(turn.turn_id)).state is not TurnState.QUEUED:
        return None
    if not (await service.status()).workers:
        return text("status_no_worker", turn.language)
    if told:
        return None
    ahead = await service.queue_position(turn.turn_id)
    return text("ahead", turn.language, count=ahead) if ahead else text("ahead_none", turn.language)


def _nonce(turn: TurnView, number: int) -> str:
    return f"pjw{turn.turn_id:x}-{turn.fence:x}-{number}"
