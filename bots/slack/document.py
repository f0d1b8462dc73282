"""A Markdown document as lines of spans and blocks of code: what is left of it when its marks are taken away. Pure.

Tables are code whose columns line up, with characters of double width counted as two. Knows nothing of how Slack writes
any of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode
from wcwidth import wcwidth

_MARKDOWN = MarkdownIt("commonmark", {"html": False, "maxNesting": 100}).enable(["table", "strikethrough"])

_RULE = "─" * 20
_BULLETS = "•◦▪"
_INDENT = "    "
_MOST_INDENTS = 8


@dataclass(frozen=True, slots=True)
class Span:
    """Letters of a line that look alike. `address`: where they lead."""

    text: str
    bold: bool = False
    italic: bool = False
    struck: bool = False
    code: bool = False
    address: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, quoted so many times, behind an indent and a bullet."""

    spans: tuple[Span, ...]
    quoted: int = 0
    indent: str = ""
    bullet: str = ""


@dataclass(frozen=True, slots=True)
class Code:
    """A block of code, as it was written."""

    text: str


Block = list[Line] | Code
"""Lines that belong together, as a paragraph or a list, or code."""


def read(markdown: str) -> list[Block]:
    """The blocks of a document."""
    return list(_blocks(SyntaxTreeNode(_MARKDOWN.parse(markdown)).children, Line(())))


def _blocks(nodes: Iterable[SyntaxTreeNode], place: Line) -> Iterator[Block]:
    """What stands below each other, each line as far in as `place`."""
    for node in nodes:
        match node.type:
            case "fence" | "code_block":
                yield Code(node.content.removesuffix("\n"))
            case "table":
                yield Code("\n".join(_table(node)))
            case "hr":
                yield [replace(place, spans=(Span(_RULE),))]
            case "heading":
                yield [replace(place, spans=_bold(spans)) for spans in _lines(node)]
            case "blockquote":
                yield from _blocks(node.children, replace(place, quoted=place.quoted + 1))
            case "bullet_list" | "ordered_list":
                yield from _joined(_items(node, place))
            case _:
                yield [replace(place, spans=spans) for spans in _lines(node)]


def _items(node: SyntaxTreeNode, place: Line) -> Iterator[Block]:
    """A list's items. The first line of each has the bullet, and what is not a line of the item's stands below it."""
    ordered, depth = node.type == "ordered_list", len(place.indent) // len(_INDENT)
    inside = replace(place, indent=_INDENT * min(depth + 1, _MOST_INDENTS))
    for number, item in enumerate(node.children, int(node.attrs.get("start", 1))):
        bullet = f"{number}. " if ordered else f"{_BULLETS[min(depth, len(_BULLETS) - 1)]} "
        first, *more = [*_blocks(item.children, inside)] or [[inside]]
        if isinstance(first, Code) or first[0].bullet or first[0].quoted > place.quoted:
            first, more = [inside], [first, *more]
        yield [replace(first[0], indent=place.indent, bullet=bullet), *first[1:]]
        yield from more


def _joined(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks of a list without blank lines in between; code stands by itself."""
    lines: list[Line] = []
    for block in blocks:
        if isinstance(block, Code):
            if lines:
                yield lines
            yield block
            lines = []
        else:
            lines = [*lines, *block]
    if lines:
        yield lines


def _lines(node: SyntaxTreeNode) -> list[tuple[Span, ...]]:
    """The lines of a paragraph, a heading or a cell."""
    lines: list[list[Span]] = [[]]
    style = Span("")
    for token in _inline(node):
        match token.type:
            case "softbreak" | "hardbreak":
                lines.append([])
            case "strong_open" | "strong_close":
                style = replace(style, bold=token.nesting == 1)
            case "em_open" | "em_close":
                style = replace(style, italic=token.nesting == 1)
            case "s_open" | "s_close":
                style = replace(style, struck=token.nesting == 1)
            case "link_open" | "link_close":
                style = replace(style, address=str(token.attrs.get("href", "")))  # a closing one has none
            case "image":
                address = str(token.attrs.get("src", ""))
                lines[-1].append(replace(style, text=token.content or address, address=address))
            case _:
                lines[-1].append(replace(style, text=token.content, code=token.type == "code_inline"))
    return [tuple(span for span in line if span.text) for line in lines]


def _inline(node: SyntaxTreeNode) -> Iterator[Token]:
    if node.type == "inline":
        assert node.token is not None
        yield from node.token.children or ()
    else:
        for child in node.children:
            yield from _inline(child)


def _bold(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    return tuple(replace(span, bold=True) for span in spans)


def _table(table: SyntaxTreeNode) -> list[str]:
    """The lines of a table whose columns line up."""
    rows = [row for part in table.children for row in part.children]
    cells = [[_cell(cell) for cell in row.children] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    sides = [str(cell.attrs.get("style", "")).partition(":")[2] for cell in rows[0].children]
    lines = [" | ".join(map(_aligned, row, widths, sides)).rstrip() for row in cells]
    return [lines[0], "-+-".join("-" * width for width in widths), *lines[1:]]


def _cell(cell: SyntaxTreeNode) -> str:
    """A cell's letters, and where they lead."""
    spans = [span for line in _lines(cell) for span in line]
    words = "".join(span.text for span in spans)
    addresses = dict.fromkeys(span.address for span in spans if span.address not in words)
    return " ".join([words, *(f"({address})" for address in addresses)])


def _width(words: str) -> int:
    return sum(max(0, wcwidth(letter)) for letter in words)


def _aligned(words: str, width: int, side: str) -> str:
    missing = width - _width(words)
    before = {"right": missing, "center": missing // 2}.get(side, 0)
    return " " * before + words + " " * (missing - before)
