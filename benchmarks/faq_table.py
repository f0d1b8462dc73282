"""The table of FAQ figures in docs/faq.md: its rows, and how new ones are put in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = "| set | what | published | by words | by meaning and words | target |\n|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. `least` is what both or the better of the two figures should reach."""

    name: str
    what: str
    published: str
    words: str
    meaning: str
    target: str = ""

    def __str__(self) -> str:
        return f"| {self.name} | {self.what} | {self.published} | {self.words} | {self.meaning} | {self.target} |"


def recorded(page: str, measured: Sequence[str], *, whole: bool) -> str:
    """The page with these rows in its table; where they are not the `whole`, the rows of other sets stay."""
    before, rest = page.split(BEGIN)
    there, after = rest.split(END)
    rows = _by_set(measured)
    if not whole:
        rows = _by_set([line for line in there.splitlines() if line.startswith("| ")][1:]) | rows
    table = [HEAD, *(row for of_set in rows.values() for row in of_set)]
    return f"{before}{BEGIN}\n\n" + "\n".join(table) + f"\n\n{END}{after}"


def _by_set(rows: Iterable[str]) -> dict[str, list[str]]:
    """Rows by the set that their first cell names, in order."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.split("|")[1].strip(), []).append(row)
    return found
