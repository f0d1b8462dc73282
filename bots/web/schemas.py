"""What the page and the server say to each other, as JSON. Knows the form; the sentences in it are given."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from core.faq.finding import Finding, Given
from core.handoffs.transcripts import Line, Speaker
from core.history import GenerationView, TurnView
from core.service import MAX_COMMENT_CHARS
from core.values import FinishReason, HandoffState, Rating, TurnState, Usage

EventId = Annotated[str, StringConstraints(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
"""Made by the page for each message, so that one that is sent twice is one Turn."""


class Request(BaseModel):
    """Base of what the page sends: unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MessageRequest(Request):
    """A message or a slash command. How long it may be is a setting; the body's size bounds it here."""

    event_id: EventId
    text: str


class FeedbackRequest(Request):
    """A rating, or null to take it back."""

    rating: Rating | None
    comment: Annotated[str, Field(max_length=MAX_COMMENT_CHARS)] = ""


class Refusal(BaseModel):
    """Why something was not done: a stable code and a sentence in the person's language."""

    code: str
    message: str


class AnswerBody(BaseModel):
    """One answer."""

    generation_id: int
    number: int
    text: str
    finish_reason: FinishReason | None
    model: str | None
    model_revision: str | None
    usage: Usage
    timings_ms: dict[str, float]
    rating: Rating | None

    @classmethod
    def of(cls, view: GenerationView) -> AnswerBody:
        """The answer that `view` shows."""
        return cls.model_validate(view, from_attributes=True)


class ChoiceBody(BaseModel):
    """A question that may be chosen."""

    entry_id: int
    question: str


class FindingBody(BaseModel):
    """What a FAQ gave. `lead` is the sentence above the answer; it may be all there is. `sources` stand below it."""

    outcome: Given
    lead: str
    sources: list[str]
    choices: list[ChoiceBody]

    @classmethod
    def of(cls, finding: Finding, *, lead: str, sources: list[str]) -> FindingBody:
        """The finding with its sentences."""
        return cls(
            outcome=finding.outcome,
            lead=lead,
            sources=sources,
            choices=[ChoiceBody(entry_id=each.entry_id, question=each.question) for each in finding.choices],
        )


class TurnBody(BaseModel):
    """One Turn as the page shows it. `status` is the sentence below it; `failure` says why there is no answer.

    Where it is `purged`, `text` says so; a page that still shows the words may go on showing them.
    """

    turn_id: int
    seq: int
    state: TurnState
    fence: int
    text: str
    purged: bool
    recipe: str
    cancel_requested: bool
    status: str
    failure: Refusal | None
    answer: AnswerBody | None
    finding: FindingBody | None

    @classmethod
    def of(
        cls, view: TurnView, *, said: str, status: str, failure: Refusal | None, finding: FindingBody | None
    ) -> TurnBody:
        """The Turn that `view` shows."""
        return cls(
            turn_id=view.turn_id,
            seq=view.seq,
            state=view.state,
            fence=view.fence,
            text=said,
            purged=view.purged,
            recipe=view.recipe,
            cancel_requested=view.cancel_requested,
            status=status,
            failure=failure,
            answer=AnswerBody.of(view.answer) if view.answer else None,
            finding=finding,
        )


class DocumentBody(BaseModel):
    """A text file for the visitor to keep."""

    name: str
    text: str


class LineBody(BaseModel):
    """One thing that was said to or by a human. `name` is the speaker's."""

    seq: int
    speaker: Speaker
    name: str
    text: str
    said_at: datetime

    @classmethod
    def of(cls, line: Line, *, name: str) -> LineBody:
        """The line, under a name."""
        return cls(seq=line.seq, speaker=line.speaker, name=name, text=line.text, said_at=line.said_at)


class HandoffBody(BaseModel):
    """How a hand-off stands; `sentence` tells the person."""

    handoff_id: int
    state: HandoffState
    sentence: str


class TalkBody(BaseModel):
    """The hand-off that is shown, if there is one, and what was said to and by humans, oldest first."""

    handoff: HandoffBody | None
    said: list[LineBody]


class TakenBody(BaseModel):
    """What the server made of a message: a Turn, or what a command did. `forgotten`: show nothing of before.

    `passed_on`: a human has the conversation, and was given the words.
    """

    turn: TurnBody | None = None
    reply: str | None = None
    passed_on: bool = False
    why: int | None = None
    document: DocumentBody | None = None
    forgotten: bool = False


class HistoryBody(BaseModel):
    """The conversation since its last reset, oldest first."""

    turns: list[TurnBody]


class PromptMessageBody(BaseModel):
    """One message of a Prompt."""

    role: str
    text: str


class FactBody(BaseModel):
    """Something that is known, under its name."""

    name: str
    value: str


class WhyBody(BaseModel):
    """Why a Turn was answered so: the Prompt as the model saw it, with its counts, timings and sampling.

    `messages` are empty where no model was asked, `decided` where no FAQ was.
    """

    turn_id: int
    messages: list[PromptMessageBody]
    answer: AnswerBody
    recipe: str
    recipe_version: str
    budget: int
    sampling: dict[str, Any]
    notes: list[str]
    decided: list[FactBody]


class TextsBody(BaseModel):
    """The page's sentences."""

    language: str
    texts: dict[str, str]
