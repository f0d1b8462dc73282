"""Telling: the ReplyEvents of one claim of a Turn, published as its answer is made.

Knows the stream and the order of events; does not know how an answer is made.
"""

from __future__ import annotations

from core.errors import FailureCode
from core.streams import ReplyPublisher
from core.turns import ClaimedTurn, Outcome
from core.values import FinishReason, ReplyEvent, ReplyEventKind, TurnState, Usage

_ENDS = {
    TurnState.DONE: ReplyEventKind.DONE,
    TurnState.FAILED: ReplyEventKind.FAILED,
    TurnState.CANCELLED: ReplyEventKind.CANCELLED,
}


class Telling:
    """Tells whoever follows the Turn; where Redis is down, they find it in SQL."""

    def __init__(self, publisher: ReplyPublisher, claimed: ClaimedTurn) -> None:
        self._publisher, self._claimed = publisher, claimed

    def begin(self) -> None:
        """Say that the answer is being made."""
        self._publish(ReplyEventKind.STARTED)

    def say(self, text: str, offset: int) -> None:
        """Say the next piece of the answer, which starts at `offset`."""
        self._publish(ReplyEventKind.DELTA, offset=offset, text=text)

    def end(self, outcome: Outcome) -> None:
        """Say how it ended."""
        self._publish(
            _ENDS[outcome.state],
            offset=len(outcome.text),
            finish_reason=outcome.finish_reason,
            failure=outcome.failure,
            usage=outcome.usage,
        )

    def _publish(
        self,
        kind: ReplyEventKind,
        *,
        offset: int = 0,
        text: str = "",
        finish_reason: FinishReason | None = None,
        failure: FailureCode | None = None,
        usage: Usage | None = None,
    ) -> None:
        # Not validated: every value is ours, and this runs once a token.
        self._publisher.publish(
            ReplyEvent.model_construct(
                turn_id=self._claimed.turn_id,
                generation_id=self._claimed.generation_id,
                fence=self._claimed.fence,
                kind=kind,
                offset=offset,
                text=text,
                finish_reason=finish_reason,
                failure=failure,
                usage=usage,
            )
        )
