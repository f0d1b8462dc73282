"""What is found from a place or a Workspace is of it."""

from __future__ import annotations

from core import places
from tests.core.conftest import Chat


def test_an_event_is_found_in_every_conversation_of_its_workspace(chat: Chat) -> None:
    for conversation, workspace in (("1", "w"), ("2", "w"), ("1", "other")):
        chat.say("m", conversation=conversation, workspace=workspace)
    with chat.database.read() as session:
        found = places.of_event(session, "web", "w", "m")
        assert [place.conversation for place in found] == ["1", "2"]
        assert places.of_event(session, "web", "w", "unknown") == []


def test_events_that_asked_something_are_told_from_others(chat: Chat) -> None:
    chat.say("m")
    chat.say("n", conversation="2")
    chat.say("o", workspace="other")
    with chat.database.read() as session:
        assert places.asked_events(session, "web", "w", ["m", "n", "o", "unknown"]) == {"m", "n"}
