"""What a message may be made of, the best first: Markdown, Slack's own markup in blocks, a text, the beginning of one.

Each of them is within every limit that Slack documents, so that a refusal is a surprise and the next one is tried. Knows
no call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bots.slack.document import Code
from bots.slack.fitting import SECTION_CHARS, TEXT_CHARS, blocks_fit, markdown_fits
from bots.slack.mrkdwn import packed, texts
from bots.slack.wording import escaped, harmless

Json = dict[str, Any]


class Body(NamedTuple):
    """The arguments of a call. `whole`: whether all of the words are in it."""

    arguments: Json
    whole: bool = True


def bodies(markdown: str, controls: Sequence[Json] = (), *, rest: str = "…") -> Iterator[Body]:
    """What to show `markdown` in, with `controls` below it. The last one is a text alone, which anything takes.

    `rest` says at the end of a text that holds only the beginning where the rest is.
    """
    ending = f"\n{escaped(rest)}"
    first, *more = texts(markdown, TEXT_CHARS - len(ending)) or [ending]
    text = first + ending if more else first
    words = harmless(markdown)
    if words.strip() and markdown_fits(words, controls):
        yield Body({"text": text, "blocks": [{"type": "markdown", "text": words}, *controls]})
    blocks = sections(markdown)
    if blocks and blocks_fit([*blocks, *controls]):
        yield Body({"text": text, "blocks": [*blocks, *controls]})
    yield Body({"text": text, "blocks": []}, whole=not more)


def sections(markdown: str) -> list[Json]:
    """Blocks in Slack's own markup."""
    return [_code(part.text) if isinstance(part, Code) else _section(part) for part in packed(markdown, SECTION_CHARS)]


def _section(words: str) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": words, "verbatim": True}}


def _code(words: str) -> Json:
    """Code that no markup can show, since it holds the marks of code itself."""
    element = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": words}]}
    return {"type": "rich_text", "elements": [element]}
