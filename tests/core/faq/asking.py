"""People who ask, and what was decided about it, recorded as a worker does: for counts and gaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from core import intake, turns
from core.database import Database
from core.faq import matches
from core.faq.matches import Decided, Found
from core.feedback import rate
from core.intake import QueueLimits
from core.values import FinishReason, InboundMessage, Person, Place, Rating, TurnState

MANY = QueueLimits(turns=1_000_000, turns_per_person=1_000_000)


@dataclass
class People:
    """Asks in one database, with a clock that moves by an hour from one question to the next."""

    database: Database
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    numbers: count[int] = field(default_factory=count)

    def place(self, workspace: str = "w", person: str = "p") -> Place:
        return Place(platform="web", workspace=workspace, conversation=f"of-{person}")

    def ask(
        self,
        text: str,
        outcome: str = "abstain",
        *,
        person: str = "p",
        workspace: str = "w",
        language: str = "en",
        answer: str = "",
        collection_id: int = 1,
        entry_id: int | None = None,
    ) -> int:
        """Ask, and have it decided and answered so. Returns the Turn."""
        self.now += timedelta(hours=1)
        place, asker = self.place(workspace, person), Person(id=person)
        event_id = f"event-{next(self.numbers)}"
        message = InboundMessage(place=place, person=asker, event_id=event_id, text=text, language=language)
        with self.database.write() as session:
            intake.receive(session, message, text, MANY, self.now)
        claimed = turns.claim_next(self.database, "people", 10.0, self.now)
        assert claimed is not None and claimed.text == text
        found = () if entry_id is None else (Found(entry_id, 1, 0, 0.5, 0.5, None, 0.5),)
        decided = Decided(outcome, "test", {"collection_id": collection_id}, None, found)
        with self.database.write() as session:
            matches.record(session, claimed.generation_id, claimed.turn_id, claimed.workspace_id, decided, self.now)
            turns.finish(session, _done(claimed, answer), self.now)
        return claimed.turn_id

    def rate(self, turn_id: int, rating: Rating, *, person: str = "p", workspace: str = "w", by: str = "") -> None:
        with self.database.write() as session:
            rate(session, self.place(workspace, person), Person(id=by or person), turn_id, rating, "", self.now)


def _done(claimed: turns.ClaimedTurn, answer: str) -> turns.Outcome:
    return turns.Outcome(
        turn_id=claimed.turn_id,
        generation_id=claimed.generation_id,
        fence=claimed.fence,
        state=TurnState.DONE,
        finish_reason=FinishReason.STOP,
        text=answer,
    )
