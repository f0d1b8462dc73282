"""Slack's own markup, made of Markdown: what an answer is shown in where Slack does not take its Markdown block. Pure.

Everything that the model wrote is escaped, so that the only `<` in a text opens a link to a page. Code stays as it is to
the byte. Knows no limit but the one that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import regex

from bots.slack.document import Code, Line, Span, read
from bots.slack.wording import JOINER, escaped, escaped_code

LEAST_CHARS = 2_500
"""The smallest limit that every line can be cut to."""

_FENCE = "```"
_BROKEN_FENCE = JOINER.join(_FENCE)
_FENCES_CHARS = 2 * len(_FENCE + "\n")
_BORDER = "\u200b"
"""Slack takes a mark for one only where no letter is beside it; this space has no width."""

_MARKS = "*_~`"
_MOST_ADDRESS_CHARS = 1_000
_SMALL_CHARS = 200
_MOST_QUOTES = 4
_WEB = regex.compile(r"(?:https?://|mailto:)[^\s<>|]+")
_NO_END = r"\s<>|\"'`)\]}，。！？；：、（）《》「」『』“”‘’"
_BARE_WEB = regex.compile(rf"https?://[^{_NO_END}]*[^{_NO_END}.,;:!?*_~]")
_WORD = regex.compile(r"\s*\S+|\s+")
_GRAPHEME = regex.compile(r"\X")
_MOST_GRAPHEME_CHARS = 40


def packed(markdown: str, most_chars: int) -> list[str | Code]:
    """The document in texts of at most so many characters, at least `LEAST_CHARS`; none of them is blank.

    Code that holds a fence of Slack's own stands by itself, since no text can show it.
    """
    parts: list[str | Code] = []
    text = ""
    for block in read(markdown):
        pieces, separator = _pieces(block, most_chars), "\n\n"
        for piece in pieces:
            if isinstance(piece, Code) or len(text) + len(separator) + len(piece) > most_chars:
                parts.append(text)
                text, separator = "", ""
            if isinstance(piece, Code):
                parts.append(piece)
            else:
                text += (separator if text else "") + piece
                separator = "\n"
    return [part for part in [*parts, text] if isinstance(part, Code) or part.strip()]


def texts(markdown: str, most_chars: int) -> list[str]:
    """The same as texts alone: in code that holds a fence, a joiner that nobody sees breaks it."""
    broken: list[str] = []
    for part in packed(markdown, most_chars):
        broken += _fenced(part.text.replace(_FENCE, _BROKEN_FENCE), most_chars) if isinstance(part, Code) else [part]
    return broken


def _pieces(block: list[Line] | Code, most_chars: int) -> list[str] | list[Code]:
    """A block in as few pieces as fit; lines that fit together stay together."""
    if isinstance(block, list):
        rows = [row for line in block for row in _rows(line, most_chars)]
        whole = "\n".join(rows)
        return [whole] if len(whole) <= most_chars else rows
    if _FENCE in block.text:
        return [Code(piece) for piece in _code_pieces(block.text, most_chars)]
    return _fenced(block.text, most_chars)


# Lines


def _rows(line: Line, most_chars: int) -> list[str]:
    """A line, in pieces where it is longer than a text."""
    written = _written(line)
    if len(written) <= most_chars:
        return [written]
    rows: list[str] = []
    spans: tuple[Span, ...] = ()
    for span in _small(line.spans):
        if spans and len(_written(replace(line, spans=(*spans, span)))) > most_chars:
            rows.append(_written(replace(line, spans=spans)))
            line, spans = replace(line, bullet=" " * len(line.bullet)), ()
        spans = (*spans, span)
    return [*rows, _written(replace(line, spans=spans))]


def _small(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans so short that each fits a text, however its letters are escaped."""
    for span in spans:
        for piece in _cut(span.text, _SMALL_CHARS, _WORD, len):
            yield replace(span, text=piece)


