"""Collections in SQL: made, found, listed, read and changed, with every version of every entry kept.

Every function is given a Session; which Workspace may see what is decided here. Knows no file and no index.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import BadName, NameTaken, NotFound, UnknownCollection
from core.faq.changes import Changes, compare
from core.faq.entry import MAX_KEY_CHARS, Entry
from core.faq.models import FaqCollection, FaqEntry, FaqVersion
from core.models import tables

MAX_NAME_CHARS = 80
_KEYS_AT_ONCE = 500

_COLLECTION, _ENTRY, _VERSION = tables(FaqCollection, FaqEntry, FaqVersion)
_NEWEST = and_(_VERSION.c.entry_id == _ENTRY.c.id, _VERSION.c.number == _ENTRY.c.version)


@dataclass(frozen=True, slots=True)
class CollectionView:
    """A collection as lists show it. `workspace_id` is None where every Workspace sees it."""

    collection_id: int
    workspace_id: int | None
    name: str
    language: str
    revision: int
    entries: int
    calibration: dict[str, Any] | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry with its place in SQL. `removed` ones are there for what refers to them."""

    entry_id: int
    version: int
    revision: int
    removed: bool
    entry: Entry


@dataclass(frozen=True, slots=True)
class VersionView:
    """One version of an entry, and since when it was in force."""

    number: int
    entry: Entry
    created_at: datetime


def create(
    session: Session, name: str, workspace_id: int | None, now: datetime, *, language: str = ""
) -> FaqCollection:
    """A new, empty collection. Raises NameTaken, and BadName where it cannot be one."""
    check_name(name)
    collection = FaqCollection(
        workspace_id=workspace_id, name=name, language=language, revision=0, created_at=now, updated_at=now
    )
    try:
        with session.begin_nested():
            session.add(collection)
    except IntegrityError as error:
        raise NameTaken("a collection", name) from error
    return collection


def find(session: Session, name: str, workspace_id: int | None, *, lock: bool = False) -> FaqCollection:
    """The collection of that name, of the Workspace or, where `workspace_id` is None, of all. Raises NotFound."""
    mine = _owned_by(workspace_id)
    query = select(FaqCollection).where(FaqCollection.name == name, mine, FaqCollection.removed_at.is_(None))
    collection = session.scalar(query.with_for_update() if lock else query)
    if collection is None:
        raise NotFound(f"There is no collection {name!r}.")
    return collection


def get(session: Session, collection_id: int, *, lock: bool = False) -> FaqCollection:
    """The collection of that id. Raises NotFound."""
    query = select(FaqCollection).where(FaqCollection.id == collection_id, FaqCollection.removed_at.is_(None))
    collection = session.scalar(query.with_for_update() if lock else query)
    if collection is None:
        raise NotFound(f"There is no collection {collection_id}.")
    return collection


def visible(session: Session, workspace_id: int | None) -> list[CollectionView]:
    """The Workspace's own collections and those of all, by name; every collection of all where it is None."""
    return _views(session, or_(_COLLECTION.c.workspace_id.is_(None), _COLLECTION.c.workspace_id == workspace_id))


def every(session: Session) -> list[CollectionView]:
    """The collections of all Workspaces, by name."""
    return _views(session)


def _views(session: Session, *chosen: Any) -> list[CollectionView]:
    counted = (
        select(func.count())
        .where(_ENTRY.c.collection_id == _COLLECTION.c.id, _ENTRY.c.removed_at.is_(None))
        .scalar_subquery()
    )
    query = select(_COLLECTION, counted.label("entries")).where(_COLLECTION.c.removed_at.is_(None), *chosen)
    own_first = _COLLECTION.c.workspace_id.is_(None)
    rows = session.execute(query.order_by(_COLLECTION.c.name, own_first, _COLLECTION.c.id))
    return [_collection_view(row) for row in rows]


