"""Requested, claimed, released: whatever people and staff do, in whatever order and at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select

from core import conversations, history
from core.errors import AccessDenied, HandedOff, HandoffNotClaimed, HandoffTaken, NotFound
from core.handoffs import states, transcripts
from core.handoffs.models import Handoff
from core.intake import PassedOn, Received
from core.models import Conversation, Message
from core.values import HandoffReason, HandoffState, Person, ReleaseCause, TurnState
from tests.core.conftest import Chat
from tests.core.handoffs.asking import Shop

numbers = count()
CONVERSATIONS, NAMES = st.sampled_from(["1", "2"]), st.sampled_from(["bo", "cy"])


class Desk(RuleBasedStateMachine):
    """Two conversations, two of staff, and everything that can happen to a hand-off."""

    chat: Chat

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop(self.chat, f"w{next(numbers)}")
        self.shop.set("handoff_channel", "staff-room")
        self.open: dict[str, tuple[int, str | None]] = {}  # by conversation: its open one, and who has it
        self.known: list[tuple[str, int]] = []
        self.passed_on = self.turns = 0

    @rule(conversation=CONVERSATIONS, words=st.sampled_from(["", "help me"]))
    def request(self, conversation: str, words: str) -> None:
        requested = self.shop.request(conversation, words)
        self.passed_on += bool(words)
        assert requested.new == (conversation not in self.open)
        if requested.new:
            self.open[conversation] = requested.handoff_id, None
            self.known.append((conversation, requested.handoff_id))
        assert self.open[conversation][0] == requested.handoff_id

    @precondition(lambda self: self.known)
    @rule(data=st.data(), name=NAMES)
    def claim(self, data: st.DataObject, name: str) -> None:
        conversation, handoff_id = data.draw(st.sampled_from(self.known))
        newest, holder = self.open.get(conversation, (None, None))
        if newest != handoff_id:
            with pytest.raises(HandoffNotClaimed):
                self.shop.claim(handoff_id, name, conversation)
        elif holder not in (None, name):
            with pytest.raises(HandoffTaken, match=str(holder).title()):
                self.shop.claim(handoff_id, name, conversation)
        else:
            self.shop.claim(handoff_id, name, conversation)
            self.open[conversation] = handoff_id, name

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def reply(self, data: st.DataObject) -> None:
        conversation, handoff_id = data.draw(st.sampled_from(self.known))
        claimed = self.open.get(conversation, (None, None))
        if claimed[0] == handoff_id and claimed[1] is not None:
            self.shop.reply(handoff_id, "hello", conversation=conversation)
            self.passed_on += 1
        else:
            with pytest.raises(HandoffNotClaimed):
                self.shop.reply(handoff_id, "hello", conversation=conversation)

    @rule(conversation=CONVERSATIONS)
    def say(self, conversation: str) -> None:
        said = self.shop.say(f"m{next(numbers)}", conversation)
        has_it = self.open.get(conversation, (None, None))[1]
        assert isinstance(said, PassedOn if has_it else Received)
        self.passed_on += isinstance(said, PassedOn)
        self.turns += isinstance(said, Received)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        conversation, handoff_id = data.draw(st.sampled_from(self.known))
        was_open = self.open.get(conversation, (None, None))[0] == handoff_id
        assert self.shop.release(handoff_id, conversation) is was_open
        if was_open:
            del self.open[conversation]

    @rule(conversation=CONVERSATIONS)
    def reset(self, conversation: str) -> None:
        with self.chat.database.write() as session:
            states.release_at(session, self.shop.place(conversation), ReleaseCause.RESET, self.chat.now)
        self.open.pop(conversation, None)

    @rule(hours=st.sampled_from([1, 100]))
    def wait(self, hours: int) -> None:
        self.chat.later(3600 * hours)
        with self.chat.database.write() as session:
            states.release_stale(session, self.chat.now - timedelta(hours=72), self.chat.now)
        if hours > 72:
            self.open.clear()

    @invariant()
    def rules_hold(self) -> None:
        here = [self.shop.place(name).conversation for name in ("1", "2")]
        with self.chat.database.read() as session:
            rows = session.execute(
                select(Handoff, Conversation)
                .join(Conversation, Conversation.id == Handoff.conversation_id)
                .where(Handoff.id.in_([handoff_id for _, handoff_id in self.known]))
            ).all()
        found = {}
        for handoff, conversation in rows:
            assert conversation.external_id in here
            assert (handoff.released_at is None) == (handoff.cause is None) == (handoff.state != HandoffState.RELEASED)
            assert (handoff.claimed_at is None) == (handoff.claimed_by is None) == (handoff.claimed_seq is None)
            if handoff.state is not HandoffState.RELEASED:
                assert conversation.external_id not in found, "one open hand-off a Conversation"
                found[conversation.external_id] = handoff.id
                assert conversation.handed_off == (handoff.state is HandoffState.CLAIMED)
        silent = {conversation.external_id for _, conversation in rows if conversation.handed_off}
        assert found == {name: handoff_id for name, (handoff_id, _) in self.open.items()}
        assert silent == {name for name, (_, holder) in self.open.items() if holder}

    def teardown(self) -> None:
        """No word is lost, and none is said twice."""
        with self.chat.database.read() as session:
            ids = [handoff_id for _, handoff_id in self.known]
            said = session.scalars(select(Message.id).where(Message.handoff_id.in_(ids))).all()
        assert len(said) == self.passed_on


def test_the_rules_hold_whatever_happens(chat: Chat) -> None:
    machine: Any = type("Desk", (Desk,), {"chat": chat})
    tried = settings(max_examples=8, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=tried)


class TestAtOnce:
    """On PostgreSQL several transactions run at once; on SQLite they wait in line."""

    def test_of_many_who_claim_exactly_one_has_it(self, shop: Shop) -> None:
        for number in range(3):
            handoff_id = self.race(shop, f"c{number}")
            view = shop.view(handoff_id)
            assert view.claimed and view.staff is not None

    def race(self, shop: Shop, conversation: str) -> int:
        handoff_id = shop.request(conversation).handoff_id
        names = [f"staff-{number}" for number in range(5)]
        together = threading.Barrier(len(names))

        def claim(name: str) -> str | None:
            together.wait()
            try:
                shop.claim(handoff_id, name, conversation)
            except HandoffTaken:
                return None
            return name

        with ThreadPoolExecutor(len(names)) as threads:
            winners = [name for name in threads.map(claim, names) if name]
        assert len(winners) == 1
        staff = shop.view(handoff_id).staff
        assert staff is not None and staff.person.id == winners[0]
        return handoff_id

    def test_what_is_said_while_somebody_claims_is_never_answered_by_both(self, shop: Shop) -> None:
        for number in range(4):
            conversation = f"c{number}"
            handoff_id = shop.request(conversation).handoff_id
            together = threading.Barrier(3)

            def say(event_id: str, conversation: str = conversation, together: Any = together) -> object:
                together.wait()
                return shop.say(event_id, conversation)

            def claim(
                _: str, conversation: str = conversation, together: Any = together, the: int = handoff_id
            ) -> object:
                together.wait()
                return shop.claim(the, "bo", conversation)

            with ThreadPoolExecutor(3) as threads:
                said = [threads.submit(say, f"{number}a"), threads.submit(say, f"{number}b")]
                threads.submit(claim, "").result()
                outcomes = [each.result() for each in said]
            stopped = {turn.id for turn in shop.turns() if turn.state is TurnState.CANCELLED}
            for outcome in outcomes:
                assert isinstance(outcome, PassedOn) or (isinstance(outcome, Received) and outcome.turn_id in stopped)

    def test_of_many_who_ask_for_the_same_conversation_one_hand_off_comes(self, shop: Shop) -> None:
        shop.say("m")
        together = threading.Barrier(4)

        def ask(number: int) -> states.Requested:
            together.wait()
            return shop.request(event_id=f"ask{number}")

        with ThreadPoolExecutor(4) as threads:
            asked = list(threads.map(ask, range(4)))
        assert len({each.handoff_id for each in asked}) == 1
        assert sum(each.new for each in asked) == 1


class TestSilence:
    def test_while_it_is_only_requested_the_bot_answers(self, shop: Shop) -> None:
        shop.request()
        assert isinstance(shop.say("m"), Received)

    def test_what_waits_is_stopped_and_what_runs_is_asked_to_stop(self, shop: Shop) -> None:
        shop.say("running")
        shop.chat.claimed()
        shop.say("waiting")
        claimed = shop.claim(shop.request().handoff_id)
        assert [turn.state for turn in claimed.stopped] == [TurnState.RUNNING, TurnState.CANCELLED]
        assert claimed.stopped[0].cancel_requested

    def test_an_edited_question_is_not_answered_and_keeps_its_new_wording(self, shop: Shop) -> None:
        shop.say("m")
        shop.chat.finish(shop.chat.claimed())
        shop.claimed()
        with shop.chat.database.write() as session:
            assert conversations.edit(session, shop.place(), "m", "other words", shop.chat.now) is None
        assert [turn.state for turn in shop.turns()] == [TurnState.DONE]
        with shop.chat.database.read() as session:
            assert history.turn_view(session, shop.turns()[0].id).text == "other words"

    def test_an_answer_is_not_made_anew(self, shop: Shop) -> None:
        shop.say("m")
        shop.chat.finish(shop.chat.claimed())
        handoff_id = shop.claimed()
        turn_id = shop.turns()[0].id
        with pytest.raises(HandedOff), shop.chat.database.write() as session:
            conversations.regenerate(session, shop.place(), Person(id="p"), turn_id, shop.chat.now)
        shop.release(handoff_id)
        with shop.chat.database.write() as session:
            conversations.regenerate(session, shop.place(), Person(id="p"), turn_id, shop.chat.now)

    def test_the_same_event_is_passed_on_once_also_after_the_release(self, shop: Shop) -> None:
        handoff_id = shop.claimed()
        first, again = shop.say("m"), shop.say("m")
        assert isinstance(first, PassedOn) and isinstance(again, PassedOn)
        assert (first.message_id, first.duplicate, again.duplicate) == (again.message_id, False, True)
        shop.release(handoff_id)
        later = shop.say("m")
        assert isinstance(later, PassedOn) and later.duplicate
        assert shop.turns() == []

    def test_others_in_the_workspace_are_answered(self, shop: Shop) -> None:
        shop.claimed()
        assert isinstance(shop.say("m", "another"), Received)

    def test_whoever_may_not_speak_may_not_ask_for_a_human_or_speak_to_one(self, shop: Shop) -> None:
        shop.claimed()
        shop.set("blocked_users", "p")
        with pytest.raises(AccessDenied):
            shop.request()
        with pytest.raises(AccessDenied):
            shop.say("m")


class TestScope:
    def test_a_hand_off_is_only_found_in_its_own_conversation(self, shop: Shop) -> None:
        handoff_id = shop.request().handoff_id
        shop.say("m", "another")
        for act in (shop.claim, shop.release):
            with pytest.raises(NotFound):
                act(handoff_id, conversation="another")
        with pytest.raises(NotFound):
            shop.reply(handoff_id, "hello", conversation="another")
        with pytest.raises(NotFound):
            shop.claim(handoff_id, conversation="nowhere")

    def test_the_words_of_the_wish_are_kept_and_told(self, shop: Shop) -> None:
        shop.say("before")
        requested = shop.request(words="my parcel is lost", why=HandoffReason.REQUEST)
        with shop.chat.database.read() as session:
            lines = transcripts.transcript(session, requested.handoff_id, before_seq=shop.view(1).opened_seq)
        assert [line.text for line in lines] == ["words of before", "my parcel is lost"]
        assert len(shop.turns()) == 1


class TestTheEnd:
    @pytest.mark.parametrize("hours", [71, 73])
    def test_a_hand_off_that_nobody_touches_ends_in_time(self, shop: Shop, hours: int) -> None:
        handoff_id = shop.request().handoff_id
        shop.chat.later(3600 * hours)
        with shop.chat.database.write() as session:
            ended = states.release_stale(session, shop.chat.now - timedelta(hours=72), shop.chat.now)
        assert ended == (hours > 72)
        assert shop.view(handoff_id).cause is (ReleaseCause.TIMEOUT if ended else None)

    def test_every_word_keeps_it_open(self, shop: Shop) -> None:
        handoff_id = shop.claimed()
        for act in (lambda: shop.say("m"), lambda: shop.reply(handoff_id, "hello")):
            shop.chat.later(3600 * 50)
            act()
            with shop.chat.database.write() as session:
                assert not states.release_stale(session, shop.chat.now - timedelta(hours=72), shop.chat.now)

    def test_the_bot_knows_afterwards_what_was_said(self, shop: Shop) -> None:
        shop.say("question")
        shop.chat.finish(shop.chat.claimed(), "an answer")
        handoff_id = shop.claimed()
        shop.say("to-a-human")
        shop.reply(handoff_id, "from a human")
        shop.release(handoff_id)
        shop.say("next")
        claimed = shop.chat.claimed()
        with shop.chat.database.read() as session:
            said = history.load_history(session, claimed.conversation_id, 1, claimed.seq, "r")
        assert [(speech.text, speech.staff) for speech in said] == [
            ("words of question", False),
            ("words of to-a-human", False),
            ("from a human", True),
        ]
