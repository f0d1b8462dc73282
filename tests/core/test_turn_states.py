"""Whatever people and workers do, in whatever order: the rules of the queue hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select

from core import conversations, turns
from core.database import Database, upgrade
from core.errors import Conflict, FailureCode, LeaseLost, NotFound
from core.models import Generation, Turn
from core.turn_order import Others
from core.turns import ClaimedTurn
from core.values import Person, TurnState
from tests.core.conftest import LEASE_S, Chat

CONVERSATIONS = st.sampled_from(["1", "2", "3"])


class Queue(RuleBasedStateMachine):
    """Three conversations, two workers, and everything that can happen to a Turn."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="pajama-")
        url = f"sqlite:///{Path(self.folder.name) / 'pajama.db'}"
        upgrade(url)
        self.chat = Chat(Database(url))
        self.said: list[tuple[str, str, int]] = []  # event id, conversation, turn id
        self.held: list[ClaimedTurn] = []
        self.owners: dict[tuple[int, int], str] = {}  # by turn and fence
        self.fences: dict[int, int] = {}

    def teardown(self) -> None:
        self.chat.database.close()
        self.folder.cleanup()

    @rule(conversation=CONVERSATIONS)
    def say(self, conversation: str) -> None:
        event_id = f"m{len(self.said)}"
        self.said.append((event_id, conversation, self.chat.say(event_id, conversation=conversation).turn_id))

    @rule(owner=st.sampled_from(["a", "b"]), slots=st.integers(1, 3), wait_s=st.sampled_from([0.0, 0.02, 0.05]))
    def claim(self, owner: str, slots: int, wait_s: float) -> None:
        self.chat.later(wait_s)
        others = Others(frozenset({"a", "b"} - {owner}), slots, 0.05)
        claimed = self.chat.claim(owner, others)
        left_s = None if claimed else self.chat.left_for(others)
        if left_s is not None:
            assert 0 < left_s <= others.grace_s
            self.chat.later(left_s)  # by then it is anybody's
            claimed = self.chat.claim(owner, others)
            assert claimed is not None
        if claimed is not None:
            self.held.append(claimed)
            self.owners[claimed.turn_id, claimed.fence] = owner
        else:
            assert self.chat.claim(owner) is None, "what is left to nobody is claimed"

    @precondition(lambda self: self.held)
    @rule(data=st.data(), failed=st.booleans())
    def finish(self, data: st.DataObject, failed: bool) -> None:
        claimed = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        state, failure = (TurnState.FAILED, FailureCode.ENGINE) if failed else (TurnState.DONE, None)
        try:
            kv_worker = self.owners[claimed.turn_id, claimed.fence]
            text = "" if failed else f"answer {claimed.fence}"
            self.chat.finish(claimed, text, state, failure=failure, kv_worker=kv_worker)
        except LeaseLost:
            with self.chat.database.read() as session:
                turn = session.get_one(Turn, claimed.turn_id)
                assert turn.fence != claimed.fence or turn.state is not TurnState.RUNNING

    @precondition(lambda self: self.said)
    @rule(data=st.data(), what=st.sampled_from(["cancel", "regenerate", "edit", "delete"]))
    def meddle(self, data: st.DataObject, what: str) -> None:
        event_id, conversation, turn_id = data.draw(st.sampled_from(self.said))
        place, person = self.chat.message(event_id, conversation=conversation).place, Person(id="p")
        self.chat.later(0.01)
        try:
            with self.chat.database.write() as session:
                if what == "cancel":
                    conversations.cancel(session, place, person, turn_id, self.chat.now)
                elif what == "regenerate":
                    conversations.regenerate(session, place, person, turn_id, self.chat.now)
                elif what == "edit":
                    conversations.edit(session, place, event_id, f"words at {self.chat.now}", self.chat.now)
                else:
                    conversations.delete(session, place, event_id, self.chat.now)
        except (Conflict, NotFound):
            assert what == "regenerate"

    @rule(owner=st.sampled_from(["a", "b"]))
    def release(self, owner: str) -> None:
        with self.chat.database.write() as session:
            turns.release(session, owner, self.chat.now)

    @rule()
    def lose_workers(self) -> None:
        self.chat.later(LEASE_S + 1)
        with self.chat.database.write() as session:
            turns.reap(session, 3, self.chat.now)

    @invariant()
    def rules_hold(self) -> None:
        with self.chat.database.read() as session:
            rows = session.scalars(select(Turn)).all()
            answers = session.scalars(select(Generation)).all()
        running = [row.conversation_id for row in rows if row.state is TurnState.RUNNING]
        assert len(running) == len(set(running)), "one running Turn a Conversation"
        for row in rows:
            assert row.fence >= self.fences.get(row.id, 0), "fences only grow"
            self.fences[row.id] = row.fence
            mine = [answer for answer in answers if answer.turn_id == row.id]
            assert sum(answer.selected for answer in mine) <= 1
            assert sum(answer.finish_reason is None for answer in mine) <= 1
            assert (row.owner is not None) == (row.lease_until is not None) == (row.state is TurnState.RUNNING)
            if row.state.ended:
                assert row.finished_at is not None
            if row.state is TurnState.DONE:
                assert any(answer.selected for answer in mine)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