def check_name(name: str) -> None:
    """Raises BadName where no collection can have this name."""
    unusable = any(c.isspace() or not c.isprintable() or c in "~/,;，、；" for c in name)  # lists of names are typed
    if not name or len(name) > MAX_NAME_CHARS or unusable:
        raise BadName(name, MAX_NAME_CHARS)


def names(session: Session, workspace_id: int | None) -> tuple[str, ...]:
    """The names of the collections that the Workspace sees, each once."""
    return tuple(dict.fromkeys(view.name for view in visible(session, workspace_id)))


def check_names(session: Session, workspace_id: int | None, wanted: Iterable[str]) -> None:
    """Raises UnknownCollection, with the names that there are, where the Workspace does not see one of `wanted`."""
    there = names(session, workspace_id)
    for name in wanted:
        if name not in there:
            raise UnknownCollection(name, there)


def live(session: Session) -> list[FaqCollection]:
    """Every collection that was not removed, of every Workspace, the oldest first."""
    query = select(FaqCollection).where(FaqCollection.removed_at.is_(None))
    return list(session.scalars(query.order_by(FaqCollection.id)))


def delete(session: Session, collection: FaqCollection, now: datetime) -> int:
    """Remove the collection, freeing its name. Versions stay for what refers to them. Returns how many entries went."""
    changes = compare(current(session, collection.id), (), replace=True)
    apply(session, collection, changes, now)
    collection.name = f"{collection.name[:50]}~{collection.id}"
    collection.removed_at = now
    return len(changes.removed)


def current(session: Session, collection_id: int) -> dict[str, Entry]:
    """The entries of the collection by key, in the order in which they were added."""
    return {each.entry.key: each.entry for each in stored(session, collection_id)}


def stored(session: Session, collection_id: int) -> list[StoredEntry]:
    """The entries of the collection that are in force, in the order in which they were added."""
    rows = session.execute(
        select(_ENTRY, *_WORDS)
        .join(_VERSION, _NEWEST)
        .where(_ENTRY.c.collection_id == collection_id, _ENTRY.c.removed_at.is_(None))
        .order_by(_ENTRY.c.id)
    )
    return [_stored(row) for row in rows]


