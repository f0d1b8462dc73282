"""Draft: an answer while it is being made, and how it becomes the Outcome that SQL keeps.

Knows Prompts, what a FAQ said and how long things took; what is said of it is told at once. Stores nothing.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime

from core.errors import FailureCode
from core.faq.finding import Given
from core.faq.matches import Decided
from core.prompts import Assembled, version_of
from core.recipes import Recipe
from core.settings import Settings
from core.turns import ClaimedTurn, Outcome, Source
from core.values import FinishReason, SamplingParams, TurnState, Usage
from workers.faq import Advice
from workers.generator import Finished, Generator, ModelInfo
from workers.telling import Telling

_FAQ = "faq"
"""Who answers where no model does."""

_STATES = {FinishReason.CANCELLED: TurnState.CANCELLED, FinishReason.ERROR: TurnState.FAILED}


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a Turn's answer is made from."""

    recipe: Recipe
    persona: str
    assembled: Assembled

    def sources(self) -> tuple[Source, ...]:
        """What `why` needs to render the Prompt again."""
        return (
            Source(self.recipe.version, self.recipe.name, self.recipe.source),
            Source(version_of(self.persona), "persona", self.persona),
        )


def params_for(generator: Generator, settings: Settings) -> SamplingParams:
    """The sampling parameters, with a seed, so that `why` can tell it, and with room left for the prompt."""
    params = settings.sampling
    seed = secrets.randbits(32) if params.seed is None else params.seed
    longest = max(1, min(params.max_new_tokens, generator.info.context_tokens // 2))
    return params.model_copy(update={"seed": seed, "max_new_tokens": longest})


@dataclass(slots=True)
class Draft:
    """An answer while it is being made: whatever goes wrong, this much is kept."""

    claimed: ClaimedTurn
    telling: Telling
    generator: Generator
    params: SamplingParams
    deadline: float
    started: datetime
    advice: Advice | None = None
    given: Given | None = None
    reason: str | None = None
    offers_human: bool = False
    prepared: Prepared | None = None
    quoted: ModelInfo | None = None
    text: str = ""
    faq_ms: float | None = None
    first_token_ms: float | None = None
    clock: float = field(default_factory=time.monotonic)

    def ms(self) -> float:
        """Milliseconds since it was begun."""
        return (time.monotonic() - self.clock) * 1000

    def say(self, text: str) -> None:
        """Add to the answer, and tell it."""
        if self.first_token_ms is None:
            self.first_token_ms = self.ms()
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL stores no NUL
        self.telling.say(text, len(self.text))
        self.text += text

    def made(self, finished: Finished) -> Outcome:
        """The Outcome of an answer that the Generator ended."""
        failure = finished.failure.failure if finished.failure is not None else None
        state = _STATES.get(finished.reason, TurnState.DONE)
        return self._ended(state, finished.reason, failure, finished.usage, finished.token_ids)

    def failed(self, failure: FailureCode) -> Outcome:
        """The Outcome of an answer that ended without the Generator saying so."""
        return self._ended(TurnState.FAILED, FinishReason.ERROR, failure)

    def unwanted(self) -> Outcome:
        """The Outcome of an answer that was stopped before the Generator began it."""
        return self._ended(TurnState.CANCELLED, FinishReason.CANCELLED)

    # What a FAQ gives by itself. `usage` is that of a model whose words were not sent.

    def quoting(self, given: Given, usage: Usage = Usage()) -> Outcome:
        """The nearest entry's answer, word for word."""
        assert self.advice is not None
        if given is Given.ANSWER:
            self.say(self.advice.nearest)
        else:  # it is only offered: whoever follows tells it as such, once it is there
            self.text = self.advice.nearest
        return self.silent(given, usage)

    def silent(self, given: Given, usage: Usage = Usage()) -> Outcome:
        """Nothing more is said."""
        self.given = given
        return self._of_faq(TurnState.DONE, FinishReason.STOP, usage)

    def cancelled(self, usage: Usage = Usage()) -> Outcome:
        """Nobody wants to hear it any more."""
        return self._of_faq(TurnState.CANCELLED, FinishReason.CANCELLED, usage)

    def _of_faq(self, state: TurnState, reason: FinishReason, usage: Usage) -> Outcome:
        assert self.advice is not None
        verdict = self.advice.verdict
        self.quoted = ModelInfo(_FAQ, f"{verdict.collection[:60]}@{verdict.revision}", 0)
        return self._ended(state, reason, usage=usage)

    def _ended(
        self,
        state: TurnState,
        reason: FinishReason,
        failure: FailureCode | None = None,
        usage: Usage = Usage(),
        token_ids: tuple[int, ...] = (),
    ) -> Outcome:
        claimed, prepared = self.claimed, self.prepared
        author = self.quoted or self.generator.info
        return Outcome(
            turn_id=claimed.turn_id,
            generation_id=claimed.generation_id,
            fence=claimed.fence,
            state=state,
            finish_reason=reason,
            text=self.text,
            token_ids=token_ids,
            model=author.name,
            model_revision=author.revision,
            sampling=self.params if prepared is not None or self.quoted is None else None,
            usage=usage,
            failure=failure,
            prompt=prepared.assembled.record.model_dump(mode="json") if prepared else None,
            sources=prepared.sources() if prepared else (),
            cut_seq=prepared.assembled.cut_seq if prepared else None,
            timings_ms=self._timings(),
            decided=self._decided() if state is TurnState.DONE else None,
        )

    def _decided(self) -> Decided | None:
        if self.advice is None or self.given is None:
            return None
        reason, silent = self.reason or self.advice.reason, self.given is Given.ABSTAIN and not self.text
        return self.advice.verdict.decided(self.given, reason, offers_human=silent and self.offers_human)

    def _timings(self) -> dict[str, float]:
        timings = {
            "queue": max(0.0, (self.started - self.claimed.queued_at).total_seconds() * 1000),
            "total": self.ms(),
        }
        known = {"faq": self.faq_ms, "first_token": self.first_token_ms}
        timings |= {name: ms for name, ms in known.items() if ms is not None}
        return {name: round(value, 3) for name, value in timings.items()}
