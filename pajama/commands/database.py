"""Commands that read or migrate the database: `db`, `history`, `why`, `feedback export`."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

import core.database
import core.history
from core import feedback as ratings
from core.errors import DatabaseUnavailable, SettingsError
from core.settings import Settings
from core.values import Place
from pajama.console import Exit, out, print_json, settings_of
from pajama.running import find_running

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a cell for a formula."""


def upgrade() -> None:
    """Migrate to the newest schema."""
    url = settings_of("db").effective_database_url
    core.database.upgrade(url)
    out.print("The schema is at head.")


def check() -> None:
    """Say what keeps the schema from being right."""
    url = settings_of("db").effective_database_url
    problems = [absent(url)] if absent(url) else core.database.check(url)
    for problem in problems:
        out.print(problem, markup=False)
    if problems:
        sys.exit(Exit.FAILED)
    out.print("The schema is at head and equal to the models.")


def history(conversation: str, limit: int, *, as_json: bool) -> None:
    """Print the newest turns of a conversation in the terminal."""
    from bots.terminal.screen import printable, said
    from pajama.commands.chat import language

    place = Place(platform="terminal", workspace="local", conversation=conversation)
    database = _database()
    with database.read() as session:
        turns = core.history.conversation_view(session, place, limit)
    database.close()
    if as_json:
        print_json([_plain(turn) for turn in turns])
        return
    for turn in turns:
        out.print(f"[dim]{turn.turn_id} {turn.queued_at:%Y-%m-%d %H:%M} {turn.state}[/dim]")
        out.print(f"> {said(turn, language())}", markup=False, soft_wrap=True)
        out.print(printable(turn.answer.text) if turn.answer else "…", markup=False, soft_wrap=True)


def why(turn_id: int, *, as_json: bool) -> None:
    """Print why a turn was answered so."""
    from bots.terminal.screen import explained
    from pajama.commands.chat import language

    database = _database()
    with database.read() as session:
        explanation = core.history.explain(session, turn_id)
    database.close()
    if as_json:
        print_json({**_plain(explanation), "turn": _plain(explanation.turn)})
    else:
        sys.stdout.write(explained(explanation, language(), color=sys.stdout.isatty()) + "\n")


def export_feedback(form: str) -> None:
    """Print every rating, as JSON Lines or CSV."""
    if form not in ("jsonl", "csv"):
        raise SettingsError(f"--format is {form!r}; it should be jsonl or csv.")
    database = _database()
    with database.read() as session:
        rows = ratings.export(session)
        if form == "jsonl":
            sys.stdout.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            _write_csv(rows)
    database.close()


def _write_csv(rows: Any) -> None:
    writer = csv.DictWriter(sys.stdout, ratings.COLUMNS)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(value) for name, value in row.items()})


def _harmless(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def absent(url: str) -> str:
    """The sentence that says that there is no database at `url` yet; empty where there is one, or a server."""
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite" or not parts.database or Path(parts.database).exists():
        return ""
    return f"There is no database at {parts.database} yet: `pajama up` or `pajama db upgrade` makes it."


def _database() -> core.database.Database:
    """The database of the stack that runs here, or the one of the settings. Raises DatabaseUnavailable."""
    settings: Settings = settings_of("db")
    running = find_running(settings.data_dir)
    url = running.database_url if running else settings.effective_database_url
    missing = absent(url)
    if missing:
        raise DatabaseUnavailable(missing)
    return core.database.Database(url)


def _plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(value), default=_encoded))
    return plain


def _encoded(value: Any) -> object:
    return value.model_dump() if hasattr(value, "model_dump") else str(value)
