"""Answering: the straight line of one Turn in a worker.

    claim → load history → assemble the Prompt → generate → publish ReplyEvents → finish under the fence → wake-up

Knows core's queue, history and Prompts, and a Generator; knows no Celery, no model and no platform. Whatever goes
wrong ends this Turn only, with a FailureCode, and what was already said is kept. Where the Turn was lost to another
worker, nothing is said and nothing is written.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from sqlalchemy.orm import Session

from core import recipes, turns
from core.database import Database
from core.errors import AnswerFailed, DatabaseUnavailable, FailureCode, LeaseLost, PajamaError
from core.history import load_history
from core.prompts import Assembled, PromptRequest, Speech, assemble, version_of
from core.queue import WakeUps
from core.recipes import Recipe
from core.settings import Settings
from core.streams import ReplyPublisher
from core.turns import ClaimedTurn, Outcome, Source
from core.values import FinishReason, ReplyEvent, ReplyEventKind, SamplingParams, TurnState, Usage
from core.workspaces import WorkspaceSettings
from workers.generator import Finished, Generator, KvScope, TextDelta
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


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a Turn's answer is made from."""

    recipe: Recipe
    persona: str
    assembled: Assembled


@dataclass(slots=True)
class Draft:
    """An answer while it is being made: whatever goes wrong, this much is kept."""

    claimed: ClaimedTurn
    params: SamplingParams
    deadline: float
    started: datetime
    prepared: Prepared | None = None
    text: str = ""
    first_token_ms: float | None = None
    clock: float = field(default_factory=time.monotonic)


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
    ) -> None:
        self._settings, self._owner = settings, owner
        self._database, self._generator = database, generator
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
        draft = Draft(claimed, self._params(), deadline, _now())
        try:
            draft.prepared = self._prepare(draft, turn)
            return self._made(draft, self._generate(draft, turn))
        except LeaseLost:
            raise
        except AnswerFailed as error:
            log.warning("A turn failed.", action="turn_failed", failure=error.failure, reason=str(error))
            return self._failed(draft, error.failure)
        except PajamaError as error:
            log.warning("A turn failed.", action="turn_failed", failure=FailureCode.ENGINE, reason=str(error))
            return self._failed(draft, FailureCode.ENGINE)
        except Exception:  # the edge: an error in our own code must not take the other Turns with it
            log.exception("A turn failed unexpectedly.", action="turn_failed", failure=FailureCode.ENGINE)
            return self._failed(draft, FailureCode.ENGINE)

    def _params(self) -> SamplingParams:
        """The sampling parameters, with a seed, so that `why` can tell it, and with room left for the prompt."""
        params = self._settings.sampling
        seed = secrets.randbits(32) if params.seed is None else params.seed
        longest = max(1, min(params.max_new_tokens, self._generator.info.context_tokens // 2))
        return params.model_copy(update={"seed": seed, "max_new_tokens": longest})

    def _prepare(self, draft: Draft, turn: RunningTurn) -> Prepared:
        """Load the history and assemble the Prompt."""
        claimed, revision = draft.claimed, self._generator.info.revision
        history = self._persisted(
            turn,
            lambda session: load_history(session, claimed.conversation_id, claimed.cut_seq, claimed.seq, revision),
        )
        own = WorkspaceSettings.of(claimed.workspace_settings)
        here = own.for_channel(claimed.channel)
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
            self._add(draft, event)
        raise AnswerFailed("The generator ended without saying how.")

    def _add(self, draft: Draft, delta: TextDelta) -> None:
        if draft.first_token_ms is None:
            draft.first_token_ms = (time.monotonic() - draft.clock) * 1000
        text = delta.text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL stores no NUL
        self._publish(draft.claimed, ReplyEventKind.DELTA, offset=len(draft.text), text=text)
        draft.text += text

    def _made(self, draft: Draft, finished: Finished) -> Outcome:
        """The Outcome of an answer that the Generator ended."""
        states = {FinishReason.CANCELLED: TurnState.CANCELLED, FinishReason.ERROR: TurnState.FAILED}
        failure = finished.failure.failure if finished.failure is not None else None
        if failure is not None:
            log.warning("A turn failed.", action="turn_failed", failure=failure, reason=str(finished.failure))
        state = states.get(finished.reason, TurnState.DONE)
        return self._ended(draft, state, finished.reason, failure, finished.usage, finished.token_ids)

    def _failed(self, draft: Draft, failure: FailureCode) -> Outcome:
        """The Outcome of an answer that ended without the Generator saying so."""
        return self._ended(draft, TurnState.FAILED, FinishReason.ERROR, failure, Usage(), ())

    def _ended(
        self,
        draft: Draft,
        state: TurnState,
        reason: FinishReason,
        failure: FailureCode | None,
        usage: Usage,
        token_ids: tuple[int, ...],
    ) -> Outcome:
        claimed, prepared, info = draft.claimed, draft.prepared, self._generator.info
        return Outcome(
            turn_id=claimed.turn_id,
            generation_id=claimed.generation_id,
            fence=claimed.fence,
            state=state,
            finish_reason=reason,
            text=draft.text,
            token_ids=token_ids,
            model=info.name,
            model_revision=info.revision,
            sampling=draft.params,
            usage=usage,
            failure=failure,
            prompt=prepared.assembled.record.model_dump(mode="json") if prepared else None,
            sources=_sources(prepared) if prepared else (),
            cut_seq=prepared.assembled.cut_seq if prepared else None,
            timings_ms=_timings(draft),
        )

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


def _sources(prepared: Prepared) -> tuple[Source, ...]:
    recipe, persona = prepared.recipe, prepared.persona
    return (
        Source(recipe.version, recipe.name, recipe.source),
        Source(version_of(persona), "persona", persona),
    )


def _timings(draft: Draft) -> dict[str, float]:
    timings = {
        "queue": max(0.0, (draft.started - draft.claimed.queued_at).total_seconds() * 1000),
        "total": (time.monotonic() - draft.clock) * 1000,
    }
    if draft.first_token_ms is not None:
        timings["first_token"] = draft.first_token_ms
    return {name: round(value, 3) for name, value in timings.items()}


def _now() -> datetime:
    return datetime.now(UTC)
