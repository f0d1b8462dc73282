"""Which message of the platform belongs to which Turn, and from where on what was missed is asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core import conversations, deliveries, history, intake
from core.backfill import BackfillPoint, backfill_points
from core.history import TurnView
from core.values import ContextMessage, Person
from tests.core.conftest import MANY, Chat


def delivered(chat: Chat, *external_ids: str) -> int:
    """Answer the next Turn in so many chunks; its id."""
    claimed = chat.claimed()
    chat.finish(claimed)
    with chat.database.write() as session:
        for chunk, external_id in enumerate(external_ids):
            deliveries.sending(session, claimed.generation_id, chunk, chat.now)
            deliveries.sent(session, claimed.generation_id, chunk, external_id, chat.now)
    return claimed.turn_id


def turn_of(chat: Chat, external_id: str, platform: str = "web", workspace: str = "w") -> TurnView | None:
    with chat.database.read() as session:
        return history.turn_of_message(session, platform, workspace, external_id)


def points(chat: Chat, hours: float, platform: str = "web") -> list[BackfillPoint]:
    with chat.database.read() as session:
        return backfill_points(session, platform, chat.now - timedelta(hours=hours))


class TestTurnOfMessage:
    """By the platform's id of any chunk."""

    def test_every_chunk_leads_to_its_turn(self, chat: Chat) -> None:
        chat.say("m")
        turn_id = delivered(chat, "100", "101")
        for external_id in ("100", "101"):
            found = turn_of(chat, external_id)
            assert found is not None and found.turn_id == turn_id

    @pytest.mark.parametrize(
        "elsewhere", [{"external_id": "m"}, {"platform": "discord"}, {"workspace": "other"}, {"external_id": ""}]
    )
    def test_any_other_message_leads_nowhere(self, chat: Chat, elsewhere: dict[str, str]) -> None:
        chat.say("m")
        delivered(chat, "100")
        assert turn_of(chat, **{"external_id": "100", **elsewhere}) is None

    def test_an_earlier_answer_still_leads_to_its_turn(self, chat: Chat) -> None:
        turn_id = chat.say("m").turn_id
        delivered(chat, "100")
        with chat.database.write() as session:
            conversations.regenerate(session, chat.message("m").place, Person(id="p"), turn_id, chat.now)
        delivered(chat, "200")
        for external_id in ("100", "200"):
            found = turn_of(chat, external_id)
            assert found is not None and found.turn_id == turn_id


class TestBackfillPoints:
    """Conversations that are alive, each with its newest message."""

    def test_each_living_conversation_is_told_once_with_its_newest_event(self, chat: Chat) -> None:
        chat.say("old", conversation="asleep")
        chat.later(7200)
        for event_id in ("1", "2"):
            chat.say(event_id, conversation="a")
        message = chat.message("3", conversation="b", workspace="v")
        beside = ContextMessage(event_id="0", person=Person(id="q"), text="x")
        with chat.database.write() as session:
            with_more = message.model_copy(update={"channel": "ch", "context": (beside,)})
            intake.receive(session, with_more, "x", MANY, chat.now)
        found = points(chat, hours=1)
        assert [(each.place, each.channel, each.newest_event_id) for each in found] == [
            (chat.message("1", conversation="a").place, None, "2"),
            (message.place, "ch", "3"),
        ]
        assert len(points(chat, hours=3)) == 3

    def test_other_platforms_are_not_told(self, chat: Chat) -> None:
        chat.say("1")
        assert points(chat, hours=1, platform="discord") == []
