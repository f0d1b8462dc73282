"""Words that are older than they may be kept go; nothing younger does, whatever else happened to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from core import conversations, feedback, history, privacy, retention, turns
from core.database import Database
from core.models import Base, Conversation, Generation, Message, Participant, Turn, Workspace
from core.prompts import PromptRequest, Speech, assemble, version_of
from core.purging import Purged
from core.queue import WakeUps, make_celery
from core.reaper import Reaper
from core.recipes import load
from core.redis import connect, control_channel
from core.settings import Settings
from core.turns import Source
from core.values import Person, Rating
from tests.core.conftest import Chat
from tests.core.test_privacy import everything, say_marked

KEPT_DAYS = 30
ASKER = Person(id="p")


def purge(chat: Chat, days: int = KEPT_DAYS) -> Purged:
    total = Purged()
    for purged in retention.purge_old(chat.database, days, chat.now):
        total += purged
    return total


def settle(chat: Chat, workspace: str, **own: object) -> None:
    """Give a Workspace settings of its own."""
    with chat.database.write() as session:
        session.execute(update(Workspace).where(Workspace.external_id == workspace).values(settings=own))


def answered(chat: Chat, mark: str, **where: str) -> int:
    """A Turn that was asked, answered, and rated with a comment, all with the mark in it; its id."""
    chat.say(mark, **where)
    claimed = chat.claimed()
    chat.finish(claimed, f"answer to {mark}", token_ids=(1, 2), prompt=prompt_of(chat, claimed))
    rate(chat, claimed.turn_id, f"comment on {mark}", **where)
    return claimed.turn_id


def prompt_of(chat: Chat, claimed: turns.ClaimedTurn) -> dict[str, object]:
    recipe = load("chat")
    with chat.database.write() as session:
        before = history.load_history(session, claimed.conversation_id, 1, claimed.seq, "r")
        for source in (Source(recipe.version, "chat", recipe.source), Source(version_of(""), "persona", "")):
            turns._keep_sources(session, (source,), chat.now)
    newest = Speech(claimed.seq, claimed.message_id, claimed.revision, claimed.text)
    request = PromptRequest(recipe, newest, budget=10_000, history=before)
    return assemble(request, lambda prompt: len(prompt.parts)).record.model_dump(mode="json")


def rate(chat: Chat, turn_id: int, comment: str, **where: str) -> None:
    with chat.database.write() as session:
        feedback.rate(session, chat.message("x", **where).place, ASKER, turn_id, Rating.UP, comment, chat.now)


@dataclass(frozen=True)
class Act:
    """What happens to one of the Turns on some day."""

    day: int
    turn: int
    what: str


ACTS = st.builds(
    Act, st.integers(0, 100), st.integers(0, 2), st.sampled_from(["edit", "regenerate", "comment", "reset", "delete"])
)


class Model:
    """What people do to three Turns, and when each wording, answer and comment was written."""

    def __init__(self, chat: Chat) -> None:
        self.chat, self.place = chat, chat.message("x").place
        self.written: dict[str, datetime] = {}
        self.comments: dict[int, str] = {}  # by Generation
        self.turn_ids: list[int] = []
        for number in range(3):
            event_id = f"turn{number}"
            self.turn_ids.append(answered(chat, event_id))
            for words in (f"words of {event_id}", f"answer to {event_id}"):
                self.written[words] = chat.now
            self._note_comment(self.turn_ids[-1], f"comment on {event_id}")

    def act(self, act: Act, number: int) -> None:
        """Do it as a person would, unless they would be refused."""
        event_id, turn_id = f"turn{act.turn}", self.turn_ids[act.turn]
        chat, tag = self.chat, f"number {number} {event_id}"
        with chat.database.write() as session:
            purged = history.turn_view(session, turn_id).purged
            if act.what == "reset":
                conversations.reset(session, self.place)
            elif act.what == "delete":
                conversations.delete(session, self.place, event_id, chat.now)
                self.written = {words: at for words, at in self.written.items() if event_id not in words}
            elif act.what == "edit" and conversations.edit(session, self.place, event_id, f"edit {tag}", chat.now):
                self.written[f"edit {tag}"] = chat.now
            elif act.what == "regenerate" and not purged:
                conversations.regenerate(session, self.place, ASKER, turn_id, chat.now)
        if claimed := chat.claim():
            chat.finish(claimed, f"answer {tag}", token_ids=(3,), prompt=prompt_of(chat, claimed))
            self.written[f"answer {tag}"] = chat.now
        if act.what == "comment":
            rate(chat, turn_id, f"comment {tag}")
            self._note_comment(turn_id, f"comment {tag}")

    def _note_comment(self, turn_id: int, words: str) -> None:
        """A comment replaces the one of before on the same answer, and is not kept of a purged one."""
        with self.chat.database.read() as session:
            selected = Generation.turn_id == turn_id, Generation.selected
            generation_id = session.scalars(select(Generation.id).where(*selected)).one()
            of_turn = select(Message.deleted_at).join(Turn, Turn.message_id == Message.id).where(Turn.id == turn_id)
            deleted = session.scalars(of_turn).one() is not None
        self.written.pop(self.comments.get(generation_id, ""), None)
        self.comments[generation_id] = words
        if not deleted:
            self.written[words] = self.chat.now

    def check(self) -> None:
        """What is kept is in SQL; what is not is neither there nor in what anybody is shown."""
        left = set(everything(self.chat.database).split("\n"))
        since = self.chat.now - timedelta(days=KEPT_DAYS)
        gone = {words for words, at in self.written.items() if at < since}
        assert gone.isdisjoint(left)
        assert self.written.keys() - gone <= left
        with self.chat.database.read() as session:
            conversation_id = session.scalars(select(Conversation.id)).one()
            shown = repr(history.conversation_view(session, self.place, 10))
            shown += repr(history.load_history(session, conversation_id, 1, 100, "r"))
            shown += repr([history.explain(session, turn_id) for turn_id in self.turn_ids])
        assert not [words for words in gone if words in shown]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    acts=st.lists(ACTS, max_size=12).map(lambda acts: sorted(acts, key=lambda act: act.day)), looks=st.integers(1, 4)
)
def test_nothing_younger_is_touched_and_nothing_older_survives(chat: Chat, acts: list[Act], looks: int) -> None:
    clear(chat.database)
    begin, model = chat.now, Model(chat)
    for number, act in enumerate(acts):
        chat.now = max(chat.now, begin + timedelta(days=act.day))
        purge(chat)
        model.act(act, number)
    for look in range(looks):
        chat.now += timedelta(days=20 * look)
        purge(chat)
        model.check()


def clear(database: Database) -> None:
    """Hypothesis uses the fixture for every example."""
    with database.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())


def test_a_workspace_has_days_of_its_own(chat: Chat) -> None:
    for workspace in ("longer", "for ever", "shorter", "as set", "wrong"):
        answered(chat, workspace.replace(" ", "-"), workspace=workspace.replace(" ", "-"))
    settle(chat, "longer", retention_days=60)
    settle(chat, "for-ever", retention_days=0)
    settle(chat, "shorter", retention_days=10)
    settle(chat, "as-set", retention_days=None, persona="A pillow.")
    settle(chat, "wrong", retention_days="ten")
    left = {}
    for day in (11, 31, 61, 40_000):
        chat.now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
        purge(chat)
        found = everything(chat.database)
        left[day] = {
            name for name in ("longer", "for-ever", "shorter", "as-set", "wrong") if f"words of {name}" in found
        }
    assert left == {
        11: {"longer", "for-ever", "as-set", "wrong"},
        31: {"longer", "for-ever"},
        61: {"for-ever"},
        40_000: {"for-ever"},
    }
    assert purge(chat, days=0) == Purged()


@pytest.mark.parametrize(("own", "told"), [({}, 30), ({"retention_days": 7}, 7), ({"retention_days": 0}, None)])
def test_people_are_told_what_holds_where_they_are(chat: Chat, own: dict[str, int], told: int | None) -> None:
    chat.say("m")
    settle(chat, "w", **own)
    with chat.database.read() as session:
        assert privacy.notice(session, chat.message("m").place, ASKER, 30).retention_days == told


def test_what_waits_for_an_answer_is_not_touched(chat: Chat) -> None:
    chat.say("queued")
    chat.now += timedelta(days=100)
    assert purge(chat) == Purged()
    chat.finish(chat.claimed(), "late")
    assert purge(chat).messages == 0
    with chat.database.read() as session:
        (view,) = history.conversation_view(session, chat.message("x").place, 10)
    assert (view.purged, view.answer and view.answer.text) == (True, "late"), "the answer is young"


def test_a_name_goes_with_the_last_words_and_context_has_no_turn(chat: Chat) -> None:
    say_marked(chat, "old", "p", "Ada")
    chat.finish(chat.claimed(), "x")
    with chat.database.write() as session:
        session.execute(delete(Generation))
        session.execute(delete(Turn))
    chat.now += timedelta(days=20)
    say_marked(chat, "young", "p", "Ada")
    chat.finish(chat.claimed(), "y")
    names = []
    for _ in range(2):
        chat.now += timedelta(days=20)
        purge(chat)
        with chat.database.read() as session:
            names.append(session.scalars(select(Participant.display_name)).one())
    assert names == ["Ada", None]


def test_many_are_purged_in_small_steps_by_several_at_once(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 7)
    monkeypatch.setattr(retention, "_OLD", retention._OLD.limit(7))
    monkeypatch.setattr(retention, "_CONVERSATIONS", 2)
    for number in range(60):
        chat.say(f"m{number}", conversation=f"c{number % 5}" if number % 2 else "c", workspace=f"w{number % 3}")
    while claimed := chat.claim():
        chat.finish(claimed, "an answer")
    chat.now += timedelta(days=KEPT_DAYS + 1)
    chat.say("young")
    steps: list[list[Purged]] = [[], []]

    def reap(mine: list[Purged]) -> None:
        mine += retention.purge_old(chat.database, KEPT_DAYS, chat.now)

    threads = [threading.Thread(target=reap, args=(mine,)) for mine in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [step for mine in steps for step in mine]
    assert max(step.messages for step in done) <= 7
    assert (sum(step.messages for step in done), sum(step.answers for step in done)) == (60, 60)
    assert purge(chat) == Purged()
    with chat.database.read() as session:
        assert session.scalars(select(Message.external_id).where(Message.deleted_at.is_(None))).all() == ["young"]


class TestReaper:
    @pytest.fixture
    def reaper(self, chat: Chat, database_url: str, redis_url: str, redis_prefix: str) -> Iterator[Reaper]:
        given = Settings(
            database_url=database_url, redis_url=redis_url, redis_prefix=redis_prefix, retention_days=KEPT_DAYS
        )
        wake_ups = WakeUps(make_celery(redis_url, redis_prefix))
        with connect(redis_url) as client:
            yield Reaper(given, chat.database, client, wake_ups)
        wake_ups.close()

    def test_it_purges_once_an_hour_and_tells_the_workers(
        self, chat: Chat, reaper: Reaper, redis_url: str, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chat.now = datetime.now(UTC) - timedelta(days=KEPT_DAYS + 1)
        answered(chat, "first")
        with connect(redis_url) as client, client.pubsub(ignore_subscribe_messages=True) as control:
            control.subscribe(control_channel(redis_prefix))
            control.get_message(timeout=5)
            reaper.purge_old(threading.Event())
            told = control.get_message(timeout=5)
        assert told is not None and "forget" in told["data"]
        assert "words of first" not in everything(chat.database)
        answered(chat, "second")
        reaper.purge_old(threading.Event())
        assert "words of second" in everything(chat.database)
        later = time.monotonic() + 3600
        # Only for the reaper: loops that run in other threads would sleep until then.
        monkeypatch.setattr("core.reaper.time", SimpleNamespace(monotonic=lambda: later))
        reaper.purge_old(threading.Event())
        assert "words of second" not in everything(chat.database)

    def test_it_goes_on_where_it_was_interrupted(self, chat: Chat, reaper: Reaper) -> None:
        chat.now = datetime.now(UTC) - timedelta(days=KEPT_DAYS + 1)
        for number in range(3):
            answered(chat, f"turn{number}", conversation=f"c{number}")
        stopping = threading.Event()
        stopping.set()
        for _ in range(3):
            reaper.purge_old(stopping)
        assert "words of" not in everything(chat.database)

    def test_it_purges_what_people_who_opted_out_did_not_fetch(self, chat: Chat, reaper: Reaper) -> None:
        chat.now = datetime.now(UTC) - timedelta(hours=2)
        with chat.database.write() as session:
            privacy.opt(session, "web", "p", out=True, now=chat.now)
        answered(chat, "unfetched")
        reaper.purge_overdue()
        reaper.purge_overdue()
        assert "words of unfetched" not in everything(chat.database)

    def test_what_cannot_be_purged_does_not_keep_it_from_its_work(
        self, chat: Chat, reaper: Reaper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chat.say("lost")
        claimed, stop = chat.claimed(), threading.Event()

        def broken(*_: object) -> list[int]:
            stop.set()
            raise ZeroDivisionError

        monkeypatch.setattr(privacy, "overdue", broken)
        reaper.run(stop)
        again = chat.claimed()
        assert (again.turn_id, again.fence) == (claimed.turn_id, claimed.fence + 2)
