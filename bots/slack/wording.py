"""What keeps the model's words harmless on Slack: they never notify anybody. Pure.

A joiner that nobody sees takes the meaning from what Slack takes for a mention: `<!channel>`, `<@U…>`, `<#C…>`, `@here`.
Markdown may write each character of one in several ways, as an entity, behind a backslash, with emphasis in between, and
a link to `!channel` is one too: all of these are read before it is decided. Whatever is no mention stays as it is, so
that code which holds `<!DOCTYPE html>` or `List<@NonNull T>` can be copied. Does not know what is code: what would notify
outside of it is disarmed inside it too, since nobody has promised that Slack looks.
"""

from __future__ import annotations

import html

import regex

JOINER = "\u2060"

_NOISE = r"[*_~`\\\[\]]*+"
"""What Markdown takes away between two characters of a word."""

_LETTER = r"(?:[!@#^A-Za-z0-9]|&#?[A-Za-z0-9]{1,10};)"
_LETTERS = rf"(?:{_NOISE}{_LETTER}){{0,10}}+"
"""Enough to tell the longest mention, `!everyone`, from a longer word."""

_OPENING = r"<|&(?:amp;)*(?:lt|LT|#0*60|#[xX]0*3[cC]);|\][(:][\s>]*+"
_AT = r"@|&(?:commat|#0*64|#[xX]0*40);"
_ADDRESS = r"[A-Za-z0-9]|https?://(?:[A-Za-z0-9\-.]+/)+"
"""Before the `@` of an e-mail address, or of a page's address."""

_POSSIBLE = regex.compile(
    rf"(?P<opening>{_OPENING})(?=(?P<run>{_LETTERS}))|(?<!{_ADDRESS})(?P<at>{_AT})(?=(?P<run>{_LETTERS}))"
)
_UNDECIDED = regex.compile(
    rf"(?:(?:{_OPENING}|{_AT}){_LETTERS}{_NOISE}(?:&#?[A-Za-z0-9]{{0,10}})?|&(?:amp;)*#?[A-Za-z0-9]*+|\])\Z"
)
_NOISES = regex.compile(r"[*_~`\\\[\]]")
_MENTION = regex.compile(r"!(?:(?i:channel|here|everyone|group|subteam|date))|[@#][A-Z0-9]{2}")
_EVERYBODY = regex.compile(r"(?i:channel|here|everyone|group)(?![A-Za-z0-9])")
_BARE = regex.compile(r"(?<![A-Za-z0-9])@(?=(?i:channel|here|everyone|group)(?![A-Za-z0-9]))")


def harmless(words: str) -> str:
    """Markdown that notifies nobody."""

    def disarmed(match: regex.Match[str]) -> str:
        mention, run = _MENTION if match["opening"] else _EVERYBODY, match["run"]
        read = _NOISES.sub("", run)
        return match[0] + JOINER if any(mention.match(each) for each in (run, read, html.unescape(read))) else match[0]

    return _POSSIBLE.sub(disarmed, words)


def settled(words: str) -> str:
    """As much of `words`, harmless, as stays the same whatever follows."""
    undecided = _UNDECIDED.search(words)
    return harmless(words[: undecided.start()] if undecided else words)


def escaped(words: str) -> str:
    """`words` for a field of Slack's own markup, harmless and as they stand."""
    return _BARE.sub("@" + JOINER, escaped_code(words))


def escaped_code(words: str) -> str:
    """`words` where Slack's own markup shows code: every character as it is."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
