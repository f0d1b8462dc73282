"""What a hand-off does alike on every platform that has a staff channel: one contract, which each adapter's tests inherit."""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest
import structlog
from sqlalchemy import func, select

from bots import relaying
from bots.handoff import Button
from bots.texts import sentence_for, text
from core.database import Database
from core.errors import HandoffNotClaimed, HandoffTaken
from core.handoffs import relays
from core.handoffs.models import Relay
from core.handoffs.views import HandoffView
from core.history import TurnView
from core.service import Service
from core.values import Person, Place, TurnState
from tests.bots.scripted_worker import Gate, ScriptedWorker

RELEASED = text("handoff_released", name="Bob")
CLAIMED = text("handoff_claimed", name="Bob")


class HandoffPlatform(Protocol):
    """Ann, who talks to the bot, and Bob and Cy in the staff channel, which is set for the Workspace."""

    place: Place
    person: Person

    async def say(self, typed: str) -> None:
        """Ann writes to the bot."""

    async def reword(self, typed: str) -> None:
        """Ann edits what she wrote last."""

    async def take_back(self) -> None:
        """Ann deletes what she wrote last."""

    async def reply(self, typed: str, by: str = "Bob") -> None:
        """Somebody of staff writes below the notice."""

    async def press(self, button: Button, by: str = "Bob") -> str:
        """Somebody of staff presses a button of the notice; what they are told."""

    def person_reads(self) -> list[str]:
        """What the bot wrote where Ann is."""

    def staff_read(self) -> list[str]:
        """What the bot wrote in the staff channel and below its notice."""

    async def until(self, condition: object) -> None:
        """Wait for a callable to be true, looked at whenever anything happens."""

    async def settled(self) -> None:
        """Wait until the bot has handled everything."""

    async def stop(self) -> None:
        """End the bot where it is."""

    async def start(self) -> None:
        """Start a bot anew."""

    def lose_answers(self, *, lost: bool) -> None:
        """Whether the servers do what the bot asks, and it never hears of it."""

    async def close_staff_channel(self, how: str) -> None:
        """`gone` or `forbidden`."""


