"""What crosses a process boundary: frozen, typed, JSON-able, versioned.

Knows no SQL, no Redis and no platform. Whoever reads a value made by a newer version ignores unknown fields.
"""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Platform = Literal["discord", "slack", "web", "terminal"]

_KEPT_CONTROLS = frozenset("\n\t")


class Value(BaseModel):
    """Base of all boundary values."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)  # errors are logged, words not


class TurnState(StrEnum):
    """Where a Turn stands: queued → running → done / failed / cancelled."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to the Turn unless a person asks for it."""
        return self not in (TurnState.QUEUED, TurnState.RUNNING)


class FinishReason(StrEnum):
    """Why a Generation ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    ERROR = "error"


class DeliveryState(StrEnum):
    """Where one chunk of a Generation stands on its way to the platform, and away from it once more."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    REMOVING = "removing"


class Rating(StrEnum):
    """What a Participant thinks of a Generation."""

    UP = "up"
    DOWN = "down"


class HandoffState(StrEnum):
    """Where a hand-off stands: requested → claimed → released. The bot is silent while it is claimed."""

    REQUESTED = "requested"
    CLAIMED = "claimed"
    RELEASED = "released"


class HandoffReason(StrEnum):
    """Why a hand-off was requested: somebody asked, was not content several times, or there was no answer."""

    REQUEST = "request"
    RATING = "rating"
    ABSTENTION = "abstention"


class ReleaseCause(StrEnum):
    """How a hand-off ended: by staff, because the person began anew or is forgotten, or because nobody did anything."""

    STAFF = "staff"
    RESET = "reset"
    FORGOTTEN = "forgotten"
    TIMEOUT = "timeout"


class Side(StrEnum):
    """To whom something of a hand-off is brought."""

    PERSON = "person"
    STAFF = "staff"


class RelayKind(StrEnum):
    """What is brought: staff's notice, somebody's words, or that something has changed or did not arrive."""

    NOTICE = "notice"
    WORDS = "words"
    REQUESTED = "requested"
    CLAIMED = "claimed"
    RELEASED = "released"
    UNREACHABLE = "unreachable"
    UNDELIVERED = "undelivered"


class Usage(Value):
    """Tokens of one Generation. `cached_tokens` is the part of the prompt whose KV was reused."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


class SamplingParams(Value):
    """How tokens are chosen. `temperature == 0` is greedy; `seed` gives the request its own random stream."""

    temperature: Annotated[float, Field(ge=0, le=5, allow_inf_nan=False)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.9
    top_k: Annotated[int, Field(ge=0)] = 50
    repetition_penalty: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    max_new_tokens: Annotated[int, Field(ge=1)] = 256
    stop: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=16)] = ()


def clean_text(text: str) -> str:
    """`text` as it can be stored and tokenised: no lone surrogates, no control characters but newline and tab.

    Lone surrogates become U+FFFD; CR LF becomes LF; right-to-left text and its marks stay as they are.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(c for c in text if c in _KEPT_CONTROLS or unicodedata.category(c) != "Cc").strip()


def _clean(value: object) -> object:
    return clean_text(value) if isinstance(value, str) else value


Identifier = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]


class Place(Value):
    """Where something is said: a Conversation of a Workspace of a platform, by the platform's own ids."""

    platform: Platform
    workspace: Identifier
    conversation: Identifier


class Person(Value):
    """Who says it, by the platform's own id. The display name is kept for prompts with several speakers."""

    id: Identifier
    display_name: Annotated[Annotated[str, Field(max_length=80)] | None, BeforeValidator(_clean)] = None


class ContextMessage(Value):
    """Somebody's message that is read for context only: it gets no answer of its own."""

    event_id: Identifier
    person: Person
    text: str


class InboundMessage(Value):
    """What someone wrote, as an adapter hands it to core.

    `event_id` is the platform's own id of the message: the same one twice is the same Turn. `target` is the
    adapter's own note of where to answer (JSON-able; core stores it and never looks inside). `shared` says that
    several people speak in this Conversation, so that each message carries its speaker's name in the Prompt; it is
    never taken back. `channel` is the platform's channel that the Conversation lives in (a thread's parent) and
    `category` what the channel stands under; with the person's `roles` they decide which settings hold and who is
    answered. `context` is what was said around the message, the oldest first; what is known already is kept once.
    """

    version: Literal[1] = 1
    place: Place
    person: Person
    event_id: Identifier
    text: str
    language: Annotated[str, Field(max_length=20)] = "en"
    recipe: Annotated[str, Field(max_length=40)] = "chat"
    arguments: dict[str, str] = Field(default_factory=dict)
    target: dict[str, Any] = Field(default_factory=dict)
    shared: bool = False
    channel: Identifier | None = None
    category: Identifier | None = None
    roles: Annotated[tuple[Identifier, ...], Field(max_length=250)] = ()
    context: Annotated[tuple[ContextMessage, ...], Field(max_length=20)] = ()


class HandoffRequest(InboundMessage):
    """A wish for a human. `text` is what the person says about it, perhaps nothing; `turn_id` the Turn that led to it."""

    text: str = ""
    why: HandoffReason = HandoffReason.REQUEST
    turn_id: int | None = None


class Staff(Value):
    """A human who answers people: a person of a chat platform, or an operator of the web page."""

    platform: Platform
    person: Person


class ReplyEventKind(StrEnum):
    """What a ReplyEvent tells."""

    STARTED = "started"
    DELTA = "delta"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ReplyEvent(Value):
    """One step of an answer on its way from a worker to whoever follows the Turn.

    `fence` grows with every claim: a follower drops events of an older one. `offset` is where `text` starts in the
    answer, in code points, so that nothing is shown twice. `done`, `failed` and `cancelled` end the stream of this
    fence; SQL then holds the same text. `failure` is a `FailureCode` value.
    """

    version: Literal[1] = 1
    turn_id: int
    generation_id: int | None
    fence: int
    kind: ReplyEventKind
    offset: int = 0
    text: str = ""
    finish_reason: FinishReason | None = None
    failure: str | None = None
    usage: Usage | None = None

    @property
    def terminal(self) -> bool:
        """Whether this fence says nothing more."""
        return self.kind in (ReplyEventKind.DONE, ReplyEventKind.FAILED, ReplyEventKind.CANCELLED)
