"""CSV: a row an entry, further phrasings in one cell on lines of their own.

Knows delimiters, quoting and what a spreadsheet would take for a formula; what a field may hold is `entry`'s.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

from core.errors import Problem
from core.faq.entry import Draft, Entry
from core.faq.fields import COLUMNS, draft_of, field_of, known_names, values_of

MAX_CELL_CHARS = 200_000
csv.field_size_limit(MAX_CELL_CHARS)  # once: it is the process's, and two files may be read at a time

_FORMULA = re.compile(r"'*[=+\-@\t＝＋－＠]")
"""A cell that some spreadsheet takes for a formula, or that our own quote makes harmless."""


def read(text: str) -> Iterator[Draft | Problem]:
    """The drafts of a table with a heading row."""
    reader = csv.reader(io.StringIO(text), delimiter=_delimiter(text.partition("\n")[0]), strict=True)
    try:
        yield from _drafts(reader)
    except csv.Error as error:
        yield Problem(max(reader.line_num, 1), f"The row cannot be read: {error}.")


def write(entries: Sequence[Entry]) -> str:
    """A table that is read back as the same entries, and whose cells no spreadsheet takes for formulas."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        values = values_of(entry)
        cells = {**values, "phrasings": "\n".join(entry.phrasings[1:]), "tags": ", ".join(entry.tags)}
        writer.writerow([_harmless(str(cells.get(name, ""))) for name in COLUMNS])
    return file.getvalue()


def _delimiter(heading: str) -> str:
    """What stands most often between the columns of the heading row."""
    return max(",;\t", key=heading.count)


def _drafts(reader: Iterator[list[str]]) -> Iterator[Draft | Problem]:
    heading = next(reader, [])
    fields = [field_of(name) for name in heading]
    wrong = _wrong_heading(heading, fields)
    if wrong:
        yield Problem(1, wrong)
        return
    line = reader.line_num + 1  # type: ignore[attr-defined]
    for row in reader:
        if any(cell.strip() for cell in row):
            yield _draft(line, row, fields)
        line = reader.line_num + 1  # type: ignore[attr-defined]


def _wrong_heading(heading: list[str], fields: list[str | None]) -> str:
    missing = [name for name in ("question", "answer") if name not in fields]
    known = [field for field in fields if field]
    if missing:
        return f"The first row should name the columns {known_names()}; {' and '.join(missing)} are needed."
    twice = next((field for field in known if known.count(field) > 1), None)
    return f"The column {twice} is there more than once." if twice else ""


def _draft(line: int, row: list[str], fields: list[str | None]) -> Draft | Problem:
    if len(row) > len(fields) and any(cell.strip() for cell in row[len(fields) :]):
        return Problem(line, f"The row has {len(row)} cells; the heading has {len(fields)}. Is a quote missing?")
    values = {field: _given(cell) for field, cell in zip(fields, row, strict=False) if field}
    phrasings = values.pop("phrasings", "").split("\n")
    return draft_of(line, {**values, "phrasings": phrasings})


def _harmless(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _given(cell: str) -> str:
    """The cell without the quote that `_harmless` puts before it."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
