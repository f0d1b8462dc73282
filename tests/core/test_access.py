"""Who is answered, and how often in a day."""

from __future__ import annotations

import multiprocessing
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from core import access, conversations, intake, workspaces
from core.database import Database
from core.errors import AccessDenied, Busy, DatabaseUnavailable, QuotaUsed
from core.intake import QueueLimits
from core.models import Message, Turn
from core.values import ContextMessage, InboundMessage, Person, Place
from core.workspaces import WorkspaceSettings
from tests.core.conftest import MANY, Chat

FEW = st.sampled_from(["a", "b", "c", "d"])
LISTS = st.lists(FEW, max_size=3, unique=True).map(tuple)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def settings_of(chat: Chat, **changes: object) -> None:
    with chat.database.write() as session:
        for name, value in changes.items():
            workspaces.change(session, "web", "w", name, value, now=chat.now)


def receive(chat: Chat, event_id: str, person: str = "p", **more: object) -> intake.Received:
    message = chat.message(event_id, person=person).model_copy(update=more)
    with chat.database.write() as session:
        return intake.receive(session, message, message.text, MANY, chat.now)


def check(chat: Chat, event_id: str, person: str = "p", limits: QueueLimits = MANY) -> None:
    with chat.database.read() as session:
        intake.check(session, chat.message(event_id, person=person), limits, chat.now)


def turns_of(chat: Chat) -> int:
    with chat.database.read() as session:
        return session.scalar(select(func.count()).select_from(Turn)) or 0


class TestDecision:
    """Pure: lists against who asks where."""

    @given(FEW, LISTS, LISTS, LISTS, LISTS)
    def test_a_person_is_answered_by_id_or_role_unless_blocked(
        self, person: str, roles: tuple[str, ...], users: tuple[str, ...], allowed: tuple[str, ...], blocked: tuple[str, ...]
    ) -> None:  # fmt: skip
        settings = WorkspaceSettings(allowed_users=users, allowed_roles=allowed, blocked_users=blocked)
        anyone = not users and not allowed
        expected = person not in blocked and (anyone or person in users or any(role in allowed for role in roles))
        assert access.may_speak(settings, person, roles) is expected

    @given(FEW | st.none(), FEW | st.none(), LISTS, LISTS)
    def test_a_channel_is_answered_in_by_itself_or_its_category(
        self, channel: str | None, category: str | None, channels: tuple[str, ...], categories: tuple[str, ...]
    ) -> None:
        settings = WorkspaceSettings(allowed_channels=channels, allowed_categories=categories)
        expected = (not channels and not categories) or channel in channels or category in categories
        assert access.may_be_in(settings, channel, category) is expected

    @given(FEW, LISTS, FEW | st.none())
    def test_where_nothing_is_set_everyone_is_answered(
        self, person: str, roles: tuple[str, ...], channel: str | None
    ) -> None:
        assert access.may_speak(WorkspaceSettings(), person, roles)
        assert access.may_be_in(WorkspaceSettings(), channel, None)


class TestRefusal:
    """In `receive`: whoever is refused leaves nothing."""

    @pytest.mark.parametrize(
        ("setting", "who", "reason"),
        [
            ({"blocked_users": "p"}, {}, "person"),
            ({"allowed_users": "q"}, {}, "person"),
            ({"allowed_roles": "r"}, {"roles": ("s",)}, "person"),
            ({"allowed_channels": "here"}, {}, "channel"),
            ({"allowed_channels": "here"}, {"channel": "there"}, "channel"),
            ({"allowed_categories": "games"}, {"channel": "there", "category": "work"}, "channel"),
        ],
    )
    def test_who_is_refused_is_told_and_leaves_nothing(
        self, chat: Chat, setting: dict[str, str], who: dict[str, object], reason: str
    ) -> None:
        settings_of(chat, **setting)
        with pytest.raises(AccessDenied) as refused:
            receive(chat, "m", **who)
        assert refused.value.reason == reason
        with chat.database.read() as session:
            assert session.scalars(select(Message)).all() == []

    @pytest.mark.parametrize(
        ("setting", "who"),
        [
            ({"allowed_users": "p q"}, {}),
            ({"allowed_users": "q", "allowed_roles": "r"}, {"roles": ("s", "r")}),
            ({"allowed_channels": "here"}, {"channel": "here"}),
            ({"allowed_channels": "there", "allowed_categories": "games"}, {"channel": "here", "category": "games"}),
            ({"blocked_users": "q"}, {}),
        ],
    )
    def test_who_is_allowed_is_answered(self, chat: Chat, setting: dict[str, str], who: dict[str, object]) -> None:
        settings_of(chat, **setting)
        assert receive(chat, "m", **who).turn_id

    def test_another_workspace_is_not_touched(self, chat: Chat) -> None:
        settings_of(chat, blocked_users="p", turns_per_day=1)
        assert chat.say("m", workspace="other").turn_id and chat.say("n", workspace="other").turn_id

    def test_what_is_known_is_no_news_to_who_is_blocked_since(self, chat: Chat) -> None:
        known = receive(chat, "m")
        settings_of(chat, blocked_users="p")
        again = receive(chat, "m")
        assert (again.turn_id, again.duplicate) == (known.turn_id, True)

    def test_who_is_blocked_since_gets_nothing_answered_again(self, chat: Chat) -> None:
        turn_id = receive(chat, "m").turn_id
        chat.finish(chat.claimed())
        settings_of(chat, blocked_users="p")
        place = chat.message("m").place
        with chat.database.write() as session, pytest.raises(AccessDenied):
            conversations.regenerate(session, place, Person(id="p"), turn_id, chat.now)
        with chat.database.write() as session:
            assert conversations.edit(session, place, "m", "other words", chat.now) is None, "its answer stays"
        assert chat.claim() is None


