"""Splitting an answer into messages of a platform's limit.

Pure. A code fence that is cut is closed and opened again with its language; a cut falls between paragraphs, lines,
sentences or words where it can, and never within what a reader sees as one character. The chunks before the last one
stay the same while the text grows, since they have been sent by then.
"""

from __future__ import annotations

import regex

_CLOSE = "\n```"
_FENCE = regex.compile(r"^ {0,3}(```+|~~~+)([^\n`]*)$", regex.MULTILINE)
# From the best place to cut to the worst; a cut falls after the match.
_BORDERS = tuple(
    regex.compile(pattern)
    for pattern in (r"\n[ \t]*\n+", r"\n", r"[.!?…]['\")\]]*\s+|[。！？；…][”’」』）]*", r"[,;:]\s+|[，、：]", r"\s+")
)
_LINK = regex.compile(r"\[[^\]\n]*\]\([^)\s]*\)|https?://\S+")
_MIN_FILL = 0.5
"""A cut before this share of the limit would make too many messages."""


def split(text: str, limit: int | None) -> list[str]:
    """`text` in chunks of at most `limit` characters; None is no limit. An empty text is no chunk.

    Raises ValueError for a limit too small to hold a fence and some text.
    """
    if limit is None:
        return [text] if text else []
    if limit < 32:
        raise ValueError(f"a limit of {limit} is too small; it should be at least 32")
    chunks = []
    opening, rest = "", text
    while len(opening) + len(rest) > limit:
        head, tail = _cut(rest, limit - len(opening) - len(_CLOSE))
        fence = _open_fence(opening + head, limit)
        chunks.append((opening + head.rstrip("\n") + _CLOSE) if fence else (opening + head).rstrip())
        opening, rest = fence, tail
    chunks.append(opening + rest)
    return [chunk for chunk in chunks if chunk.strip()]


def _cut(text: str, room: int) -> tuple[str, str]:
    """`text` cut within its first `room` characters. Looks no further, so that growth changes nothing."""
    window = text[:room]
    at = next(filter(None, (_border(window, border) for border in _BORDERS)), None) or _last_grapheme(window)
    return text[:at], text[at:]


def _border(window: str, border: regex.Pattern[str]) -> int | None:
    """The last such border in the window that fills it well and cuts no link."""
    links = [match.span() for match in _LINK.finditer(window)]
    ends = [match.end() for match in border.finditer(window) if match.end() >= len(window) * _MIN_FILL]
    return next((end for end in reversed(ends) if not any(start < end < stop for start, stop in links)), None)


def _last_grapheme(window: str) -> int:
    """The start of the window's last grapheme cluster, which may go on after it; the whole window if it has but one."""
    starts = [match.start() for match in regex.finditer(r"\X", window)]
    return starts[-1] if len(starts) > 1 else len(window)


def _open_fence(chunk: str, limit: int) -> str:
    """The line that opens again the fence that `chunk` leaves open; empty where it leaves none open."""
    opened: regex.Match[str] | None = None
    for match in _FENCE.finditer(chunk):
        if opened is None:
            opened = match
        elif match[1][0] == opened[1][0] and len(match[1]) >= len(opened[1]) and not match[2].strip():
            opened = None
    if opened is None:
        return ""
    language = opened[2].strip()
    return f"```{language}\n" if len(language) <= limit // 4 else "```\n"