class HandoffContract:
    """Inherit this, and give a fixture `desk`."""

    @pytest.fixture(autouse=True)
    def _short_leases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that a bot that ended is soon made up for."""
        monkeypatch.setattr(relays, "LEASE_S", 2.0)
        monkeypatch.setattr(relaying, "POLL_S", 0.5)

    async def test_the_whole_way(self, desk: HandoffPlatform, service: Service, worker: ScriptedWorker) -> None:
        await desk.say("hello")
        await self.person_reads(desk, "You said: hello")
        await self.claimed(desk, "my parcel is lost")
        assert "my parcel is lost" in "".join(desk.staff_read()) and "You said: hello" in "".join(desk.staff_read())
        await desk.say("are you there?")
        await self.staff_read(desk, "are you there?")
        await desk.reply("I am, Ann")
        await self.person_reads(desk, "I am, Ann")
        assert await desk.press(Button.RELEASE) == text("handoff_is_over")
        await self.person_reads(desk, RELEASED)
        await desk.say("and now?")
        await self.person_reads(desk, "You said: and now?")
        assert [turn.text for turn in await self.turns(service, desk)] == ["hello", "and now?"]
        shown = "".join(desk.person_reads())
        for words in ("You said: hello", CLAIMED, "I am, Ann", RELEASED, "You said: and now?"):
            assert shown.count(words) == 1

    async def test_the_bot_answers_until_somebody_claims_and_is_silent_then(
        self, desk: HandoffPlatform, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        await desk.say("/human")
        await desk.say("slow")
        await self.person_reads(desk, "alpha")
        await desk.press(Button.CLAIM)
        await self.person_reads(desk, CLAIMED)
        await desk.say("hello")
        await self.staff_read(desk, "hello")
        await desk.settled()
        (turn,) = await self.turns(service, desk)
        assert turn.state is TurnState.CANCELLED
        assert "You said: hello" not in "".join(desk.person_reads())

    async def test_of_two_who_claim_one_has_it(self, desk: HandoffPlatform, service: Service) -> None:
        await desk.say("/human")
        await self.staff_read(desk, text("handoff_state_requested"))
        told = await asyncio.gather(desk.press(Button.CLAIM, "Bob"), desk.press(Button.CLAIM, "Cy"))
        name = await self.holder(service, desk)
        yours = text("handoff_is_yours", name="Ann")
        assert sorted(told) == sorted([yours, sentence_for(HandoffTaken(name), "en")])
        await self.staff_read(desk, text("handoff_state_claimed", name=name))

    async def test_what_staff_write_among_themselves_or_too_early_is_not_passed_on(
        self, desk: HandoffPlatform, service: Service
    ) -> None:
        await desk.say("/human")
        await self.staff_read(desk, text("handoff_state_requested"))
        await desk.settled()  # the bot knows its own notice
        await desk.reply("too early")
        await self.staff_read(desk, sentence_for(HandoffNotClaimed(), "en"))
        await desk.press(Button.CLAIM)
        await desk.reply("// who is that?", "Cy")
        await desk.reply("hello from Cy", "Cy")
        await self.person_reads(desk, "hello from Cy")
        shown = "".join(desk.person_reads())
        assert "too early" not in shown and "who is that" not in shown

    async def test_words_that_are_reworded_and_deleted_are_so_for_staff(self, desk: HandoffPlatform) -> None:
        await self.claimed(desk)
        await desk.say("tpyo")
        await self.staff_read(desk, "tpyo")
        await desk.reword("typo")
        await self.staff_read(desk, "typo")
        await desk.take_back()
        await desk.until(lambda: not any("typo" in words or "tpyo" in words for words in desk.staff_read()))

    async def test_a_restart_in_the_middle_loses_and_repeats_nothing(
        self, desk: HandoffPlatform, service: Service, worker: ScriptedWorker
    ) -> None:
        await self.claimed(desk)
        await desk.settled()
        await desk.stop()
        view = await service.handoffs.newest(desk.place)
        assert view is not None and view.staff is not None
        await service.handoffs.staff_says(
            view.place, view.handoff_id, view.staff, "page-1", "written while it was away"
        )
        await desk.start()
        await self.person_reads(desk, "written while it was away")
        await desk.say("hello again")
        await self.staff_read(desk, "hello again")
        await desk.press(Button.RELEASE)
        await self.person_reads(desk, RELEASED)
        await desk.settled()
        for words, shown in (("written while it was away", desk.person_reads()), ("hello again", desk.staff_read())):
            assert "".join(shown).count(words) == 1

    async def test_a_bot_that_ends_as_something_is_sent_repeats_nothing(
        self, desk: HandoffPlatform, service: Service, database: Database
    ) -> None:
        await self.claimed(desk)
        await self.all_brought(database)
        view = await service.handoffs.newest(desk.place)
        assert view is not None and view.staff is not None
        desk.lose_answers(lost=True)
        await service.handoffs.staff_says(view.place, view.handoff_id, view.staff, "page-1", "said once")
        await self.person_reads(desk, "said once")
        await desk.stop()
        desk.lose_answers(lost=False)
        await desk.start()
        await self.all_brought(database)
        assert "".join(desk.person_reads()).count("said once") == 1

    async def test_a_person_who_is_forgotten_in_the_middle_is_gone_from_the_staff_channel(
        self, desk: HandoffPlatform, service: Service, database: Database
    ) -> None:
        await self.claimed(desk, "my secret")
        await desk.say("the other secret")
        await self.staff_read(desk, "the other secret")
        await desk.reply("which secret?")
        await self.person_reads(desk, "which secret?")
        await desk.say("/privacy forget")
        await self.staff_read(desk, text("handoff_ended_forgotten"))
        await desk.until(lambda: "my secret" not in "".join(desk.staff_read()))
        await desk.until(lambda: "the other secret" not in "".join(desk.staff_read()))
        view = await service.handoffs.newest(desk.place)
        assert view is not None and not view.open and await service.handoffs.transcript(view.handoff_id) == []

    @pytest.mark.parametrize("how", ["gone", "forbidden"])
    async def test_where_the_staff_channel_is_closed_the_person_and_the_operator_are_told(
        self, desk: HandoffPlatform, how: str
    ) -> None:
        await desk.close_staff_channel(how)
        with structlog.testing.capture_logs() as logs:
            await desk.say("/human")
            await self.person_reads(desk, text("handoff_unreachable"))
        refused = [line for line in logs if line.get("action") == "relay_refused"]
        assert len(refused) == 1 and refused[0]["log_level"] == "warning"

    async def test_a_reset_gives_the_conversation_back(self, desk: HandoffPlatform, worker: ScriptedWorker) -> None:
        await self.claimed(desk)
        await desk.say("/reset")
        await self.staff_read(desk, text("handoff_ended_reset"))
        await desk.say("hello")
        await self.person_reads(desk, "You said: hello")

    # What the tests do again and again

    async def claimed(self, desk: HandoffPlatform, reason: str = "") -> None:
        await desk.say(f"/human {reason}".strip())
        await self.person_reads(desk, text("handoff_requested"))
        await self.staff_read(desk, text("handoff_state_requested"))
        assert await desk.press(Button.CLAIM) == text("handoff_is_yours", name="Ann")
        await self.person_reads(desk, CLAIMED)

    async def all_brought(self, database: Database) -> None:
        """Wait until nothing is left to be brought; the test's own timeout judges how long."""
        unsent = select(func.count()).select_from(Relay).where(Relay.state != "sent")
        left = 1
        while left:
            with database.read() as session:
                left = session.scalar(unsent) or 0
            await asyncio.sleep(0.01)

    async def person_reads(self, desk: HandoffPlatform, words: str) -> None:
        await desk.until(lambda: any(words in shown for shown in desk.person_reads()))

    async def staff_read(self, desk: HandoffPlatform, words: str) -> None:
        await desk.until(lambda: any(words in shown for shown in desk.staff_read()))

    async def turns(self, service: Service, desk: HandoffPlatform) -> list[TurnView]:
        return await service.history(desk.place)

    async def holder(self, service: Service, desk: HandoffPlatform) -> str:
        view: HandoffView | None = await service.handoffs.newest(desk.place)
        assert view is not None and view.staff is not None and view.staff.person.display_name
        return view.staff.person.display_name
