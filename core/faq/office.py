"""Office: everything about FAQs that an operator's page may ask of core, from asyncio.

The operators' counterpart of `Service`: collections of every Workspace, their entries, imports that are looked at before
they are applied, and what only a worker can do, by way of the `desk`. Who is an operator is decided before. Words
nothing for people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import redis.asyncio
import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.database import AsyncDatabase
from core.errors import FaqChanged, NotFound
from core.faq import asked, collections, editing, matches
from core.faq.calibration import Calibration
from core.faq.changes import Changes, compare
from core.faq.collections import CollectionView, StoredEntry, VersionView
from core.faq.desk import (
    MAX_EVALUATED,
    CalibrateRequest,
    DeskClient,
    EvaluateRequest,
    GapsRequest,
    LabelledQuestion,
    Tried,
    TryRequest,
)
from core.faq.entry import Draft, Entry
from core.faq.evaluation import Report
from core.faq.files import form_of, read_bytes
from core.faq.gaps import GapReport
from core.faq.labelled import read_bytes as read_questions
from core.faq.matches import Helpfulness
from core.models import Workspace
from core.workspaces import workspace_id_of

log = structlog.get_logger(__name__)

PAGE = 50
"""Entries on one page of a list."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A collection with what people said of its entries. `workspace` is `platform:id`, empty where everybody sees it."""

    view: CollectionView
    workspace: str
    rated: Helpfulness


