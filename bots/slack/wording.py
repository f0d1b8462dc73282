"""What keeps the model's words harmless on Slack: they never notify anybody. Pure.

A joiner that nobody sees takes the meaning from `<!channel>`, `<@U…>`, `<#C…>` and `@here`, also in Markdown, where
Slack links a bare name too.
"""

from __future__ import annotations

import regex

_JOINER = "\u2060"
_TOKEN = regex.compile(r"<(?=[!@#])")
_BARE = regex.compile(r"@(?=(?:channel|here|everyone)\b)", regex.IGNORECASE)
_UNDECIDED = regex.compile(r"(?:<|@[a-zA-Z]{0,8})$")


def harmless(words: str) -> str:
    """`words` that notify nobody."""
    return _BARE.sub("@" + _JOINER, _TOKEN.sub("<" + _JOINER, words))


def settled(words: str) -> str:
    """As much of `words`, harmless, as stays the same whatever follows."""
    return harmless(_UNDECIDED.sub("", words))


def escaped(words: str) -> str:
    """`words` for a field of Slack's own markup, harmless and as they stand."""
    plain = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _BARE.sub("@" + _JOINER, plain)
