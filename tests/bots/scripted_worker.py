"""A worker without a model: the real claim, streams and finish, with words from a script.

`{"hello": ["Hi", " there"]}` answers "hello" so; anything else is answered with an echo. A `Gate` among the words waits
until the test opens it, so that a test can look at a half-written answer without sleeping. What it `know`s, it answers
from a FAQ first, as a real worker does, but that nothing is ever grounded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import redis

from core import recipes
from core.database import Database
from core.errors import FailureCode, LeaseLost
from core.faq import collections
from core.faq.decision import Outcome as Step
from core.faq.entry import Entry
from core.faq.finding import Given
from core.faq.matches import Decided
from core.faq.search import FaqSearch
from core.history import load_history
from core.prompts import PromptPart, PromptRequest, Speech, assemble, version_of
from core.queue import queue_key
from core.redis import connect, control_channel
from core.settings import Settings
from core.streams import Control, ReplyPublisher
from core.turns import ClaimedTurn, Outcome, Source, claim, finish
from core.values import FinishReason, ReplyEvent, ReplyEventKind, TurnState, Usage

OWNER = "scripted"
MODEL, REVISION = "scripted-model", "r1"
BUDGET = 400


class Gate(threading.Event):
    """A place in an answer where the worker waits for the test."""


@dataclass(frozen=True)
class Failure:
    """The end of an answer that fails."""

    code: FailureCode


Word = str | Gate | Failure


class ScriptedWorker:
    """Answers Turns in its own thread, one at a time, until it is closed."""

    def __init__(self, settings: Settings) -> None:
        self.script: dict[str, Sequence[Word]] = {}
        self.answered: list[int] = []
        self._settings = settings
        self._faq: FaqSearch | None = None
        self._database = Database(settings.effective_database_url)
        self._client = connect(settings.redis_url)
        self._publisher = ReplyPublisher(connect(settings.redis_url), settings.redis_prefix, settings.stream_ttl_s)
        self._cancelled: dict[int, int] = {}  # by Turn, the newest fence that is cancelled
        self._cancel = threading.Condition()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=target) for target in (self._work, self._listen)]

    def know(self, *entries: Entry, name: str = "shop") -> None:
        """Bring a collection in for everyone, and answer from it from now on."""
        with self._database.write() as session:
            collections.upsert(session, collections.create(session, name, None, _now()), entries, _now())
        search = FaqSearch(self._database, None)
        search.refresh()
        self._faq = search

    def know_nothing(self, name: str = "shop") -> None:
        """Take the collection away, and let the script speak again."""
        with self._database.write() as session:
            collections.delete(session, collections.find(session, name, None, lock=True), _now())
        self._faq = None

    def start(self) -> ScriptedWorker:
        """Start to answer."""
        self._publisher.start()
        for thread in self._threads:
            thread.start()
        return self

    def close(self) -> None:
        """Stop; what is being answered is dropped."""
        self._stop.set()
        with suppress(redis.RedisError, OSError):  # wake both threads, so that a test need not wait for them
            self._client.publish(control_channel(self._settings.redis_prefix), "{}")
            self._client.lpush(queue_key(self._settings.redis_prefix), "")
        for thread in self._threads:
            thread.join()
        self._publisher.close()
        self._database.close()

    def _listen(self) -> None:
        client = connect(self._settings.redis_url)
        Control(self._settings.redis_prefix).listen(client, self._on_cancel, lambda ids: None, self._stop)

    def _on_cancel(self, turn_id: int, fence: int) -> None:
        with self._cancel:
            self._cancelled[turn_id] = max(fence, self._cancelled.get(turn_id, 0))

    def _work(self) -> None:
        while not self._stop.is_set():
            claimed = self._claim()
            if claimed is not None:
                self._answer(claimed)
            else:
                self._wait_for_wake_up()

    def _claim(self) -> ClaimedTurn | None:
        with self._database.write() as session:
            return claim(session, OWNER, 60.0, _now())

    def _wait_for_wake_up(self) -> None:
        try:
            self._client.brpop([queue_key(self._settings.redis_prefix)], timeout=0.1)
        except (redis.RedisError, OSError):
            self._stop.wait(0.1)

    def _answer(self, turn: ClaimedTurn) -> None:
        began = time.monotonic()
        self._publish(turn, ReplyEventKind.STARTED)
        text, state, failure = "", TurnState.DONE, None
        decided, words = self._from_faq(turn)
        for word in self._words(turn) if words is None else words:
            if isinstance(word, Failure):
                state, failure = TurnState.FAILED, word.code
                break
            self._publish(turn, ReplyEventKind.DELTA, offset=len(text), text=word)
            text += word
        if self._is_cancelled(turn):
            state = TurnState.CANCELLED
        if not self._stop.is_set():
            with suppress(LeaseLost):  # a test gave the Turn back to the queue meanwhile
                self._finish(turn, text, state, failure, (time.monotonic() - began) * 1000, decided)

    def _from_faq(self, turn: ClaimedTurn) -> tuple[Decided | None, list[str] | None]:
        """What a FAQ gives, and the words of it; None where the script is to speak."""
        if self._faq is None or turn.recipe not in ("chat", "faq"):
            return None, None
        wanted = turn.arguments.get("collection")
        names = (wanted,) if wanted else None
        verdict = self._faq.search(turn.workspace_id, turn.text, day=_now().date(), names=names)
        given = {Step.ANSWER: Given.ANSWER, Step.ASK: Given.ASK, Step.GROUND: Given.PASSAGE}.get(verdict.outcome)
        if given is None:
            return verdict.decided(Given.ABSTAIN), [] if turn.recipe == "faq" else None
        nearest = verdict.decision.matches[0].hit.stored.entry.answer
        return verdict.decided(given), [] if given is Given.ASK else [nearest]

    def _words(self, turn: ClaimedTurn) -> Iterator[str | Failure]:
        for word in self.script.get(turn.text, ["You", " said", f": {turn.text}"]):
            if isinstance(word, Gate):
                while not word.wait(0.01) and not self._gone(turn):
                    pass
            else:
                yield word
            if self._gone(turn):
                return

    def _gone(self, turn: ClaimedTurn) -> bool:
        return self._stop.is_set() or self._is_cancelled(turn)

    def _is_cancelled(self, turn: ClaimedTurn) -> bool:
        return self._cancelled.get(turn.turn_id, 0) >= turn.fence

    def _finish(
        self,
        turn: ClaimedTurn,
        text: str,
        state: TurnState,
        failure: FailureCode | None,
        total_ms: float,
        decided: Decided | None,
    ) -> None:
        usage = Usage(prompt_tokens=20, cached_tokens=4, completion_tokens=len(text.split()))
        reason = {TurnState.CANCELLED: FinishReason.CANCELLED, TurnState.FAILED: FinishReason.ERROR}
        with self._database.write() as session:
            record, sources = self._prompt(session, turn)
            outcome = Outcome(
                turn_id=turn.turn_id,
                generation_id=turn.generation_id,
                fence=turn.fence,
                state=state,
                finish_reason=reason.get(state, FinishReason.STOP),
                text=text,
                model=MODEL,
                model_revision=REVISION,
                sampling=self._settings.sampling,
                usage=usage,
                failure=failure,
                prompt=record,
                sources=sources,
                timings_ms={"queue": 1.5, "first_token": 7.25, "total": total_ms},
                decided=decided if state is TurnState.DONE else None,
            )
            finish(session, outcome, _now())
        self._publish(turn, ReplyEventKind(state.value), offset=len(text), usage=usage, failure=failure)
        self.answered.append(turn.turn_id)

    def _prompt(self, session: object, turn: ClaimedTurn) -> tuple[dict[str, object], tuple[Source, ...]]:
        recipe, persona = recipes.load(turn.recipe, {}), self._settings.persona
        request = PromptRequest(
            recipe=recipe,
            newest=Speech(turn.seq, turn.message_id, turn.revision, turn.text, turn.speaker),
            budget=BUDGET,
            history=load_history(session, turn.conversation_id, turn.cut_seq, turn.seq, REVISION),  # type: ignore[arg-type]
            cut_seq=turn.cut_seq,
            persona=persona,
            language=turn.language,
            arguments=turn.arguments,
        )
        record = assemble(request, lambda prompt: sum(map(_tokens, prompt.parts))).record
        sources = (
            Source(recipe.version, recipe.name, recipe.source),
            Source(version_of(persona), "persona", persona),
        )
        return record.model_dump(mode="json"), sources

    def _publish(self, turn: ClaimedTurn, kind: ReplyEventKind, **fields: object) -> None:
        event = {"turn_id": turn.turn_id, "generation_id": turn.generation_id, "fence": turn.fence, "kind": kind}
        self._publisher.publish(ReplyEvent.model_validate({**event, **fields}))


def _tokens(part: PromptPart) -> int:
    return len(part.text.split())


def _now() -> datetime:
    return datetime.now(UTC)
