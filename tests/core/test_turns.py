"""The queue in SQL: who is claimed when, and what a lost worker can no longer do."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from core import conversations, turns
from core.errors import FailureCode, LeaseLost
from core.models import Conversation, Generation, Turn
from core.turns import pack_token_ids, unpack_token_ids
from core.values import FinishReason, Person, TurnState
from tests.core.conftest import LEASE_S, Chat


def state_of(chat: Chat, turn_id: int) -> TurnState:
    with chat.database.read() as session:
        return session.get_one(Turn, turn_id).state


def generations_of(chat: Chat, turn_id: int) -> list[Generation]:
    with chat.database.read() as session:
        return list(
            session.scalars(select(Generation).where(Generation.turn_id == turn_id).order_by(Generation.number))
        )


def test_turns_of_a_conversation_are_claimed_one_after_the_other_in_order(chat: Chat) -> None:
    said = [chat.say(f"m{i}").turn_id for i in range(3)]
    claimed = []
    for _ in said:
        turn = chat.claimed()
        assert chat.claim("another") is None, "one at a time"
        chat.finish(turn)
        claimed.append(turn.turn_id)
    assert claimed == said


def test_conversations_are_answered_side_by_side(chat: Chat) -> None:
    first, second = chat.say("a", conversation="1"), chat.say("b", conversation="2")
    assert {chat.claimed().turn_id, chat.claimed().turn_id} == {first.turn_id, second.turn_id}


def test_a_flood_from_one_workspace_does_not_delay_another(chat: Chat) -> None:
    for i in range(20):
        chat.say(f"flood{i}", workspace="loud", conversation=f"c{i}", person=f"p{i}")
    quiet = chat.say("quiet", workspace="quiet", conversation="q")
    chat.claimed()
    assert chat.claimed().turn_id == quiet.turn_id


def test_within_a_workspace_the_person_with_the_fewest_running_goes_first(chat: Chat) -> None:
    for i in range(5):
        chat.say(f"loud{i}", conversation=f"c{i}", person="loud")
    quiet = chat.say("quiet", conversation="q", person="quiet")
    chat.claimed()
    assert chat.claimed().turn_id == quiet.turn_id


def test_no_turn_is_claimed_twice_by_workers_in_parallel(chat: Chat) -> None:
    expected = {chat.say(f"m{i}", conversation=f"c{i % 10}").turn_id for i in range(40)}
    claimed: list[int] = []
    lock = threading.Lock()

    def work(owner: str) -> None:
        while len(claimed) < len(expected):
            turn = chat.claim(owner)
            if turn is not None:
                with lock:
                    claimed.append(turn.turn_id)
                chat.finish(turn)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(expected)


def test_heartbeat_renews_leases_and_tells_what_to_cancel(chat: Chat) -> None:
    chat.say("a", conversation="1"), chat.say("b", conversation="2")
    first, second = chat.claimed(), chat.claimed()
    message = chat.message("a", conversation="1")
    with chat.database.write() as session:
        conversations.cancel(session, message.place, Person(id="p"), first.turn_id, chat.now)
    chat.later(LEASE_S - 1)
    with chat.database.write() as session:
        held, cancelled = turns.heartbeat(session, "me", LEASE_S, chat.now)
    assert held == {first.turn_id: first.fence, second.turn_id: second.fence}
    assert cancelled == {first.turn_id}
    chat.later(LEASE_S - 1)
    with chat.database.write() as session:
        assert turns.reap(session, 3, chat.now).requeued == ()


def test_a_worker_that_lost_its_lease_writes_nothing(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    slow = chat.claimed("slow")
    chat.later(LEASE_S + 1)
    with chat.database.write() as session:
        assert turns.reap(session, 3, chat.now).requeued == (turn_id,)
    with pytest.raises(LeaseLost):
        chat.finish(slow, "too late")
    quick = chat.claimed("quick")
    assert quick.fence > slow.fence
    with pytest.raises(LeaseLost):
        chat.finish(slow, "too late")
    chat.finish(quick, "in time")
    assert [g.text for g in generations_of(chat, turn_id)] == ["in time"]


def test_a_lost_attempt_reuses_its_generation_and_regenerating_adds_one(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    lost = chat.claimed()
    chat.later(LEASE_S + 1)
    with chat.database.write() as session:
        turns.reap(session, 3, chat.now)
    again = chat.claimed()
    assert again.generation_id == lost.generation_id
    chat.finish(again, "first")
    with chat.database.write() as session:
        conversations.regenerate(session, chat.message("m").place, Person(id="p"), turn_id, chat.now)
    chat.finish(chat.claimed(), "second")
    assert [(g.number, g.text, g.selected) for g in generations_of(chat, turn_id)] == [
        (1, "first", False),
        (2, "second", True),
    ]


def test_after_the_last_attempt_a_turn_fails_and_its_followers_can_be_told(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    for _ in range(2):
        chat.claimed()
        chat.later(LEASE_S + 1)
        with chat.database.write() as session:
            reaped = turns.reap(session, 2, chat.now)
    (ended,) = reaped.ended
    assert (ended.turn_id, ended.state, ended.failure) == (turn_id, TurnState.FAILED, FailureCode.ATTEMPTS)
    assert state_of(chat, turn_id) is TurnState.FAILED
    assert chat.claim() is None
    assert generations_of(chat, turn_id)[0].finish_reason is FinishReason.ERROR


def test_a_cancelled_turn_of_a_lost_worker_ends_cancelled(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    chat.claimed()
    with chat.database.write() as session:
        conversations.cancel(session, chat.message("m").place, Person(id="p"), turn_id, chat.now)
    chat.later(LEASE_S + 1)
    with chat.database.write() as session:
        (ended,) = turns.reap(session, 3, chat.now).ended
    assert ended.state is TurnState.CANCELLED
    assert state_of(chat, turn_id) is TurnState.CANCELLED


def test_released_turns_go_back_to_the_queue_without_losing_an_attempt(chat: Chat) -> None:
    chat.say("m")
    drained = chat.claimed("drained")
    with chat.database.write() as session:
        assert turns.release(session, "drained", chat.now) == [drained.turn_id]
    again = chat.claimed("next")
    assert again.attempt == drained.attempt
    with pytest.raises(LeaseLost):
        chat.finish(drained)


def test_a_failed_regeneration_leaves_the_earlier_answer_selected(chat: Chat) -> None:
    turn_id = chat.say("m").turn_id
    chat.finish(chat.claimed(), "good")
    with chat.database.write() as session:
        conversations.regenerate(session, chat.message("m").place, Person(id="p"), turn_id, chat.now)
    chat.finish(chat.claimed(), "", TurnState.FAILED, failure=FailureCode.ENGINE)
    assert [(g.text, g.selected) for g in generations_of(chat, turn_id)] == [("good", True), ("", False)]


def test_the_cut_only_moves_forward(chat: Chat) -> None:
    chat.say("m")
    chat.finish(chat.claimed(), cut_seq=5)
    chat.say("n")
    chat.finish(chat.claimed(), cut_seq=3)
    with chat.database.read() as session:
        assert session.scalars(select(Conversation.cut_seq)).one() == 5


def test_token_ids_are_kept_as_they_were() -> None:
    ids = (0, 1, 65_535, 65_536, 2**32 - 1)
    assert unpack_token_ids(pack_token_ids(ids)) == ids
