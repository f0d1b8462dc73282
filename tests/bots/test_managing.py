"""Settings, persona, status, and who may stop whose answer, as commands."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots import commands
from bots.commands import Answering, Asker, Call, Told, parse
from bots.replies import watch
from bots.texts import sentence_for, text
from core.errors import AccessDenied, AdminsOnly, BadSetting, NotAllowed, NotOffered, UnknownCollection, UnknownSetting
from core.faq.entry import Entry
from core.presence import WorkerStatus
from core.redis import connect, worker_key
from core.service import Service
from core.settings import Settings
from core.values import ContextMessage, Person, Place, TurnState
from core.workspaces import NAMES
from tests.bots.scripted_worker import Gate, ScriptedWorker

PLACE = Place(platform="discord", workspace="guild", conversation="thread")
EVENTS = itertools.count()
ADA, BOB, CY = (Person(id=name, display_name=name.title()) for name in ("ada", "bob", "cy"))
ADMIN = Asker(place=PLACE, person=ADA, event_id="", channel="general", admin=True)
MEMBER = dataclasses.replace(ADMIN, person=BOB, admin=False)
MODERATOR = dataclasses.replace(ADMIN, person=CY, admin=False, moderator=True)


async def do(service: Service, typed: str, asker: Asker = ADMIN, **changed: object) -> commands.Outcome:
    asker = dataclasses.replace(asker, event_id=f"event-{next(EVENTS)}", **changed)  # type: ignore[arg-type]
    return await commands.handle(service, typed, asker)


async def told(service: Service, typed: str, asker: Asker = ADMIN, **changed: object) -> str:
    outcome = await do(service, typed, asker, **changed)
    assert isinstance(outcome, Told)
    return outcome.text


class TestParsing:
    @pytest.mark.parametrize(
        ("typed", "call"),
        [
            ("/settings", Call("settings")),
            ("/settings answer", Call("settings", {"value": "answer"})),
            ("/settings answer always", Call("settings", {"name": "answer", "value": "always"})),
            (
                "/settings answer here=channel never",
                Call("settings", {"name": "answer", "here": "channel", "value": "never"}),
            ),
            ("/settings persona channel guide", Call("settings", {"name": "persona", "value": "channel guide"})),
            ("/persona channel guide", Call("persona", {"text": "channel guide"})),
            ("/persona here=channel A guide.", Call("persona", {"here": "channel", "text": "A guide."})),
            ("/ask what is this?", Call("ask", {"text": "what is this?"})),
        ],
    )
    def test_a_command_is_read_with_its_options(self, typed: str, call: Call) -> None:
        assert parse(typed) == call

    @given(st.sampled_from(NAMES), st.from_regex(r"\A[a-z0-9 ,]{1,40}\Z").filter(str.strip))
    def test_a_name_and_what_follows_it_are_told_apart(self, name: str, value: str) -> None:
        assert parse(f"/settings {name} {value}") == Call("settings", {"name": name, "value": value.strip()})


class TestSettings:
    async def test_faqs_are_chosen_by_name_and_a_wrong_name_is_told_the_right_ones(
        self, service: Service, worker: ScriptedWorker
    ) -> None:
        worker.know(Entry("hours", ("When?",), "At nine."))
        assert "faq-only" in await told(service, "/settings faq_mode FAQ-only")
        assert "shop" in await told(service, "/settings faq_collections here=channel shop")
        with pytest.raises(UnknownCollection) as refused:
            await told(service, "/settings faq_collections shpo")
        assert "shop" in sentence_for(refused.value, "en")
        here = (await service.workspace_settings(PLACE)).for_channel("general")
        assert (here.faq_mode, here.faq_collections) == ("faq-only", ("shop",))

    async def test_all_are_shown_with_their_meaning_in_the_askers_language(self, service: Service) -> None:
        shown = await told(service, "/settings", language="zh-CN")
        assert all(f"`{name}`: {text('setting_unset', 'zh-CN')}" in shown for name in NAMES)
        assert text("setting_blocked_users", "zh-CN") in shown

    async def test_what_is_set_is_shown_for_the_place_and_the_channel(self, service: Service) -> None:
        await told(service, "/settings answer mention")
        assert "never" in await told(service, "/settings answer here=channel never")
        await told(service, f"/settings blocked_users {' '.join(map(str, range(100, 107)))}")
        await told(service, f"/settings persona {'x' * 300}")
        shown = await told(service, "/settings")
        assert "`answer`: mention" in shown and "`answer`: never" in shown
        assert "100, 101, 102, 103, 104, … (7)" in shown and "x" * 100 not in shown
        assert text("settings_head_channel") in shown
        assert text("settings_head_channel") not in await told(service, "/settings", channel="elsewhere")

    async def test_one_is_shown_in_full(self, service: Service) -> None:
        await told(service, f"/settings persona {'x' * 300}")
        assert "x" * 300 in await told(service, "/settings persona")
        with pytest.raises(UnknownSetting):
            await do(service, "/settings mood")

    async def test_default_takes_it_back(self, service: Service) -> None:
        await told(service, "/settings turns_per_day 7")
        assert (await service.workspace_settings(PLACE)).turns_per_day == 7
        assert await told(service, "/settings turns_per_day Default") == text("setting_default", name="turns_per_day")
        assert (await service.workspace_settings(PLACE)).turns_per_day is None

    async def test_people_and_channels_may_be_given_as_platforms_write_them(self, service: Service) -> None:
        await told(service, "/settings allowed_users <@123> <@!45>,<@U7|bob>, 8")
        await told(service, "/settings allowed_roles <@&9><@&10>")
        await told(service, "/settings allowed_channels <#C11|general>")
        settings = await service.workspace_settings(PLACE)
        assert settings.allowed_users == ("123", "45", "U7", "8")
        assert (settings.allowed_roles, settings.allowed_channels) == (("9", "10"), ("C11",))

    @pytest.mark.parametrize("typed", ["/settings answer maybe", "/settings turns_per_day none"])
    async def test_a_wrong_value_is_refused_with_the_right_ones(self, service: Service, typed: str) -> None:
        with pytest.raises(BadSetting) as refused:
            await do(service, typed)
        assert ", ".join(refused.value.right) in sentence_for(refused.value, "zh-CN")

    async def test_a_model_is_one_of_those_that_are_offered(self, service: Service) -> None:
        assert "large" in await told(service, "/settings model large")
        with pytest.raises(NotOffered) as refused:
            await do(service, "/settings model huge")
        assert "small, large" in sentence_for(refused.value, "en")
        assert (await service.workspace_settings(PLACE)).model == "large"

    async def test_where_there_are_no_channels_none_is_set(self, service: Service) -> None:
        with pytest.raises(BadSetting, match="here=workspace"):
            await do(service, "/settings answer here=channel never", channel=None)

    @pytest.mark.parametrize("typed", ["/settings", "/settings answer", "/settings answer never", "/persona A pirate."])
    @pytest.mark.parametrize("asker", [MEMBER, MODERATOR], ids=["member", "moderator"])
    async def test_only_admins_may(self, service: Service, typed: str, asker: Asker) -> None:
        with pytest.raises(AdminsOnly) as refused:
            await do(service, typed, asker)
        assert sentence_for(refused.value, "en") == text("error_admin")
        assert (await service.workspace_settings(PLACE)).persona is None

    async def test_who_is_blocked_is_refused(self, service: Service) -> None:
        await told(service, "/settings blocked_users bob")
        for typed in ("hello", "/ask hello", "/write hello"):
            with pytest.raises(AccessDenied):
                await do(service, typed, MEMBER)

    async def test_roles_and_category_of_the_asker_count(self, service: Service) -> None:
        await told(service, "/settings allowed_roles r")
        await told(service, "/settings allowed_categories games")
        with pytest.raises(AccessDenied):
            await do(service, "hello", MEMBER, roles=("r",))
        assert isinstance(await do(service, "hello", MEMBER, roles=("r",), category="games"), Answering)


class TestPersona:
    async def test_it_is_shown_to_everyone_and_set_by_admins(self, service: Service) -> None:
        assert await told(service, "/persona", MEMBER) == text("persona_none")
        await told(service, "/persona A pirate.")
        await told(service, "/persona here=channel A poet.")
        assert await told(service, "/persona", MEMBER) == text("persona_is", persona="A poet.")
        assert await told(service, "/persona", MEMBER, channel="else") == text("persona_is", persona="A pirate.")
        await told(service, "/persona here=channel default")
        assert await told(service, "/persona", MEMBER) == text("persona_is", persona="A pirate.")


class TestAsking:
    async def test_ask_is_the_same_as_saying_it(self, service: Service, worker: ScriptedWorker) -> None:
        outcome = await do(service, "/ask hello")
        assert isinstance(outcome, Answering)
        assert (outcome.turn.text, outcome.turn.recipe) == ("hello", "chat")

    async def test_the_channels_recipe_is_for_plain_messages(self, service: Service) -> None:
        await told(service, "/settings recipe here=channel translate")
        people = (Person(id=f"p{number}") for number in itertools.count())
        outcomes = [await do(service, typed, channel=channel, person=next(people)) for typed, channel in ASKED]
        assert [outcome.turn.recipe for outcome in outcomes if isinstance(outcome, Answering)] == [
            "translate", "translate", "write", "chat"
        ]  # fmt: skip

    async def test_context_goes_with_what_is_said(self, service: Service, worker: ScriptedWorker) -> None:
        beside = ContextMessage(event_id="beside", person=BOB, text="it rains")
        outcome = await do(service, "why?", shared=True, context=(beside,))
        assert isinstance(outcome, Answering)
        async for _ in watch(service, outcome.turn.turn_id):
            pass
        explanation = await service.why(PLACE, outcome.turn.turn_id)
        assert any("it rains" in message.text for message in explanation.messages)


ASKED = (("hello", "general"), ("/ask hello", "general"), ("/write hello", "general"), ("hello", "else"))


class TestStopping:
    """A moderator may stop anyone's, and stops their own first."""

    async def test_a_moderator_stops_what_others_wait_for(self, service: Service) -> None:
        await do(service, "one", MEMBER)
        await do(service, "two", MEMBER)
        with pytest.raises(NotAllowed):
            await do(service, "/stop", dataclasses.replace(MEMBER, person=CY))
        assert await told(service, "/stop", MODERATOR) == text("stopped")
        assert {turn.state for turn in await service.history(PLACE)} == {TurnState.CANCELLED}

    async def test_an_admin_moderates(self, service: Service) -> None:
        await do(service, "one", MEMBER)
        assert await told(service, "/stop", ADMIN) == text("stopped")

    async def test_a_moderator_who_waits_stops_only_their_own(self, service: Service) -> None:
        await do(service, "one", MEMBER)
        await do(service, "two", MODERATOR)
        await told(service, "/stop", MODERATOR)
        assert [turn.state for turn in await service.history(PLACE)] == [TurnState.QUEUED, TurnState.CANCELLED]

    async def test_a_button_stops_by_the_turn(self, service: Service) -> None:
        outcome = await do(service, "one", MEMBER)
        assert isinstance(outcome, Answering)
        turn_id = outcome.turn.turn_id
        with pytest.raises(NotAllowed):
            await service.cancel(PLACE, CY, turn_id)
        assert await service.cancel(PLACE, CY, turn_id, moderator=True) is TurnState.CANCELLED


class TestStatus:
    async def test_it_tells_workers_and_what_waits(
        self, service: Service, settings: Settings, worker: ScriptedWorker, gate: Gate
    ) -> None:
        assert text("status_no_worker") in await told(service, "/status")
        worker.script["slow"] = ["s", gate]
        first = await do(service, "slow")
        assert isinstance(first, Answering)
        async for update in watch(service, first.turn.turn_id):
            if update.text:
                break
        await do(service, "next", MEMBER)
        await do(service, "third", ADMIN)
        status = WorkerStatus(model="tiny", revision="r1", pid=1, ready_at=datetime.now(UTC))
        with connect(settings.redis_url) as client:
            for name in ("a", "b"):
                client.set(worker_key(settings.redis_prefix, name), status.model_dump_json(), ex=60)
        shown = await told(service, "/status")
        assert shown.splitlines() == [
            text("status_workers", workers="2 × tiny @ r1"),
            text("status_turns", queued=2, running=1),
            text("ahead", count=1),
        ]
        now = await service.status()
        assert (now.workers, now.queued, now.running, now.ahead) == ((status, status), 2, 1, 0)
