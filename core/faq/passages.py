"""Passages: entries as the model is given them, how each is named for good, and how an answer refers to them.

Knows SQL only to look up what a name stands for; knows no index and no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sqlalchemy.orm import Session

from core.faq import collections
from core.recipes import Passage

AMONG = 3
"""How many of the first entries may be offered when asking back, or go into a grounded prompt."""

_REFERENCE = re.compile(r"faq:(\d+)@(\d+)", re.ASCII)
_MARK = re.compile(r"[\[【［](\d{1,3}(?:\s*[,，、]\s*\d{1,3})*)[\]】］]", re.ASCII)
_NUMBER = re.compile(r"\d+", re.ASCII)


def reference_of(entry_id: int, version: int) -> str:
    """Names an entry's version for good: in a Prompt's record and in a citation."""
    return f"faq:{entry_id}@{version}"


def recall(session: Session, references: Iterable[str]) -> tuple[Passage, ...]:
    """The passages that a Prompt's record names, in the words of their day. Raises NotFound."""
    named = [match for match in map(_REFERENCE.fullmatch, references) if match is not None]
    found = [(match[0], collections.version_of(session, int(match[1]), int(match[2]))) for match in named]
    return tuple(Passage(reference, entry.answer, entry.question) for reference, entry in found)


def marks_in(text: str) -> tuple[int, ...]:
    """The numbers that `text` cites, as `[1]` or `[1, 2]`, each once, in order."""
    return tuple(dict.fromkeys(int(n) for mark in _MARK.finditer(text) for n in _NUMBER.findall(mark[1])))


def without_marks(text: str) -> str:
    """`text` without its citations."""
    return _MARK.sub(" ", text)


def numbered(passages: Sequence[Passage]) -> dict[int, Passage]:
    """The passages by the number under which the recipe shows them."""
    return dict(enumerate(passages, start=1))
