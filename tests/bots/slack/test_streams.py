"""An answer that is streamed stands there once and whole, whatever becomes of the stream."""

from __future__ import annotations

import asyncio

import pytest

from bots import courier
from bots.slack import sink, sinks, wire
from bots.slack.budget import START, UPDATE, SendBudget
from bots.texts import text
from core.service import Service
from tests.bots.looking import eventually
from tests.bots.scripted_worker import Gate, ScriptedWorker
from tests.bots.slack.conftest import Bot
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.streams import LIFE_S
from tests.bots.slack.standin.team import Team

PARAGRAPHS = [f"Paragraph {number} has a few words.\n\n" for number in range(8)]
WHOLE = "".join(PARAGRAPHS).strip()
PREVIEW_S = 30.0
"""How long it may be from one preview to the next, where many stream."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "APPENDS_PER_S", 200.0)
    monkeypatch.setattr(sink, "WAITING_S", 0.02)
    monkeypatch.setattr(wire, "_FIRST_RETRY_S", 0.01)


@pytest.fixture
def dm(acme: Team, ann: User) -> Channel:
    return acme.dm(ann)


def words_of(channel: Channel) -> str:
    """What people read of answers, one message after the other."""
    return " ".join("".join(answer.read for answer in channel.answers).split())


def joined(*parts: str) -> str:
    return " ".join("".join(parts).split())


async def use_up(service: Service, team: Team, method: str) -> None:
    while await SendBudget(service, team.id).spare(method):
        pass


async def write_slowly(
    channel: Channel, worker: ScriptedWorker, person: User, parts: list[str], *, question: str = "slow"
) -> list[Gate]:
    """Ask for an answer whose parts are written one after the other, each when its gate is opened."""
    gates = [Gate() for _ in parts[1:]]
    worker.script[question] = [parts[0], *(word for pair in zip(gates, parts[1:], strict=True) for word in pair)]
    await channel.say(person, question)
    return gates


class TestASecondStream:
    def test_it_is_due_well_before_slack_ends_the_first(self) -> None:
        assert sink.STREAM_FOR_S + PREVIEW_S < LIFE_S

    async def test_it_goes_on_before_slack_ends_the_first(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, dm: Channel, ann: User,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        gates = await write_slowly(dm, worker, ann, ["one\n\ntwo ", *PARAGRAPHS])
        await dm.until("two")
        monkeypatch.setattr(sink, "STREAM_FOR_S", 0.0)
        for gate, paragraph in zip(gates, PARAGRAPHS, strict=True):
            gate.set()
            await dm.until(paragraph.strip())
        await bot.settled()
        assert words_of(dm) == joined("one two ", WHOLE)
        assert 2 <= len(dm.answers) <= sink.MAX_CHUNKS
        assert {answer.stream.state for answer in dm.answers if answer.stream} == {"completed"}
        assert [bool(answer.blocks) for answer in dm.answers][-1:] == [True]

    async def test_without_room_for_one_the_message_goes_on_as_it_is(
        self, bot: Bot, worker: ScriptedWorker, service: Service, acme: Team, dm: Channel, ann: User,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        gates = await write_slowly(dm, worker, ann, ["alpha ", "beta ", "gamma"])
        await dm.until("alpha")
        await use_up(service, acme, START)
        monkeypatch.setattr(sink, "STREAM_FOR_S", 0.0)
        gates[0].set()
        await dm.until("alpha beta")
        gates[1].set()
        await bot.settled()
        assert [answer.read for answer in dm.answers] == ["alpha beta gamma"]


class TestASecondProcess:
    async def test_it_leaves_the_streams_of_the_first_alone_when_it_starts(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, dm: Channel, ann: User, service: Service,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(courier, "LOOK_S", 0.05)
        gates = await write_slowly(dm, worker, ann, ["alpha ", "beta"])
        await dm.until("alpha")
        second = Bot(bot.settings, service, slack)
        await second.start(connections=2)
        await eventually(lambda: [task.get_name() for task in asyncio.all_tasks()].count("slack-beat") == 2)
        gates[0].set()
        await bot.settled()
        await second.stop()
        assert [(answer.read, answer.stream is not None) for answer in dm.answers] == [("alpha beta", True)]
        looked_up = [
            one for one in slack.requests_to("conversations.replies") if "include_all_metadata" in one.arguments
        ]
        assert len(slack.requests_to("chat.stopStream")) == 1 and not looked_up


class TestAnEndBeforeItsTime:
    async def test_a_stream_that_slack_ended_grows_by_updates(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, dm: Channel, ann: User
    ) -> None:
        gates = await write_slowly(dm, worker, ann, ["alpha ", "beta ", "gamma"])
        await dm.until("alpha")
        slack.streams.life_s = 0.0
        gates[0].set()
        await dm.until("alpha beta")
        gates[1].set()
        await bot.settled()
        assert [answer.read for answer in dm.answers] == ["alpha beta gamma"]
        assert len(slack.requests_to("chat.stopStream")) == 0

    async def test_what_somebody_stopped_grows_no_more(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, acme: Team, dm: Channel, ann: User
    ) -> None:
        slack.subscriptions.discard("agent_session_stopped")
        gates = await write_slowly(dm, worker, ann, ["alpha ", "beta ", "gamma"])
        await dm.until("alpha")
        await acme.stop_session(ann, dm.messages[0])
        gates[0].set()
        await slack.until(lambda: any(one.error == "stopped_by_user" for one in slack.requests))
        assert slack.requests_to(UPDATE) == []
        gates[1].set()
        await bot.settled()
        assert [answer.read for answer in dm.answers] == ["alpha beta gamma"]

    @pytest.mark.parametrize("work_done", [False, True])
    @pytest.mark.parametrize("method", ["chat.startStream", "chat.appendStream", "chat.stopStream"])
    async def test_a_call_that_may_have_been_done_is_not_there_twice(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, dm: Channel, ann: User, method: str, work_done: bool
    ) -> None:  # fmt: skip
        slack.faults.add(method, "reset", work_done=work_done)
        gates = await write_slowly(dm, worker, ann, ["alpha ", "beta ", "gamma"])
        for gate, words in zip(gates, ("alpha", "beta"), strict=True):
            await dm.until(words)
            gate.set()
        await bot.settled()
        assert slack.faults.struck == [(method, "reset")]
        assert [answer.read for answer in dm.answers] == ["alpha beta gamma"]
        assert not dm.answers[0].streaming

    async def test_a_deletion_in_mid_answer_takes_the_stream_away(
        self, bot: Bot, worker: ScriptedWorker, dm: Channel, ann: User
    ) -> None:
        await write_slowly(dm, worker, ann, ["alpha ", "beta"])
        await dm.until("alpha")
        await dm.delete(dm.messages[0])
        await dm.until(lambda: not dm.answers)
        await bot.settled()
        assert dm.answers == []

    async def test_an_edit_in_mid_answer_asks_anew(
        self, bot: Bot, worker: ScriptedWorker, dm: Channel, ann: User
    ) -> None:
        await write_slowly(dm, worker, ann, ["alpha ", "beta"])
        await dm.until("alpha")
        await dm.edit(dm.messages[0], "other words")
        await dm.until("You said: other words")
        await bot.settled()
        assert [answer.read for answer in dm.answers] == ["You said: other words"]


class TestWhatSlackDoesNotTake:
    async def test_more_headings_than_a_message_has_blocks_are_shown_in_slacks_own_markup(
        self, bot: Bot, worker: ScriptedWorker, dm: Channel, ann: User
    ) -> None:
        sections = [f"## Head {number}\n\nwords\n\n" for number in range(30)]
        gates = await write_slowly(dm, worker, ann, ["".join(sections[:10]), "".join(sections[10:])])
        await dm.until("Head 9")
        gates[0].set()
        await bot.settled()
        (answer,) = dm.answers
        assert answer.markdown == "" and [block["type"] for block in answer.blocks][:1] == ["section"]
        assert all(f"*Head {number}*" in answer.read for number in range(30))

    @pytest.mark.parametrize("refusal", ["invalid_blocks", "msg_blocks_too_long", "msg_too_long"])
    @pytest.mark.parametrize("times", [1, 2])
    async def test_a_refused_body_is_followed_by_the_next(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, service: Service, acme: Team, dm: Channel,
        ann: User, refusal: str, times: int,
    ) -> None:  # fmt: skip
        await use_up(service, acme, START)
        slack.faults.add("chat.update", refusal, times=times)
        (gate,) = await write_slowly(dm, worker, ann, ["**Bold** ", "words"])
        await dm.until("Thinking")
        gate.set()
        await dm.until("*Bold* words")
        await bot.settled()
        (answer,) = dm.answers
        assert bool(answer.blocks) == (times == 1)

    @pytest.mark.parametrize("refusal", ["invalid_blocks", "msg_blocks_too_long", "msg_too_long"])
    @pytest.mark.parametrize("method", ["chat.appendStream", "chat.stopStream"])
    async def test_a_stream_that_is_refused_more_is_a_message(
        self, bot: Bot, worker: ScriptedWorker, slack: StandInSlack, dm: Channel, ann: User, refusal: str, method: str
    ) -> None:  # fmt: skip
        gates = await write_slowly(dm, worker, ann, ["alpha ", "beta ", "gamma"])
        await dm.until("alpha")
        slack.faults.add(method, refusal)
        for gate in gates:
            gate.set()
        await bot.settled()
        (answer,) = dm.answers
        assert answer.read == "alpha beta gamma" and answer.find_action("pajama_again")

    async def test_what_no_message_holds_is_a_beginning_and_a_file(
        self, bot: Bot, worker: ScriptedWorker, dm: Channel, ann: User
    ) -> None:
        whole = "a < b && c\n" * 900
        worker.script["table"] = [whole]
        await dm.say(ann, "table")
        await bot.settled()
        answer, shared = dm.answers
        assert answer.read.startswith("a &lt; b &amp;&amp; c") and answer.read.endswith(text("rest_in_file"))
        assert [file.content.decode() for file in shared.files] == [whole]

    async def test_an_answer_of_many_messages_is_a_beginning_and_one_file(
        self, bot: Bot, worker: ScriptedWorker, dm: Channel, ann: User
    ) -> None:
        lines = [f"Line {number} of an answer.\n" for number in range(1_800)]
        worker.script["long"] = lines
        await dm.say(ann, "long")
        await bot.settled()
        *answers, shared = dm.answers
        assert len(answers) == sink.MAX_CHUNKS
        assert [file.content.decode() for file in shared.files] == ["".join(lines)]
        shown = joined(*(answer.read + " " for answer in answers))
        assert joined("".join(lines)).startswith(shown.removesuffix(text("rest_in_file")).strip())


async def test_a_question_behind_another_shows_a_status_too(
    bot: Bot, worker: ScriptedWorker, slack: StandInSlack, dm: Channel, ann: User
) -> None:
    (gate,) = await write_slowly(dm, worker, ann, ["alpha ", "omega"])
    await dm.until("alpha")
    question = await dm.say(ann, "next")
    await slack.until(lambda: dm.assistance.status(question.ts) == text("thinking"))
    gate.set()
    await dm.until("You said: next")
    assert dm.assistance.status(question.ts) == ""
