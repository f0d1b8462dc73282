"""Answering: the straight line of one Turn in a worker.

    claim → ask the FAQ → load history → assemble the Prompt → generate → publish → finish under the fence → wake-up

What a FAQ answers by itself needs no Prompt and no model. Knows core's queue, history and Prompts, a FaqDesk and a
Generator; knows no Celery, no model and no platform. Whatever goes wrong ends this Turn only, with a FailureCode, and
what was already said is kept. Where the Turn was lost to another worker, nothing is said and nothing is written.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from sqlalchemy.orm import Session

from core import recipes, turns
from core.database import Database
from core.errors import AnswerFailed, DatabaseUnavailable, FailureCode, LeaseLost, PajamaError
from core.faq.decision import Outcome as Step
from core.faq.finding import Given
from core.history import load_history
from core.prompts import PromptRequest, Speech, assemble
from core.queue import WakeUps
from core.settings import Settings
from core.streams import ReplyPublisher
from core.turns import ClaimedTurn, Outcome
from core.values import FinishReason, ReplyEvent, ReplyEventKind, SamplingParams, TurnState, Usage
from core.workspaces import ChannelSettings, WorkspaceSettings
from workers.draft import Draft, Prepared
from workers.faq import Advice, FaqDesk
from workers.generator import Finished, Generator, KvScope
from workers.running import RunningTurn, RunningTurns

log = structlog.get_logger(__name__)
T = TypeVar("T")

_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 2.0
_ENDS = {
    TurnState.DONE: ReplyEventKind.DONE,
    TurnState.FAILED: ReplyEventKind.FAILED,
    TurnState.CANCELLED: ReplyEventKind.CANCELLED,
}


class Answering:
    """Answers one Turn a call, in the calling thread; many threads may call at once."""

    def __init__(
        self,
        settings: Settings,
        owner: str,
        database: Database,
        generator: Generator,
        publisher: ReplyPublisher,
        wake_ups: WakeUps,
        running: RunningTurns,
        faq: FaqDesk,
    ) -> None:
        self._settings, self._owner = settings, owner
        self._database, self._generator, self._faq = database, generator, faq
        self._publisher, self._wake_ups, self._running = publisher, wake_ups, running

    def answer_next(self) -> bool:
        """Claim the next Turn and answer it. False where there was none, or where this worker is stopping."""
        with self._running.claiming() as may_claim:
            claimed = self._claim() if may_claim else None
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

    def _claim(self) -> ClaimedTurn | None:
        try:
            return turns.claim_next(self._database, self._owner, self._settings.lease_s, _now())
        except DatabaseUnavailable as error:
            log.warning("No turn can be claimed.", action="claim_failed", reason=str(error))
            return None

    def _answer(self, claimed: ClaimedTurn, turn: RunningTurn) -> None:
        log.info("A turn was claimed.", action="turn_claimed", attempt=claimed.attempt)
        self._publish(claimed, ReplyEventKind.STARTED)
        try:
            outcome = self._finished(turn, self._outcome(claimed, turn))
        except LeaseLost:
            log.warning("A turn was lost to another worker.", action="lease_lost")
            self._generator.forget(frozenset({claimed.conversation_id}))  # maybe its words were to be forgotten
            return
        self._publish_end(claimed, outcome)
        log.info(
            "A turn ended.",
            action="turn_ended",
            state=outcome.state,
            failure=outcome.failure,
            completion_tokens=outcome.usage.completion_tokens,
            timings_ms=outcome.timings_ms,
        )

    def _finished(self, turn: RunningTurn, outcome: Outcome) -> Outcome:
        """Write the Outcome, or, where that cannot be stored, that the Turn failed. Returns what was written."""
        try:
            self._persisted(turn, lambda session: turns.finish(session, outcome, _now()))
        except LeaseLost:
            raise
        except Exception:  # the edge: a Turn that cannot be stored must still end, or it would be held for ever
            log.exception("An answer could not be stored.", action="finish_failed", failure=FailureCode.ENGINE)
        else:
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

    def _outcome(self, claimed: ClaimedTurn, turn: RunningTurn) -> Outcome:
        """Make the answer, or say why there is none. Raises LeaseLost."""
        deadline = time.monotonic() + self._settings.deadline_s
        draft = Draft(claimed, self._generator.info, self._params(), deadline, _now())
        try:
            return self._answered(draft, turn)
        except LeaseLost:
            raise
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
        own = WorkspaceSettings.of(draft.claimed.workspace_settings)
        here = own.for_channel(draft.claimed.channel)
        draft.advice = advice = self._faq.consult(draft.claimed, here)
        if advice is not None:
            draft.faq_ms = draft.ms()
            if advice.outcome is not Step.ABSTAIN or not advice.speaks:
                return self._from_faq(draft, turn, advice)
            draft.given = Given.ABSTAIN
        draft.prepared = self._prepare(draft, turn, own, here)
        return self._made(draft, self._generate(draft, turn))

    def _from_faq(self, draft: Draft, turn: RunningTurn, advice: Advice) -> Outcome:
        """Give what the FAQ says: nothing of it is obeyed, and no model reads it."""
        if turn.lost.is_set():
            raise LeaseLost
        if turn.cancelled:
            return draft.from_faq(cancelled=True)
        if advice.outcome is Step.ANSWER:
            draft.given = Given.ANSWER
        elif advice.outcome is Step.ASK:
            draft.given = Given.ASK
        elif advice.outcome is Step.GROUND and advice.likely:
            draft.given = Given.PASSAGE
        else:
            draft.given = Given.ABSTAIN
        if draft.given in (Given.ANSWER, Given.PASSAGE):
            self._add(draft, advice.nearest)
        return draft.from_faq()

    def _params(self) -> SamplingParams:
        """The sampling parameters, with a seed, so that `why` can tell it, and with room left for the prompt."""
        params = self._settings.sampling
        seed = secrets.randbits(32) if params.seed is None else params.seed
        longest = max(1, min(params.max_new_tokens, self._generator.info.context_tokens // 2))
        return params.model_copy(update={"seed": seed, "max_new_tokens": longest})

    def _prepare(self, draft: Draft, turn: RunningTurn, own: WorkspaceSettings, here: ChannelSettings) -> Prepared:
        """Load the history and assemble the Prompt."""
        claimed, revision = draft.claimed, self._generator.info.revision
        history = self._persisted(
            turn,
            lambda session: load_history(session, claimed.conversation_id, claimed.cut_seq, claimed.seq, revision),
        )
        persona = here.persona or self._settings.persona
        recipe = recipes.load(claimed.recipe, own.recipes)
        request = PromptRequest(
            recipe=recipe,
            newest=Speech(claimed.seq, claimed.message_id, claimed.revision, claimed.text, claimed.speaker),
            budget=self._generator.info.context_tokens - draft.params.max_new_tokens,
            history=history,
            cut_seq=claimed.cut_seq,
            persona=persona,
            language=here.language or claimed.language,
            arguments=claimed.arguments,
            shared=claimed.shared,
        )
        return Prepared(recipe, persona, assemble(request, self._generator.count))

    def _generate(self, draft: Draft, turn: RunningTurn) -> Finished:
        """Publish the answer as it comes. Raises LeaseLost, and AnswerFailed where it could not be begun."""
        assert draft.prepared is not None
        events = self._generator.generate(
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
                return event
            self._add(draft, event.text)
        raise AnswerFailed("The generator ended without saying how.")

    def _add(self, draft: Draft, text: str) -> None:
        if draft.first_token_ms is None:
            draft.first_token_ms = draft.ms()
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL stores no NUL
        self._publish(draft.claimed, ReplyEventKind.DELTA, offset=len(draft.text), text=text)
        draft.text += text

    def _made(self, draft: Draft, finished: Finished) -> Outcome:
        """The Outcome of an answer that the Generator ended."""
        if (failure := finished.failure) is not None:
            log.warning("A turn failed.", action="turn_failed", failure=failure.failure, reason=str(failure))
        return draft.made(finished)

    def _persisted(self, turn: RunningTurn, function: Callable[[Session], T]) -> T:
        """Run `function` in a transaction, again and again while SQL is down. Raises LeaseLost once the Turn is."""
        retry_s = _FIRST_RETRY_S
        while not turn.lost.is_set():
            try:
                with self._database.write() as session:
                    return function(session)
            except DatabaseUnavailable as error:
                log.warning("The database is down; trying again.", action="database_retry", reason=str(error))
                turn.lost.wait(retry_s)
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
        raise LeaseLost

    def _publish_end(self, claimed: ClaimedTurn, outcome: Outcome) -> None:
        self._publish(
            claimed,
            _ENDS[outcome.state],
            offset=len(outcome.text),
            finish_reason=outcome.finish_reason,
            failure=outcome.failure,
            usage=outcome.usage,
        )

    def _publish(
        self,
        claimed: ClaimedTurn,
        kind: ReplyEventKind,
        *,
        offset: int = 0,
        text: str = "",
        finish_reason: FinishReason | None = None,
        failure: FailureCode | None = None,
        usage: Usage | None = None,
    ) -> None:
        # Not validated: every value is ours, and this runs once a token.
        self._publisher.publish(
            ReplyEvent.model_construct(
                turn_id=claimed.turn_id,
                generation_id=claimed.generation_id,
                fence=claimed.fence,
                kind=kind,
                offset=offset,
                text=text,
                finish_reason=finish_reason,
                failure=failure,
                usage=usage,
            )
        )


def _now() -> datetime:
    return datetime.now(UTC)
