"""An interaction is acknowledged in its three seconds, whatever becomes of a request, or answered in another way."""

from __future__ import annotations

import json

import pytest
import structlog
from sqlalchemy import select

from bots.discord import responding
from bots.texts import sentence_for, text
from core.database import Database
from core.errors import QuotaUsed
from core.models import Feedback
from core.values import Rating
from tests.bots.discord.conftest import Bot, answered, anywhere, buttons
from tests.bots.discord.looking import ask, turns_of, written
from tests.bots.discord.standin import routes
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.faults import Answer
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord


def broken(discord: StandInDiscord) -> list[str]:
    """The rules that were broken, which are forgiven: it is these that the test is about."""
    rules = [violation.rule for violation in discord.violations]
    discord.violations.clear()
    return rules


class TestTrying:
    @pytest.mark.parametrize(
        ("answers", "work_done"),
        [
            ([503], False), ([503, 503], False), ([503], True), ([500, "reset"], False),
            (["reset", "reset"], False), (["reset"], True), (["hang"], False),
        ],
    )  # fmt: skip
    async def test_an_acknowledgement_that_fails_is_tried_again_in_time(
        self, discord: StandInDiscord, asked: Channel, ann: User, answers: list[Answer], work_done: bool
    ) -> None:
        for answer in answers:
            discord.faults.add(routes.CALLBACK, answer, work_done=work_done)
        interaction = await asked.slash(ann, "ask", {"text": "hello"})
        await interaction.until("You said: hello")
        assert len(discord.faults.struck) == len(answers)
        assert [message.content for message in asked.answers] == ["You said: hello"]
        assert broken(discord) == (["acknowledged twice"] if work_done else [])

    @pytest.mark.parametrize("answer", [503, "reset"])
    async def test_a_button_and_its_form_too(
        self, discord: StandInDiscord, asked: Channel, ann: User, database: Database, answer: Answer
    ) -> None:
        await ask(asked, ann, "hello")
        below = await answered(asked, "You said: hello")
        discord.faults.add(routes.CALLBACK, answer)
        form = await asked.press(ann, below, "👎")
        await form.opened()
        discord.faults.add(routes.CALLBACK, answer, work_done=True)
        assert await (await form.submit({"comment": "too short"})).answered() == text("feedback_thanks")
        assert broken(discord) == ["acknowledged twice"]

    async def test_the_same_interaction_twice_is_done_once(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, ann: User
    ) -> None:
        discord.gateway.repeat("INTERACTION_CREATE")
        with structlog.testing.capture_logs() as logged:
            interaction = await asked.slash(ann, "reset")
            assert await interaction.answered() == text("reset_done")
            await bot.settled()
        assert [line["action"] for line in logged].count("interaction_taken") == 1
        assert interaction.texts == [text("reset_done")]
        assert broken(discord) == ["acknowledged twice"]


class TestComingTooLate:
    """Discord waits no longer: the interaction is unknown when the bot hears of it."""

    @pytest.fixture(autouse=True)
    def late(self, discord: StandInDiscord, asked: Channel) -> None:
        """What people do reaches the bot after four seconds."""
        start = discord.gateway.publish

        def publish(event: object) -> None:
            if event.name == "INTERACTION_CREATE":  # type: ignore[attr-defined]
                discord.clock.advance(4)
            start(event)  # type: ignore[arg-type]

        discord.gateway.publish = publish  # type: ignore[method-assign,assignment]

    async def test_an_answer_for_everyone_is_an_ordinary_message(
        self, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        with structlog.testing.capture_logs() as logged:
            await asked.slash(ann, "ask", {"text": "hello"})
            answer = await answered(asked, "You said: hello")
        assert "interaction_gone" in [line["action"] for line in logged]
        assert len(buttons(answer)) > 1
        assert broken(discord) == ["acknowledged late"]

    async def test_an_answer_for_one_person_comes_in_private(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, ann: User, bob: User
    ) -> None:
        message = await asked.say(bob, "good night")
        await asked.use_on_message(ann, text("menu_translate"), message)
        await discord.dm(ann).until("You said: good night")
        await bot.settled()
        assert written(discord.dm(ann)) == ["You said: good night"] and asked.answers == []
        assert broken(discord) == ["acknowledged late"]

    async def test_what_is_for_one_person_comes_in_private(
        self, discord: StandInDiscord, asked: Channel, ann: User
    ) -> None:
        await asked.slash(ann, "privacy", {"action": "export"})
        await discord.dm(ann).until(text("privacy_exported"))
        ((_, document),) = discord.dm(ann).answers[0].files.items()
        assert json.loads(document)["platform"] == "discord"
        assert asked.answers == []
        assert broken(discord) == ["acknowledged late"]

    async def test_so_does_a_refusal(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, shop: Guild, ann: User
    ) -> None:
        await bot.service.change_setting(anywhere(shop), "turns_per_person_per_day", "1")
        await asked.slash(ann, "ask", {"text": "one"})
        await asked.until("You said: one")
        await asked.slash(ann, "ask", {"text": "two"})
        await discord.dm(ann).until(sentence_for(QuotaUsed(1, 24), "en")[:20])
        assert broken(discord) == ["acknowledged late"] * 2

    async def test_a_button_is_done_all_the_same(
        self, discord: StandInDiscord, asked: Channel, ann: User, database: Database
    ) -> None:
        await ask(asked, ann, "hello")
        below = await answered(asked, "You said: hello")
        await asked.press(ann, below, "👍")
        await discord.dm(ann).until(text("feedback_thanks"))
        with database.read() as session:
            assert session.scalars(select(Feedback.rating)).all() == [Rating.UP]
        await asked.press(ann, below, text("button_regenerate"))
        await asked.until(lambda: written(asked) == ["You said: hello"] * 2 and not below.components)
        assert broken(discord) == ["acknowledged late"] * 2

    async def test_where_nobody_can_be_told_nothing_breaks(
        self, discord: StandInDiscord, bot: Bot, asked: Channel, ann: User, database: Database
    ) -> None:
        ann.accepts_direct_messages = False
        await asked.slash(ann, "reset")
        await asked.slash(ann, "ask", {"text": "hello"})
        await answered(asked, "You said: hello")
        await bot.settled()
        assert len(turns_of(database)) == 1
        assert broken(discord) == ["acknowledged late"] * 2


async def test_servers_that_take_no_acknowledgement_at_all_cost_no_answer(
    discord: StandInDiscord, asked: Channel, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responding, "ACKNOWLEDGE_S", 0.3)
    monkeypatch.setattr(responding, "TRY_S", 0.1)
    discord.faults.add(routes.CALLBACK, 503, times=100)
    await asked.slash(ann, "ask", {"text": "hello"})
    await answered(asked, "You said: hello")
    assert 2 <= len(discord.faults.struck) <= 4
