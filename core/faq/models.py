"""The tables of FAQs: collections, their entries with every version, vectors, and what was matched for a Turn.

Knows columns, keys and the index for each query of `collections`, `vectors` and `matches`. No row holds what people
asked: that is the Turn's Message, so that forgetting it reaches everything.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base


class FaqCollection(Base):
    """A set of entries: of one Workspace, or of every Workspace of this installation where `workspace_id` is null.

    `revision` grows with every change of its entries. `calibration` is a `Calibration` as JSON.
    """

    __tablename__ = "faq_collection"
    __table_args__ = (
        UniqueConstraint("workspace_id", "name"),
        Index(
            "uq_faq_collection_shared_name",
            "name",
            unique=True,
            sqlite_where=text("workspace_id IS NULL"),
            postgresql_where=text("workspace_id IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    workspace_id: Mapped[int | None] = mapped_column(ForeignKey("workspace.id"))
    name: Mapped[str] = mapped_column(String(80))
    language: Mapped[str] = mapped_column(String(20), default="")
    revision: Mapped[int] = mapped_column(Integer, default=0)
    calibration: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class FaqEntry(Base):
    """One entry. `version` is the number of its newest FaqVersion, `revision` the collection's at its last change."""

    __tablename__ = "faq_entry"
    __table_args__ = (UniqueConstraint("collection_id", "key"), Index(None, "collection_id", "revision"))

    id: Mapped[int] = mapped_column(primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("faq_collection.id"))
    key: Mapped[str] = mapped_column(String(100))
    version: Mapped[int] = mapped_column(Integer, default=1)
    revision: Mapped[int] = mapped_column(Integer)
    removed_at: Mapped[datetime | None]


class FaqVersion(Base):
    """One wording of an entry; a change adds another, so that an answer of yesterday can be explained tomorrow."""

    __tablename__ = "faq_version"

    entry_id: Mapped[int] = mapped_column(ForeignKey("faq_entry.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    phrasings: Mapped[list[str]] = mapped_column(JSON)
    answer: Mapped[str] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(JSON)
    language: Mapped[str] = mapped_column(String(20))
    valid_from: Mapped[date | None]
    valid_until: Mapped[date | None]
    created_at: Mapped[datetime]


class FaqVector(Base):
    """The vector of a curated text, by the embedder's revision and the text's digest; float16, little-endian."""

    __tablename__ = "faq_vector"

    embedder: Mapped[str] = mapped_column(String(120), primary_key=True)
    digest: Mapped[str] = mapped_column(String(32), primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class FaqDecision(Base):
    """What was decided about one Generation. `thresholds` are those of that moment.

    `dismissed_at`: an operator wants no entry written for the question, and it is in no report of gaps any more.
    """

    __tablename__ = "faq_decision"
    __table_args__ = (Index(None, "workspace_id", "outcome", "generation_id"), Index(None, "turn_id"))

    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id"), primary_key=True, autoincrement=False)
    turn_id: Mapped[int] = mapped_column(ForeignKey("turn.id"))
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id"))
    outcome: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(40))
    thresholds: Mapped[dict[str, Any]]
    embedder: Mapped[str | None] = mapped_column(String(120))
    created_at: Mapped[datetime]
    dismissed_at: Mapped[datetime | None]


class FaqMatch(Base):
    """An entry that was found for a Generation, best first, in the version of that moment, with its scores.

    `cited`: its answer is what people were given, or their answer rests on it.
    """

    __tablename__ = "faq_match"
    __table_args__ = (Index(None, "entry_id"),)

    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id"), primary_key=True, autoincrement=False)
    rank: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    entry_id: Mapped[int] = mapped_column(ForeignKey("faq_entry.id"))
    version: Mapped[int] = mapped_column(Integer)
    phrasing: Mapped[int] = mapped_column(Integer)
    score: Mapped[float] = mapped_column(Float)
    lexical: Mapped[float] = mapped_column(Float)
    dense: Mapped[float | None] = mapped_column(Float)
    probability: Mapped[float] = mapped_column(Float)
    cited: Mapped[bool] = mapped_column(default=False)
