"""Files of entries: CSV, JSON, JSON Lines, YAML and Markdown, read whole or not at all, and written again.

Knows sizes, encodings and which module reads what. Everything that is wrong with a file is told at once, each with its
line. What is written is read back as the same entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from core.errors import FaqFileRefused, Problem
from core.faq import documents, markdown, tables
from core.faq.entry import Draft, Entry, check

MAX_FILE_BYTES = 20 << 20
MAX_ENTRIES = 50_000

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)  # fmt: skip
"""Byte order marks, the longer ones first, and how to read what follows."""


@dataclass(frozen=True, slots=True)
class Form:
    """A file format: how it is read and written."""

    name: str
    read: Callable[[str], Iterable[Draft | Problem]]
    write: Callable[[Sequence[Entry]], str]


def _form(name: str, module: ModuleType, kind: str = "") -> Form:
    tail = f"_{kind}" if kind else ""
    return Form(name, getattr(module, f"read{tail}"), getattr(module, f"write{tail}"))


FORMS = {
    ".csv": _form("csv", tables),
    ".tsv": _form("csv", tables),
    ".json": _form("json", documents, "json"),
    ".jsonl": _form("jsonl", documents, "jsonl"),
    ".ndjson": _form("jsonl", documents, "jsonl"),
    ".yaml": _form("yaml", documents, "yaml"),
    ".yml": _form("yaml", documents, "yaml"),
    ".md": _form("markdown", markdown),
    ".markdown": _form("markdown", markdown),
}
"""By the file name's suffix."""


def read_file(path: Path, *, encoding: str = "", language: str = "") -> list[Entry]:
    """The entries of a file, all of them or none. Raises FaqFileRefused.

    `encoding` is for files that are no UTF-8; `language` for entries that name none.
    """
    form = form_of(path.name)
    return read_bytes(content_of(path), form, path.name, encoding=encoding, language=language)


def content_of(path: Path) -> bytes:
    """The bytes of a file that is not too large. Raises FaqFileRefused."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FaqFileRefused(path.name, [Problem(0, _too_large(size))])
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)  # it may grow, or be a pipe without a size
    except OSError as error:
        raise FaqFileRefused(path.name, [Problem(0, f"It cannot be read: {error.strerror or error}.")]) from error
    if len(content) > MAX_FILE_BYTES:
        raise FaqFileRefused(path.name, [Problem(0, _too_large(len(content)))])
    return content


def read_bytes(content: bytes, form: Form, name: str, *, encoding: str = "", language: str = "") -> list[Entry]:
    """The entries of a file's `content`, all of them or none. Raises FaqFileRefused."""
    if len(content) > MAX_FILE_BYTES:
        raise FaqFileRefused(name, [Problem(0, _too_large(len(content)))])
    text = decode(content, name, encoding)
    entries, problems = _checked(form.read(text), language)
    if not problems and not entries:
        problems = [Problem(0, "It holds no entries.")]
    if problems:
        raise FaqFileRefused(name, problems)
    return entries


def form_of(name: str) -> Form:
    """The format that the suffix of `name`, or a suffix alone, says. Raises FaqFileRefused."""
    form = FORMS.get(Path(f"_.{name.lower()}").suffix)
    if form is None:
        raise FaqFileRefused(name, [Problem(0, f"Its name should end in {', '.join(FORMS)}.")])
    return form


def _too_large(size: int) -> str:
    return (
        f"It has {size / 2**20:.0f} MiB; at most {MAX_FILE_BYTES >> 20} are taken. Split it, or leave out old entries."
    )


def decode(content: bytes, name: str, encoding: str = "") -> str:
    """The text, without a byte order mark and with plain line ends. Raises FaqFileRefused."""
    codec = encoding or next((codec for mark, codec in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        hint = "Save it as UTF-8, or name its encoding, as in --encoding gb18030."
        told = f"Byte 0x{content[error.start]:02x} is no {codec}. {hint}"
        raise FaqFileRefused(name, [Problem(line, told)]) from error
    except (LookupError, ValueError) as error:  # no such codec, or a name that cannot be one's, as with a NUL
        raise FaqFileRefused(name, [Problem(0, f"It cannot be read as {codec!r}: {error}.")]) from error
    if "\0" in text:
        raise FaqFileRefused(name, [Problem(text[: text.index("\0")].count("\n") + 1, "It is no text: it holds NUL.")])
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _checked(drafts: Iterable[Draft | Problem], language: str) -> tuple[list[Entry], list[Problem]]:
    entries: list[Entry] = []
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for draft in drafts:
        if isinstance(draft, Problem):
            problems.append(draft)
            continue
        made = check(draft, language)
        problems += [Problem(draft.line, sentence) for sentence in made.wrong]
        if made.entry is None:
            continue
        if made.entry.key in lines:
            earlier = lines[made.entry.key]
            problems.append(Problem(draft.line, f"The key {made.entry.key!r} is that of line {earlier} already."))
        lines[made.entry.key] = draft.line
        entries.append(made.entry)
        if len(entries) > MAX_ENTRIES:
            return entries, [*problems, Problem(draft.line, f"More than {MAX_ENTRIES} entries are not taken at once.")]
    return entries, problems