@dataclass(frozen=True, slots=True)
class EntryRow:
    """An entry in a list."""

    stored: StoredEntry
    rated: Helpfulness


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Some entries of those that were looked for, and how many there are."""

    rows: tuple[EntryRow, ...]
    found: int
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was uploaded, and how it is to be read."""

    name: str
    content: bytes
    encoding: str = ""
    language: str = ""
    replace: bool = False

    def pin(self, collection_id: int, revision: int) -> str:
        """Names exactly this import into exactly this state of the collection."""
        told = f"{collection_id}\0{revision}\0{form_of(self.name).name}\0{self.encoding}\0{self.language}\0{self.replace}\0"
        return sha256(told.encode() + self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import would do. `pin` is given back to do just that."""

    changes: Changes
    pin: str


class FaqOffice:
    """One per page process. Every method raises DatabaseUnavailable where SQL cannot be used, and NotFound."""

    def __init__(self, database: AsyncDatabase, client: redis.asyncio.Redis, prefix: str) -> None:
        self._database, self._desk = database, DeskClient(client, prefix)

    async def shown(self) -> list[Shown]:
        """Every collection."""
        return await self._database.read(_shown)

    async def collection(self, collection_id: int) -> Shown:
        """One collection."""
        found = next((each for each in await self.shown() if each.view.collection_id == collection_id), None)
        if found is None:
            raise NotFound(f"There is no collection {collection_id}.")
        return found

    async def create(self, name: str, workspace: str, language: str) -> Shown:
        """A new collection, of the Workspace `platform:id` or of everybody. Raises BadName and NameTaken."""
        collection_id = await self._database.write(_create, name, workspace, language)
        log.info("A collection was made.", action="faq_created", collection_id=collection_id)
        return await self.collection(collection_id)

    async def remove(self, collection_id: int) -> int:
        """Remove a collection. Returns how many entries went."""
        gone = await self._database.write(_remove, collection_id)
        log.info("A collection was removed.", action="faq_removed", collection_id=collection_id, entries=gone)
        return gone

    async def entries(self, collection_id: int, words: str = "", tag: str = "", page: int = 0) -> EntryPage:
        """The entries that hold all `words` in their key, phrasings or answer, and have the tag."""
        return await self._database.read(_entries, collection_id, words, tag, page)

    async def entry(self, collection_id: int, key: str) -> tuple[StoredEntry, list[VersionView]]:
        """One entry with every version, oldest first."""
        return await self._database.read(_entry, collection_id, key)

    async def add(self, collection_id: int, draft: Draft) -> StoredEntry:
        """A new entry. Raises EntryRefused and NameTaken."""
        return await self._database.write(editing.add, collection_id, draft, _now())

    async def change(self, collection_id: int, key: str, version: int, draft: Draft) -> StoredEntry:
        """Other words for an entry. Raises EntryRefused and FaqChanged."""
        return await self._database.write(editing.change, collection_id, key, version, draft, _now())

    async def extend(self, collection_id: int, key: str, phrasings: Sequence[str]) -> StoredEntry:
        """Further phrasings for an entry. Raises EntryRefused."""
        return await self._database.write(editing.extend, collection_id, key, phrasings, _now())

    async def retire(self, collection_id: int, key: str, version: int) -> None:
        """Give an entry no more. Raises FaqChanged."""
        await self._database.write(editing.retire, collection_id, key, version, _now())

    async def preview(self, collection_id: int, file: File) -> Preview:
        """What the import would do. Raises FaqFileRefused with every line that is wrong."""
        entries = await asyncio.to_thread(_read, file)
        return await self._database.read(_preview, collection_id, file, entries)

    async def apply(self, collection_id: int, file: File, pin: str) -> Changes:
        """Do what was previewed, all of it. Raises FaqChanged where file or collection are not what they were then."""
        entries = await asyncio.to_thread(_read, file)
        changes = await self._database.write(_apply, collection_id, file, entries, pin)
        counts = {"added": len(changes.added), "changed": len(changes.changed), "removed": len(changes.removed)}
        log.info("A file was imported.", action="faq_imported", collection_id=collection_id, **counts)
        return changes

    async def export(self, collection_id: int, form: str) -> tuple[str, str]:
        """A file's name and its text. Raises FaqFileRefused for a form that is none."""
        name, entries = await self._database.read(_everything, collection_id)
        return f"{name}.{form}", await asyncio.to_thread(form_of(form).write, entries)

    async def tried(self, text: str, workspace: str, collection_id: int | None) -> Tried:
        """What people of the Workspace, or of any, would get for a question. Raises NoWorker."""
        workspace_id = await self._database.read(workspace_id_of, workspace)
        if collection_id is not None:
            owner = (await self.collection(collection_id)).view.workspace_id
            workspace_id = workspace_id if owner is None else owner
        request = TryRequest(text=text, workspace_id=workspace_id, collection_id=collection_id)
        reply = await self._desk.ask(request)
        assert reply.tried is not None
        return reply.tried

    async def gaps(self, workspace: str, collection_id: int | None, days: int | None) -> GapReport:
        """What was asked and not answered; of one collection, where one is given. Raises NoWorker."""
        workspace_id = await self._database.read(workspace_id_of, workspace)
        reply = await self._desk.ask(GapsRequest(workspace_id=workspace_id, collection_id=collection_id, days=days))
        assert reply.gaps is not None
        return reply.gaps

    async def dismiss(self, turn_ids: Sequence[int]) -> int:
        """Have these questions in no report any more. Returns how many were in one."""
        return await self._database.write(asked.dismiss, turn_ids, _now())

    async def calibrate(self, collection_id: int, target_risk: float, uncovered_share: float) -> Calibration:
        """Measure a collection and keep what that gives. Raises NoWorker."""
        reply = await self._desk.ask(
            CalibrateRequest(collection_id=collection_id, target_risk=target_risk, uncovered_share=uncovered_share)
        )
        assert reply.calibration is not None
        return reply.calibration

    async def evaluate(self, collection_id: int, file: File) -> Report:
        """How a collection does on a file of labelled questions. Raises FaqFileRefused, NoWorker."""
        keys = await self._database.read(_keys, collection_id)
        labelled = await asyncio.to_thread(
            read_questions, file.content, file.name, keys, encoding=file.encoding, most=MAX_EVALUATED
        )
        questions = tuple(LabelledQuestion(text=each.text, key=each.key) for each in labelled)
        reply = await self._desk.ask(EvaluateRequest(collection_id=collection_id, questions=questions))
        assert reply.report is not None
        return reply.report

    async def check_workspace(self, name: str) -> None:
        """Raises NotFound where there is no Workspace `platform:id`."""
        if await self._database.read(workspace_id_of, name) is None:
            raise NotFound("No workspace is named.")

    async def workspaces(self, limit: int = 200) -> list[str]:
        """The newest Workspaces, as `platform:id`."""
        return await self._database.read(_workspaces, limit)


def _workspaces(session: Session, limit: int) -> list[str]:
    rows = session.execute(select(Workspace.platform, Workspace.external_id).order_by(Workspace.id.desc()).limit(limit))
    return [f"{platform}:{external_id}" for platform, external_id in rows]


def _shown(session: Session) -> list[Shown]:
    views = collections.every(session)
    rated = matches.helpfulness_by_collection(session)
    ids = {view.workspace_id for view in views if view.workspace_id is not None}
    rows = session.execute(select(Workspace).where(Workspace.id.in_(ids))).scalars()
    names = {row.id: f"{row.platform}:{row.external_id}" for row in rows}
    return [
        Shown(view, names.get(view.workspace_id or 0, ""), rated.get(view.collection_id, Helpfulness()))
        for view in views
    ]


def _create(session: Session, name: str, workspace: str, language: str) -> int:
    workspace_id = workspace_id_of(session, workspace)
    return collections.create(session, name, workspace_id, _now(), language=language).id


def _remove(session: Session, collection_id: int) -> int:
    return collections.delete(session, collections.get(session, collection_id, lock=True), _now())


def _entries(session: Session, collection_id: int, words: str, tag: str, page: int) -> EntryPage:
    collections.get(session, collection_id)
    everything = collections.stored(session, collection_id)
    rated = matches.helpfulness(session, collection_id)
    wanted = words.casefold().split()
    found = [each for each in everything if _holds(each.entry, wanted) and (not tag or tag in each.entry.tags)]
    chosen = found[page * PAGE : (page + 1) * PAGE]
    rows = tuple(EntryRow(each, rated.get(each.entry.key, Helpfulness())) for each in chosen)
    return EntryPage(rows, len(found), tuple(sorted({tag for each in everything for tag in each.entry.tags})))


def _holds(entry: Entry, wanted: Sequence[str]) -> bool:
    text = "\n".join((entry.key, *entry.phrasings, entry.answer)).casefold() if wanted else ""
    return all(word in text for word in wanted)


def _entry(session: Session, collection_id: int, key: str) -> tuple[StoredEntry, list[VersionView]]:
    collections.get(session, collection_id)
    return collections.entry_of(session, collection_id, key), collections.versions_of(session, collection_id, key)


def _everything(session: Session, collection_id: int) -> tuple[str, list[Entry]]:
    name = collections.get(session, collection_id).name
    return name, list(collections.current(session, collection_id).values())


def _keys(session: Session, collection_id: int) -> set[str]:
    collections.get(session, collection_id)
    return set(collections.current(session, collection_id))


def _read(file: File) -> list[Entry]:
    return read_bytes(file.content, form_of(file.name), file.name, encoding=file.encoding, language=file.language)


def _preview(session: Session, collection_id: int, file: File, entries: Sequence[Entry]) -> Preview:
    collection = collections.get(session, collection_id)
    changes = compare(collections.current(session, collection_id), entries, replace=file.replace)
    return Preview(changes, file.pin(collection_id, collection.revision))


def _apply(session: Session, collection_id: int, file: File, entries: Sequence[Entry], pin: str) -> Changes:
    collection = collections.get(session, collection_id, lock=True)
    if file.pin(collection_id, collection.revision) != pin:
        raise FaqChanged("The file or the collection is not what it was when it was looked at.")
    return collections.upsert(session, collection, entries, _now(), replace=file.replace)


def _now() -> datetime:
    return datetime.now(UTC)
