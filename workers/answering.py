"""Answering: the straight line of one Turn in a worker.

    claim → ask the FAQ → load history → assemble the Prompt → generate → publish → finish under the fence → wake-up

What a FAQ answers by itself needs no Prompt and no model. Knows core's queue, history and Prompts, a FaqDesk and a
Generator; knows no Celery, no model and no platform. Whatever goes wrong ends this Turn only, with a FailureCode, and
what was already said is kept. Where the Turn was lost to another worker, nothing is said and nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from sqlalchemy.orm import Session

from core import recipes, turns
from core.database import Database
from core.errors import AnswerFailed, DatabaseUnavailable, FailureCode, LeaseLost, PajamaError, PromptTooLong
from core.faq.decision import Outcome as Step
from core.faq.finding import Given
from core.faq.grounding import Problem, problem_of
from core.handoffs import triggers
from core.history import load_history
from core.prompts import Prompt, PromptRequest, Speech, assemble
from core.queue import WakeUps
from core.recipes import Passage
from core.settings import Settings
from core.streams import ReplyPublisher
from core.turns import ClaimedTurn, Outcome
from core.values import FinishReason, TurnState, Usage
from core.workspaces import WorkspaceSettings
from workers.claiming import Claiming
from workers.draft import Draft, Prepared, params_for
from workers.faq import FaqDesk
from workers.generator import Finished, Generator, KvScope
from workers.running import RunningTurn, RunningTurns
from workers.telling import Telling

log = structlog.get_logger(__name__)
T = TypeVar("T")

_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 2.0


class _Unwanted(Exception):
    """A person has stopped the answer before it was begun."""


class Answering:
    """Answers one Turn a call, in the calling thread; many threads may call at once."""

    def __init__(
        self,
        settings: Settings,
        claiming: Claiming,
        database: Database,
        generator: Generator,
        publisher: ReplyPublisher,
        wake_ups: WakeUps,
        running: RunningTurns,
        faq: FaqDesk,
        ring: Callable[[], None],
    ) -> None:
        self._settings, self._claiming = settings, claiming
        self._database, self._generator, self._faq = database, generator, faq
        self._publisher, self._wake_ups, self._running = publisher, wake_ups, running
        self._ring = ring

    def answer_next(self, turn_id: int | None = None, passed_on: int = 0) -> bool:
        """Claim the next Turn and answer it. False where there was none for this worker, or where it is stopping.

        The arguments are the wake-up's.
        """
        with self._running.claiming() as may_claim:
            claimed = self._claiming.next(turn_id, passed_on) if may_claim else None
            if claimed is None:
                return False
            with (
                self._running.holding(claimed) as turn,
                structlog.contextvars.bound_contextvars(
                    turn_id=claimed.turn_id, generation_id=claimed.generation_id, fence=claimed.fence
                ),
            ):
                self._answer(claimed, turn)
        self._wake_ups.send_soon()  # the next Turn of this Conversation may be answered now
        return True

    def _answer(self, claimed: ClaimedTurn, turn: RunningTurn) -> None:
        log.info("A turn was claimed.", action="turn_claimed", attempt=claimed.attempt)
        telling = Telling(self._publisher, claimed)
        telling.begin()
        try:
            outcome = self._finished(turn, self._with_kv(self._outcome(claimed, turn, telling)))
        except LeaseLost:
            log.warning("A turn was lost to another worker.", action="lease_lost")
            self._generator.forget(frozenset({claimed.conversation_id}))  # maybe its words were to be forgotten
            return
        telling.end(outcome)
        log.info(
            "A turn ended.",
            action="turn_ended",
            state=outcome.state,
            failure=outcome.failure,
            completion_tokens=outcome.usage.completion_tokens,
            timings_ms=outcome.timings_ms,
        )

    def _with_kv(self, outcome: Outcome) -> Outcome:
        """With who keeps the KV, if the model made it."""
        return replace(outcome, kv_worker=self._claiming.kv_worker) if outcome.usage.completion_tokens else outcome

    def _finished(self, turn: RunningTurn, outcome: Outcome) -> Outcome:
        """Write the Outcome, or, where that cannot be stored, that the Turn failed. Returns what was written."""
        try:
            called = self._persisted(turn, lambda session: _finish(session, outcome))
        except LeaseLost:
            raise
        except Exception:  # the edge: a Turn that cannot be stored must still end, or it would be held for ever
            log.exception("An answer could not be stored.", action="finish_failed", failure=FailureCode.ENGINE)
        else:
            if called:
                self._ring()  # or staff would hear of it seconds later
            return outcome
        failed = Outcome(
            turn_id=outcome.turn_id,
            generation_id=outcome.generation_id,
            fence=outcome.fence,
            state=TurnState.FAILED,
            finish_reason=FinishReason.ERROR,
            failure=FailureCode.ENGINE,
        )
        self._persisted(turn, lambda session: turns.finish(session, failed, _now()))
        return failed

    def _outcome(self, claimed: ClaimedTurn, turn: RunningTurn, telling: Telling) -> Outcome:
        """Make the answer, or say why there is none. Raises LeaseLost."""
        deadline = time.monotonic() + self._settings.deadline_s
        draft = Draft(claimed, telling, self._generator, params_for(self._generator, self._settings), deadline, _now())
        try:
            return self._answered(draft, turn)
        except LeaseLost:
            raise
        except _Unwanted:
            return draft.unwanted()
        except AnswerFailed as error:
            log.warning("A turn failed.", action="turn_failed", failure=error.failure, reason=str(error))
            return draft.failed(error.failure)
        except PajamaError as error:
            log.warning("A turn failed.", action="turn_failed", failure=FailureCode.ENGINE, reason=str(error))
            return draft.failed(FailureCode.ENGINE)
        except Exception:  # the edge: an error in our own code must not take the other Turns with it
            log.exception("A turn failed unexpectedly.", action="turn_failed", failure=FailureCode.ENGINE)
            return draft.failed(FailureCode.ENGINE)

    def _answered(self, draft: Draft, turn: RunningTurn) -> Outcome:
        """The curated answer, questions to choose from or silence, as the FAQ says; the model's answer otherwise."""
        claimed = draft.claimed
        own = WorkspaceSettings.of(claimed.workspace_settings)
        here = own.for_channel(claimed.channel)
        draft.advice = advice = self._insisted(turn, lambda: self._faq.consult(claimed, here))
        if advice is not None:
            draft.faq_ms = draft.ms()
            if advice.outcome is not Step.ABSTAIN or not advice.speaks:
                return self._from_faq(draft, turn, own)
            draft.given = Given.ABSTAIN
        self._choose_model(draft, own)
        draft.prepared = self._prepare(draft, turn, own, claimed.recipe)
        return draft.made(self._generate(draft, turn, draft.say))

    def _from_faq(self, draft: Draft, turn: RunningTurn, own: WorkspaceSettings) -> Outcome:
        """What the FAQ says to this question; what stands in it is told, and not obeyed."""
        assert draft.advice is not None
        if turn.lost.is_set():
            raise LeaseLost
        if turn.cancelled:
            return draft.cancelled()
        draft.offers_human = own.offers_human
        match draft.advice.outcome:
            case Step.ANSWER:
                return draft.quoting(Given.ANSWER)
            case Step.ASK:
                return draft.silent(Given.ASK)
            case Step.GROUND:
                return self._grounded(draft, turn, own)
            case Step.ABSTAIN:
                return draft.silent(Given.ABSTAIN)

    def _grounded(self, draft: Draft, turn: RunningTurn, own: WorkspaceSettings) -> Outcome:
        """The model's answer from the passages, told once each sentence is found in them; else the nearest entry's."""
        assert draft.advice is not None
        said, passages, finished = "", draft.advice.verdict.passages(), None
        problem: Problem | None = Problem.NO_ANSWER
        try:
            self._choose_model(draft, own)
            draft.prepared = self._prepare_with_most(draft, turn, own, passages)
            pieces: list[str] = []
            finished = self._generate(draft, turn, pieces.append)
            said = "".join(pieces).strip()
        except AnswerFailed as error:  # the entry is there all the same
            log.warning("No answer was made from passages.", action="grounding_failed", reason=str(error))
        if finished is not None and finished.reason is FinishReason.CANCELLED:
            return draft.cancelled(finished.usage)
        if finished is not None and finished.reason is FinishReason.STOP:
            problem = problem_of(said, passages)
        if finished is not None and problem is None:
            draft.given = Given.GROUNDED
            draft.say(said)
            return draft.made(finished)
        log.info("An answer from passages was not sent.", action="grounding_refused", problem=problem)
        draft.reason, usage = problem, finished.usage if finished else Usage()
        return draft.quoting(Given.PASSAGE, usage) if draft.advice.likely else draft.silent(Given.ABSTAIN, usage)

    def _choose_model(self, draft: Draft, own: WorkspaceSettings) -> None:
        """Let the Workspace's model answer. Raises AnswerFailed where it cannot."""
        if own.model is not None:
            draft.generator = self._generator.of_model(own.model, draft.deadline)
            draft.params = params_for(draft.generator, self._settings)

    def _prepare_with_most(
        self, draft: Draft, turn: RunningTurn, own: WorkspaceSettings, passages: tuple[Passage, ...]
    ) -> Prepared:
        """The Prompt with as many of the passages as fit. Raises PromptTooLong where the first alone does not."""
        for most in range(len(passages), 1, -1):
            with suppress(PromptTooLong):
                return self._prepare(draft, turn, own, "faq", passages[:most])
        return self._prepare(draft, turn, own, "faq", passages[:1])

    def _prepare(
        self,
        draft: Draft,
        turn: RunningTurn,
        own: WorkspaceSettings,
        recipe_name: str,
        passages: tuple[Passage, ...] = (),
    ) -> Prepared:
        """Load the history and assemble the Prompt."""
        claimed, info = draft.claimed, draft.generator.info
        here = own.for_channel(claimed.channel)
        history = self._persisted(
            turn,
            lambda session: load_history(session, claimed.conversation_id, claimed.cut_seq, claimed.seq, info.revision),
        )
        persona = here.persona or self._settings.persona
        recipe = recipes.load(recipe_name, own.recipes)
        request = PromptRequest(
            recipe=recipe,
            newest=Speech(claimed.seq, claimed.message_id, claimed.revision, claimed.text, claimed.speaker),
            budget=info.context_tokens - draft.params.max_new_tokens,
            history=history,
            cut_seq=claimed.cut_seq,
            persona=persona,
            language=here.language or claimed.language,
            arguments=claimed.arguments,
            passages=passages,
            shared=claimed.shared,
        )

        def count(prompt: Prompt) -> int:
            tokens = draft.generator.count(prompt, draft.deadline)
            if turn.lost.is_set():
                raise LeaseLost
            if turn.cancelled:
                raise _Unwanted
            return tokens

        return Prepared(recipe, persona, assemble(request, count))

    def _generate(self, draft: Draft, turn: RunningTurn, take: Callable[[str], None]) -> Finished:
        """Hand the answer on as it comes. Raises LeaseLost, and AnswerFailed where it could not be begun."""
        assert draft.prepared is not None
        events = draft.generator.generate(
            draft.prepared.assembled.prompt,
            draft.params,
            request_id=turn.request_id,
            deadline=draft.deadline,
            scope=KvScope(draft.claimed.workspace_id, draft.claimed.conversation_id),
        )
        if turn.cancelled or turn.lost.is_set():  # it was said before the Generator knew the request
            self._generator.cancel(turn.request_id)
        for event in events:
            if turn.lost.is_set():
                raise LeaseLost
            if isinstance(event, Finished):
                if event.failure is not None:
                    log.warning(
                        "A turn failed.", action="turn_failed", failure=event.failure.failure, reason=str(event.failure)
                    )
                return event
            take(event.text)
        raise AnswerFailed("The generator ended without saying how.")

    def _persisted(self, turn: RunningTurn, function: Callable[[Session], T]) -> T:
        """Run `function` in a transaction, again and again while SQL is down. Raises LeaseLost once the Turn is."""

        def persist() -> T:
            with self._database.write() as session:
                return function(session)

        return self._insisted(turn, persist)

    def _insisted(self, turn: RunningTurn, work: Callable[[], T]) -> T:
        """Do `work`, again and again while SQL is down. Raises LeaseLost once the Turn is."""
        retry_s = _FIRST_RETRY_S
        while not turn.lost.is_set():
            try:
                return work()
            except DatabaseUnavailable as error:
                log.warning("The database is down; trying again.", action="database_retry", reason=str(error))
                turn.lost.wait(retry_s)
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
        raise LeaseLost


def _finish(session: Session, outcome: Outcome) -> bool:
    """End the Turn; where nothing could be said, a human is called, if the Workspace wants that. Whether one was."""
    turns.finish(session, outcome, _now())
    silent = outcome.decided is not None and outcome.decided.outcome == Given.ABSTAIN and not outcome.text
    return silent and triggers.after_abstention(session, outcome.turn_id, _now())


def _now() -> datetime:
    return datetime.now(UTC)
