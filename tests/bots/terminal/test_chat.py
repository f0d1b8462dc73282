"""Talking in a terminal: what is typed, what is printed, what the keys do."""

from __future__ import annotations

import json
import os
import signal
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bots.commands import Call
from bots.talking import plain
from bots.terminal import ask_once
from bots.terminal.chat import local_asker
from bots.texts import failure_sentence, text
from core.database import Database
from core.errors import FailureCode, UnknownCommand
from core.history import TurnView
from core.redis import connect
from core.service import Service
from core.settings import Settings
from core.streams import ReplyPublisher
from core.turns import claim
from core.values import InboundMessage, Person, Place, ReplyEvent, ReplyEventKind, Staff, TurnState
from tests.bots.contract import BOTH, HOURS, PARKING
from tests.bots.scripted_worker import Failure, Gate, ScriptedWorker
from tests.bots.terminal.keyboard import Screen, chatting

HERE = local_asker("main", "en")
ENTER, CTRL_C, CTRL_U = "\r", "\x03", "\x15"


def message(event_id: str, said: str, conversation: str = "main") -> InboundMessage:
    """What somebody at this machine said in a terminal."""
    place = Place(platform="terminal", workspace="local", conversation=conversation)
    return InboundMessage(place=place, person=HERE.person, event_id=event_id, text=said)


def begun_by_a_worker_that_died(settings: Settings, database: Database, words: str) -> None:
    """The next Turn is running, `words` of its answer are on their way, and nobody will finish it."""
    with database.write() as session:
        turn = claim(session, "dead", 600, datetime.now(UTC))
    assert turn is not None
    publisher = ReplyPublisher(connect(settings.redis_url), settings.redis_prefix, settings.stream_ttl_s)
    publisher.start()
    begun = {"turn_id": turn.turn_id, "generation_id": turn.generation_id, "fence": turn.fence}
    publisher.publish(ReplyEvent(**begun, kind=ReplyEventKind.DELTA, text=words))
    publisher.close()


@pytest.fixture
def screen() -> Screen:
    return Screen()


class TestChoosing:
    async def test_a_number_chooses_from_what_is_offered(
        self, service: Service, worker: ScriptedWorker, screen: Screen
    ) -> None:
        worker.know(HOURS, PARKING)
        async with chatting(service, screen) as keys:
            keys.send_text(BOTH + ENTER)
            await screen.until(PARKING.question)
            number = 1 if f"1. {PARKING.question}" in screen.getvalue() else 2
            keys.send_text(f"{number}{ENTER}")
            await screen.until(PARKING.answer)
        turns = await service.history(HERE.place)
        assert [turn.text for turn in turns] == [BOTH, PARKING.question]

    @pytest.mark.parametrize("typed", ["0", "4", "1.", "one"])
    async def test_anything_else_is_something_said(self, service: Service, worker: ScriptedWorker, typed: str) -> None:
        worker.know(HOURS, PARKING)
        await ask_once(service, BOTH)
        said = await ask_once(service, typed)
        assert isinstance(said, TurnView)
        assert said.text == typed

    async def test_without_an_offer_a_number_is_a_message(self, service: Service, worker: ScriptedWorker) -> None:
        said = await ask_once(service, "1")
        assert isinstance(said, TurnView)
        assert said.text == "1"


