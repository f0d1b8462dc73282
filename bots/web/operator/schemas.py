"""What the operators' page and the server say to each other, as JSON. Knows the form; the sentences in it are given."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from bots.web.schemas import EventId, LineBody, Request
from core.faq.calibration import Calibration
from core.faq.changes import Changes
from core.faq.collections import StoredEntry, VersionView
from core.faq.desk import MAX_TRIED_CHARS, Tried
from core.faq.entry import MAX_ANSWER_CHARS, MAX_KEY_CHARS, MAX_QUESTION_CHARS, Draft, Entry
from core.faq.gaps import MOST_QUESTIONS
from core.faq.matches import Helpfulness
from core.faq.office import EntryRow, Shown
from core.handoffs.views import HandoffView
from core.values import HandoffReason, HandoffState, ReleaseCause

MOST_LINES = 200
"""Lines of a diff that are shown."""

MAX_STAFF_NAME_CHARS = 80

Text = Annotated[str, StringConstraints(max_length=200)]


class NewCollection(Request):
    """A collection to be made; `workspace` is `platform:id`, or empty for everybody."""

    name: Annotated[str, StringConstraints(max_length=200)]
    workspace: Text = ""
    language: Annotated[str, StringConstraints(max_length=20)] = ""


class EntryRequest(Request):
    """An entry as it was typed. `version` is the one that was seen, of an entry that is to be changed."""

    version: Annotated[int, Field(ge=1)] | None = None
    key: Annotated[str, StringConstraints(max_length=2 * MAX_KEY_CHARS)] = ""
    question: Annotated[str, StringConstraints(max_length=2 * MAX_QUESTION_CHARS)] = ""
    phrasings: list[Annotated[str, StringConstraints(max_length=2 * MAX_QUESTION_CHARS)]] = Field(default_factory=list)
    answer: Annotated[str, StringConstraints(max_length=2 * MAX_ANSWER_CHARS)] = ""
    tags: list[Text] = Field(default_factory=list)
    language: Text = ""
    valid_from: Text = ""
    valid_until: Text = ""

    def draft(self) -> Draft:
        """The same, to be checked."""
        return Draft(line=0, **self.model_dump(exclude={"version"}))


class PhrasingsRequest(Request):
    """Further phrasings."""

    phrasings: Annotated[list[str], Field(min_length=1, max_length=100)]


class TryRequest(Request):
    """A question to be tried."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TRIED_CHARS)]
    workspace: Text = ""
    collection_id: int | None = None


class RiskRequest(Request):
    """What to measure for: the share of answers that may be wrong, and of questions that no entry covers."""

    target_risk: Annotated[float, Field(ge=0.001, le=0.5)]
    uncovered_share: Annotated[float, Field(ge=0, le=0.9)] = 0.2


class SettingRequest(Request):
    """One thing to be set, as people type it; null brings the default back."""

    workspace: Text
    name: Text
    value: Annotated[str, StringConstraints(max_length=20_000)] | None


class DismissRequest(Request):
    """Questions of gaps for which nobody wants an entry."""

    turn_ids: Annotated[list[int], Field(min_length=1, max_length=2 * MOST_QUESTIONS)]


class StaffRequest(Request):
    """Who of staff acts, by the name that people read."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_STAFF_NAME_CHARS)]


class WordsRequest(StaffRequest):
    """What one of staff says. How long it may be is a setting; the body's size bounds it here."""

    event_id: EventId
    text: str


class RatedBody(BaseModel):
    """How often something was given, and what people said of it."""

    given: int
    helpful: int
    not_helpful: int

    @classmethod
    def of(cls, rated: Helpfulness) -> RatedBody:
        """The counts."""
        return cls.model_validate(rated, from_attributes=True)


class CollectionBody(BaseModel):
    """A collection. `workspace` is empty where everybody sees it."""

    collection_id: int
    name: str
    workspace: str
    language: str
    entries: int
    calibrated: bool
    updated_at: datetime
    rated: RatedBody

    @classmethod
    def of(cls, shown: Shown) -> CollectionBody:
        """What a list shows."""
        view = shown.view
        return cls(
            collection_id=view.collection_id,
            name=view.name,
            workspace=shown.workspace,
            language=view.language,
            entries=view.entries,
            calibrated=view.calibration is not None,
            updated_at=view.updated_at,
            rated=RatedBody.of(shown.rated),
        )


class CollectionsBody(BaseModel):
    """Every collection, and the Workspaces that one may be made for."""

    collections: list[CollectionBody]
    workspaces: list[str]


class WordsBody(BaseModel):
    """An entry's words."""

    key: str
    question: str
    phrasings: list[str]
    answer: str
    tags: list[str]
    language: str
    valid_from: str
    valid_until: str

    @classmethod
    def of(cls, entry: Entry) -> WordsBody:
        """The entry's words."""
        return cls(
            key=entry.key,
            question=entry.question,
            phrasings=list(entry.phrasings[1:]),
            answer=entry.answer,
            tags=list(entry.tags),
            language=entry.language,
            valid_from=entry.valid_from.isoformat() if entry.valid_from else "",
            valid_until=entry.valid_until.isoformat() if entry.valid_until else "",
        )


