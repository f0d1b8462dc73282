"""Commands are read as typed and do what they say."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots import commands
from bots.commands import COMMANDS, Answering, Asker, Call, Explained, Said, Told, parse
from bots.replies import watch
from bots.texts import text
from core import recipes
from core.errors import BadCommand, Conflict, NotAllowed, UnknownCommand
from core.service import Service
from core.values import Person, Place, Rating, TurnState
from tests.bots.scripted_worker import Gate, ScriptedWorker

PLACE = Place(platform="terminal", workspace="w", conversation="c")
EVENTS = itertools.count()
ADA, BOB = Person(id="ada"), Person(id="bob")


def asker(event_id: str, person: Person = ADA) -> Asker:
    return Asker(place=PLACE, person=person, event_id=event_id)


async def do(service: Service, typed: str, person: Person = ADA) -> commands.Outcome:
    return await commands.handle(service, typed, asker(f"event-{next(EVENTS)}", person))


async def answered(service: Service, typed: str, person: Person = ADA) -> int:
    """Say it and wait for the answer's end; the Turn's id."""
    outcome = await do(service, typed, person)
    assert isinstance(outcome, Answering)
    async for _ in watch(service, outcome.turn.turn_id):
        pass
    return outcome.turn.turn_id


class TestParsing:
    @pytest.mark.parametrize(
        ("typed", "call"),
        [
            ("/reset", Call("reset")),
            ("  /STOP \n", Call("stop")),
            ("/feedback up", Call("feedback", {"rating": "up"})),
            ("/feedback DOWN\ntoo long, up to now", Call("feedback", {"rating": "down", "comment": "too long, up to now"})),
            ("/translate 你好", Call("translate", {"text": "你好"})),
            ("/translate fr good night", Call("translate", {"to": "fr", "text": "good night"})),
            ("/translate to=pt-BR good\n\nnight", Call("translate", {"to": "pt-BR", "text": "good\n\nnight"})),
            ("/translate Es ist gut", Call("translate", {"text": "Es ist gut"})),
            ("/translate fr", Call("translate", {"text": "fr"})),
            ("/write once upon a time", Call("write", {"text": "once upon a time"})),
            ("/write story\nOnce", Call("write", {"task": "story", "text": "Once"})),
            ("/write task=compose style=\"dry wit\" a=b", Call("write", {"task": "compose", "style": "dry wit", "text": "a=b"})),
            (
                "/understand classify labels=“好, 坏” 很好",
                Call("understand", {"task": "classify", "labels": "好, 坏", "text": "很好"}),
            ),
        ],
    )  # fmt: skip
    def test_a_command_is_read_with_its_options(self, typed: str, call: Call) -> None:
        assert parse(typed) == call

    @pytest.mark.parametrize("typed", ["hello", "a /reset", "/", "/ reset", "/etc/passwd", "/123", "1/2", ""])
    def test_anything_else_is_said(self, typed: str) -> None:
        assert parse(typed) == Said(typed)

    def test_two_slashes_begin_a_message_with_one(self) -> None:
        assert parse("//reset is a command") == Said("/reset is a command")

    @pytest.mark.parametrize(
        ("typed", "closest"), [("/regenrate", "regenerate"), ("/transalte x", "translate"), ("/xyzzy", "help")]
    )
    def test_an_unknown_command_names_the_closest(self, typed: str, closest: str) -> None:
        with pytest.raises(UnknownCommand) as caught:
            parse(typed)
        assert caught.value.closest == closest

    @pytest.mark.parametrize(
        "typed", ["/reset now", "/feedback", "/feedback great", "/translate", "/translate to=fr", "/write task=sing x"]
    )
    def test_a_command_used_wrongly_shows_its_usage(self, typed: str) -> None:
        with pytest.raises(BadCommand) as caught:
            parse(typed)
        assert caught.value.usage == COMMANDS[caught.value.name].usage

    @given(st.text())
    def test_whatever_is_typed_is_a_command_a_message_or_a_refusal(self, typed: str) -> None:
        try:
            parsed = parse(typed)
        except (UnknownCommand, BadCommand):
            assert typed.strip().startswith("/")
        else:
            assert isinstance(parsed, Call) or parsed.text in (typed, typed.strip()[1:])

    @given(st.sampled_from(sorted(COMMANDS)), st.text())
    def test_whatever_follows_a_command_is_kept_in_its_text_or_refused(self, name: str, rest: str) -> None:
        try:
            parsed = parse(f"/{name} {rest}")
        except BadCommand:
            return
        assert isinstance(parsed, Call)
        kept = "".join(parsed.arguments.values())
        assert len(re.sub(r"\s", "", kept)) <= len(re.sub(r"\s", "", rest))
        assert re.sub(r"\s", "", parsed.arguments.get("text", "")) in re.sub(r"\s", "", rest)


class TestTable:
    def test_names_and_options_are_what_platforms_take(self) -> None:
        names = [*COMMANDS, *(option.name for command in COMMANDS.values() for option in command.options)]
        assert all(re.fullmatch(r"[a-z_]{1,32}", name) for name in names)
        assert all(len(option.choices) <= 25 for command in COMMANDS.values() for option in command.options)
        for language in ("en", "zh-CN"):
            for command in COMMANDS.values():
                described = [command.description, *(option.description for option in command.options)]
                assert all(1 <= len(text(key, language)) <= 100 for key in described)

    def test_the_option_that_takes_the_rest_is_the_last(self) -> None:
        for command in COMMANDS.values():
            assert not any(option.rest for option in command.options[:-1])

    def test_recipes_of_commands_exist(self) -> None:
        assert {command.recipe for command in COMMANDS.values() if command.recipe} <= set(recipes.NAMES)


class TestRunning:
    async def test_a_message_becomes_a_turn(self, service: Service, worker: ScriptedWorker) -> None:
        turn = await service.turn(PLACE, await answered(service, "hello"))
        assert (turn.recipe, turn.text, turn.state) == ("chat", "hello", TurnState.DONE)

    async def test_a_recipe_command_becomes_a_turn_with_its_arguments(
        self, service: Service, worker: ScriptedWorker
    ) -> None:
        turn_id = await answered(service, "/translate fr good night")
        explanation = await service.why(PLACE, turn_id)
        assert explanation.recipe == "translate"
        assert explanation.messages[-1].text == "Translate into French: good night"

    async def test_help_tells_every_command_in_the_askers_language(self, service: Service) -> None:
        told = await commands.run(service, Call("help"), dataclasses.replace(asker("e"), language="zh-CN"))
        assert isinstance(told, Told)
        assert all((command.usage in told.text) is not command.admin for command in COMMANDS.values())
        assert text("command_help", "zh-CN") in told.text

    async def test_reset_makes_earlier_turns_invisible(self, service: Service, worker: ScriptedWorker) -> None:
        await answered(service, "old")
        assert isinstance(await do(service, "/reset"), Told)
        assert await service.history(PLACE) == []

    async def test_stop_stops_all_that_the_asker_waits_for(
        self, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        worker.script["slow"] = ["s", gate]
        for typed in ("slow", "next"):
            await do(service, typed)
        assert await do(service, "/stop") == Told(text("stopped"))
        for turn in await service.history(PLACE):
            *_, last = [update async for update in watch(service, turn.turn_id)]
            assert last.turn is not None and last.turn.state is TurnState.CANCELLED
        assert await do(service, "/stop") == Told(text("nothing_to_stop"))

    async def test_stop_of_somebody_elses_answer_is_not_allowed(
        self, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        worker.script["slow"] = ["s", gate]
        await do(service, "slow")
        with pytest.raises(NotAllowed):
            await do(service, "/stop", BOB)

    async def test_regenerate_answers_the_last_turn_again(self, service: Service, worker: ScriptedWorker) -> None:
        turn_id = await answered(service, "dice")
        worker.script["dice"] = ["five"]
        assert await answered(service, "/regenerate") == turn_id
        turn = await service.turn(PLACE, turn_id)
        assert turn.answer is not None and turn.answer.text == "five"

    async def test_regenerate_of_an_open_turn_is_a_conflict(
        self, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        worker.script["slow"] = ["s", gate]
        await do(service, "slow")
        with pytest.raises(Conflict):
            await do(service, "/regenerate")

    async def test_why_and_feedback_are_about_the_last_answer_that_is_there(
        self, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        first = await answered(service, "first")
        worker.script["slow"] = ["s", gate]
        await do(service, "slow")
        explained = await do(service, "/why")
        assert isinstance(explained, Explained) and explained.explanation.turn.turn_id == first
        assert await do(service, "/feedback down too short") == Told(text("feedback_thanks"))
        turn = await service.turn(PLACE, first)
        assert turn.answer is not None and turn.answer.rating is Rating.DOWN
        assert await do(service, "/feedback none") == Told(text("feedback_none"))
        turn = await service.turn(PLACE, first)
        assert turn.answer is not None and turn.answer.rating is None

    @pytest.mark.parametrize("typed", ["/why", "/feedback up", "/regenerate"])
    async def test_without_an_answer_there_is_a_sentence(self, service: Service, typed: str) -> None:
        assert await do(service, typed) == Told(text("nothing_yet"))
