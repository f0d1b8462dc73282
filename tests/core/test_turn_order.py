"""To whom a Turn is left for a moment, and that nobody waits for ever."""

from __future__ import annotations

from core.intake import next_seq
from core.turn_order import Others
from tests.core.conftest import Chat

GRACE_S = 0.05
BESIDE_B = Others(frozenset({"b"}), 2, GRACE_S)
BESIDE_A = Others(frozenset({"a"}), 2, GRACE_S)


def answered_by(chat: Chat, owner: str, **where: str) -> None:
    """A Turn of the Conversation that `owner` has answered."""
    chat.say(f"m{chat.now.timestamp()}", **where)
    chat.finish(chat.claimed(owner), kv_worker=owner)


def test_the_next_turn_is_left_to_the_worker_that_has_its_kv_and_then_to_anybody(chat: Chat) -> None:
    answered_by(chat, "b")
    chat.later(60)
    next_turn = chat.say("next").turn_id
    assert chat.claim("a", BESIDE_B) is None
    assert chat.left_for(BESIDE_B) == GRACE_S
    chat.later(GRACE_S)
    assert chat.left_for(BESIDE_B) is None
    assert chat.claimed("a", BESIDE_B).turn_id == next_turn


def test_the_worker_that_has_the_kv_does_not_wait(chat: Chat) -> None:
    answered_by(chat, "b")
    next_turn = chat.say("next").turn_id
    assert chat.claimed("b", BESIDE_A).turn_id == next_turn


def test_a_turn_that_waited_for_the_one_before_it_is_left_from_then_on(chat: Chat) -> None:
    chat.say("m1"), chat.say("m2")
    first = chat.claimed("b")
    chat.later(60)
    chat.finish(first, kv_worker="b")
    assert chat.claim("a", BESIDE_B) is None
    assert chat.claim("b", BESIDE_A) is not None


def test_others_are_answered_meanwhile(chat: Chat) -> None:
    answered_by(chat, "b", conversation="old")
    chat.say("m1", conversation="old")
    other = chat.say("m2", conversation="new").turn_id
    assert chat.claimed("a", BESIDE_B).turn_id == other
    assert chat.claim("a", BESIDE_B) is None


def test_nothing_is_left_to_a_worker_that_is_gone_or_full(chat: Chat) -> None:
    answered_by(chat, "gone", conversation="1")
    answered_by(chat, "b", conversation="2")
    running = []
    for conversation in ("3", "4"):
        chat.say(conversation, conversation=conversation)
        running.append(chat.claimed("b"))
    turns = {chat.say("m1", conversation="1").turn_id, chat.say("m2", conversation="2").turn_id}
    assert chat.left_for(BESIDE_B) is None
    assert {chat.claimed("a", BESIDE_B).turn_id for _ in turns} == turns
    assert len(running) == BESIDE_B.slots


def test_what_was_answered_without_a_model_changes_nothing(chat: Chat) -> None:
    answered_by(chat, "b")
    chat.say("curated")
    chat.finish(chat.claimed("a"))
    chat.say("next")
    assert chat.claim("a", BESIDE_B) is None


def test_a_clock_that_is_ahead_leaves_nothing(chat: Chat) -> None:
    answered_by(chat, "b")
    chat.say("next")
    chat.later(-1)
    assert chat.claim("a", BESIDE_B) is not None


def test_a_conversation_that_somebody_has_locked_does_not_hold_the_answer_up(chat: Chat) -> None:
    if chat.database.sqlite:
        return  # one writes at a time
    chat.say("m1")
    claimed = chat.claimed("b")
    with chat.database.write() as session:
        next_seq(session, claimed.conversation_id)
        chat.finish(claimed, kv_worker="b")
