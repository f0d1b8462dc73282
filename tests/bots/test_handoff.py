"""Handing a conversation to a human: what people and staff are told, in order and once, whatever crashes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Literal

import pytest
import structlog
from sqlalchemy import func, select

from bots import commands, handoff, relaying
from bots.commands import Answering, Asker, PassedOn, Told
from bots.handoff import Button
from bots.relaying import Relayer
from bots.texts import sentence_for, text
from core.database import Database
from core.errors import HandoffNotClaimed, HandoffTaken
from core.handoffs import relays
from core.handoffs.hours import DAYS
from core.handoffs.models import Relay
from core.handoffs.views import HandoffView
from core.service import Service
from core.values import Person, Place, Rating, Side, Staff
from tests.bots.asking import place
from tests.bots.channel import Crash
from tests.bots.rooms import Rooms
from tests.bots.scripted_worker import ScriptedWorker

BO = Staff(platform="discord", person=Person(id="bo", display_name="Bo"))
CY = Staff(platform="discord", person=Person(id="cy", display_name="Cy"))
events = count()


def ann(language: str = "en", at: Place | None = None) -> Asker:
    """Somebody about to say something new."""
    return Asker(at or place(), Person(id="ann", display_name="Ann"), f"e{next(events)}", language)


async def said(service: Service, typed: str, asker: Asker | None = None) -> commands.Outcome:
    return await commands.handle(service, typed, asker or ann())


async def told(service: Service, typed: str, asker: Asker | None = None) -> str:
    outcome = await said(service, typed, asker)
    assert isinstance(outcome, Told)
    return outcome.text


async def the_open_one(service: Service) -> HandoffView:
    (view,) = await service.handoffs.open_handoffs()
    return view


@pytest.fixture
async def staffed(service: Service) -> Service:
    """A Workspace that says who is to be called."""
    await service.change_setting(place(), "handoff_channel", "staff-room")
    return service


@pytest.fixture
def rooms() -> Rooms:
    return Rooms()


@asynccontextmanager
async def relaying_to(service: Service, rooms: Rooms) -> AsyncIterator[None]:
    """A bot that relays while the block lasts."""
    task = asyncio.create_task(Relayer(service, "discord", rooms).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def relayed(staffed: Service, rooms: Rooms) -> AsyncIterator[Rooms]:
    """The rooms, with a bot that relays."""
    async with relaying_to(staffed, rooms):
        yield rooms


class TestAsking:
    async def test_where_nobody_is_named_that_is_said_and_logged(self, service: Service) -> None:
        with structlog.testing.capture_logs() as logs:
            assert await told(service, "/human") == text("handoff_unstaffed")
        assert [line["log_level"] for line in logs if line["action"] == "handoff_unstaffed"] == ["warning"]
        assert (await the_open_one(service)).person.display_name == "Ann"

    @pytest.mark.parametrize("language", ["en", "zh-CN"])
    async def test_it_is_told_in_the_persons_language_and_told_again(self, staffed: Service, language: str) -> None:
        assert await told(staffed, "/human", ann(language)) == text("handoff_requested", language)
        assert await told(staffed, "/human", ann(language)) == text("handoff_requested_already", language)
        view = await the_open_one(staffed)
        assert await handoff.press(staffed, view, Button.CLAIM, BO) == text("handoff_is_yours", language, name="Ann"), (
            "staff are spoken to as the person is, where nothing else is set"
        )
        assert await told(staffed, "/human", ann(language)) == text("handoff_claimed", language, name="Bo")

    async def test_outside_the_hours_that_is_said_and_somebody_is_asked_all_the_same(self, staffed: Service) -> None:
        away = DAYS[(datetime.now(UTC) + timedelta(days=3)).weekday()]
        await staffed.change_setting(place(), "handoff_hours", f"{away} 09:00-17:00")
        assert await told(staffed, "/human") == text("handoff_away", hours=f"{away} 09:00-17:00")
        await staffed.change_setting(place(), "handoff_away_message", "We are asleep.")
        assert await told(staffed, "/human") == "We are asleep."
        await the_open_one(staffed)

    async def test_what_is_typed_with_it_reaches_staff(self, relayed: Rooms, staffed: Service) -> None:
        await told(staffed, "/human my parcel is lost")
        await relayed.until_shown(Side.STAFF, "Ann: my parcel is lost")
        assert relayed.notice.buttons == (Button.CLAIM,)
        assert "https://chat.example/c" in relayed.notice.text

    async def test_bad_answers_in_a_row_call_somebody_and_the_person_is_told(
        self, relayed: Rooms, staffed: Service, worker: ScriptedWorker
    ) -> None:
        for words in ("one", "two"):
            asked = await said(staffed, words)
            assert isinstance(asked, Answering)
            async for _ in staffed.follow(asked.turn.turn_id):
                pass
            await staffed.rate(place(), Person(id="ann"), asked.turn.turn_id, Rating.DOWN)
        await relayed.until_shown(Side.PERSON, text("handoff_called_rating"))
        await relayed.until_shown(Side.STAFF, "Assistant: You said: two")


class TestTalking:
    async def test_the_whole_way(self, relayed: Rooms, staffed: Service, worker: ScriptedWorker) -> None:
        await told(staffed, "/human help me")
        assert isinstance(await said(staffed, "still there?"), Answering), "only requested: the bot answers"
        view = await the_open_one(staffed)
        await handoff.press(staffed, view, Button.CLAIM, BO)
        await relayed.until_shown(Side.PERSON, text("handoff_claimed", name="Bo"))
        assert isinstance(await said(staffed, "hello Bo"), PassedOn)
        await relayed.until_shown(Side.STAFF, "**Ann:** hello Bo")
        assert await handoff.answer(staffed, view, BO, "r1", "hello Ann") is None
        await relayed.until_shown(Side.PERSON, "👤 **Bo:** hello Ann")
        await handoff.press(staffed, view, Button.RELEASE, BO)
        await relayed.until_shown(Side.PERSON, text("handoff_released", name="Bo"))
        await relayed.until(lambda: relayed.notice.buttons == ())
        assert isinstance(await said(staffed, "and now?"), Answering)

    async def test_of_two_who_claim_one_has_it_and_the_other_is_told_who(self, staffed: Service) -> None:
        await told(staffed, "/human")
        view = await the_open_one(staffed)
        outcomes = await asyncio.gather(
            *(handoff.press(staffed, view, Button.CLAIM, staff) for staff in (BO, CY)), return_exceptions=True
        )
        (refused,) = (outcome for outcome in outcomes if isinstance(outcome, HandoffTaken))
        has_it = await staffed.handoffs.handoff(view.handoff_id)
        assert has_it.staff is not None and refused.name == has_it.staff.person.display_name

    async def test_what_staff_say_among_themselves_stays_there(self, relayed: Rooms, staffed: Service) -> None:
        await told(staffed, "/human")
        view = await the_open_one(staffed)
        await handoff.press(staffed, view, Button.CLAIM, BO)
        assert await handoff.answer(staffed, view, CY, "r1", "// who is Ann?") is None
        assert await handoff.answer(staffed, view, BO, "r2", "hello") is None
        await relayed.until_shown(Side.PERSON, "hello")
        assert not any("who is Ann?" in words for words in relayed.shown(Side.PERSON))

    async def test_what_staff_say_before_a_claim_or_after_is_not_passed_on_and_they_are_told(
        self, staffed: Service
    ) -> None:
        await told(staffed, "/human")
        view = await the_open_one(staffed)
        assert await handoff.answer(staffed, view, BO, "r1", "hello") == sentence_for(HandoffNotClaimed(), "en")

    async def test_a_long_word_of_staff_comes_in_several_messages(self, relayed: Rooms, staffed: Service) -> None:
        await told(staffed, "/human")
        view = await the_open_one(staffed)
        await handoff.press(staffed, view, Button.CLAIM, BO)
        await handoff.answer(staffed, view, BO, "r1", "word " * 900)
        await relayed.until(lambda: "".join(relayed.shown(Side.PERSON)).count("word") == 900)
        assert len([words for words in relayed.shown(Side.PERSON) if "word" in words]) == 3

    async def test_a_long_transcript_is_a_file_and_the_newest_words_stand_in_the_notice(
        self, relayed: Rooms, staffed: Service, worker: ScriptedWorker
    ) -> None:
        worker.script["tell me"] = ["a long answer. " * 100]
        asked = await said(staffed, "tell me")
        assert isinstance(asked, Answering)
        async for _ in staffed.follow(asked.turn.turn_id):
            pass
        await told(staffed, "/human that was too long")
        await relayed.until_shown(Side.STAFF, text("handoff_said_before"))
        assert "> that was too long" in relayed.notice.text and "a long answer" not in relayed.notice.text
        below = [post for _, post in relayed.messages.values() if post.file]
        assert [post.file[1].count(b"a long answer.") for post in below if post.file] == [100]


class TestForgetting:
    async def test_a_person_who_is_forgotten_in_the_middle_is_gone_from_staffs_channel(
        self, relayed: Rooms, staffed: Service
    ) -> None:
        await told(staffed, "/human my secret")
        view = await the_open_one(staffed)
        await handoff.press(staffed, view, Button.CLAIM, BO)
        await said(staffed, "the other secret")
        await relayed.until_shown(Side.STAFF, "the other secret")
        await told(staffed, "/privacy forget")
        await relayed.until_shown(Side.STAFF, text("handoff_ended_forgotten"))
        await relayed.until(lambda: "secret" not in "".join(relayed.shown(Side.STAFF)))
        assert relayed.notice.buttons == ()

    async def test_a_message_that_is_reworded_or_deleted_is_so_for_staff(
        self, relayed: Rooms, staffed: Service
    ) -> None:
        await told(staffed, "/human")
        await handoff.press(staffed, await the_open_one(staffed), Button.CLAIM, BO)
        asker = ann()
        await said(staffed, "tpyo", asker)
        await relayed.until_shown(Side.STAFF, "tpyo")
        await staffed.edit(place(), asker.event_id, "typo")
        await relayed.until_shown(Side.STAFF, "typo")
        await staffed.delete(place(), asker.event_id)
        await relayed.until(lambda: not any("typo" in words for words in relayed.shown(Side.STAFF)))


class TestRefusals:
    async def test_where_staffs_channel_is_closed_the_person_is_told_so_and_the_operator_too(
        self, relayed: Rooms, staffed: Service
    ) -> None:
        relayed.closed.add(Side.STAFF)
        with structlog.testing.capture_logs() as logs:
            await told(staffed, "/human")
            await relayed.until_shown(Side.PERSON, text("handoff_unreachable"))
        assert [line["log_level"] for line in logs if line.get("action") == "relay_refused"] == ["warning"]
        await handoff.press(staffed, await the_open_one(staffed), Button.CLAIM, BO)
        await relayed.until_shown(Side.PERSON, text("handoff_claimed", name="Bo"))
        assert relayed.shown(Side.PERSON).count(text("handoff_unreachable")) == 1

    async def test_what_fails_by_our_own_mistake_is_tried_a_few_times_and_blocks_nothing(
        self, relayed: Rooms, staffed: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relays, "LEASE_S", 0.1)
        monkeypatch.setattr(relaying, "POLL_S", 0.01)
        relayed.broken.add(Side.STAFF)
        with structlog.testing.capture_logs() as logs:
            await told(staffed, "/human")
            await relayed.until_shown(Side.PERSON, text("handoff_unreachable"))
        assert [line["tried"] for line in logs if line.get("action") == "relay_crashed"] == [1, 2, 3, 4, 5]
        relayed.broken.clear()
        await handoff.press(staffed, await the_open_one(staffed), Button.CLAIM, BO)
        await relayed.until_shown(Side.STAFF, text("handoff_state_claimed", name="Bo"))

    async def test_staff_are_told_what_did_not_reach_the_person(self, relayed: Rooms, staffed: Service) -> None:
        await told(staffed, "/human")
        view = await the_open_one(staffed)
        await handoff.press(staffed, view, Button.CLAIM, BO)
        await relayed.until_shown(Side.PERSON, text("handoff_claimed", name="Bo"))
        relayed.closed.add(Side.PERSON)
        await handoff.answer(staffed, view, BO, "r1", "hello")
        await relayed.until_shown(Side.STAFF, text("handoff_undelivered", name="Ann"))


class TestCrashes:
    """The bot ends at each call of a whole hand-off; the next one goes on without a gap or a repetition."""

    @pytest.fixture(autouse=True)
    def _short_leases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(relays, "LEASE_S", 0.1)
        monkeypatch.setattr(relaying, "POLL_S", 0.01)

    async def whole_way(self, service: Service, rooms: Rooms, at: Place) -> None:
        await told(service, "/human help", ann(at=at))
        view = next(view for view in await service.handoffs.open_handoffs() if view.place == at)
        await handoff.press(service, view, Button.CLAIM, BO)
        for number in range(2):
            await said(service, f"question {number}", ann(at=at))
            await handoff.answer(service, view, BO, f"r{number}", f"reply {number}")
        await handoff.press(service, view, Button.RELEASE, BO)

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_everything_arrives_once_and_in_order(
        self, staffed: Service, database: Database, when: Literal["before", "after"]
    ) -> None:
        expected = await self.uninterrupted(staffed, database)
        for call in range(expected.calls):
            rooms = Rooms(crash=Crash(call, when))
            at = place(f"room-{when}-{call}")
            await self.whole_way(staffed, rooms, at)
            for _ in range(2):
                relayer = asyncio.create_task(Relayer(staffed, "discord", rooms).run())
                over = asyncio.create_task(self.all_brought(database))
                ended = asyncio.create_task(rooms.crashed.wait())
                await asyncio.wait({over, ended}, return_when=asyncio.FIRST_COMPLETED)
                for task in (relayer, over, ended):
                    task.cancel()
                await asyncio.gather(relayer, over, ended, return_exceptions=True)
                rooms.crashed.clear()
            for side in Side:
                assert rooms.shown(side) == [
                    words.replace("room-expected", at.conversation) for words in expected.shown(side)
                ], (call, when, side)

    async def uninterrupted(self, service: Service, database: Database) -> Rooms:
        rooms = Rooms()
        await self.whole_way(service, rooms, place("room-expected"))
        async with relaying_to(service, rooms):
            await self.all_brought(database)
        assert text("handoff_released", name="Bo") in rooms.shown(Side.PERSON)
        assert text("handoff_ended_staff", name="Bo") in rooms.shown(Side.STAFF)
        return rooms

    async def all_brought(self, database: Database) -> None:
        """Wait until nothing is left to be brought."""
        unsent = select(func.count()).select_from(Relay).where(Relay.state != "sent")
        while True:
            with database.read() as session:
                if not session.scalar(unsent):
                    return
            await asyncio.sleep(0.01)
