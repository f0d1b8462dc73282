"""What one message of Slack's may hold: characters, blocks, and what Slack renders Markdown into. Pure.

Slack documents each limit by itself, and tells of the total of a message only by refusing it: what is counted here is the
strict reading of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import regex

Json = dict[str, Any]

MARKDOWN_CHARS = 12_000
"""Of a Markdown block, and of all that is streamed into one message."""

SECTION_CHARS = 3_000
TEXT_CHARS = 4_000
"""Of a text that chat.update takes."""

MOST_BLOCKS = 50
MOST_CHARS = 13_200
"""Of all blocks of a message together; `&`, `<` and `>` count as what they are escaped to."""

_HEADER_CHARS = 100
_HEADING = regex.compile(r" {0,3}(?:#{1,6}(?:\s|$)|=+[ \t]*$)")
_RULE = regex.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")
_FENCE = regex.compile(r" {0,3}(`{3,}|~{3,})")


def markdown_fits(markdown: str, others: Sequence[Json] = ()) -> bool:
    """Whether a message takes this Markdown, with other blocks below it."""
    blocks, headers = rendered(markdown)
    return (
        len(markdown) <= MARKDOWN_CHARS
        and blocks + len(others) <= MOST_BLOCKS
        and chars(markdown) + _HEADER_CHARS * headers + sum(map(chars, _words(others))) <= MOST_CHARS
    )


def blocks_fit(blocks: Sequence[Json]) -> bool:
    """Whether a message takes these blocks, none of which is Markdown."""
    return len(blocks) <= MOST_BLOCKS and sum(map(chars, _words(blocks))) <= MOST_CHARS


def chars(words: str) -> int:
    """How long a text is to Slack."""
    return len(words) + 4 * words.count("&") + 3 * (words.count("<") + words.count(">"))


def rendered(markdown: str) -> tuple[int, int]:
    """How many blocks Slack makes of Markdown, and how many of them are headers.

    A heading, a rule, a block of code and a table are each one; so is all that stands between two of them.
    """
    blocks = headers = 0
    before, fence = "", ""
    for line in markdown.split("\n"):
        opened = _FENCE.match(line)
        if fence:
            if opened and opened[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        kind = "code" if opened else _kind(line)
        if kind in {"code", "heading", "rule"} or (kind in {"table", "words"} and kind != before):
            blocks += 1
        headers += kind == "heading"
        fence = opened[1] if opened else ""
        before = before if kind == "blank" and before == "words" else kind
    return blocks, headers


def _kind(line: str) -> str:
    if _HEADING.match(line):
        return "heading"
    if _RULE.match(line):
        return "rule"
    if line.lstrip().startswith("|"):
        return "table"
    return "words" if line.strip() else "blank"


def _words(value: Any) -> Iterable[str]:
    """Every text in blocks, wherever it stands."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "text" and isinstance(one, str):
                yield one
            else:
                yield from _words(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _words(one)
