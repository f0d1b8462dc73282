"""A Workspace that is left: what ends there, and what elsewhere does not."""

from __future__ import annotations

import pytest

from core import closing, privacy
from core.errors import LeaseLost
from core.history import conversation_view, turn_view, waiting
from core.models import Turn
from core.values import Person, Place, TurnState
from tests.core.conftest import Chat

PLACE = Place(platform="web", workspace="w", conversation="c")


def close(chat: Chat, workspace: str = "w") -> list[Turn]:
    with chat.database.read() as session:
        turn_ids = closing.undelivered_turns(session, "web", workspace)
    with chat.database.write() as session:
        return [closing.give_up(session, turn_id, chat.now)[0] for turn_id in turn_ids]


def test_what_waits_and_what_runs_ends_and_what_was_said_stays(chat: Chat) -> None:
    chat.say("running"), chat.say("waiting")
    claimed = chat.claimed()
    assert len(close(chat)) == 2
    with chat.database.read() as session:
        turns = conversation_view(session, PLACE, 10)
        assert [(turn.state, turn.text) for turn in turns] == [
            (TurnState.CANCELLED, "words of running"),
            (TurnState.CANCELLED, "words of waiting"),
        ]
        assert waiting(session, "web") == []
    with pytest.raises(LeaseLost):
        chat.finish(claimed)
    assert chat.claim() is None


def test_an_answer_that_nobody_fetched_is_given_up_and_kept(chat: Chat) -> None:
    chat.say("m")
    chat.finish(chat.claimed())
    (turn,) = close(chat)
    with chat.database.read() as session:
        view = turn_view(session, turn.id)
    assert (view.state, view.answer and view.answer.text) == (TurnState.DONE, "an answer")
    assert close(chat) == []


def test_of_who_opted_out_nothing_is_left(chat: Chat) -> None:
    chat.say("before")
    chat.finish(chat.claimed())
    close(chat)
    with chat.database.write() as session:
        privacy.opt(session, "web", Person(id="p").id, out=True, now=chat.now)
    chat.say("after")
    close(chat)
    with chat.database.read() as session:
        assert [turn.text for turn in conversation_view(session, PLACE, 10)] == ["words of before", ""]


def test_other_workspaces_go_on(chat: Chat) -> None:
    theirs = chat.say("m", workspace="other").turn_id
    chat.say("m")
    close(chat)
    assert chat.claimed().turn_id == theirs


def test_workspaces_are_found_by_how_their_ids_begin(chat: Chat) -> None:
    for workspace in ("E1-T1", "E1-T2", "E10-T1", "E_-T1", "T1"):
        chat.say("m", workspace=workspace)
    with chat.database.read() as session:
        assert closing.workspaces(session, "web", "E1-") == ["E1-T1", "E1-T2"]
        assert closing.workspaces(session, "web", "E_-") == ["E_-T1"]
