"""Labelled questions in a file, to measure or calibrate a collection with: a question and the key of its entry.

CSV with the columns `question` and `key`, or JSON Lines with those names; an empty key, `oos` or `-` says that no entry
answers the question. Read whole or not at all, as files of entries are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from pathlib import Path

from core.errors import FaqFileRefused, Problem
from core.faq.documents import json_of
from core.faq.entry import MAX_QUESTION_CHARS, one_line
from core.faq.evaluation import Labelled
from core.faq.files import content_of, decode

MAX_QUESTIONS = 100_000
_QUESTION = ("question", "text", "utterance", "q", "问题")
_KEY = ("key", "label", "intent", "entry", "category", "答案编号", "标签")
_NONE = ("", "-", "oos", "out_of_scope", "none")


def read_labelled(path: Path, keys: Collection[str], *, encoding: str = "") -> list[Labelled]:
    """The questions of a file, whose keys have to be among `keys`. Raises FaqFileRefused."""
    return read_bytes(content_of(path), path.name, keys, encoding=encoding)


def read_bytes(
    content: bytes, name: str, keys: Collection[str], *, encoding: str = "", most: int = MAX_QUESTIONS
) -> list[Labelled]:
    """The same of a file's `content`. Raises FaqFileRefused."""
    text = decode(content, name, encoding)
    rows = _json_rows(text) if name.lower().endswith((".jsonl", ".ndjson")) else _table_rows(text)
    questions: list[Labelled] = []
    problems: list[Problem] = []
    for line, row in rows:
        made = row if isinstance(row, Problem) else _labelled(line, row, keys)
        if isinstance(made, Problem):
            problems.append(made)
        else:
            questions.append(made)
        if len(questions) > most:
            problems.append(Problem(line, f"More than {most} questions are not taken at once."))
            break
    if not questions and not problems:
        problems = [Problem(0, "It holds no questions.")]
    if problems:
        raise FaqFileRefused(name, problems)
    return questions


Row = tuple[int, "dict[str, str] | Problem"]


def _table_rows(text: str) -> Iterator[Row]:
    heading_line = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=heading_line.count), strict=True)
    try:
        heading = [name.strip().lower() for name in next(reader, [])]
        if not set(heading) & set(_QUESTION) or not set(heading) & set(_KEY):
            yield 1, Problem(1, "The first row should name the columns question and key.")
            return
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, dict(zip(heading, cells, strict=False))
            line = reader.line_num + 1
    except csv.Error as error:
        yield reader.line_num, Problem(reader.line_num, f"The row cannot be read: {error}.")


def _json_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json_of(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield number, {str(name).lower(): str(each or "") for name, each in value.items()}
        else:
            yield number, Problem(number, "The line should be a JSON object with question and key, each once.")


def _labelled(line: int, row: dict[str, str], keys: Collection[str]) -> Labelled | Problem:
    text = one_line(next((row[name] for name in _QUESTION if name in row), ""))
    key = one_line(next((row[name] for name in _KEY if name in row), ""))
    if not text:
        return Problem(line, "The question is empty.")
    if key.lower() in _NONE:
        key = ""
    elif key not in keys:
        return Problem(line, f"The collection has no entry {key[:40]!r}.")
    return Labelled(text[:MAX_QUESTION_CHARS], key)
