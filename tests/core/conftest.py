"""A migrated database with someone in it who can say things."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from core import intake, turns
from core.database import Database
from core.intake import QueueLimits, Received
from core.models import MessageRevision
from core.turn_order import NOBODY, Others
from core.turns import ClaimedTurn, Outcome
from core.values import FinishReason, InboundMessage, Person, Place, TurnState

LEASE_S = 10.0
MANY = QueueLimits(turns=10_000, turns_per_person=10_000)


@dataclass
class Chat:
    """The repository functions with the arguments that tests leave alone, and a clock that tests turn."""

    database: Database
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def message(
        self, event_id: str, *, conversation: str = "c", workspace: str = "w", person: str = "p"
    ) -> InboundMessage:
        place = Place(platform="web", workspace=workspace, conversation=conversation)
        return InboundMessage(place=place, person=Person(id=person), event_id=event_id, text=f"words of {event_id}")

    def say(self, event_id: str, limits: QueueLimits = MANY, **where: str) -> Received:
        message = self.message(event_id, **where)
        self.later(0.001)
        with self.database.write() as session:
            return intake.receive(session, message, message.text, limits, self.now)

    def texts(self) -> list[str]:
        """Every wording that is kept."""
        with self.database.read() as session:
            return list(session.scalars(select(MessageRevision.text).order_by(MessageRevision.number)))

    def claim(self, owner: str = "me", others: Others = NOBODY) -> ClaimedTurn | None:
        return turns.claim_next(self.database, owner, LEASE_S, self.now, others)

    def left_for(self, others: Others) -> float | None:
        with self.database.read() as session:
            left = turns.left_for(session, self.now, others)
        return None if left is None else left.total_seconds()

    def claimed(self, owner: str = "me", others: Others = NOBODY) -> ClaimedTurn:
        claimed = self.claim(owner, others)
        assert claimed is not None
        return claimed

    def finish(
        self, claimed: ClaimedTurn, text: str = "an answer", state: TurnState = TurnState.DONE, **more: object
    ) -> None:
        outcome = outcome_of(claimed, text, state, **more)
        with self.database.write() as session:
            turns.finish(session, outcome, self.now)


def outcome_of(claimed: ClaimedTurn, text: str, state: TurnState, **more: object) -> Outcome:
    values = {
        "turn_id": claimed.turn_id,
        "generation_id": claimed.generation_id,
        "fence": claimed.fence,
        "state": state,
        "finish_reason": FinishReason.STOP if state is TurnState.DONE else FinishReason.ERROR,
        "text": text,
        **more,
    }
    return Outcome(**values)  # type: ignore[arg-type]


@pytest.fixture
def chat(database_url: str) -> Iterator[Chat]:
    database = Database(database_url)
    yield Chat(database)
    database.close()
