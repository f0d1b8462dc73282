"""What a worker holds, and whom a cancel reaches."""

from __future__ import annotations

from datetime import UTC, datetime

from core.turns import ClaimedTurn
from tests.workers.serve import PacedGenerator
from workers.running import RunningTurns


def claimed(fence: int) -> ClaimedTurn:
    return ClaimedTurn(
        turn_id=1, generation_id=1, fence=fence, attempt=1, workspace_id=1, conversation_id=1, participant_id=1,
        message_id=1, revision=1, seq=1, text="x", speaker=None, channel=None, shared=False, recipe="chat",
        arguments={}, language="en", cut_seq=1, queued_at=datetime.now(UTC), workspace_settings={},
    )  # fmt: skip


def test_a_cancel_of_an_earlier_answer_leaves_the_new_one_alone() -> None:
    running = RunningTurns(PacedGenerator())
    with running.holding(claimed(fence=3)) as turn:
        running.cancel(1, 2)
        assert not turn.cancelled
        running.cancel(1, 3)
        assert turn.cancelled
