"""Detokenizer: token ids, one after another, to text that can be shown at once.

Knows decoding and stop strings. Never hands out half a character (a decoding that ends in U+FFFD waits for more) and
never a piece of what may become a stop string. Everything handed out together is the decoding of all ids, cut before
the stop string that is complete first, however the text was split into tokens. Knows no engine and no template.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]

_HALF = "\N{REPLACEMENT CHARACTER}"


class Detokenizer:
    """The text of one answer. Once `stopped`, nothing more comes out."""

    def __init__(self, decode: Decode, stop: tuple[str, ...] = ()) -> None:
        self._decode = decode
        self._stop = stop
        self._ids: list[int] = []
        self._context = 0  # ids before it are no longer decoded
        self._decoded = 0  # ids before it are in the text
        self._known = ""  # decoding of ids[context:decoded]
        self._held = ""  # decoded, but perhaps part of a stop string
        self._given: list[str] = []
        self.stopped = False

    @property
    def text(self) -> str:
        """All that was handed out."""
        return "".join(self._given)

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The ids of `text`, or nothing where a stop string cut a token in two."""
        if not self.stopped:
            return tuple(self._ids)
        text = self.text
        for count in range(len(self._ids), 0, -1):
            decoded = self._decode(self._ids[:count])
            if len(decoded) <= len(text):
                return tuple(self._ids[:count]) if decoded == text else ()
        return ()

    def push(self, token_id: int) -> str:
        """Take the next id and return what can be shown now, often nothing."""
        if self.stopped:
            return ""
        self._ids.append(token_id)
        decoded = self._decode(self._ids[self._context :])
        piece = decoded[len(self._known) :]
        if not piece or piece.endswith(_HALF):
            return ""
        self._context, self._decoded = self._decoded, len(self._ids)
        self._known = self._decode(self._ids[self._context :])
        return self._give(self._held + piece)

    def finish(self) -> str:
        """Return what was held back. Half a character becomes U+FFFD."""
        if self.stopped:
            return ""
        piece = self._decode(self._ids[self._context :])[len(self._known) :]
        self._context = self._decoded = len(self._ids)
        self._known = ""
        return self._give(self._held + piece) + self._release()

    def _release(self) -> str:
        """Hand out what was held back after all; after a stop string there is nothing."""
        held, self._held = self._held, ""
        self._given.append(held)
        return held

    def _give(self, text: str) -> str:
        """Cut at a stop string, hold back what may become one, hand out the rest."""
        end = find_stop(text, self._stop)
        if end is not None:
            self.stopped, self._held = True, ""
        else:
            end = len(text) - _held_back(text, self._stop)
            self._held = text[end:]
        self._given.append(text[:end])
        return text[:end]


def find_stop(text: str, stop: tuple[str, ...]) -> int | None:
    """Where the stop string starts that is complete first (of several, the longest), or None."""
    found = [(at + len(word), at) for word in stop if (at := text.find(word)) >= 0]
    return min(found)[1] if found else None


def _held_back(text: str, stop: tuple[str, ...]) -> int:
    """The length of the longest end of `text` with which a stop string begins."""
    return max((n for word in stop for n in range(1, len(word)) if text.endswith(word[:n])), default=0)
