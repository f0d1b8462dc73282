"""The routes of collections and their entries, of imports and exports."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from bots.web.operator.badges import PATH
from bots.web.operator.schemas import (
    CollectionBody,
    CollectionsBody,
    DiffBody,
    EntriesBody,
    EntryBody,
    EntryRequest,
    NewCollection,
    PhrasingsRequest,
    RowBody,
    SavedBody,
)
from bots.web.operator.signing_in import OPERATORS_ONLY
from bots.web.refusals import Refused
from core.faq.collections import StoredEntry
from core.faq.entry import MAX_KEY_CHARS
from core.faq.files import MAX_FILE_BYTES
from core.faq.office import PAGE, FaqOffice, File
from core.service import Service

IMPORT_PATH = "/import"
MAX_IMPORT_BYTES = MAX_FILE_BYTES
Format = Literal["csv", "json", "jsonl", "yaml", "md"]

router = APIRouter(prefix=f"{PATH}/api/collections", dependencies=OPERATORS_ONLY)


def faq_office(request: Request) -> FaqOffice:
    """What may be asked of core."""
    service: Service = request.app.state.service
    return service.faq_office


Office = Annotated[FaqOffice, Depends(faq_office)]
Short = Annotated[str, Query(max_length=200)]
Key = Annotated[str, Query(min_length=1, max_length=MAX_KEY_CHARS)]
"""Of an entry. Not in the path: a key may hold a slash."""


@router.get("")
async def every(office: Office) -> CollectionsBody:
    """Every collection."""
    shown = await office.shown()
    return CollectionsBody(
        collections=[CollectionBody.of(each) for each in shown], workspaces=await office.workspaces()
    )


@router.post("")
async def create(given: NewCollection, office: Office) -> CollectionBody:
    """Make a collection."""
    return CollectionBody.of(await office.create(given.name.strip(), given.workspace, given.language.strip()))


@router.get("/{collection_id}")
async def one(collection_id: int, office: Office) -> CollectionBody:
    """One collection."""
    return CollectionBody.of(await office.collection(collection_id))


@router.delete("/{collection_id}", status_code=204)
async def remove(collection_id: int, office: Office) -> None:
    """Remove a collection."""
    await office.remove(collection_id)


@router.get("/{collection_id}/entries")
async def entries(
    collection_id: int,
    office: Office,
    words: Short = "",
    tag: Short = "",
    page: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> EntriesBody:
    """Entries, by words and tag."""
    found = await office.entries(collection_id, words, tag, page)
    rows = [RowBody.of(row) for row in found.rows]
    return EntriesBody(entries=rows, found=found.found, page=page, per_page=PAGE, tags=list(found.tags))


@router.post("/{collection_id}/entries")
async def add(collection_id: int, given: EntryRequest, office: Office) -> SavedBody:
    """A new entry."""
    return _saved(await office.add(collection_id, given.draft()))


@router.get("/{collection_id}/entry")
async def entry(collection_id: int, key: Key, office: Office) -> EntryBody:
    """One entry with its versions."""
    return EntryBody.of(*await office.entry(collection_id, key))


@router.put("/{collection_id}/entry")
async def change(collection_id: int, key: Key, given: EntryRequest, office: Office) -> SavedBody:
    """Other words for the entry that was seen."""
    if given.version is None:
        raise Refused(422, "invalid")
    return _saved(await office.change(collection_id, key, given.version, given.draft()))


@router.post("/{collection_id}/entry/phrasings")
async def extend(collection_id: int, key: Key, given: PhrasingsRequest, office: Office) -> SavedBody:
    """Further phrasings."""
    return _saved(await office.extend(collection_id, key, given.phrasings))


@router.delete("/{collection_id}/entry", status_code=204)
async def retire(collection_id: int, key: Key, version: Annotated[int, Query(ge=1)], office: Office) -> None:
    """Give the entry that was seen no more."""
    await office.retire(collection_id, key, version)


@router.post(f"/{{collection_id}}{IMPORT_PATH}")
async def import_file(
    collection_id: int,
    request: Request,
    office: Office,
    name: Annotated[str, Query(min_length=1, max_length=200)],
    encoding: Annotated[str, Query(max_length=20)] = "",
    language: Annotated[str, Query(max_length=20)] = "",
    replace: bool = False,
    pin: Annotated[str, Query(max_length=64)] = "",
) -> DiffBody:
    """Look at what the file (the body, as it is) would change; with the `pin` of that look, do it, all of it."""
    file = File(name.rpartition("/")[2] or name, await request.body(), encoding, language, replace)
    if pin:
        return DiffBody.of(await office.apply(collection_id, file, pin))
    preview = await office.preview(collection_id, file)
    return DiffBody.of(preview.changes, preview.pin)


@router.get("/{collection_id}/export", response_model=None)
async def export(collection_id: int, office: Office, form: Format = "csv") -> Response:
    """The entries as a file to download."""
    name, text = await office.export(collection_id, form)
    disposition = f"attachment; filename=\"faq.{form}\"; filename*=UTF-8''{quote(name, safe='')}"
    mark = "\ufeff" if form == "csv" else ""  # without it spreadsheets take UTF-8 for something else
    headers = {"Content-Disposition": disposition}
    return Response((mark + text).encode(), media_type="application/octet-stream", headers=headers)


def _saved(stored: StoredEntry) -> SavedBody:
    return SavedBody(key=stored.entry.key, version=stored.version)
