"""`pajama faq search | eval | calibrate`: trying a question, measuring and calibrating a collection.

These load the embedder that the settings name, and everything that searches, in this process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from core.database import Database
from core.faq import collections
from core.faq.calibration import TARGET_RISK, UNCOVERED, Calibration, ModeCalibration, RiskRow, calibrate, default
from core.faq.evaluation import Labelled, Report, ask_all, report, trials_by_mode
from core.faq.index import CollectionIndex
from core.faq.labelled import read_labelled
from core.faq.search import FaqSearch, Verdict
from core.settings import Settings
from pajama.commands import faq_plot
from pajama.commands.faq_database import embedder_of, opened, workspace_id_of
from pajama.console import err, out, print_json, settings_of


def search(question: str, *, name: str | None, workspace: str, limit: int, as_json: bool) -> None:
    """Print what is found for a question and what would be done with it."""
    settings = settings_of("faq")
    with opened(settings) as database:
        with database.read() as session:
            workspace_id = workspace_id_of(session, workspace)
            collection_id = None if name is None else collections.find(session, name, workspace_id).id
        found = FaqSearch(database, embedder_of(settings), pgvector_from=settings.faq_pgvector_from)
        found.refresh()
        verdict = found.search(
            workspace_id, question, day=datetime.now(UTC).date(), limit=limit, collection_id=collection_id
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
        return
    _show_report(found)
    if calibration is not None and not calibration.modes:
        err.print("The collection was measured with another embedder: its target holds, and should be measured again.")


def calibrate_collection(
    name: str,
    *,
    workspace: str,
    risk: float | None,
    uncovered: float | None,
    questions: Path | None,
    encoding: str,
    plot: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Set a collection's thresholds, and print what they and other risks give; `plot` is a file for the curve.

    A risk or share that is not given is the one that the collection was measured for before, or the default.
    """
    if plot is not None:
        faq_plot.check_name(plot)
    settings = settings_of("faq")
    with opened(settings) as database:
        index, before = _indexed(database, name, workspace, settings)
        real: list[Labelled] = []
        if questions is not None:
            real = read_labelled(questions, _keys(index), encoding=encoding)
        with _progress("asking", len(real)) as advance:
            given = trials_by_mode(ask_all(index, real, advance))
        made = calibrate(
            index,
            target_risk=risk or (before.target_risk if before is not None else TARGET_RISK),
            uncovered_share=(before.uncovered_share if before is not None else UNCOVERED)
            if uncovered is None
            else uncovered,
            given=given,
        )
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


def _indexed(
    database: Database, name: str, workspace: str, settings: Settings
) -> tuple[CollectionIndex, Calibration | None]:
    """A collection's index, and what was measured of it, as far as that holds with its embedder."""
    with database.read() as session:
        collection = collections.find(session, name, workspace_id_of(session, workspace))
        key, stored = collection.id, collection.calibration
    index = CollectionIndex(key, embedder_of(settings), pgvector_from=settings.faq_pgvector_from)
    index.refresh(database)
    calibration = Calibration.model_validate(stored) if stored else None
    return index, calibration.with_embedder(index.embedder_revision) if calibration is not None else None


def _keys(index: CollectionIndex) -> set[str]:
    return {stored.entry.key for stored in index.snapshot.stored}


@contextmanager
def _progress(what: str, total: int) -> Iterator[Any]:
    """A bar on a terminal, nothing elsewhere."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=err, disable=not err.is_terminal or not total, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


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
    _show_table(found.table)


def _show_calibration(made: Calibration) -> None:
    for mode, each in made.modes.items():
        limit = each.sureness.thresholds.answer
        out.print(f"{mode}: answers from {limit:.3f} on; {_told_of(each)}", markup=False)
        _show_table(each.table)


def _show_table(table: Sequence[RiskRow]) -> None:
    if table:
        out.print("  wrong allowed | threshold | covered answered | rightly | uncovered refused | wrong")
    for row in table:
        bar = "█" * round(20 * row.answered)
        figures = f"{row.answered:>16.1%} | {row.right:>7.1%} | {row.refused:>17.1%} | {row.risk:>5.1%} {bar}"
        limit_shown = "never" if row.threshold > 1 else f"{row.threshold:.3f}"
        out.print(f"  {row.allowed:>13.1%} | {limit_shown:>9} | {figures}", markup=False)


def _told_of(each: ModeCalibration) -> str:
    if each.source == "default":
        return "the defaults, as there are too few phrasings or questions to measure"
    kind = "held-out phrasings" if each.source == "held_out" else "given questions"
    return f"measured on {each.covered} covered and {each.uncovered} uncovered {kind}"