class TestTyping:
    async def test_the_answer_follows_what_was_typed(
        self, service: Service, worker: ScriptedWorker, screen: Screen
    ) -> None:
        async with chatting(service, screen) as keys:
            keys.send_text("hello" + ENTER)
        welcome, bye = text("terminal_welcome", model="tiny"), text("terminal_bye")
        assert screen.getvalue() == f"{welcome}\nYou said: hello\n\n{bye}\n"

    async def test_an_answer_is_printed_while_it_is_written(
        self, service: Service, worker: ScriptedWorker, screen: Screen, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        async with chatting(service, screen) as keys:
            keys.send_text("slow" + ENTER)
            await screen.until("alpha ")
            assert "omega" not in screen.getvalue()
            gate.set()
        assert "alpha omega\n\n" in screen.getvalue()

    async def test_a_blank_line_is_nothing(self, service: Service, screen: Screen) -> None:
        async with chatting(service, screen) as keys:
            keys.send_text(ENTER + "  " + ENTER)
        assert await service.history(HERE.place) == []

    async def test_a_refusal_is_a_sentence_and_the_talk_goes_on(
        self, service: Service, worker: ScriptedWorker, screen: Screen
    ) -> None:
        async with chatting(service, screen) as keys:
            keys.send_text("/feedback great" + ENTER + "hello" + ENTER)
        assert "/feedback up|down|none [<comment>]\n\nYou said: hello\n\n" in screen.getvalue()

    async def test_commands_work_on_the_last_answer(
        self, service: Service, worker: ScriptedWorker, screen: Screen
    ) -> None:
        async with chatting(service, screen) as keys:
            keys.send_text("hello" + ENTER + "/feedback up" + ENTER + "/why" + ENTER + "/reset" + ENTER)
        assert text("feedback_thanks") in screen.getvalue()
        assert "[user] hello" in screen.getvalue() and "scripted-model @ r1" in screen.getvalue()
        assert await service.history(HERE.place) == []

    async def test_whoever_sits_here_manages_the_place(
        self, service: Service, worker: ScriptedWorker, screen: Screen
    ) -> None:
        async with chatting(service, screen) as keys:
            keys.send_text("/persona A pirate." + ENTER + "/settings persona" + ENTER + "/ask hello" + ENTER)
        assert "`persona`: A pirate." in screen.getvalue() and "You said: hello" in screen.getvalue()
        assert (await service.workspace_settings(HERE.place)).persona == "A pirate."

    async def test_whoever_waits_is_told_how_many_are_ahead(
        self, service: Service, worker: ScriptedWorker, screen: Screen, gate: Gate
    ) -> None:
        worker.script["slow"] = [gate]
        running = await service.receive(message("e1", "slow", "another"))
        await anext(service.follow(running.turn_id))
        await service.receive(message("e2", "queued", "third"))
        async with chatting(service, screen) as keys:
            keys.send_text("me too" + ENTER)
            await screen.until(text("ahead", count=1))
            gate.set()
        assert f"{text('ahead', count=1)}\nYou said: me too\n\n" in screen.getvalue()


class TestKeys:
    async def test_ctrl_c_stops_the_answer_and_keeps_what_was_written(
        self, service: Service, worker: ScriptedWorker, screen: Screen, gate: Gate
    ) -> None:
        worker.script["slow"] = ["alpha ", gate, "omega"]
        async with chatting(service, screen) as keys:
            keys.send_text("slow" + ENTER)
            await screen.until("alpha ")
            os.kill(os.getpid(), signal.SIGINT)
            keys.send_text("hello" + ENTER)
        assert f"alpha \n{text('stopped')}\n\nYou said: hello\n\n" in screen.getvalue()
        stopped, done = await service.history(HERE.place)
        assert (stopped.state, done.state) == (TurnState.CANCELLED, TurnState.DONE)

    async def test_ctrl_c_stops_what_waits_in_the_queue(self, service: Service, screen: Screen) -> None:
        await service.receive(message("e1", "an older one", "another"))
        async with chatting(service, screen) as keys:
            keys.send_text("waits" + ENTER)
            await screen.until(text("ahead", count=1))
            os.kill(os.getpid(), signal.SIGINT)
            await screen.until(text("stopped"))
        (turn,) = await service.history(HERE.place)
        assert turn.state is TurnState.CANCELLED

    async def test_a_second_ctrl_c_lets_go_of_an_answer_that_does_not_end(
        self, service: Service, settings: Settings, database: Database, screen: Screen
    ) -> None:
        received = await service.receive(message("e1", "stuck"))
        begun_by_a_worker_that_died(settings, database, "alpha")
        async with chatting(service, screen):
            await screen.until("> stuck\nalpha")
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            await screen.until(text("terminal_let_go"))
        turn = await service.turn_status(received.turn_id)
        assert (turn.state, turn.cancel_requested, turn.delivered_at) == (TurnState.RUNNING, True, None)

    async def test_ctrl_c_at_the_prompt_only_empties_the_line(
        self, service: Service, worker: ScriptedWorker, screen: Screen
    ) -> None:
        async with chatting(service, screen) as keys:
            keys.send_text("not this" + CTRL_C + "hello" + ENTER)
        assert [turn.text for turn in await service.history(HERE.place)] == ["hello"]

    async def test_ctrl_c_has_its_usual_meaning_after_an_answer(
        self, service: Service, worker: ScriptedWorker, screen: Screen
    ) -> None:
        before = signal.getsignal(signal.SIGINT)
        async with chatting(service, screen) as keys:
            keys.send_text("hello" + ENTER)
        assert signal.getsignal(signal.SIGINT) is before


class TestEarlierTurns:
    async def test_they_are_shown_when_the_talk_goes_on(self, service: Service, worker: ScriptedWorker) -> None:
        async with chatting(service, Screen()) as keys:
            for number in range(7):
                keys.send_text(f"message {number}" + ENTER)
        async with chatting(service, screen := Screen()):
            pass
        earlier = screen.getvalue()
        assert text("terminal_earlier") in earlier
        assert [f"> message {n}\nYou said: message {n}\n" in earlier for n in range(7)] == [False] * 2 + [True] * 5

    async def test_they_tell_what_failed_and_what_was_stopped(
        self, service: Service, worker: ScriptedWorker, gate: Gate
    ) -> None:
        worker.script |= {"fail": ["Hm", Failure(FailureCode.MODEL)], "slow": ["alpha", gate]}
        async with chatting(service, first := Screen()) as keys:
            keys.send_text("fail" + ENTER + "slow" + ENTER)
            await first.until("alpha")
            os.kill(os.getpid(), signal.SIGINT)
        async with chatting(service, screen := Screen(), "zh-CN"):
            pass
        assert f"> fail\nHm\n{failure_sentence('model', 'zh-CN')}\n" in screen.getvalue()
        assert f"> slow\nalpha\n{text('stopped', 'zh-CN')}\n" in screen.getvalue()

    async def test_nothing_is_shown_where_nothing_was_said(self, service: Service, screen: Screen) -> None:
        async with chatting(service, screen):
            pass
        assert screen.getvalue() == f"{text('terminal_welcome', model='tiny')}\n{text('terminal_bye')}\n"

    async def test_an_answer_that_nobody_saw_is_shown_and_noted(self, service: Service, worker: ScriptedWorker) -> None:
        received = await service.receive(message("e1", "hello"))
        async for _ in service.follow(received.turn_id):
            pass
        async with chatting(service, screen := Screen()):
            pass
        assert screen.getvalue().count("You said: hello") == 1
        assert await service.waiting("terminal") == []


class TestAskOnce:
    async def test_a_message_gives_the_ended_turn(self, service: Service, worker: ScriptedWorker) -> None:
        turn = await ask_once(service, "hello")
        assert not isinstance(turn, str) and turn.answer is not None
        assert (turn.state, turn.answer.text) == (TurnState.DONE, "You said: hello")
        assert await service.waiting("terminal") == []

    async def test_a_failed_turn_is_given_too(self, service: Service, worker: ScriptedWorker) -> None:
        worker.script["fail"] = [Failure(FailureCode.ENGINE)]
        turn = await ask_once(service, "fail")
        assert not isinstance(turn, str)
        assert (turn.state, turn.failure) == (TurnState.FAILED, FailureCode.ENGINE)

    async def test_a_command_gives_what_it_tells(self, service: Service, worker: ScriptedWorker) -> None:
        await ask_once(service, "hello")
        explained = await ask_once(service, "/why", language="zh-CN")
        assert isinstance(explained, str) and "[user] hello" in explained and "\x1b" not in explained
        assert await ask_once(service, "/reset", language="zh-CN") == text("reset_done", "zh-CN")

    async def test_the_text_of_a_call_is_a_text_whatever_it_begins_with(
        self, service: Service, worker: ScriptedWorker
    ) -> None:
        await ask_once(service, Call("translate", {"text": "de nada", "to": "en"}))
        assert "Translate into English: de nada" in str(await ask_once(service, "/why"))

    async def test_what_cannot_be_done_is_raised(self, service: Service) -> None:
        with pytest.raises(UnknownCommand):
            await ask_once(service, "/hlep")

    async def test_conversations_are_apart(self, service: Service, worker: ScriptedWorker) -> None:
        for conversation in ("a", "b"):
            await ask_once(service, "hello", conversation)
        assert len(await service.history(local_asker("a", "en").place)) == 1


UP = "\x1b[A"


class TestPrivacy:
    async def test_an_export_is_a_new_file_that_only_its_owner_reads(
        self, service: Service, worker: ScriptedWorker, screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("bots.privacy.file_name", lambda exported: "mine.json")
        (tmp_path / "mine.json").write_text("somebody's own")
        async with chatting(service, screen) as keys:
            keys.send_text("hello" + ENTER + "/privacy export" + ENTER)
        again = await ask_once(service, "/privacy export")
        assert (tmp_path / "mine.json").read_text() == "somebody's own"
        for name, told in (("mine-2.json", screen.getvalue()), ("mine-3.json", again)):
            assert text("terminal_saved", path=tmp_path / name) in str(told)
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
            document = json.loads((tmp_path / name).read_text(encoding="utf-8"))
            assert [message["revisions"][0]["text"] for message in document["messages"]] == ["hello"]

    async def test_a_file_that_cannot_be_written_is_a_sentence(
        self, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        monkeypatch.setattr("bots.privacy.file_name", lambda exported: "no/such/folder.json")
        told = await ask_once(service, "/privacy export", language="zh-CN")
        path = tmp_path / "gone" / "no/such/folder.json"
        assert told == text("terminal_not_saved", "zh-CN", path=path, reason="No such file or directory")

    async def test_after_forgetting_the_keys_bring_nothing_back(
        self, service: Service, worker: ScriptedWorker, screen: Screen
    ) -> None:
        async with chatting(service, screen) as keys:
            keys.send_text("xylophone" + ENTER)
            await screen.until("You said: xylophone")
            keys.send_text("/privacy forget" + ENTER)
            await screen.until(text("privacy_forgotten", messages=1, answers=1, comments=0))
            keys.send_text(UP + UP + "hello" + ENTER)
        assert [turn.text for turn in await service.history(HERE.place)] == ["", "hello"]

    async def test_what_is_not_kept_is_shown_as_such(self, service: Service, worker: ScriptedWorker) -> None:
        async with chatting(service, first := Screen()) as keys:
            keys.send_text("/privacy opt-out" + ENTER + "xylophone" + ENTER + "/why" + ENTER + "/regenerate" + ENTER)
        assert "You said: xylophone" in first.getvalue()
        assert text("why_purged") in first.getvalue() and text("error_purged") in first.getvalue()
        async with chatting(service, screen := Screen()):
            pass
        assert f"> {text('not_kept')}\n" in screen.getvalue() and "xylophone" not in screen.getvalue()


class TestHuman:
    BO = Staff(platform="web", person=Person(id="operator-bo", display_name="Bo"))

    async def claimed(self, service: Service) -> int:
        view = await service.handoffs.newest(HERE.place)
        assert view is not None
        await service.handoffs.claim(HERE.place, view.handoff_id, self.BO)
        return view.handoff_id

    async def test_what_a_human_writes_is_printed_while_the_prompt_waits(
        self, service: Service, worker: ScriptedWorker, screen: Screen
    ) -> None:
        claimed, released = (plain(text(f"handoff_{what}", name="Bo")) for what in ("claimed", "released"))
        await service.change_setting(HERE.place, "handoff_channel", "page")
        async with chatting(service, screen) as keys:
            keys.send_text("/human my parcel is lost" + ENTER)
            await screen.until(text("handoff_requested"))
            handoff_id = await self.claimed(service)
            await screen.until(claimed)
            await service.handoffs.staff_says(HERE.place, handoff_id, self.BO, "r1", "Hello \x1b[31m**Ann**")
            await screen.until("👤 Bo: Hello [31m**Ann**")
            keys.send_text("where is it?" + ENTER)
            await screen.until(text("handoff_passed_on"))
            await service.handoffs.release(HERE.place, handoff_id, self.BO)
            await screen.until(released)
            keys.send_text("hello" + ENTER)
            await screen.until("You said: hello")
        shown = screen.getvalue()
        for once in (text("handoff_requested"), claimed, "Hello", released, "You said: hello"):
            assert shown.count(once) == 1
        assert "> where is it?" not in shown  # the keyboard's line stands there already
        said = await service.handoffs.said(HERE.place)
        assert [line.text for line in said] == ["my parcel is lost", "Hello [31m**Ann**", "where is it?"]

    async def test_who_comes_back_reads_what_was_written_meanwhile(self, service: Service, screen: Screen) -> None:
        async with chatting(service, Screen()) as keys:
            keys.send_text("/human my parcel is lost" + ENTER)
        handoff_id = await self.claimed(service)
        await service.handoffs.staff_says(HERE.place, handoff_id, self.BO, "r1", "I found it")
        async with chatting(service, screen):
            await screen.until("I found it")
        claimed = plain(text("handoff_claimed", name="Bo"))
        assert f"{claimed}\n> my parcel is lost\n👤 Bo: I found it\n\n" in screen.getvalue()
