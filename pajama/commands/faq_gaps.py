"""`pajama faq gaps`: what people asked and no entry answered, as a table, as JSON, or as entries to be filled in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from core.database import Database
from core.errors import NotFound, SettingsError
from core.faq import asked, collections, gaps
from core.faq.entry import Entry, key_of
from core.faq.files import form_of
from core.faq.gaps import Gap, GapReport
from pajama.commands.faq_database import embedder_of, opened, workspace_id_of
from pajama.console import err, out, print_json, settings_of


def show(
    *,
    collection: str | None,
    workspace: str,
    days: int | None,
    limit: int,
    target: Path | None,
    dismiss: str | None,
    as_json: bool,
) -> None:
    """Print the gaps, those asked most first; with `target`, write them as entries without answers.

    With `dismiss`, the id of a gap, have it shown no more instead.
    """
    settings = settings_of("faq")
    since = None if days is None else datetime.now(UTC) - timedelta(days=days)
    with opened(settings) as database:
        with database.read() as session:
            workspace_id = workspace_id_of(session, workspace)
            named = [each.id for each in collections.live(session) if collection in (None, each.name)]
            if collection is not None and not named:
                raise NotFound(f"There is no collection {collection!r}.")
        found = gaps.report(
            database,
            embedder_of(settings),
            workspace_id=workspace_id,
            collection_ids=None if collection is None else named,
            since=since,
        )
        if dismiss is not None:
            _dismiss(database, found, dismiss)
            return
    chosen = found.gaps[:limit]
    if target is not None:
        _write(chosen, target)
    elif as_json:
        print_json(found.model_copy(update={"gaps": chosen, "more": _left(found, limit)}).model_dump(mode="json"))
    else:
        _show(found, limit)


def _dismiss(database: Database, found: GapReport, gap_id: str) -> None:
    gap = next((each for each in found.gaps if each.gap_id == gap_id), None)
    if gap is None:
        raise NotFound(f"There is no gap {gap_id!r}; `pajama faq gaps --json` tells each gap_id.")
    with database.write() as session:
        count = asked.dismiss(session, gap.turn_ids, datetime.now(UTC))
    out.print(f"{count} questions are dismissed.")


def entries_of(chosen: tuple[Gap, ...]) -> list[Entry]:
    """Suggested entries, their answers still to be written."""
    return [Entry(key_of(gap.question), (gap.question, *gap.phrasings), "", (), gap.language) for gap in chosen]


def _write(chosen: tuple[Gap, ...], target: Path) -> None:
    try:
        target.write_text(form_of(target.name).write(entries_of(chosen)), encoding="utf-8", newline="\n")
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror or error}.") from error
    err.print(f"{len(chosen)} suggested entries are in {target}. Write their answers, then import it.", markup=False)


def _show(found: GapReport, limit: int) -> None:
    if not found.gaps:
        out.print("Nothing was asked that no entry answered.")
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name, justify in (
        ("asked", "right"),
        ("by", "right"),
        ("last", "left"),
        ("question", "left"),
        ("nearest entry", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for gap in found.gaps[:limit]:
        nearest = f"{gap.nearest.key} ({gap.nearest.collection})" if gap.nearest else ""
        row = (str(gap.count), str(gap.people), f"{gap.last_asked_at:%Y-%m-%d}", _question(gap), nearest)
        table.add_row(*map(escape, row))
    out.print(table)
    further = f", {_left(found, limit)} further gaps are not shown" if _left(found, limit) else ""
    bounded = "" if found.complete else f"; only the newest {gaps.MOST_QUESTIONS} were looked at"
    out.print(f"{found.questions} questions{further}{bounded}.")


def _question(gap: Gap) -> str:
    others = f" (and {len(gap.phrasings)} other wordings)" if gap.phrasings else ""
    draft = " [draft answer in --json]" if gap.draft else ""
    return f"{gap.question}{others}{draft}"


def _left(found: GapReport, limit: int) -> int:
    return found.more + max(len(found.gaps) - limit, 0)