def _written(line: Line) -> str:
    words = ""
    for span in _merged(line.spans):
        words = _beside(words, _marked(span))
    lead = "> " * min(line.quoted, 1) + "&gt; " * (min(line.quoted, _MOST_QUOTES) - 1) + line.indent + line.bullet
    return (lead or (JOINER if words.startswith("&gt;") else "")) + words  # which would begin a quotation


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Neighbours that look alike as one."""
    before: Span | None = None
    for span in spans:
        if before is not None and not span.code and replace(before, text=span.text) == span:
            before = replace(span, text=before.text + span.text)
            continue
        if before is not None:
            yield before
        before = span
    if before is not None:
        yield before


def _beside(before: str, after: str) -> str:
    """Two spans; a mark that would stand beside a letter or another mark gets a border."""
    touching = (before[-1:] in _MARKS and not _is_border(after[:1])) or (
        after[:1] in _MARKS and not _is_border(before[-1:])
    )
    return before + (_BORDER if before and after and touching else "") + after


def _is_border(letter: str) -> bool:
    return letter.isspace() or (letter.isascii() and not letter.isalnum() and letter not in _MARKS)


def _marked(span: Span) -> str:
    inner = span.text.strip() if not span.code else span.text
    if not inner:
        return span.text
    lead, _, trail = span.text.partition(inner)
    marks = [mark for mark, wanted in (("*", span.bold), ("_", span.italic), ("~", span.struck)) if wanted]
    return lead + "".join(marks) + _linked(span, inner) + "".join(reversed(marks)) + trail


def _linked(span: Span, words: str) -> str:
    """The span's words as code, as a link, or as they are."""
    unfenced = words.replace(_FENCE, _BROKEN_FENCE)
    if span.code:
        fence = "`" if "`" not in words else _FENCE
        edges = (JOINER if words[0] == "`" else ""), (JOINER if words[-1] == "`" else "")
        return fence + escaped_code(unfenced).join(edges) + fence
    if not span.address:
        return _with_links(unfenced)
    address = escaped_code(span.address)
    if not _WEB.fullmatch(span.address) or len(address) > _MOST_ADDRESS_CHARS:
        return escaped(unfenced if span.address in words else f"{unfenced} ({span.address[:_SMALL_CHARS]})")
    label = escaped(unfenced)
    return f"<{address}>" if label == address else f"<{address}|{label}>"


def _with_links(words: str) -> str:
    """Plain text in which the addresses of pages are links, since Slack is told to look for nothing by itself."""
    parts, at = list[str](), 0
    for found in _BARE_WEB.finditer(words):
        parts += [escaped(words[at : found.start()]), f"<{escaped_code(found[0])}>"]
        at = found.end()
    return "".join([*parts, escaped(words[at:])])


# Code


def _fenced(code: str, most_chars: int) -> list[str]:
    return [f"{_FENCE}\n{escaped_code(piece)}\n{_FENCE}" for piece in _code_pieces(code, most_chars - _FENCES_CHARS)]


def _code_pieces(code: str, most_chars: int) -> list[str]:
    """Code in pieces that are short enough when they are escaped: whole lines, but for one that is too long itself."""
    pieces, size = list[str](), 0
    for line in code.split("\n"):
        for number, part in enumerate(_cut(line, most_chars, _GRAPHEME, _escaped_chars)):
            needed = 1 + _escaped_chars(part)
            if pieces and not number and size + needed <= most_chars:
                pieces[-1] += "\n" + part
                size += needed
            else:
                pieces.append(part)
                size = needed - 1
    return pieces


def _escaped_chars(words: str) -> int:
    return len(words) + 4 * words.count("&") + 3 * (words.count("<") + words.count(">"))


def _cut(words: str, most_chars: int, unit: regex.Pattern[str], chars_of: Callable[[str], int]) -> list[str]:
    """`words` in pieces of at most so many characters, torn between units where they are small enough."""
    if chars_of(words) <= most_chars:
        return [words]
    pieces, size = list[str](), 0
    for found in unit.findall(words):
        whole = len(found) <= _MOST_GRAPHEME_CHARS
        for part in [found] if whole else found:
            needed = chars_of(part)
            if pieces and size + needed <= most_chars:
                pieces[-1] += part
                size += needed
            else:
                pieces.append(part)
                size = needed
    return pieces
