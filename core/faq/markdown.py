"""Markdown: a heading is a question, what stands below it is the answer.

    ## How do I reset my password? {#reset-password}

    <!-- faq
    also: I forgot my password
    tags: account, login
    -->

    Open **Settings** …

In a file that marks headings with `{#key}`, as `write` does, just those are questions, and other headings belong to the
answers. In any other file every heading that has text below it is a question, but for the title at the top; a heading
with only deeper ones below it is a chapter. Nothing is rendered here: scripts in an answer stay text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt

from core.errors import Problem
from core.faq.entry import Draft, Entry
from core.faq.fields import draft_of, field_of, values_of

_MARKED = re.compile(r"#{1,6}[ \t]+(?P<question>.*?)[ \t]+\{#(?P<key>[^{}#\s]+)\}[ \t]*")
_ESCAPED = re.compile(r"(?P<before>#{1,6}[ \t]+.*?)(?P<slashes>\\*)(?P<mark>\{#[^{}#\s]+\}[ \t]*)")
_NOTE, _NOTE_END = "<!-- faq", "-->"
_NOTED = ("also", "tags", "language", "valid_from", "valid_until")


@dataclass(frozen=True, slots=True)
class _Section:
    """A heading and the lines below it, to the next one. `line` counts from 1."""

    line: int
    level: int
    question: str
    body: tuple[str, ...]
    key: str = ""

    @property
    def empty(self) -> bool:
        return not any(text.strip() for text in self.body)


def read(text: str) -> Iterator[Draft | Problem]:
    """The drafts of a document's headings."""
    lines = text.split("\n")
    marked = _marked_sections(lines)
    sections = marked or _questions(_sections(text, lines))
    if not sections:
        yield Problem(1, "There is no heading with a text below it: a heading is a question, the text its answer.")
    for section in sections:
        yield _draft(section, marked=bool(marked))


def write(entries: Sequence[Entry]) -> str:
    """A document that is read back as the same entries."""
    return "\n".join(_written(entry) for entry in entries)


def _marked_sections(lines: list[str]) -> list[_Section]:
    """The sections of headings that end in `{#key}`, wherever they stand."""
    starts = [(i, found) for i, line in enumerate(lines) if (found := _MARKED.fullmatch(line))]
    ends = [i for i, _ in starts] + [len(lines)]
    return [
        _Section(i + 1, 0, found["question"], tuple(lines[i + 1 : end]), found["key"])
        for (i, found), end in zip(starts, ends[1:], strict=True)
    ]


def _sections(text: str, lines: list[str]) -> list[_Section]:
    tokens = MarkdownIt("commonmark").parse(text)
    heads = [
        (token.map[0], token.map[1], int(token.tag[1:]), tokens[i + 1].content)
        for i, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0 and token.map
    ]
    ends = [head[0] for head in heads] + [len(lines)]
    return [
        _Section(start + 1, level, question, tuple(lines[below:end]))
        for (start, below, level, question), end in zip(heads, ends[1:], strict=True)
    ]


def _questions(sections: list[_Section]) -> list[_Section]:
    """The sections that are questions: neither the title at the top nor chapters."""
    kept = []
    for i, section in enumerate(sections):
        following = sections[i + 1] if i + 1 < len(sections) else None
        title = i == 0 and following is not None and all(other.level > section.level for other in sections[1:])
        chapter = section.empty and following is not None and following.level > section.level
        if not title and not chapter:
            kept.append(section)
    return kept


def _draft(section: _Section, *, marked: bool) -> Draft | Problem:
    note, body = _split(list(section.body))
    values: dict[str, str | list[str]] = {"question": section.question, "key": section.key}
    also: list[str] = []
    for offset, line in note:
        name, _, value = line.partition(":")
        if name.strip().lower() not in _NOTED:
            told = f"The note names {', '.join(_NOTED)}, as in `also: Another phrasing`; this is {line.strip()[:40]!r}."
            return Problem(section.line + 1 + offset, told)
        if name.strip().lower() == "also":
            also.append(value)
        else:
            values[field_of(name) or name] = value
    lines = [_unescaped(line) for line in body] if marked else body
    return draft_of(section.line, {**values, "phrasings": also, "answer": "\n".join(lines)})


def _split(body: list[str]) -> tuple[list[tuple[int, str]], list[str]]:
    """The lines of the note at the top with their place, and what is below it."""
    first = next((i for i, line in enumerate(body) if line.strip()), None)
    if first is None or body[first].strip() != _NOTE:
        return [], body
    last = next((i for i in range(first + 1, len(body)) if body[i].strip() == _NOTE_END), None)
    if last is None:
        return [], body
    return [(i, body[i]) for i in range(first + 1, last) if body[i].strip()], body[last + 1 :]


def _written(entry: Entry) -> str:
    values = values_of(entry)
    note = [f"also: {phrasing}" for phrasing in entry.phrasings[1:]]
    note += [f"tags: {', '.join(entry.tags)}"] if entry.tags else []
    note += [f"{name}: {values[name]}" for name in _NOTED[2:] if name in values]
    answer = [_escaped(line) for line in entry.answer.split("\n")]
    # An answer that begins like a note gets an empty one before it.
    noted = [_NOTE, *note, _NOTE_END, ""] if note or answer[0].strip() == _NOTE else []
    return "\n".join([f"## {entry.question} {{#{entry.key}}}", "", *noted, *answer, ""])


def _escaped(line: str) -> str:
    """A heading of an answer that looks like a marked question gets a backslash before its mark."""
    found = _ESCAPED.fullmatch(line)
    return f"{found['before']}\\{found['slashes']}{found['mark']}" if found else line


def _unescaped(line: str) -> str:
    found = _ESCAPED.fullmatch(line)
    return f"{found['before']}{found['slashes'][1:]}{found['mark']}" if found and found["slashes"] else line