def entry_of(session: Session, collection_id: int, key: str) -> StoredEntry:
    """One entry, also a removed one. Raises NotFound."""
    row = session.execute(
        select(_ENTRY, *_WORDS)
        .join(_VERSION, _NEWEST)
        .where(_ENTRY.c.collection_id == collection_id, _ENTRY.c.key == key)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no entry {key!r}.")
    return _stored(row)


def changed_since(session: Session, collection_id: int, revision: int) -> list[StoredEntry]:
    """The entries that changed after the collection's `revision`, removed ones too."""
    rows = session.execute(
        select(_ENTRY, *_WORDS)
        .join(_VERSION, _NEWEST)
        .where(_ENTRY.c.collection_id == collection_id, _ENTRY.c.revision > revision)
        .order_by(_ENTRY.c.revision, _ENTRY.c.id)
    )
    return [_stored(row) for row in rows]


def versions_of(session: Session, collection_id: int, key: str) -> list[VersionView]:
    """Every version of an entry, oldest first, also of a removed one. Raises NotFound."""
    rows = session.execute(
        select(_ENTRY.c.key, _VERSION.c.number, _VERSION.c.created_at, *_WORDS)
        .join(_VERSION, _VERSION.c.entry_id == _ENTRY.c.id)
        .where(_ENTRY.c.collection_id == collection_id, _ENTRY.c.key == key)
        .order_by(_VERSION.c.number)
    ).all()
    if not rows:
        raise NotFound(f"There is no entry {key!r}.")
    return [VersionView(row.number, _entry(row), row.created_at) for row in rows]


def version_of(session: Session, entry_id: int, number: int) -> Entry:
    """The entry in the words of that version, as it was given. Raises NotFound."""
    row = session.execute(
        select(_ENTRY.c.key, *_WORDS)
        .join(_VERSION, _VERSION.c.entry_id == _ENTRY.c.id)
        .where(_ENTRY.c.id == entry_id, _VERSION.c.number == number)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no version {number} of entry {entry_id}.")
    return _entry(row)


def upsert(
    session: Session, collection: FaqCollection, given: Sequence[Entry], now: datetime, *, replace: bool = False
) -> Changes:
    """Bring the entries in by key, and with `replace` remove all others. Returns what that changed.

    The collection's row must be locked: `find(…, lock=True)`.
    """
    changes = compare(current(session, collection.id), given, replace=replace)
    apply(session, collection, changes, now)
    return changes


def apply(session: Session, collection: FaqCollection, changes: Changes, now: datetime) -> None:
    """Write `changes`, all in one revision of the collection."""
    if not changes:
        return
    collection.revision += 1
    collection.updated_at = now
    revision = collection.revision
    written = [*changes.added, *(change.after for change in changes.changed)]
    there = _rows_by_key(session, collection.id, [entry.key for entry in written])
    new = [entry for entry in written if entry.key not in there]
    if new:
        rows = [{"collection_id": collection.id, "key": e.key, "version": 1, "revision": revision} for e in new]
        session.execute(insert(_ENTRY), rows)
    again = [there[entry.key].id for entry in written if entry.key in there]
    gone = [row.id for row in _rows_by_key(session, collection.id, [e.key for e in changes.removed]).values()]
    for ids in _batches(again):
        values = {"version": _ENTRY.c.version + 1, "revision": revision, "removed_at": None}
        session.execute(update(_ENTRY).where(_ENTRY.c.id.in_(ids)).values(values))
    for ids in _batches(gone):
        session.execute(update(_ENTRY).where(_ENTRY.c.id.in_(ids)).values(revision=revision, removed_at=now))
    if written:
        rows_now = _rows_by_key(session, collection.id, [entry.key for entry in written])
        session.execute(insert(_VERSION), [_version_row(rows_now[e.key], e, now) for e in written])
    session.flush()


_WORDS = tuple(
    _VERSION.c[name] for name in ("phrasings", "answer", "tags", "language", "valid_from", "valid_until")
)  # fmt: skip


def _owned_by(workspace_id: int | None) -> Any:
    return FaqCollection.workspace_id.is_(None) if workspace_id is None else FaqCollection.workspace_id == workspace_id


def _rows_by_key(session: Session, collection_id: int, keys: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for batch in _batches(list(keys)):
        query = select(_ENTRY.c.id, _ENTRY.c.key, _ENTRY.c.version)
        rows = session.execute(query.where(_ENTRY.c.collection_id == collection_id, _ENTRY.c.key.in_(batch)))
        found |= {row.key: row for row in rows}
    return found


def _batches(values: list[Any]) -> Iterable[list[Any]]:
    return (values[i : i + _KEYS_AT_ONCE] for i in range(0, len(values), _KEYS_AT_ONCE))


def _version_row(row: Any, entry: Entry, now: datetime) -> dict[str, Any]:
    assert len(entry.key) <= MAX_KEY_CHARS
    return {
        "entry_id": row.id,
        "number": row.version,
        "phrasings": list(entry.phrasings),
        "answer": entry.answer,
        "tags": list(entry.tags),
        "language": entry.language,
        "valid_from": entry.valid_from,
        "valid_until": entry.valid_until,
        "created_at": now,
    }


def _stored(row: Any) -> StoredEntry:
    return StoredEntry(row.id, row.version, row.revision, row.removed_at is not None, _entry(row))


def _entry(row: Any) -> Entry:
    return Entry(
        key=row.key,
        phrasings=tuple(row.phrasings),
        answer=row.answer,
        tags=tuple(row.tags),
        language=row.language,
        valid_from=row.valid_from,
        valid_until=row.valid_until,
    )


def _collection_view(row: Any) -> CollectionView:
    return CollectionView(
        collection_id=row.id,
        workspace_id=row.workspace_id,
        name=row.name,
        language=row.language,
        revision=row.revision,
        entries=row.entries,
        calibration=row.calibration,
        updated_at=row.updated_at,
    )