class TestQuotas:
    """Turns of a UTC day, of one person and of all."""

    def test_a_persons_day_is_counted_by_itself(self, chat: Chat) -> None:
        chat.now = NOON
        settings_of(chat, turns_per_person_per_day=2)
        receive(chat, "1"), receive(chat, "2")
        with pytest.raises(QuotaUsed) as refused:
            receive(chat, "3")
        assert (refused.value.limit, refused.value.hours) == (2, 12)
        receive(chat, "4", person="q")
        assert turns_of(chat) == 3

    def test_the_days_of_all_are_counted_together(self, chat: Chat) -> None:
        settings_of(chat, turns_per_day=2, turns_per_person_per_day=2)
        receive(chat, "1"), receive(chat, "2", person="q")
        with pytest.raises(QuotaUsed) as refused:
            receive(chat, "3", person="new")
        assert refused.value.limit == 2
        assert turns_of(chat) == 2

    @pytest.mark.parametrize(
        ("at", "hours"),
        [((0, 0), 24), ((0, 1), 24), ((1, 0), 23), ((23, 0), 1), ((23, 59), 1)],
    )
    def test_a_new_day_begins_at_midnight(self, chat: Chat, at: tuple[int, int], hours: int) -> None:
        chat.now = NOON.replace(hour=at[0], minute=at[1])
        settings_of(chat, turns_per_day=1)
        receive(chat, "1")
        with pytest.raises(QuotaUsed) as refused:
            receive(chat, "2")
        assert refused.value.hours == hours
        chat.now = NOON.replace(hour=0) + timedelta(days=1)
        receive(chat, "3")

    def test_what_would_be_refused_is_refused_before_it_is_kept(self, chat: Chat) -> None:
        check(chat, "1")  # in a workspace of which nothing is known
        settings_of(chat, turns_per_person_per_day=1, blocked_users="q")
        check(chat, "1")
        receive(chat, "1")
        with pytest.raises(QuotaUsed):
            check(chat, "2")
        with pytest.raises(AccessDenied):
            check(chat, "3", person="q")
        check(chat, "4", person="new")
        with pytest.raises(Busy):
            check(chat, "5", person="new", limits=QueueLimits(1, 99))
        assert turns_of(chat) == 1

    def test_a_quota_that_was_taken_back_bounds_nobody(self, chat: Chat) -> None:
        settings_of(chat, turns_per_day=1)
        receive(chat, "1")
        settings_of(chat, turns_per_day=None)
        receive(chat, "2")

    @pytest.mark.parametrize("quota", ["turns_per_day", "turns_per_person_per_day"])
    def test_two_processes_at_once_do_not_pass_the_limit(self, chat: Chat, database_url: str, quota: str) -> None:
        settings_of(chat, **{quota: 10})
        receive(chat, "first")
        spawn = multiprocessing.get_context("spawn")
        ready = spawn.Barrier(2)
        processes = [spawn.Process(target=say_many, args=(database_url, name, ready)) for name in ("x", "y")]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0]
        assert turns_of(chat) == 10

    def test_the_same_event_many_times_at_once_is_one_turn_at_the_limit_too(
        self, chat: Chat, database_url: str
    ) -> None:
        settings_of(chat, turns_per_day=1)
        received = []

        def say() -> None:
            database = Database(database_url)
            for _ in range(2):  # as `Service.receive` does where another stores the same event just now
                with suppress(IntegrityError), database.write() as session:
                    message = chat.message("m")
                    received.append(intake.receive(session, message, "hi", MANY, chat.now).turn_id)
            database.close()

        threads = [threading.Thread(target=say) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(received) >= 4 and len(set(received)) == 1

    def test_new_people_in_new_places_never_wait_for_each_other_in_a_ring(self, chat: Chat, database_url: str) -> None:
        """Who is introduced and who is counted lock the same rows, in one order."""
        settings_of(chat, turns_per_day=1000)
        failed = []

        def speak(number: int) -> None:
            database = Database(database_url)
            for i in range(15):
                message = chat.message(f"m{number}-{i}", person=f"p{(number + i) % 3}", conversation=f"c{i % 2}")
                if number % 2:
                    beside = ContextMessage(event_id=f"b{number}-{i}", person=Person(id=f"p{(i + 1) % 3}"), text="x")
                    news = {"channel": f"ch{number}-{i}", "shared": True, "context": (beside,)}
                    message = message.model_copy(update=news)
                try:
                    with database.write() as session:
                        intake.receive(session, message, "x", MANY, chat.now)
                except DatabaseUnavailable as error:
                    failed.append(error)
            database.close()

        threads = [threading.Thread(target=speak, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert turns_of(chat) == 60


def say_many(url: str, name: str, ready: object) -> None:
    """Say more than the quota allows, beside another process that does the same."""
    database = Database(url)
    ready.wait()  # type: ignore[attr-defined]
    for number in range(12):
        place = Place(platform="web", workspace="w", conversation=f"{name}{number % 3}")
        message = InboundMessage(place=place, person=Person(id="p"), event_id=f"{name}{number}", text="hi")
        try:
            with database.write() as session:
                intake.receive(session, message, "hi", QueueLimits(999, 999), datetime(2026, 1, 1, tzinfo=UTC))
        except QuotaUsed:
            break
    database.close()
