"""Splitting an answer into messages of a platform's limit.

Pure. A code fence that is cut is closed and opened again with its language; a cut falls between paragraphs, lines,
sentences or words where it can, and never within what a reader sees as one character. The chunks before the last one
stay the same while the text grows, since they have been sent by then: a cut looks at nothing beyond the limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import regex

_FENCE = regex.compile(r"^([ \t]{0,8})(`{3,8}|~{3,8})(?![`~])([^\n`]*)$", regex.MULTILINE)
# From the best place to cut to the worst; a cut falls after the match.
_BORDERS = tuple(
    regex.compile(pattern)
    for pattern in (r"\n[ \t]*\n+", r"\n", r"[.!?…]['\")\]]*\s+|[。！？；…][”’」』）]*", r"[,;:]\s+|[，、：]", r"\s+")
)
_LINK = regex.compile(r"\[[^\]\n]*\]\([^)\s]*\)?|https?://[^\s<>，。！？；：、（）《》「」『』“”‘’]+")
_MIN_FILL = 0.5
"""A cut before this share of the limit would make too many messages."""
_LEAST_LIMIT = 64
_PARAGRAPH = "\n\n"


@dataclass(frozen=True, slots=True)
class _Fence:
    """A code fence that is open: how its lines are indented, its marker and its language."""

    indent: str
    marker: str
    language: str

    @property
    def opening(self) -> str:
        """The line that opens it again."""
        return f"{self.indent}{self.marker}{self.language}\n"

    @property
    def closing(self) -> str:
        """What closes it, after its last line."""
        return f"\n{self.indent}{self.marker}"


_PLAIN = _Fence("", "```", "")


def split(text: str, limit: int | None, first: Sequence[int] = ()) -> list[str]:
    """`text` in chunks of at most `limit` characters, the first ones of at most `first`; None is no limit.

    White space alone is no chunk. Raises ValueError for a limit too small to hold a fence and some text.
    """
    if limit is None:
        return [text] if text.strip() else []
    if (least := min([limit, *first])) < _LEAST_LIMIT:
        raise ValueError(f"a limit of {least} is too small; it should be at least {_LEAST_LIMIT}")
    chunks: list[str] = []
    fence, opening, rest, limits = None, "", text, iter(first)
    most = next(limits, limit)
    while len(opening) + len(rest) > most:
        head, rest, inside = _cut(rest, most, fence)
        most = next(limits, limit)
        if head.strip():
            chunks.append(opening + (head.rstrip("\n") + inside.closing if inside else head.rstrip()))
        if inside and (closed := _closed_at_once(rest, inside)):
            inside, rest = None, rest[closed:]
        fence, opening = inside, inside.opening if inside else ""
    return [*chunks, opening + rest] if rest.strip() else chunks


def ended(chunk: str, limit: int | None, ending: str) -> str:
    """`chunk`, of `split`, with `ending` as a paragraph of its own; shortened where the limit needs that.

    Raises ValueError for a limit too small to hold the ending, a fence and some text.
    """
    room = None if limit is None else limit - len(ending) - len(_PARAGRAPH)
    return f"{split(chunk, room)[0]}{_PARAGRAPH}{ending}"


def _cut(text: str, limit: int, fence: _Fence | None) -> tuple[str, str, _Fence | None]:
    """`text`, which starts inside `fence`, as (what fits, the rest, the fence that is open between them)."""
    known = text[: limit - len(fence.opening if fence else "")]
    fences = [_PLAIN, *([fence] if fence else []), *(_fence(match, limit) for match in _FENCE.finditer(known))]
    room = len(known) - max(len(each.closing) for each in fences)
    at = _place(text[: room + 1], room)
    inside, opened_at = _open_fence(text[:at], fence, limit)
    if inside and opened_at and not text[opened_at:at].partition("\n")[2].strip():
        at, inside = opened_at, None  # its code goes with it
    return text[:at], text[at:], inside


def _fence(match: regex.Match[str], limit: int) -> _Fence:
    language = match[3].strip()
    return _Fence(match[1], match[2], language if len(language) <= limit // 4 else "")


def _open_fence(text: str, fence: _Fence | None, limit: int) -> tuple[_Fence | None, int]:
    """The fence that is open at the end of `text`, which starts inside `fence`, and where it was opened."""
    opened_at = 0
    for match in _FENCE.finditer(text):
        if fence is None:
            fence, opened_at = _fence(match, limit), match.start()
        elif match[2].startswith(fence.marker) and not match[3].strip():
            fence = None
    return fence, opened_at


def _closed_at_once(rest: str, fence: _Fence) -> int:
    """Length of the line that closes `fence` at the very start of `rest`, which the chunk before has done already.

    No longer than what was known of `rest` when the chunk was cut, so that growth changes nothing.
    """
    match = regex.match(rf"\n?[ \t]{{0,{len(fence.indent)}}}{regex.escape(fence.marker)}\n", rest)
    return match.end() if match else 0


def _place(window: str, room: int) -> int:
    """Where to cut `window`, at most at `room`; it has one character more, to see where the last grapheme ends."""
    ends = {match.end() for match in regex.finditer(r"\X", window)} - {len(window)}
    links = [match.span() for match in _LINK.finditer(window)]
    for border in _BORDERS:
        found = [match.end() for match in border.finditer(window) if room * _MIN_FILL <= match.end() <= room]
        whole = [end for end in found if end in ends and not _inside(end, links)]
        if whole:
            return whole[-1]
    at = max(ends, default=room)
    return next((start for start, stop in links if start in ends and start < at < stop), at)


def _inside(at: int, spans: list[tuple[int, int]]) -> bool:
    return any(start < at < stop for start, stop in spans)
