"""Editing: one entry at a time, by a person who has seen it; refused where somebody else changed it meanwhile.

Every function locks the collection, keeps the version before, and takes what the owner wrote as it is: nothing here is
rendered or obeyed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from core.errors import EntryRefused, FaqChanged, NameTaken, NotFound
from core.faq import collections
from core.faq.changes import Change, Changes
from core.faq.collections import StoredEntry
from core.faq.entry import Draft, Entry, check
from core.faq.words import plain


def add(session: Session, collection_id: int, draft: Draft, now: datetime) -> StoredEntry:
    """A new entry. Raises EntryRefused, NameTaken and NotFound."""
    collection = collections.get(session, collection_id, lock=True)
    entry = checked(draft)
    if _in_force(session, collection_id, entry.key) is not None:
        raise NameTaken("an entry", entry.key)
    collections.apply(session, collection, Changes((entry,), (), (), 0), now)
    return collections.entry_of(session, collection_id, entry.key)


def change(session: Session, collection_id: int, key: str, version: int, draft: Draft, now: datetime) -> StoredEntry:
    """Other words for the entry that was seen in this version. Its key stays.

    Raises EntryRefused, NotFound, and FaqChanged where it has another version by now.
    """
    collection = collections.get(session, collection_id, lock=True)
    before = _seen(session, collection_id, key, version)
    entry = checked(replace(draft, key=key))
    if entry != before:
        collections.apply(session, collection, Changes((), (Change(before, entry),), (), 0), now)
    return collections.entry_of(session, collection_id, key)


def extend(session: Session, collection_id: int, key: str, phrasings: Sequence[str], now: datetime) -> StoredEntry:
    """Further phrasings for an entry, those that are new to it. Raises EntryRefused and NotFound."""
    collection = collections.get(session, collection_id, lock=True)
    there = _in_force(session, collection_id, key)
    if there is None:
        raise NotFound(f"There is no entry {key!r}.")
    known = {plain(text) for text in there.entry.phrasings}
    new = [text for text in dict.fromkeys(phrasings) if plain(text) not in known]
    entry = checked(_draft_of(there.entry, new))
    if entry != there.entry:
        collections.apply(session, collection, Changes((), (Change(there.entry, entry),), (), 0), now)
    return collections.entry_of(session, collection_id, key)


def retire(session: Session, collection_id: int, key: str, version: int, now: datetime) -> None:
    """Give the entry no more; its versions stay for what refers to them. Raises NotFound and FaqChanged."""
    collection = collections.get(session, collection_id, lock=True)
    before = _seen(session, collection_id, key, version)
    collections.apply(session, collection, Changes((), (), (before,), 0), now)


def checked(draft: Draft) -> Entry:
    """The entry that a draft makes. Raises EntryRefused with everything that is wrong."""
    made = check(draft)
    if made.entry is None:
        raise EntryRefused(made.wrong)
    return made.entry


def _in_force(session: Session, collection_id: int, key: str) -> StoredEntry | None:
    try:
        found = collections.entry_of(session, collection_id, key)
    except NotFound:
        return None
    return None if found.removed else found


def _seen(session: Session, collection_id: int, key: str, version: int) -> Entry:
    """The entry, if it still is in the version that was seen. Raises NotFound and FaqChanged."""
    there = _in_force(session, collection_id, key)
    if there is None:
        raise NotFound(f"There is no entry {key!r}.")
    if there.version != version:
        raise FaqChanged(f"The entry {key!r} was changed meanwhile: it has version {there.version}, not {version}.")
    return there.entry


def _draft_of(entry: Entry, phrasings: Sequence[str]) -> Draft:
    """The entry as a draft, with these phrasings besides its own."""
    return Draft(
        line=0,
        question=entry.question,
        phrasings=(*entry.phrasings[1:], *phrasings),
        answer=entry.answer,
        key=entry.key,
        tags=entry.tags,
        language=entry.language,
        valid_from=entry.valid_from.isoformat() if entry.valid_from else "",
        valid_until=entry.valid_until.isoformat() if entry.valid_until else "",
    )
