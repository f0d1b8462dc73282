"""What is said to humans is kept, exported, forgotten and purged as everything else."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from core import archive, privacy, retention
from core.handoffs import states
from core.models import Base, Message
from core.places import find_participant
from core.values import DeliveryState, HandoffState, RelayKind, ReleaseCause, Side
from tests.core.handoffs.asking import Shop

MARK = "xylophone"


@pytest.fixture
def spoken(shop: Shop) -> Shop:
    """A conversation with a human, all of it brought."""
    shop.say("before")
    shop.chat.finish(shop.chat.claimed(), "an answer")
    handoff_id = shop.request(words=f"lost my {MARK}").handoff_id
    shop.claim(handoff_id)
    shop.say(f"more-{MARK}")
    shop.reply(handoff_id, f"which {MARK}?")
    shop.bring_all()
    return shop


def forget(shop: Shop, person: str = "p") -> privacy.Forgotten:
    with shop.chat.database.write() as session:
        participant = find_participant(session, shop.platform, person)
        assert participant is not None
        states.release_of_person(session, participant.id, shop.chat.now)
    with shop.chat.database.write() as session:
        return privacy.forget(session, participant.id, shop.chat.now)


def everything(shop: Shop) -> str:
    with shop.chat.database.read() as session:
        tables = [name for name in Base.metadata.tables if name not in ("message",)]  # event ids of these tests
        return "\n".join(str(row) for name in tables for row in session.execute(text(f'SELECT * FROM "{name}"')))


def opt_out(shop: Shop) -> None:
    with shop.chat.database.write() as session:
        privacy.opt(session, "discord", "p", out=True, now=shop.chat.now)


def kept(shop: Shop) -> int:
    with shop.chat.database.read() as session:
        rows = session.scalars(select(Message).where(Message.handoff_id.is_not(None), Message.deleted_at.is_(None)))
        return len(rows.all())


def test_forgetting_in_the_middle_ends_it_and_leaves_no_word(spoken: Shop) -> None:
    assert MARK in everything(spoken)
    forgotten = forget(spoken)
    assert MARK not in everything(spoken)
    assert forgotten.purged.messages == 4, "what they said, and what staff said to them"
    view = spoken.view(1)
    assert (view.state, view.cause, view.person.display_name) == (
        HandoffState.RELEASED,
        ReleaseCause.FORGOTTEN,
        None,
    )


def test_what_staff_were_shown_is_taken_away_after_forgetting(spoken: Shop) -> None:
    forget(spoken)
    due = spoken.bring_all()
    shown = {(taken.kind, taken.words) for taken in due if taken.side is Side.STAFF}
    assert {(RelayKind.NOTICE, ""), (RelayKind.CLAIMED, ""), (RelayKind.WORDS, "")} <= shown
    assert [taken.kind for taken in due if taken.side is Side.PERSON] == [RelayKind.RELEASED]
    assert all(relay.state is DeliveryState.SENT for relay in spoken.relays())


def test_staff_who_are_forgotten_take_their_words_along_and_nobody_elses(spoken: Shop) -> None:
    forget(spoken, "bo")
    assert kept(spoken) == 2
    assert f"lost my {MARK}" in everything(spoken) and f"which {MARK}?" not in everything(spoken)


def test_an_export_has_what_was_said_to_humans_and_by_them(spoken: Shop) -> None:
    with spoken.chat.database.read() as session:
        exported = json.loads(json.dumps(archive.export(session, "discord", "p", spoken.chat.now)))
        of_staff = archive.export(session, "discord", "bo", spoken.chat.now)
    assert [message["handoff"] for message in exported["messages"]] == [None, 1, 1]
    (handoff,) = exported["handoffs"]
    assert [reply["text"] for reply in handoff["replies"]] == [f"which {MARK}?"]
    assert (handoff["reason"], handoff["state"], bool(handoff["claimed_at"])) == ("request", "claimed", True)
    assert [(message["staff"], message["handoff"]) for message in of_staff["messages"]] == [(True, 1)]
    assert of_staff["handoffs"] == []


def test_words_of_who_opted_out_stay_until_it_is_over_and_then_go(shop: Shop) -> None:
    shop.say("before")
    shop.chat.finish(shop.chat.claimed())
    shop.chat.later(1)
    opt_out(shop)
    handoff_id = shop.request(words="help").handoff_id
    shop.claim(handoff_id)
    shop.reply(handoff_id, "hello")

    def purge() -> None:
        shop.chat.later(7200)
        with shop.chat.database.write() as session:
            privacy.purge_overdue(session, shop.chat.now - timedelta(seconds=3600), shop.chat.now)

    purge()
    assert kept(shop) == 2
    shop.release(handoff_id)
    purge()
    assert kept(shop) == 0
    with shop.chat.database.read() as session:
        assert privacy.overdue(session, shop.chat.now) == []


def test_retention_reaches_them(spoken: Shop) -> None:
    spoken.chat.later(40 * 86_400)
    list(retention.purge_old(spoken.chat.database, 30, spoken.chat.now))
    assert kept(spoken) == 0 and MARK not in everything(spoken)