class RowBody(BaseModel):
    """An entry in a list."""

    key: str
    question: str
    phrasings: int
    tags: list[str]
    language: str
    valid_until: str
    rated: RatedBody

    @classmethod
    def of(cls, row: EntryRow) -> RowBody:
        """What a list shows."""
        words = WordsBody.of(row.stored.entry)
        shared = words.model_dump(include={"key", "question", "tags", "language", "valid_until"})
        return cls(**shared, phrasings=len(row.stored.entry.phrasings), rated=RatedBody.of(row.rated))


class EntriesBody(BaseModel):
    """A page of entries."""

    entries: list[RowBody]
    found: int
    page: int
    per_page: int
    tags: list[str]


class VersionBody(BaseModel):
    """One version of an entry."""

    number: int
    created_at: datetime
    words: WordsBody


class EntryBody(BaseModel):
    """An entry with its versions, newest first."""

    version: int
    removed: bool
    words: WordsBody
    versions: list[VersionBody]

    @classmethod
    def of(cls, stored: StoredEntry, versions: list[VersionView]) -> EntryBody:
        """The entry."""
        told = [
            VersionBody(number=each.number, created_at=each.created_at, words=WordsBody.of(each.entry))
            for each in reversed(versions)
        ]
        return cls(version=stored.version, removed=stored.removed, words=WordsBody.of(stored.entry), versions=told)


class SavedBody(BaseModel):
    """An entry that was saved."""

    key: str
    version: int


class ChangedBody(BaseModel):
    """An entry that an import changes: which fields, and its words before and after."""

    key: str
    fields: list[str]
    before: WordsBody
    after: WordsBody


class DiffBody(BaseModel):
    """What an import does; of each kind the first lines, and how many there are. `pin` is given back to apply it."""

    pin: str = ""
    added: list[WordsBody]
    changed: list[ChangedBody]
    removed: list[WordsBody]
    counts: dict[str, int]

    @classmethod
    def of(cls, changes: Changes, pin: str = "") -> DiffBody:
        """The changes."""
        return cls(
            pin=pin,
            added=[WordsBody.of(entry) for entry in changes.added[:MOST_LINES]],
            changed=[
                ChangedBody(
                    key=each.after.key,
                    fields=list(each.fields),
                    before=WordsBody.of(each.before),
                    after=WordsBody.of(each.after),
                )
                for each in changes.changed[:MOST_LINES]
            ],
            removed=[WordsBody.of(entry) for entry in changes.removed[:MOST_LINES]],
            counts={
                "added": len(changes.added),
                "changed": len(changes.changed),
                "removed": len(changes.removed),
                "same": changes.same,
            },
        )


class RiskBody(BaseModel):
    """What was measured of a collection, the plot too; nothing where it never was. `changed` it has since then, if so."""

    calibration: Calibration | None
    plot: str
    changed: bool


class SettingBody(BaseModel):
    """One thing that can be set: its meaning, what is set, and what may be."""

    name: str
    meaning: str
    kind: str
    choices: list[str]
    value: str | None


class SettingsBody(BaseModel):
    """Everything that can be set for a Workspace."""

    workspace: str
    workspaces: list[str]
    settings: list[SettingBody]


class InboxRowBody(BaseModel):
    """A hand-off in the inbox. `person` and `staff` are names, empty where none is known; `words` what was said last."""

    handoff_id: int
    workspace: str
    state: HandoffState
    why: HandoffReason
    cause: ReleaseCause | None
    person: str
    staff: str
    requested_at: datetime
    claimed_at: datetime | None
    words: str = ""

    @classmethod
    def of(cls, view: HandoffView, words: str = "") -> InboxRowBody:
        """How it stands."""
        holder = view.staff if view.open else view.released_by or view.staff
        return cls(
            handoff_id=view.handoff_id,
            workspace=f"{view.place.platform}:{view.place.workspace}",
            state=view.state,
            why=view.why,
            cause=view.cause,
            person=view.person.display_name or "",
            staff=(holder.person.display_name if holder else None) or "",
            requested_at=view.requested_at,
            claimed_at=view.claimed_at,
            words=words,
        )


class InboxBody(BaseModel):
    """The hand-offs that are open, the longest waiting first, and the Workspaces that there are."""

    handoffs: list[InboxRowBody]
    workspaces: list[str]


class ConversationBody(BaseModel):
    """One hand-off, with what was said in its Conversation until it ended, oldest first."""

    handoff: InboxRowBody
    said: list[LineBody]


class TriedBody(BaseModel):
    """What would be done with a question; `told` and `reason` are sentences."""

    told: str
    reason: str
    tried: Tried
