"""The tables: Workspace, Participant, Conversation, Message, Turn, Generation, Delivery, Feedback.

Knows columns, keys and the index for each query of the hot path; the queries themselves are in `intake`,
`places`, `turns`, `deliveries`, `feedback`, `privacy` and `retention`. Times are UTC. Ids are the database's own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.values import (
    DeliveryState,
    FinishReason,
    HandoffReason,
    HandoffState,
    Rating,
    RelayKind,
    ReleaseCause,
    Side,
    TurnState,
)

# SQLite only counts up by itself in a column of type INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC; SQLite itself would drop the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, which would mean another moment on another machine."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Put the zone back."""
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


def _words(enum: type[StrEnum]) -> Enum:
    return Enum(enum, native_enum=False, length=16, values_callable=lambda members: [m.value for m in members])


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over the rows that meet `where`, on both databases."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class Base(DeclarativeBase):
    """Declarative base; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own interface
        int: Id,
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        TurnState: _words(TurnState),
        FinishReason: _words(FinishReason),
        DeliveryState: _words(DeliveryState),
        Rating: _words(Rating),
        HandoffState: _words(HandoffState),
        HandoffReason: _words(HandoffReason),
        ReleaseCause: _words(ReleaseCause),
        Side: _words(Side),
        RelayKind: _words(RelayKind),
    }


class Workspace(Base):
    """A guild, a team, a site; a DM or a terminal user has one of its own."""

    __tablename__ = "workspace"
    __table_args__ = (UniqueConstraint("platform", "external_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    platform: Mapped[str] = mapped_column(String(16))
    external_id: Mapped[str] = mapped_column(String(200))
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]


class Participant(Base):
    """A person on one platform. What they say from `opted_out_at` on is purged with its Turn."""

    __tablename__ = "participant"
    __table_args__ = (
        UniqueConstraint("platform", "external_id"),
        partial_index("ix_participant_opted_out", "opted_out_at", where="opted_out_at IS NOT NULL"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    platform: Mapped[str] = mapped_column(String(16))
    external_id: Mapped[str] = mapped_column(String(200))
    display_name: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[datetime]
    opted_out_at: Mapped[datetime | None]

    @property
    def opted_out(self) -> bool:
        """Whether they want nothing kept."""
        return self.opted_out_at is not None


class Conversation(Base):
    """One thread, DM or session. `cut_seq` is where the Prompt's history starts; a reset moves both marks.

    `channel` is the platform's channel that it lives in, by which its settings are found. While it is `handed_off` a
    human has it: what is said becomes no Turn. `kv_worker` answered last, at `kv_at`, and may still have its KV.
    """

    __tablename__ = "conversation"
    __table_args__ = (UniqueConstraint("workspace_id", "external_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id"))
    external_id: Mapped[str] = mapped_column(String(200))
    channel: Mapped[str | None] = mapped_column(String(200))
    shared: Mapped[bool] = mapped_column(default=False)
    next_seq: Mapped[int] = mapped_column(Integer, default=1)
    cut_seq: Mapped[int] = mapped_column(Integer, default=1)
    reset_seq: Mapped[int] = mapped_column(Integer, default=1)
    handed_off: Mapped[bool] = mapped_column(default=False)
    kv_worker: Mapped[str | None] = mapped_column(String(200))
    kv_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Message(Base):
    """What someone wrote. `revision` is the number of its newest MessageRevision.

    Of a deleted one no word is left: not in its revisions, its Turn's arguments and answers, or comments on these.
    `handoff_id` is the Handoff that it was said in, instead of to the bot; `staff`: by the human who answers. That is no
    foreign key, since a Handoff may name a Turn, and a Turn its Message.
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq"),
        UniqueConstraint("conversation_id", "external_id"),
        Index(None, "external_id"),
        partial_index("ix_message_kept_participant", "participant_id", "created_at", where="deleted_at IS NULL"),
        partial_index("ix_message_kept_conversation", "conversation_id", "created_at", where="deleted_at IS NULL"),
        partial_index("ix_message_handoff", "handoff_id", where="handoff_id IS NOT NULL"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"))
    participant_id: Mapped[int] = mapped_column(ForeignKey("participant.id"))
    seq: Mapped[int] = mapped_column(Integer)
    external_id: Mapped[str] = mapped_column(String(200))
    revision: Mapped[int] = mapped_column(Integer, default=1)
    handoff_id: Mapped[int | None]
    staff: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class MessageRevision(Base):
    """One wording of a Message; an edit adds another."""

    __tablename__ = "message_revision"

    message_id: Mapped[int] = mapped_column(ForeignKey("message.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class Turn(Base):
    """One Message to be answered. Its `seq` is its Message's; `fence` grows with every claim."""

    __tablename__ = "turn"
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq"),
        partial_index("uq_turn_running_conversation", "conversation_id", where="state = 'running'", unique=True),
        partial_index("ix_turn_open_conversation", "conversation_id", "seq", where="state IN ('queued', 'running')"),
        partial_index("ix_turn_queued", "queued_at", "id", where="state = 'queued'"),
        partial_index("ix_turn_queued_participant", "participant_id", where="state = 'queued'"),
        partial_index("ix_turn_running", "workspace_id", "participant_id", where="state = 'running'"),
        partial_index("ix_turn_owner", "owner", where="state = 'running'"),
        partial_index("ix_turn_lease", "lease_until", where="state = 'running'"),
        partial_index(
            "ix_turn_undelivered",
            "workspace_id",
            "id",
            where="delivered_at IS NULL AND state IN ('done', 'failed', 'cancelled')",
        ),
        Index(None, "message_id"),
        Index("ix_turn_participant", "participant_id", "workspace_id", "queued_at"),
        Index("ix_turn_workspace", "workspace_id", "queued_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source_key: Mapped[str] = mapped_column(String(640), unique=True)
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id"))
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"))
    participant_id: Mapped[int] = mapped_column(ForeignKey("participant.id"))
    message_id: Mapped[int] = mapped_column(ForeignKey("message.id"))
    seq: Mapped[int] = mapped_column(Integer)
    recipe: Mapped[str] = mapped_column(String(40))
    arguments: Mapped[dict[str, Any]] = mapped_column(default=dict)
    language: Mapped[str] = mapped_column(String(20))
    target: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[TurnState] = mapped_column(default=TurnState.QUEUED)
    fence: Mapped[int] = mapped_column(Integer, default=0)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    owner: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    failure: Mapped[str | None] = mapped_column(String(40))
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]


class Generation(Base):
    """One answer to a Turn. Unfinished while `finish_reason` is null; at most one of a Turn is selected.

    `token_ids` are little-endian uint32. `prompt` is a `PromptRecord`: references, no copies of anyone's words.
    `timings_ms` holds queue, first_token and total.
    """

    __tablename__ = "generation"
    __table_args__ = (
        UniqueConstraint("turn_id", "number"),
        partial_index("uq_generation_selected", "turn_id", where="selected", unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    turn_id: Mapped[int] = mapped_column(ForeignKey("turn.id"))
    number: Mapped[int] = mapped_column(Integer)
    selected: Mapped[bool] = mapped_column(default=False)
    text: Mapped[str] = mapped_column(Text, default="")
    token_ids: Mapped[bytes | None] = mapped_column(LargeBinary)
    model: Mapped[str | None] = mapped_column(String(200))
    model_revision: Mapped[str | None] = mapped_column(String(80))
    sampling: Mapped[dict[str, Any] | None]
    prompt: Mapped[dict[str, Any] | None]
    prompt_tokens: Mapped[int] = mapped_column(Integer, default=0)
    cached_tokens: Mapped[int] = mapped_column(Integer, default=0)
    completion_tokens: Mapped[int] = mapped_column(Integer, default=0)
    finish_reason: Mapped[FinishReason | None]
    failure: Mapped[str | None] = mapped_column(String(40))
    timings_ms: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class RecipeVersion(Base):
    """The source of a recipe that some Prompt was rendered with, so that `why` can render it again."""

    __tablename__ = "recipe_version"

    version: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    source: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class Delivery(Base):
    """One chunk of one Generation on the platform. Written just before each send, completed just after."""

    __tablename__ = "delivery"
    __table_args__ = (UniqueConstraint("generation_id", "chunk"), Index(None, "external_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id"))
    chunk: Mapped[int] = mapped_column(Integer)
    state: Mapped[DeliveryState] = mapped_column(default=DeliveryState.PENDING)
    external_id: Mapped[str | None] = mapped_column(String(200))
    updated_at: Mapped[datetime]


class Feedback(Base):
    """What a Participant thinks of one Generation: one each, changeable."""

    __tablename__ = "feedback"
    __table_args__ = (UniqueConstraint("generation_id", "participant_id"), Index(None, "participant_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id"))
    participant_id: Mapped[int] = mapped_column(ForeignKey("participant.id"))
    rating: Mapped[Rating]
    comment: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


def tables(*models: type[Base]) -> tuple[Table, ...]:
    """The tables of `models`, for statements that do without the unit of work."""
    return tuple(cast(Table, model.__table__) for model in models)
