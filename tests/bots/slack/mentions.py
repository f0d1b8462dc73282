"""What Slack could take for a mention, however it reads a text; and texts that try to smuggle one in."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

_CONTROL = re.compile(
    r"<(?:!(?:channel|here|everyone|group)\b|!subteam\^|!date\^|@[A-Z0-9]{2,}|#[A-Z0-9]{2,})", re.IGNORECASE
)
_ID = re.compile(r"<[@#][a-z]")
_BARE = re.compile(r"(?<![A-Za-z0-9])@(?:channel|here|everyone|group)(?![A-Za-z0-9])", re.IGNORECASE)
_PAGE = re.compile(r"https?://(?:[A-Za-z0-9.-]+/)+@")
_EMPHASIS = re.compile(r"[*_~`\\]")
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])

PIECES = st.sampled_from(
    [
        *("<!channel>", "<!here|now>", "<!everyone>", "<@U012ABCDEF>", "<@W0AB|ann>", "<#C012AB>", "<!subteam^S01AB|team>"),
        *("<!date^1392734382^{date}^https://example.org|then>", "@channel", "@here", "@everyone", "@group"),
        *("<", ">", "!", "@", "#", "|", "^", "channel", "chan", "nel", "here", "every", "one", "U012AB", "C9ZZ", "subteam"),
        *("&lt;", "&LT;", "&#60;", "&#x3C;", "&#0060;", "&amp;", "amp;lt;", "&gt;", "&excl;", "&#33;", "&commat;", "&#x40;"),
        *("&num;", "&#99;", "&#x63;", "hannel", "&#104;", "ere", "&", "lt;", "#60;", ";"),
        *("\\", "*", "**", "_", "~~", "`", "``", "```\n", "```py\n", "~~~\n", "\n", "\n\n", " ", "\t"),
        *("[", "]", "(", ")", "](", "[x](", "![x](", "[x]: ", "]:\n", "](<", " 'title')", "[x](!channel)", "[x](@U012AB)"),
        *("> ", "- ", "1. ", "# ", "| ", "|\n|---|\n| ", "---\n", "https://", "example.org/", "ann@here.org", "好", "。"),
        *("\u2060", "\u200b", "\u00a0", "é"),
    ]
)  # fmt: skip
SMUGGLED = st.lists(PIECES, max_size=30).map("".join)
TEXTS = SMUGGLED | st.text(st.characters(exclude_categories=["Cs"]))


def mentions(words: str) -> list[str]:
    """Whom a piece of text that Slack reads would notify."""
    return [match.group() for match in _CONTROL.finditer(words) if not _ID.match(match.group())]


def bare(words: str) -> list[str]:
    """Whom it would notify where Slack links bare names."""
    return _BARE.findall(_PAGE.sub("", words))


def readings_of_markdown(words: str) -> Iterator[str]:
    """What may reach Slack's own parser: the source, the source decoded, and what Markdown makes of it."""
    yield words
    yield html.unescape(words)
    yield html.unescape(html.unescape(words))
    for token in _MARKDOWN.parse(words):
        yield from _readings_of_token(token)


def _readings_of_token(token: Token) -> Iterator[str]:
    yield token.content
    yield _EMPHASIS.sub("", token.content)
    children = token.children or []
    for text in _between_links(children):
        yield text
        yield html.unescape(text)
    for child in children:
        for name in ("href", "src", "title"):
            if name in child.attrs:
                yield f"<{child.attrs[name]}>"
        yield from _readings_of_token(child)


def _between_links(tokens: list[Token]) -> Iterator[str]:
    """The letters of a paragraph, emphasis taken away."""
    run = ""
    for token in tokens:
        if token.type in {"link_open", "link_close", "image", "softbreak", "hardbreak"}:
            yield run
            run = ""
        else:
            run += token.content if token.type in {"text", "code_inline", "text_special"} else ""
    yield run
