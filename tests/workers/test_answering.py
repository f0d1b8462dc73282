"""One Turn's straight line: whatever goes wrong ends this Turn only, and SQL says how."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from core import history, intake, workspaces
from core.database import Database, upgrade
from core.errors import DeadlineExceeded, FailureCode
from core.intake import QueueLimits
from core.models import Conversation, Generation, RecipeVersion, Turn, Workspace
from core.prompts import Prompt, PromptRecord
from core.queue import WakeUps, make_celery
from core.redis import connect
from core.settings import Settings
from core.streams import ReplyPublisher
from core.values import FinishReason, InboundMessage, Person, Place, TurnState, Usage
from tests.workers.serve import PacedGenerator
from tests.workers.standin import CONTEXT as STANDIN_CONTEXT
from tests.workers.standin import MODEL, StandIn
from workers.answering import Answering
from workers.claiming import Claiming
from workers.faq import FaqDesk
from workers.generator import Finished, Generator, TextDelta, Timings
from workers.heartbeat import Heartbeat
from workers.remote_generator import RemoteGenerator
from workers.running import RunningTurns

NOWHERE = "unix:///nowhere/redis.sock"


class Desk:
    """Answering on SQLite, without any Redis: an answer needs none."""

    def __init__(self, folder: Path, generator: Generator, **settings: Any) -> None:
        self.events = itertools.count()
        self.url = f"sqlite:///{folder / 'pajama.db'}"
        upgrade(self.url)
        self.settings = Settings(database_url=self.url, redis_url=NOWHERE, heartbeat_s=0.05, **settings)
        self.generator = generator
        self.database = Database(self.url)
        self.wake_ups = WakeUps(make_celery(NOWHERE, "test"))
        self.publisher = self.make_publisher()
        self.running = RunningTurns(generator)
        self.faq = self.make_faq()
        self.rings = itertools.count()
        self.claiming = Claiming(self.settings, "me", self.database, self.wake_ups, generator)
        self.answering = Answering(
            self.settings,
            self.claiming,
            self.database,
            generator,
            self.publisher,
            self.wake_ups,
            self.running,
            self.faq,
            ring=lambda: next(self.rings),
        )
        self.heartbeat = Heartbeat(
            self.settings, "me", self.database, connect(NOWHERE), self.running, generator.info, self.claiming
        )
        self.publisher.start()
        self.faq.start()

    def make_publisher(self) -> ReplyPublisher:
        return ReplyPublisher(connect(NOWHERE), "test", 60)

    def make_faq(self) -> FaqDesk:
        return FaqDesk(self.database, lambda: None)

    def say(self, words: str, recipe: str = "chat", channel: str | None = None, **more: Any) -> int:
        message = InboundMessage(
            place=Place(platform="web", workspace="w", conversation="c"),
            person=Person(id="p"),
            event_id=f"e{next(self.events)}",
            text=words,
            recipe=recipe,
            channel=channel,
            **more,
        )
        with self.database.write() as session:
            return intake.receive(session, message, words, QueueLimits(99, 99), datetime.now(UTC)).turn_id

    def turn(self, turn_id: int) -> Turn:
        with self.database.read() as session:
            return session.get_one(Turn, turn_id)

    def generation(self, turn_id: int) -> Generation:
        with self.database.read() as session:
            return session.scalars(select(Generation).where(Generation.turn_id == turn_id)).one()

    def close(self) -> None:
        self.faq.close()
        self.publisher.close()
        self.wake_ups.close()
        self.database.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, PacedGenerator())
    yield made
    made.close()


def test_an_answer_is_in_sql_even_where_redis_is_down(desk: Desk) -> None:
    turn_id = desk.say("say 3")
    assert desk.answering.answer_next()
    assert desk.turn(turn_id).state is TurnState.DONE
    generation = desk.generation(turn_id)
    assert (generation.text, generation.finish_reason) == ("w0 w1 w2 ", FinishReason.STOP)
    assert set(generation.timings_ms or {}) == {"queue", "first_token", "total"}
    assert not desk.answering.answer_next()


def test_the_prompt_is_kept_as_references_with_the_sources_to_render_it(desk: Desk) -> None:
    turn_id = desk.say("say 1")
    desk.answering.answer_next()
    record = PromptRecord.model_validate(desk.generation(turn_id).prompt)
    with desk.database.read() as session:
        versions = set(session.scalars(select(RecipeVersion.version)))
    assert versions == {record.recipe_version, record.persona_version}
    assert record.prompt_tokens == desk.generation(turn_id).prompt_tokens
    assert record.budget == 4096 - desk.settings.max_new_tokens


def test_the_workspace_has_a_persona_and_recipes_of_its_own(desk: Desk) -> None:
    turn_id = desk.say("say 1")
    with desk.database.write() as session:
        workspace = session.scalars(select(Workspace)).one()
        workspace.settings = {
            "persona": "A pirate.",
            "recipes": {"chat": "{% block user %}Arr {{ text }}{% endblock %}"},
        }
    desk.answering.answer_next()
    with desk.database.read() as session:
        sources = set(session.scalars(select(RecipeVersion.source)))
    assert desk.turn(turn_id).state is TurnState.DONE
    assert "A pirate." in sources


def test_a_channel_has_a_persona_language_and_recipe_of_its_own(desk: Desk) -> None:
    for name, value, channel in (
        ("persona", "A pirate.", None),
        ("persona", "A poet.", "quiet"),
        ("recipe", "translate", "quiet"),
        ("language", "zh-CN", "quiet"),
    ):
        with desk.database.write() as session:
            workspaces.change(session, "web", "w", name, value, channel, now=datetime.now(UTC))
    # The last one leaves the channel out: it is the conversation's.
    quiet, asked, other = desk.say("say 1", channel="quiet"), desk.say("say 02", "write", "quiet"), desk.say("say 003")
    for _ in range(3):
        assert desk.answering.answer_next()
    records = [PromptRecord.model_validate(desk.generation(turn).prompt) for turn in (quiet, asked, other)]
    assert [record.recipe for record in records] == ["translate", "write", "translate"]
    with desk.database.read() as session:
        poet = history.explain(session, quiet).messages
    assert [message.text for message in poet] == ["A poet.", "翻译成中文：say 1"]


def test_the_workspaces_model_answers_and_one_that_is_not_offered_any_more_does_not(
    tmp_path: Path, standin: StandIn, load: Callable[..., RemoteGenerator]
) -> None:
    standin.models["large"] = {"max_model_len": 2 * STANDIN_CONTEXT}
    generator = load(standin, openai_model=MODEL, openai_workspace_models="large")
    desk = Desk(tmp_path, generator, max_new_tokens=4)
    answers = []
    for model in (None, "large", "small"):
        with desk.database.write() as session:
            workspaces.change(session, "web", "w", "model", model, now=datetime.now(UTC), models=("large", "small"))
        answers.append(desk.say("Hello"))
        assert desk.answering.answer_next()
    with desk.database.read() as session:
        told = [history.explain(session, turn_id).turn.answer for turn_id in answers[:2]]
    assert [each.model for each in told if each] == [MODEL, "large"]
    budgets = [PromptRecord.model_validate(desk.generation(turn_id).prompt).budget for turn_id in answers[:2]]
    assert budgets == [STANDIN_CONTEXT - 4, 2 * STANDIN_CONTEXT - 4]
    assert (desk.turn(answers[2]).state, desk.turn(answers[2]).failure) == (TurnState.FAILED, "model")
    desk.close()


def test_a_message_beyond_the_budget_fails_with_its_code(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PacedGenerator())
    turn_id = desk.say("x" * 5000)
    desk.answering.answer_next()
    assert (desk.turn(turn_id).state, desk.turn(turn_id).failure) == (TurnState.FAILED, "prompt_too_long")
    desk.close()


class Counting(PacedGenerator):
    """Its counting is stopped in the middle, or takes as long as it may."""

    stop: Callable[[], object] | None = None

    def count(self, prompt: Prompt, deadline: float | None = None) -> int:
        assert deadline is not None
        if self.stop is None:
            threading.Event().wait(deadline - time.monotonic())
            raise DeadlineExceeded
        self.stop()
        return super().count(prompt)

    def generate(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nobody wants to hear it")


def test_the_stop_button_and_the_deadline_reach_the_counting(tmp_path: Path) -> None:
    generator = Counting()
    desk = Desk(tmp_path, generator, deadline_s=1)
    stopped, late = desk.say("say 3"), desk.say("say 4")
    generator.stop = lambda: [desk.running.cancel(*held) for held in desk.running.held().items()]
    assert desk.answering.answer_next()
    assert desk.turn(stopped).state is TurnState.CANCELLED
    assert desk.generation(stopped).finish_reason is FinishReason.CANCELLED
    generator.stop = None
    assert desk.answering.answer_next()
    assert (desk.turn(late).state, desk.turn(late).failure) == (TurnState.FAILED, FailureCode.DEADLINE)
    desk.close()


class Broken(PacedGenerator):
    """Counts to two, then meets an error of our own."""

    def _events(self, prompt: Prompt, request_id: str, deadline: float) -> Iterator[Any]:
        events = super()._events(prompt, request_id, deadline)
        if "break" in prompt.parts[-1].text:
            yield next(events)
            yield next(events)
            raise ZeroDivisionError
        yield from events


def test_an_unexpected_error_ends_this_turn_only_and_keeps_its_text(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Broken())
    broken, good = desk.say("break"), desk.say("say 1")
    desk.answering.answer_next()
    desk.answering.answer_next()
    assert (desk.turn(broken).state, desk.turn(broken).failure) == (TurnState.FAILED, "engine")
    assert desk.generation(broken).text == "w0 w1 "
    assert desk.turn(good).state is TurnState.DONE
    desk.close()


class Unstorable(PacedGenerator):
    """Says a NUL, and gives token ids that no vocabulary has."""

    def _events(self, prompt: Prompt, request_id: str, deadline: float) -> Iterator[Any]:
        yield TextDelta("a\0b")
        ids = (-1,) if "ids" in prompt.parts[-1].text else ()
        yield Finished(FinishReason.STOP, Usage(), ids, Timings(1.0, 1.0))


def test_what_no_database_stores_is_replaced_and_never_holds_a_turn(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Unstorable())
    nul, ids = desk.say("nul"), desk.say("bad ids")
    desk.answering.answer_next()
    desk.answering.answer_next()
    assert desk.generation(nul).text == "a\N{REPLACEMENT CHARACTER}b"
    assert desk.turn(nul).state is TurnState.DONE
    assert (desk.turn(ids).state, desk.turn(ids).failure) == (TurnState.FAILED, "engine")
    desk.close()


def test_a_broken_recipe_of_the_workspace_fails_the_turn(desk: Desk) -> None:
    turn_id = desk.say("say 1")
    with desk.database.write() as session:
        session.scalars(select(Workspace)).one().settings = {"recipes": {"chat": "{% block user %}{{"}}
    desk.answering.answer_next()
    assert desk.turn(turn_id).failure == "engine"


def test_the_cut_moves_with_the_budget_and_is_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PacedGenerator(), max_new_tokens=2048)
    turns = [desk.say("x" * (900 + i) + " 1") for i in range(3)]
    for _ in turns:
        assert desk.answering.answer_next()
    with desk.database.read() as session:
        assert session.scalars(select(Conversation.cut_seq)).one() > 1
    record = PromptRecord.model_validate(desk.generation(turns[-1]).prompt)
    assert record.left_out > 0
    desk.close()


def in_thread(desk: Desk) -> threading.Thread:
    thread = threading.Thread(target=desk.answering.answer_next)
    thread.start()
    while not desk.running.held():
        thread.join(0.01)
    return thread


def test_a_database_that_goes_away_in_mid_answer_is_waited_for(desk: Desk) -> None:
    turn_id = desk.say("say 10")
    thread = in_thread(desk)
    rename(desk, "generation", "generation_away")
    thread.join(0.6)
    assert thread.is_alive()  # 10 words take 0.2 s: it is trying to finish
    rename(desk, "generation_away", "generation")
    thread.join(10)
    assert desk.turn(turn_id).state is TurnState.DONE
    assert desk.generation(turn_id).text.endswith("w9 ")


def rename(desk: Desk, old: str, new: str) -> None:
    with desk.database.write() as session:
        session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


def test_a_lost_turn_ends_in_silence(desk: Desk) -> None:
    turn_id = desk.say("forever")
    thread = in_thread(desk)
    with desk.database.write() as session:
        turn = session.get_one(Turn, turn_id)
        turn.fence, turn.owner = turn.fence + 1, "another"
    desk.heartbeat.beat()
    thread.join(10)
    assert not thread.is_alive()
    assert (desk.turn(turn_id).state, desk.turn(turn_id).owner) == (TurnState.RUNNING, "another")
    assert desk.generator.forgotten == {desk.turn(turn_id).conversation_id}, "its words may have been purged"
    assert desk.generation(turn_id).finish_reason is None


def test_the_heartbeat_renews_leases(desk: Desk) -> None:
    turn_id = desk.say("forever")
    thread = in_thread(desk)
    before = desk.turn(turn_id).lease_until
    desk.heartbeat.beat()
    after = desk.turn(turn_id).lease_until
    assert before is not None and after is not None and after > before
    desk.running.cancel(turn_id, desk.running.held()[turn_id])
    thread.join(10)
    assert desk.turn(turn_id).state is TurnState.CANCELLED


def test_nothing_is_claimed_once_the_worker_stops(desk: Desk) -> None:
    turn_id = desk.say("say 1")
    desk.running.stop_claiming()
    assert not desk.answering.answer_next()
    assert desk.turn(turn_id).state is TurnState.QUEUED
    assert desk.running.wait_idle(0)
