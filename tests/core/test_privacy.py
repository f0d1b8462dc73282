"""Forgetting a Participant: no word of theirs is left anywhere, and nobody else's is touched."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary, inspect, make_url, select, text

from core import archive, conversations, deliveries, feedback, history, intake, privacy
from core.database import Database
from core.errors import LeaseLost
from core.models import Base, Feedback, Generation, Participant, Turn
from core.places import find_participant
from core.redis import connect, reply_key
from core.service import open_service
from core.settings import Settings
from core.streams import ReplyPublisher
from core.turns import pack_token_ids
from core.values import ContextMessage, Person, Rating, ReplyEvent, ReplyEventKind, TurnState
from tests.core.conftest import MANY, Chat

MARK = "xylophone"
IDS = (4242, 4243)


def say_marked(chat: Chat, event_id: str, person: str, mark: str) -> None:
    message = chat.message(event_id, person=person)

    named = message.model_copy(update={"person": Person(id=person, display_name=mark), "arguments": {"style": mark}})
    with chat.database.write() as session:
        intake.receive(session, named, f"I said {mark}", MANY, chat.now)


def everything(database: Database) -> str:
    """Every value of every column of every table, as text."""
    found = []
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            for row in session.execute(text(f'SELECT * FROM "{table.name}"')):
                found += [value.hex() if isinstance(value, bytes | memoryview) else str(value) for value in row]
    return "\n".join(found)


@pytest.fixture
def spoken(chat: Chat) -> Chat:
    """A marked person and another one have each been answered and have rated; the marked one has more waiting."""
    for person, mark in (("p", MARK), ("someone", "kept")):
        say_marked(chat, f"m-{person}", person, mark)
        claimed = chat.claimed()
        prompt = {"arguments": {"style": mark}, "cut_seq": 1}
        chat.finish(claimed, f"You said {mark}", token_ids=IDS if mark == MARK else (7,), prompt=prompt)
        with chat.database.write() as session:
            place = chat.message("x").place
            feedback.rate(session, place, Person(id=person), claimed.turn_id, Rating.UP, f"about {mark}", chat.now)
    say_marked(chat, "waiting", "p", MARK)
    return chat


def forget(chat: Chat) -> privacy.Forgotten:
    with chat.database.write() as session:
        participant = find_participant(session, "web", "p")
        assert participant is not None
        return privacy.forget(session, participant.id, chat.now)


def test_no_word_is_left_anywhere_and_the_counts_stay(spoken: Chat) -> None:
    assert MARK in everything(spoken.database)
    purged = forget(spoken).purged
    left = everything(spoken.database)
    assert MARK not in left
    assert pack_token_ids(IDS).hex() not in left
    assert (purged.messages, purged.answers, purged.comments) == (2, 1, 1)
    with spoken.database.read() as session:
        assert len(session.scalars(select(Turn)).all()) == 3
        assert len(session.scalars(select(Feedback)).all()) == 2


def test_others_keep_their_words(spoken: Chat) -> None:
    forget(spoken)
    left = everything(spoken.database)
    assert left.count("kept") >= 4  # name, message, answer, comment


def test_what_is_open_ends_at_once_and_a_worker_cannot_bring_words_back(spoken: Chat) -> None:
    working = spoken.claimed()
    forget(spoken)
    with pytest.raises(LeaseLost):
        spoken.finish(working, f"You said {MARK}")
    assert MARK not in everything(spoken.database)
    with spoken.database.read() as session:
        assert session.get_one(Turn, working.turn_id).state is TurnState.CANCELLED


def test_every_column_of_text_or_bytes_is_known_to_the_search() -> None:
    """The search above reads whole tables, so a new column cannot hide words from it."""
    tables = {table.name for table in Base.metadata.sorted_tables}
    assert {mapper.local_table.name for mapper in Base.registry.mappers} == tables  # type: ignore[attr-defined]
    assert isinstance(inspect(Generation).columns["token_ids"].type, LargeBinary)
    assert "display_name" in inspect(Participant).columns


def test_what_others_said_of_their_answers_goes_with_the_answers(spoken: Chat) -> None:
    place = spoken.message("x").place
    with spoken.database.write() as session:
        comment = f"{MARK} is no word"
        feedback.rate(session, place, Person(id="someone"), 1, Rating.DOWN, comment, spoken.now)
    forget(spoken)
    assert MARK not in everything(spoken.database)
    with spoken.database.read() as session:
        assert len(session.scalars(select(Feedback)).all()) == 3
    with spoken.database.write() as session:  # and none comes back
        assert not feedback.rate(session, place, Person(id="someone"), 1, Rating.DOWN, comment, spoken.now)
    assert MARK not in everything(spoken.database)


def test_an_answer_to_somebody_else_that_was_being_made_of_their_words_is_made_anew(chat: Chat) -> None:
    say_marked(chat, "m-p", "p", MARK)
    chat.finish(chat.claimed(), "an answer")
    chat.say("m-other", person="other")
    chat.say("elsewhere", person="other", conversation="c2")
    reading, elsewhere = chat.claimed(), chat.claimed()
    forgotten = forget(chat)
    assert [turn.id for turn in forgotten.restarted] == [reading.turn_id]
    with pytest.raises(LeaseLost):
        chat.finish(reading, f"p said {MARK}")
    chat.finish(elsewhere, "of nothing in particular")
    again = chat.claimed()
    assert (again.turn_id, again.attempt, again.generation_id) == (reading.turn_id, 1, reading.generation_id)
    with chat.database.read() as session:
        (before,) = history.load_history(session, again.conversation_id, 1, again.seq, "r")
        assert (before.text, before.speaker, before.answer) == (None, None, None)
    chat.finish(again, "an answer that knows nothing")
    assert MARK not in everything(chat.database)


def test_who_claimed_while_the_words_were_purged_is_found_afterwards(chat: Chat) -> None:
    chat.say("m-p")
    chat.finish(chat.claimed())
    forgotten = forget(chat)
    chat.say("m-other", person="other")
    claimed = chat.claimed()
    with chat.database.write() as session:
        where = forgotten.purged.conversation_ids
        assert privacy.restart_readers(session, forgotten.participant_id, where, [claimed.turn_id]) == ()
        (turn,) = privacy.restart_readers(session, forgotten.participant_id, where)
    assert (turn.id, turn.fence) == (claimed.turn_id, claimed.fence + 1)


def test_a_deleted_message_takes_its_answer_along(spoken: Chat) -> None:
    with spoken.database.write() as session:
        for event_id in ("m-p", "waiting"):
            conversations.delete(session, spoken.message("x").place, event_id, spoken.now)
    left = everything(spoken.database)
    assert MARK not in left, "nor the name, of someone with nothing left"
    assert pack_token_ids(IDS).hex() not in left


def test_purged_words_are_overwritten_in_the_file(spoken: Chat, database_url: str) -> None:
    file = make_url(database_url).database
    if not spoken.database.sqlite or file is None:
        pytest.skip("What a server keeps in its files is its own affair.")
    forget(spoken)
    spoken.database.close()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert MARK.encode() not in Path(file).read_bytes()


@pytest.mark.parametrize("redis_kind", ["redis_url", "given_redis_url"])
async def test_streams_are_emptied_and_refuse_what_a_worker_still_says(
    spoken: Chat, database_url: str, redis_kind: str, redis_prefix: str, request: pytest.FixtureRequest
) -> None:
    redis_url = request.getfixturevalue(redis_kind)
    settings = Settings(database_url=database_url, redis_url=redis_url, redis_prefix=redis_prefix)
    place, working = spoken.message("x").place, spoken.claimed()
    with connect(redis_url) as client, client.pubsub(ignore_subscribe_messages=True) as control:
        control.subscribe(f"{redis_prefix}:control")
        control.get_message(timeout=5)
        publisher = ReplyPublisher(client, redis_prefix, 60)
        publisher.start()

        def say(turn_id: int, fence: int) -> None:
            kind = ReplyEventKind.DELTA
            publisher.publish(ReplyEvent(turn_id=turn_id, generation_id=1, fence=fence, kind=kind, text=MARK))

        say(1, 1)
        async with open_service(settings) as service:
            following = service.follow(1)
            assert (await anext(following)).text == MARK
            forgotten = await service.privacy.forget(place, Person(id="p"))
            assert forgotten is not None and forgotten.purged.messages == 2
            say(1, 1)
            say(working.turn_id, working.fence)
            publisher.close()
            assert [event.kind async for event in service.follow(working.turn_id)] == [ReplyEventKind.CANCELLED]
            await following.aclose()
        for turn_id in (1, working.turn_id):
            assert MARK not in str(client.xrange(reply_key(redis_prefix, turn_id)))
            assert 0 < client.ttl(reply_key(redis_prefix, turn_id)) <= settings.stream_ttl_s
        told = []
        while (message := control.get_message(timeout=1)) is not None:
            told.append(json.loads(message["data"]))
    assert {"forget": [working.conversation_id]} in told
    assert {"cancel": working.turn_id, "fence": working.fence} in told


async def test_asking_again_empties_streams_that_redis_still_had(
    spoken: Chat, database_url: str, redis_url: str, redis_prefix: str
) -> None:
    with connect(redis_url) as client:
        publisher = ReplyPublisher(client, redis_prefix, 60)
        publisher.start()
        publisher.publish(ReplyEvent(turn_id=1, generation_id=1, fence=1, kind=ReplyEventKind.DELTA, text=MARK))
        publisher.close()
        forget(spoken)  # and then Redis was away
        settings = Settings(database_url=database_url, redis_url=redis_url, redis_prefix=redis_prefix)
        async with open_service(settings) as service:
            forgotten = await service.privacy.forget(spoken.message("x").place, Person(id="p"))
        assert forgotten is not None and forgotten.purged.messages == 0
        assert client.xlen(reply_key(redis_prefix, 1)) == 0


class TestOptingOut:
    """What is said while opted out ends with its Turn; what was said before stays."""

    def test_delivering_an_answer_purges_it_in_the_same_transaction(self, spoken: Chat) -> None:
        opt(spoken, "someone")
        say_marked(spoken, "secret", "someone", "marimba")
        spoken.finish(spoken.claimed(), "waiting is over")
        claimed = spoken.claimed()
        spoken.finish(claimed, "You said marimba", token_ids=(9,), prompt={"arguments": {"style": "marimba"}})
        with spoken.database.write() as session:
            assert deliveries.delivered(session, claimed.turn_id, claimed.fence - 1, spoken.now) is None
        assert "marimba" in everything(spoken.database), "not of this fence: not delivered"
        with spoken.database.write() as session:
            purged = deliveries.delivered(session, claimed.turn_id, claimed.fence, spoken.now)
        assert purged is not None
        assert (purged.messages, purged.answers, dict(purged.silenced)) == (1, 1, {claimed.turn_id: claimed.fence + 1})
        left = everything(spoken.database)
        assert "marimba" not in left, "nor was it taken for a name"
        assert left.count("kept") >= 3, "what was said before stays"
        assert MARK in left, "and others keep theirs"

    def test_the_name_of_someone_with_nothing_left_goes_too(self, chat: Chat) -> None:
        say_marked(chat, "m", "p", MARK)
        opt(chat, "p")
        claimed = chat.claimed()
        chat.finish(claimed, MARK)
        with chat.database.write() as session:
            deliveries.delivered(session, claimed.turn_id, claimed.fence, chat.now)
        assert MARK not in everything(chat.database)

    def test_a_queued_turn_that_is_cancelled_is_purged_at_once(self, chat: Chat) -> None:
        opt(chat, "p")
        say_marked(chat, "m", "p", MARK)
        with chat.database.write() as session:
            conversations.cancel(session, chat.message("m").place, Person(id="p"), 1, chat.now)
        assert MARK not in everything(chat.database)

    def test_what_nobody_fetches_is_overdue_after_a_while(self, chat: Chat) -> None:
        say_marked(chat, "before", "p", "earlier")
        chat.finish(chat.claimed(), "earlier answer")
        chat.later(1)
        opt(chat, "p")
        for event_id in ("failed", "done", "open"):
            say_marked(chat, event_id, "p", MARK)
        chat.finish(chat.claimed(), MARK, TurnState.FAILED)
        chat.finish(chat.claimed(), MARK)
        with chat.database.write() as session:
            assert privacy.purge_overdue(session, chat.now, chat.now).messages == 0, "ended just now"
            chat.later(100)
            assert len(privacy.overdue(session, chat.now)) == 2
            assert privacy.purge_overdue(session, chat.now, chat.now).messages == 2
            assert privacy.overdue(session, chat.now) == []
            shown = history.conversation_view(session, chat.message("x").place, 10)
        assert [view.purged for view in shown] == [False, True, True, False]
        assert [view.delivered_at for view in shown if view.purged] == [None, None], "who comes back is told so"

    def test_a_new_wording_is_only_kept_to_be_answered(self, chat: Chat) -> None:
        place, read = (
            chat.message("m").place,
            ContextMessage(event_id="read", person=Person(id="p"), text="for context"),
        )
        with chat.database.write() as session:
            asking = chat.message("m", person="other").model_copy(update={"context": (read,)})
            intake.receive(session, asking, "a question", MANY, chat.now)
        chat.finish(chat.claimed())
        opt(chat, "p")
        with chat.database.write() as session:
            assert conversations.edit(session, place, "read", MARK, chat.now) is None
        left = everything(chat.database)
        assert MARK not in left and "for context" in left

    def test_no_name_is_stored_of_who_is_only_met(self, chat: Chat) -> None:
        opt(chat, "p")
        ada, bob = (Person(id=name, display_name=f"{MARK} {name}") for name in ("p", "bob"))
        read = ContextMessage(event_id="read", person=ada, text="not kept")
        with chat.database.write() as session:
            asking = chat.message("m", person="other").model_copy(update={"context": (read,)})
            intake.receive(session, asking, "a question", MANY, chat.now)
        claimed = chat.claimed()
        chat.finish(claimed)
        with chat.database.write() as session:
            feedback.rate(session, asking.place, bob, claimed.turn_id, Rating.UP, "", chat.now)
        assert MARK not in everything(chat.database)

    def test_no_comment_of_theirs_is_kept(self, spoken: Chat) -> None:
        opt(spoken, "someone")
        place, someone = spoken.message("x").place, Person(id="someone")
        with spoken.database.write() as session:
            assert not feedback.rate(session, place, someone, 1, Rating.UP, "about xylophones", spoken.now)
            assert feedback.rate(session, place, someone, 1, Rating.DOWN, "", spoken.now)
        assert "about xylophones" not in everything(spoken.database)

    def test_opting_in_again_keeps_what_is_said_from_then_on(self, chat: Chat) -> None:
        opt(chat, "p")
        opt(chat, "p", out=False)
        say_marked(chat, "m", "p", MARK)
        claimed = chat.claimed()
        chat.finish(claimed)
        with chat.database.write() as session:
            assert deliveries.delivered(session, claimed.turn_id, claimed.fence, chat.now) is not None
        assert MARK in everything(chat.database)

    def test_it_lasts_through_being_forgotten_and_is_known_by_the_platforms_ids(self, spoken: Chat) -> None:
        for person in ("p", "never seen"):
            opt(spoken, person)
        forget(spoken)
        with spoken.database.read() as session:
            found = privacy.opted_out_people(session, "web", ["p", "someone", "never seen", "unknown"])
            assert privacy.opted_out_people(session, "slack", ["p"]) == frozenset()
        assert found == {"p", "never seen"}

    def test_who_says_it_twice_is_out_since_the_first_time(self, chat: Chat) -> None:
        opt(chat, "p")
        first = chat.now
        chat.later(10)
        opt(chat, "p")
        with chat.database.read() as session:
            person = find_participant(session, "web", "p")
            assert person is not None and person.opted_out_at == first


def opt(chat: Chat, person: str, *, out: bool = True) -> None:
    with chat.database.write() as session:
        privacy.opt(session, "web", person, out=out, now=chat.now)


class TestExport:
    def test_it_holds_everything_of_the_person_and_nothing_of_others(self, spoken: Chat) -> None:
        with spoken.database.write() as session:
            conversations.edit(session, spoken.message("x").place, "waiting", f"other {MARK}", spoken.now)
        with spoken.database.read() as session:
            document = archive.export(session, "web", "p", spoken.now)
        assert json.loads(json.dumps(document)) == document
        assert "kept" not in json.dumps(document)
        assert (document["version"], document["display_name"], document["opted_out"]) == (1, MARK, False)
        answered, waiting = document["messages"]
        assert (answered["workspace"], answered["conversation"], answered["event_id"]) == ("w", "c", "m-p")
        assert answered["turn"]["arguments"] == {"style": MARK}
        assert [answer["text"] for answer in answered["turn"]["answers"]] == [f"You said {MARK}"]
        assert [revision["text"] for revision in waiting["revisions"]] == [f"I said {MARK}", f"other {MARK}"]
        (rating,) = document["ratings"]
        assert (rating["rating"], rating["comment"], rating["turn"]) == ("up", f"about {MARK}", 1)

    def test_after_forgetting_it_holds_that_something_was_there(self, spoken: Chat) -> None:
        forget(spoken)
        with spoken.database.read() as session:
            document = archive.export(session, "web", "p", spoken.now)
        assert MARK not in json.dumps(document)
        assert all(message["purged_at"] for message in document["messages"])

    def test_someone_who_was_never_seen_gets_an_empty_one(self, chat: Chat) -> None:
        with chat.database.read() as session:
            document = archive.export(session, "web", "nobody", chat.now)
        assert (document["messages"], document["ratings"], document["first_seen_at"]) == ([], [], None)
