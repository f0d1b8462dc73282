"""`pajama faq import | export | list | remove`: collections from and to files.

What is wrong with a file is told whole, each line with its number, and nothing is changed then.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from core.errors import NotFound, SettingsError
from core.faq import collections, matches
from core.faq.changes import Changes, compare
from core.faq.entry import Entry
from core.faq.fields import values_of
from core.faq.files import form_of, read_file
from core.faq.matches import Helpfulness
from pajama.commands.faq_database import opened, workspace_id_of
from pajama.console import err, out, print_json

_SHOWN = 20
"""Lines of a diff that are printed."""


def import_file(
    name: str, path: Path, *, workspace: str, encoding: str, language: str, replace: bool, dry_run: bool, as_json: bool
) -> None:
    """Bring a file's entries in, or with `dry_run` show what that would change."""
    entries = read_file(path, encoding=encoding, language=language)
    with opened() as database:
        if dry_run:
            with database.read() as session:
                changes = compare(_there(session, name, workspace), entries, replace=replace)
        else:
            with database.write() as session:
                workspace_id = workspace_id_of(session, workspace)
                try:
                    collection = collections.find(session, name, workspace_id, lock=True)
                except NotFound:
                    collection = collections.create(session, name, workspace_id, _now(), language=language)
                changes = collections.upsert(session, collection, entries, _now(), replace=replace)
    if as_json:
        print_json(_diff(changes, dry_run=dry_run))
    else:
        _show_changes(name, changes, dry_run=dry_run)


def export(name: str, *, workspace: str, form: str, target: Path | None) -> None:
    """Write a collection's entries to a file or to standard output."""
    with opened() as database, database.read() as session:
        collection = collections.find(session, name, workspace_id_of(session, workspace))
        entries = list(collections.current(session, collection.id).values())
    text = form_of(form or (target.name if target else "jsonl")).write(entries)
    if target is None:
        sys.stdout.write(text)
        return
    try:
        target.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror or error}.") from error
    err.print(f"{len(entries)} entries are in {target}.", markup=False)


def remove(name: str, *, workspace: str) -> None:
    """Remove a collection."""
    with opened() as database, database.write() as session:
        collection = collections.find(session, name, workspace_id_of(session, workspace), lock=True)
        gone = collections.delete(session, collection, _now())
    out.print(f"{name}: removed, with {gone} entries.", markup=False)


def show(name: str | None, *, workspace: str, as_json: bool) -> None:
    """Print the collections, or the entries of one, and how often they were given and found helpful."""
    with opened() as database, database.read() as session:
        workspace_id = workspace_id_of(session, workspace)
        views = collections.visible(session, workspace_id)
        if name is not None:
            collection = collections.find(session, name, workspace_id)
            entries = list(collections.current(session, collection.id).values())
            _show_entries(entries, matches.helpfulness(session, collection.id), as_json=as_json)
            return
        rated = matches.helpfulness_by_collection(session)
    rows = [(view, rated.get(view.collection_id, Helpfulness())) for view in views]
    if as_json:
        print_json([{**asdict(view), "updated_at": view.updated_at.isoformat(), **asdict(each)} for view, each in rows])
        return
    for view, each in rows:
        calibrated = "calibrated" if view.calibration else "not calibrated"
        scope = "" if view.workspace_id is None else ", of this workspace"
        told = f"{view.name}: {view.entries} entries, revision {view.revision}, {calibrated}{scope}{_told(each)}"
        out.print(told, markup=False)


def _there(session: Session, name: str, workspace: str) -> dict[str, Entry]:
    """The entries of the collection, none where it is still to be made. Raises NotFound, BadName where it cannot be."""
    workspace_id = workspace_id_of(session, workspace)
    try:
        collection = collections.find(session, name, workspace_id)
    except NotFound:
        collections.check_name(name)
        return {}
    return collections.current(session, collection.id)


def _diff(changes: Changes, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "added": [entry.key for entry in changes.added],
        "changed": {change.after.key: list(change.fields) for change in changes.changed},
        "removed": [entry.key for entry in changes.removed],
        "same": changes.same,
    }


def _show_changes(name: str, changes: Changes, *, dry_run: bool) -> None:
    lines = [f"+ {entry.key}: {entry.question}" for entry in changes.added]
    lines += [f"~ {change.after.key}: {', '.join(change.fields)}" for change in changes.changed]
    lines += [f"- {entry.key}: {entry.question}" for entry in changes.removed]
    for line in lines[:_SHOWN]:
        out.print(line, markup=False, soft_wrap=True)
    if len(lines) > _SHOWN:
        out.print(f"… and {len(lines) - _SHOWN} more.")
    counts = (
        f"{len(changes.added)} added, {len(changes.changed)} changed, {len(changes.removed)} removed,"
        f" {changes.same} as they were"
    )
    out.print(f"{name}: {counts}{' (dry run: nothing was written)' if dry_run else ''}", markup=False)


def _show_entries(entries: list[Entry], rated: dict[str, Helpfulness], *, as_json: bool) -> None:
    rows = [(entry, rated.get(entry.key, Helpfulness())) for entry in entries]
    if as_json:
        print_json([{**values_of(entry), **asdict(each)} for entry, each in rows])
        return
    for entry, each in rows:
        out.print(f"{entry.key}: {entry.question}{_told(each)}", markup=False, soft_wrap=True)


def _told(rated: Helpfulness) -> str:
    return f" · given {rated.given}, helpful {rated.helpful}, not {rated.not_helpful}" if rated.given else ""


def _now() -> datetime:
    return datetime.now(UTC)
