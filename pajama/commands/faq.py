"""`pajama faq`: collections from and to files, trying a question, measuring and calibrating.

What is wrong with a file is told whole, each line with its number, and nothing is changed then. Searching and measuring
load the embedder that the settings name, in this process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy.orm import Session

from core.database import Database
from core.errors import NotFound, SettingsError
from core.faq import collections, matches
from core.faq.calibration import Calibration, ModeCalibration, calibrate, default
from core.faq.changes import Changes, compare
from core.faq.entry import Entry
from core.faq.evaluation import Labelled, Report, ask_all, report, trials_by_mode
from core.faq.fields import values_of
from core.faq.files import form_of, read_file
from core.faq.index import CollectionIndex
from core.faq.labelled import read_labelled
from core.faq.matches import Helpfulness
from core.faq.search import FaqSearch, Verdict
from core.settings import Settings
from pajama.commands import faq_plot
from pajama.commands.faq_database import embedder_of, opened, workspace_id_of
from pajama.console import err, out, print_json, settings_of

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


def search(question: str, *, name: str | None, workspace: str, limit: int, as_json: bool) -> None:
    """Print what is found for a question and what would be done with it."""
    settings = settings_of("faq")
    with opened(settings) as database:
        with database.read() as session:
            workspace_id = workspace_id_of(session, workspace)
            if name is not None:
                collections.find(session, name, workspace_id)
        found = FaqSearch(database, embedder_of(settings))
        found.refresh()
        verdict = found.search(
            workspace_id, question, day=_now().date(), limit=limit, names=None if name is None else (name,)
        )
    if as_json:
        print_json(_verdict(verdict))
    else:
        _show_verdict(verdict)


def evaluate(name: str, path: Path, *, workspace: str, encoding: str, as_json: bool) -> None:
    """Put a file's labelled questions to a collection and print how it did."""
    settings = settings_of("faq")
    with opened(settings) as database:
        index, calibration = _indexed(database, name, workspace, settings)
        questions = read_labelled(path, _keys(index), encoding=encoding)
        with _progress("asking", len(questions)) as advance:
            asked = ask_all(index, questions, advance)
    found = report(asked, calibration.sureness if calibration else default)
    if as_json:
        print_json(found.model_dump())
    else:
        _show_report(found)


def calibrate_collection(
    name: str,
    *,
    workspace: str,
    risk: float,
    uncovered: float,
    questions: Path | None,
    encoding: str,
    plot: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Set a collection's thresholds, and print what they and other risks give; `plot` is a file for the curve."""
    if plot is not None:
        faq_plot.check_name(plot)
    settings = settings_of("faq")
    with opened(settings) as database:
        index, _ = _indexed(database, name, workspace, settings)
        real: list[Labelled] = []
        if questions is not None:
            real = read_labelled(questions, _keys(index), encoding=encoding)
        with _progress("asking", len(real)) as advance:
            given = trials_by_mode(ask_all(index, real, advance))
        made = calibrate(index, target_risk=risk, uncovered_share=uncovered, given=given)
        if not dry_run:
            with database.write() as session:
                collection = collections.find(session, name, workspace_id_of(session, workspace), lock=True)
                collection.calibration = made.model_dump(mode="json")
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        _show_calibration(made)
    if plot is not None:
        faq_plot.write(made, plot)


def _there(session: Session, name: str, workspace: str) -> dict[str, Entry]:
    """The entries of the collection, none where it is still to be made."""
    try:
        collection = collections.find(session, name, workspace_id_of(session, workspace))
    except NotFound:
        return {}
    return collections.current(session, collection.id)


def _indexed(
    database: Database, name: str, workspace: str, settings: Settings
) -> tuple[CollectionIndex, Calibration | None]:
    """A collection's index, and its calibration where it was made with the same embedder."""
    with database.read() as session:
        collection = collections.find(session, name, workspace_id_of(session, workspace))
        key, stored = collection.id, collection.calibration
    index = CollectionIndex(key, embedder_of(settings))
    index.refresh(database)
    calibration = Calibration.model_validate(stored) if stored else None
    return index, calibration if calibration and calibration.embedder == index.embedder_revision else None


def _keys(index: CollectionIndex) -> set[str]:
    return {stored.entry.key for stored in index.snapshot.stored}


@contextmanager
def _progress(what: str, total: int) -> Iterator[Any]:
    """A bar on a terminal, nothing elsewhere."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=err, disable=not err.is_terminal or not total, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


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


def _verdict(verdict: Verdict) -> dict[str, Any]:
    decided = verdict.decided(verdict.outcome)
    rows = zip(verdict.decision.matches, decided.found, strict=True)
    return {
        "outcome": verdict.outcome.value,
        "reason": decided.reason,
        "embedder": decided.embedder,
        "thresholds": decided.thresholds,
        "matches": [
            {
                **asdict(found),
                "key": match.hit.stored.entry.key,
                "question": match.hit.stored.entry.question,
                "nearest": match.hit.stored.entry.phrasings[match.hit.phrasing],
                "answer": match.hit.stored.entry.answer,
            }
            for match, found in rows
        ],
    }


def _show_verdict(verdict: Verdict) -> None:
    decision = verdict.decision
    out.print(f"{verdict.outcome.value} ({decision.reason}); the first is right: {decision.probability_first:.0%}")
    for match in decision.matches:
        hit = match.hit
        dense = "" if hit.dense is None else f" meaning {hit.dense:.2f}"
        head = (
            f"{match.probability:4.0%} {hit.stored.entry.key} (score {hit.score:.2f}, words {hit.lexical:.2f}{dense})"
        )
        out.print(f"{head}: {hit.stored.entry.question}", markup=False, soft_wrap=True)
    if verdict.outcome.value == "answer":
        out.print(decision.matches[0].hit.stored.entry.answer, markup=False, soft_wrap=True)


def _show_report(found: Report) -> None:
    for name, value in found.model_dump(exclude={"table", "outcomes"}).items():
        shown = "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
        out.print(f"{name:<22} {shown}")
    out.print("outcomes               " + ", ".join(f"{n} {count}" for n, count in found.outcomes.items()))


def _show_calibration(made: Calibration) -> None:
    for mode, each in made.modes.items():
        limit = each.sureness.thresholds.answer
        out.print(f"{mode}: answers from {limit:.3f} on; {_told_of(each)}", markup=False)
        if each.table:
            out.print("  wrong allowed | threshold | covered answered | rightly | uncovered refused | wrong")
        for row in each.table:
            bar = "█" * round(20 * row.answered)
            figures = f"{row.answered:>16.1%} | {row.right:>7.1%} | {row.refused:>17.1%} | {row.risk:>5.1%} {bar}"
            limit_shown = "never" if row.threshold > 1 else f"{row.threshold:.3f}"
            out.print(f"  {row.allowed:>13.1%} | {limit_shown:>9} | {figures}", markup=False)


def _told_of(each: ModeCalibration) -> str:
    if each.source == "default":
        return "the defaults, as there are too few phrasings or questions to measure"
    kind = "held-out phrasings" if each.source == "held_out" else "given questions"
    return f"measured on {each.covered} covered and {each.uncovered} uncovered {kind}"


def _now() -> datetime:
    return datetime.now(UTC)
